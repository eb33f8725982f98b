package detector

import (
	"container/heap"
	"slices"

	"github.com/plumbline-sec/plumbline/detector/baseline"
	"github.com/plumbline-sec/plumbline/schemas"
)

// episode is what goes on with one agent from the first crossing of the budget
// until a quiet time has passed without one. It raises an alert when it opens, when
// what crosses is worth another look (grow), and when it ends; what crosses in between is
// counted.
type episode struct {
	id         string
	updates    uint64         // alerts raised; the next one's number
	due        schemas.Millis // clock of the tenant at which it ends, unless it is crossed again
	queued     schemas.Millis // the due under which it stands in the heap
	first      schemas.Millis // event times of the first and last crossing
	last       schemas.Millis
	severity   int
	tool       uint64 // the first new one
	beyondTool bool   // something crossed that it does not explain
	families   []string
	dests      []uint64
	sessions   []uint64
	suppressed int   // crossings since the last alert
	crossings  int64 // all
	proofs     int64 // events that prove it: those that crossed, and those of an hour that did
	evidence   schemas.Evidence
	totals     schemas.Totals
	places     []place // what moved (places.go)
	toldPlace  uint64  // to which the most had gone when that was news, and how much
	toldSent   uint64
	// The resources of the last crossing.
	lastResources []string
	// worst is what the closing alert repeats: of the highest severity the least likely.
	worst              schemas.Alert
	worstSurprise      float64
	score              float64        // the highest
	risk               int            // that was told
	told               schemas.Millis // when an alert was last raised
	hour               int64          // of the last crossing, in which inHour events prove
	of                 uint64         // whose hour that is: the number of the window
	inHour             int64
	crowd              uint32         // of the swarm whose episode it is, when an alert was last raised
	back               schemas.Millis // of the first event after hours without one opened it
	session, principal string         // of the last crossing
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

// toldOf reports whether there is an open episode of the agent, of whatever kind.
func (a *agent) toldOf() bool {
	return a.episode != nil || a.checked != nil && len(a.checked.breaches) > 0
}

// closeEpisodes ends the episodes whose quiet time the tenant's clock has passed.
func (d *Detector) closeEpisodes(t *tenant) {
	d.closeBreaches(t)
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
		e = d.openEpisode(a, ev, at)
	}
	e.first, e.last = min(e.first, at), max(e.last, at)
	e.due = a.tenant.clock + a.policy.quiet
	e.session, e.principal = text(ev.SessionID), text(ev.OnBehalfOf)
	e.crossings++
	if opened {
		e.queued = e.due
		heap.Push(&a.tenant.open, a)
	}
	if d.ctx.Ev != nil {
		d.prove(e, by, ev, opened)
	}
	severity := d.severity(e, by.policy, v)
	reason := e.grow(d, by.policy, severity, at)
	if a != by && a.crowd >= 2*e.crowd {
		reason = schemas.ReasonMoreAgents
	}
	if opened {
		reason = schemas.ReasonOpened
	}
	if reason != "" && a != by {
		e.crowd = a.crowd
	}
	worst := severity > severityOf(e.worst.Severity) || severity == severityOf(e.worst.Severity) && v.Surprise > e.worstSurprise+worseDecades
	e.score = max(e.score, round4(v.Score))
	if reason != "" || worst {
		al := d.explain(a, by, ev, at, v)
		al.Severity = severities[severity]
		if worst {
			e.worst, e.worstSurprise = *al, v.Surprise
		}
		if reason != "" {
			al.Status = schemas.StatusUpdate
			if opened {
				al.Status = schemas.StatusOpen
			}
			al.Episode.Reason = reason
			al.Summary += e.most()
			e.told = at
			d.raise(e, al)
		}
	}
	if reason == "" {
		e.suppressed++
	}
	if opened { // behind what is said of it: it is judged as it was found
		a.fadedEpisodes++
		a.tenant.opened++
	}
}

func (d *Detector) openEpisode(a *agent, ev *schemas.Activity, at schemas.Millis) *episode {
	e := &episode{id: d.episodeID(a, ev), first: at, severity: -1}
	e.totals.Since = at
	d.episodes++
	a.opened++
	a.episode = e
	if a.own = a.newcomer() && a != a.tenant.swarm; a.own {
		a.tenant.ownEpisodes++
	}
	return e
}

// prove counts a crossing event and what it proves. Where an hour as a whole crossed, the
// events of that hour before prove it too.
func (d *Detector) prove(e *episode, by *agent, ev *schemas.Activity, opened bool) {
	if d.addedTo != e && (opened || !d.repeats) { // it is the first event of an agent in this episode
		d.moved = e.add(d, ev) && !opened
	}
	if d.repeats && !opened {
		return // it proved what it does when it first came
	}
	w := d.ctx.Win
	if w == nil {
		e.proofs++
		e.proveEvent(ev)
		return
	}
	if w.Hour != e.hour || e.of != by.touched {
		e.hour, e.of, e.inHour = w.Hour, by.touched, 0
	}
	e.proofs++
	e.inHour++
	before := int64(w.Events) - e.inHour
	if before > 0 && d.signals[d.ranked[0].index].Observe(&d.ctx).Seconds > 0 {
		e.proofs += before
		e.inHour += before
		if opened {
			by.trail.last(before, e.prove)
		}
	}
	e.proveEvent(ev)
}

