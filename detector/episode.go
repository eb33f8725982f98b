package detector

import (
	"container/heap"
	"slices"
	"strings"

	"github.com/plumbline-sec/plumbline/detector/baseline"
	"github.com/plumbline-sec/plumbline/schemas"
)

// Bounds of an episode.
const (
	maxEpisodeItems    = 64 // destinations and sessions that are told apart
	maxEpisodeFamilies = 8
)

// episode is what goes on with one agent from the first crossing of the budget
// until a quiet time has passed without one. It raises an alert when it opens,
// when it gets worse, and when it ends; what crosses in between is counted.
type episode struct {
	id         string
	updates    uint64         // alerts raised; the next one's number
	due        schemas.Millis // clock of the tenant at which it ends, unless it is crossed again
	queued     schemas.Millis // the due under which it stands in the heap
	first      schemas.Millis // event times of the first and last crossing
	last       schemas.Millis
	severity   int
	families   []string
	dests      []uint64
	sessions   []uint64
	suppressed int   // crossings since the last alert
	crossings  int64 // all
	evidence   schemas.Evidence
	places     []place // what moved (places.go)
	toldPlace  uint64  // to which the most had gone when that was news, and how much
	toldSent   uint64
	// The resources of the last crossing.
	lastResources []string
	// worst is the alert with the highest score; the closing one repeats it.
	worst              schemas.Alert
	session, principal string // of the last crossing
}

// episodeHeap orders open episodes by when they are due.
type episodeHeap []*agent