// severityOf is the number of a severity; -1: none yet.
func severityOf(name string) int { return slices.Index(severities, name) }

// grow notes what a crossing adds, and returns why it is worth another look: it is of a
// higher severity, of another kind, to another place, or the most went to another place
// than was told. Empty: it is more of the same, which is counted.
func (e *episode) grow(d *Detector, p *policy, severity int, at schemas.Millis) (reason string) {
	if d.moved {
		reason = schemas.ReasonMoved
	}
	reached := false
	for _, r := range d.ranked {
		if !p.strong(r) {
			continue
		}
		f := d.infos[r.index].Family
		reached = reached || d.names[r.index] == schemas.SignalNewDestination
		if p.crosses(r) && !slices.Contains(e.families, f) && len(e.families) < maxEpisodeFamilies {
			e.families = append(e.families, f)
			reason = schemas.ReasonNewKind
		}
	}
	for i := range d.newItems {
		it := &d.newItems[i].Item
		if reached && it.Kind == baseline.ItemDestination && addNotable(&e.dests, it.Hash) {
			reason = schemas.ReasonNewPlace
		}
	}
	// What grows by the second is not told of by the second, unless it has become high.
	if severity > e.severity && (severity >= urgent || e.severity < 0 || at >= e.told+patience) {
		e.severity = severity
		reason = schemas.ReasonWorse
	}
	return reason
}

// addNotable adds a hash to a bounded list and reports whether that is worth an update:
// whenever there are twice as many, so that a flood of names is not a flood of alerts.
func addNotable(list *[]uint64, h uint64) bool {
	if slices.Contains(*list, h) || len(*list) >= maxEpisodeItems {
		return false
	}
	*list = append(*list, h)
	n := len(*list)
	return n&(n-1) == 0
}

func (e *episode) proveEvent(ev *schemas.Activity) {
	if len(ev.EventID) > 0 {
		e.prove(text(ev.EventID), text(ev.Tool), "")
	}
	e.lastResources = e.lastResources[:0]
	for _, r := range ev.Resources[:min(len(ev.Resources), schemas.MaxEvidence)] {
		e.lastResources = append(e.lastResources, resource(r))
		if len(e.evidence.Resources) < schemas.MaxEvidence {
			e.prove("", "", resource(r))
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
	al.Status, al.Episode.Reason = schemas.StatusClose, schemas.ReasonEnded
	al.Time = at
	al.SessionID, al.OnBehalfOf = e.session, e.principal
	al.Summary = closing(&al, a)
	al.Query = evidenceQuery(&al, e, e.last, a)
	d.raise(e, &al)
	if i := slices.Index(a.tenant.open, a); i >= 0 {
		heap.Remove(&a.tenant.open, i)
	}
	a.episode = nil
	if a.own {
		a.own = false
		a.tenant.ownEpisodes--
	}
}

// raise numbers the alert and hands it out, with what the episode has come to.
func (d *Detector) raise(e *episode, al *schemas.Alert) {
	al.EpisodeID = e.id
	al.AlertID = alertID(e.id, e.updates)
	al.FirstSeen, al.LastSeen = e.first, e.last
	ids, resources := e.proof()
	// That of the worst may have made room for later ones, that of a repeated event was
	// never taken.
	if done := al.Evidence.CompletedBy; done != nil && done.EventID != "" && !slices.Contains(ids, done.EventID) {
		ids = append(ids[:min(len(ids), schemas.MaxEvidence-1)], done.EventID)
	}
	totals := e.totals
	totals.Sessions = uint64(len(e.sessions))
	al.Evidence = schemas.Evidence{
		EventIDs: ids, Resources: append(make([]string, 0, len(resources)), resources...), Tools: clone(e.evidence.Tools),
		CompletedBy: al.Evidence.CompletedBy, Decision: al.Evidence.Decision, Totals: &totals, Places: e.byPlace(), EventCount: max(e.proofs, int64(len(ids))),
	}
	al.Suppressed = e.suppressed
	e.updates++
	e.suppressed = 0
	x := &al.Episode
	x.Severity, x.Score = e.worst.Severity, e.score
	x.Risk = schemas.Risk(x.Severity)
	x.RiskAdded = x.Risk - e.risk
	x.Alerts = int(e.updates)
	e.risk = x.Risk
	if top := e.topPlaces(); len(top) > 0 && top[0].sent >= toldFrom {
		e.toldPlace, e.toldSent = top[0].hash, top[0].sent
	}
	out := *al
	d.sink.Alert(&out)
}

func clone(s []string) []string { return append(make([]string, 0, len(s)), s...) }