func (h episodeHeap) Len() int { return len(h) }
func (h episodeHeap) Less(i, j int) bool {
	if a, b := h[i].episode.queued, h[j].episode.queued; a != b {
		return a < b
	}
	return h[i].episode.id < h[j].episode.id
}
func (h episodeHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push adds an agent; container/heap calls it.
func (h *episodeHeap) Push(x any) { *h = append(*h, x.(*agent)) }

// Pop removes the last agent; container/heap calls it.
func (h *episodeHeap) Pop() any {
	old := *h
	a := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return a
}

// closeEpisodes ends the episodes whose quiet time the tenant's clock has passed.
func (d *Detector) closeEpisodes(t *tenant) {
	for len(t.open) > 0 {
		a := t.open[0]
		e := a.episode
		if e.queued > t.clock {
			return
		}
		d.cutting.change(a)
		if e.due > t.clock {
			e.queued = e.due // crossed again since it was queued
			heap.Fix(&t.open, 0)
			continue
		}
		d.endEpisode(a, e.due)
	}
}

// cross takes an event that crossed the budget.
//
// a is whose episode it belongs to, by is who crossed (swarm.go).
func (d *Detector) cross(a, by *agent, ev *schemas.Activity, at schemas.Millis, v Verdict) {
	e := a.episode
	opened := e == nil
	if opened {
		e = &episode{id: d.episodeID(a, ev), first: at, severity: -1}
		d.episodes++
		a.opened++
		a.alarms++
		a.tenant.opened++
		a.episode = e
		if a.own = a.newcomer() && a != a.tenant.swarm; a.own {
			a.tenant.ownEpisodes++
		}
	}
	e.first, e.last = min(e.first, at), max(e.last, at)
	e.due = a.tenant.clock + a.policy.quiet
	e.session, e.principal = text(ev.SessionID), text(ev.OnBehalfOf)
	e.crossings++
	if opened {
		e.queued = e.due
		heap.Push(&a.tenant.open, a)
		by.trail.each(func(id, tool, resource string) { e.prove(id, tool, resource) })
	}
	e.proveEvent(ev)
	if !d.added { // it is the first event of an agent in this episode
		d.moved = e.moved(ev, d.fresh) && !opened
	}
	worse := e.grow(d, a.policy, ev, v) || d.moved
	if !opened && !worse {
		e.suppressed++
		return
	}
	status := schemas.StatusUpdate
	if opened {
		status = schemas.StatusOpen
	}
	al := d.explain(a, by, ev, at, v)
	al.Status = status
	d.raise(a, al)
	if e.worst.AlertID == "" || al.Score >= e.worst.Score {
		e.worst = *al
		e.worst.Summary = strings.TrimSuffix(al.Summary, e.most()) // the closing one has its own
	}
}

// grow notes what this crossing adds, and reports whether it is worse than what
// was alerted: severity up, a new family, a new destination, another session.
func (e *episode) grow(d *Detector, p *policy, ev *schemas.Activity, v Verdict) bool {
	worse := false
	for _, r := range d.ranked {
		if !p.strong(r) {
			continue
		}
		f := d.infos[r.index].Family
		if !slices.Contains(e.families, f) && len(e.families) < maxEpisodeFamilies {
			e.families = append(e.families, f)
			worse = true
		}
	}
	for i := range d.fresh {
		it := &d.fresh[i].Item
		if it.Kind == baseline.ItemDestination && note(&e.dests, it.Hash) {
			worse = true
		}
	}
	if ev.SessionID != "" && note(&e.sessions, baseline.Hash(2, ev.SessionID)) {
		worse = true
	}
	if s := d.severity(e, p, v); s > e.severity {
		e.severity = s
		worse = true
	}
	return worse
}

// note adds a hash to a bounded list and reports whether that is worth an update:
// the first eight are, then every doubling, so that a flood of names is not a
// flood of alerts.
func note(list *[]uint64, h uint64) bool {
	if slices.Contains(*list, h) || len(*list) >= maxEpisodeItems {
		return false
	}
	*list = append(*list, h)
	n := len(*list)
	return n <= 8 || n&(n-1) == 0
}

func (e *episode) proveEvent(ev *schemas.Activity) {
	if len(ev.EventID) > 0 {
		e.prove(text(ev.EventID), text(ev.Tool), "")
	}
	e.lastResources = e.lastResources[:0]
	for _, r := range ev.Resources[:min(len(ev.Resources), schemas.MaxEvidence)] {
		e.lastResources = append(e.lastResources, short(r))
		if len(e.evidence.Resources) < schemas.MaxEvidence {
			e.prove("", "", short(r))
		}
	}
}

// prove adds to the evidence; each list is bounded and holds a thing once.
func (e *episode) prove(id, tool, resource string) {
	for _, p := range []struct {
		list *[]string
		s    string
	}{{&e.evidence.EventIDs, id}, {&e.evidence.Tools, tool}, {&e.evidence.Resources, resource}} {
		if p.s == "" || slices.Contains(*p.list, p.s) {
			continue
		}
		if len(*p.list) >= schemas.MaxEvidence {
			if p.list != &e.evidence.EventIDs {
				continue
			}
			// The first half stands, the newest takes the last place.
			*p.list = slices.Delete(*p.list, schemas.MaxEvidence/2, schemas.MaxEvidence/2+1)
		}
		*p.list = append(*p.list, p.s)
	}
}

// endEpisode raises the closing alert.
func (d *Detector) endEpisode(a *agent, at schemas.Millis) {
	e := a.episode
	al := e.worst
	al.Status = schemas.StatusClose
	al.Time = at
	al.SessionID, al.OnBehalfOf = e.session, e.principal
	al.Summary = closing(&al, a)
	d.raise(a, &al)
	if i := slices.Index(a.tenant.open, a); i >= 0 {
		heap.Remove(&a.tenant.open, i)
	}
	a.episode = nil
	if a.own {
		a.own = false
		a.tenant.ownEpisodes--
	}
}

// raise numbers the alert and hands it out.
func (d *Detector) raise(a *agent, al *schemas.Alert) {
	e := a.episode
	al.EpisodeID = e.id
	al.AlertID = alertID(e.id, e.updates)
	al.FirstSeen, al.LastSeen = e.first, e.last
	ids, resources := e.proofs()
	al.Evidence = schemas.Evidence{
		EventIDs: ids, Resources: append(make([]string, 0, len(resources)), resources...), Tools: clone(e.evidence.Tools),
		Places: e.totals(), EventCount: e.crossings,
	}
	al.Suppressed = e.suppressed
	e.updates++
	e.suppressed = 0
	out := *al
	d.sink.Alert(&out)
}

func clone(s []string) []string { return append(make([]string, 0, len(s)), s...) }
