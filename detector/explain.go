package detector

import (
	"math"
	"slices"
	"strings"

	"github.com/plumbline-sec/plumbline/detector/baseline"
	"github.com/plumbline-sec/plumbline/detector/signal"
	"github.com/plumbline-sec/plumbline/schemas"
)

var severities = []string{
	schemas.SeverityLow, schemas.SeverityMedium, schemas.SeverityHigh, schemas.SeverityCritical,
}

// strong reports whether a signal by itself, with its share of the budget, comes
// within a decade of an alert.
func (p *policy) strong(r rankedSignal) bool { return r.evidence >= p.budget.Threshold()-strongWithin }

// crosses reports whether a signal by itself, with its share of the budget, opens an alert.
func (p *policy) crosses(r rankedSignal) bool { return p.budget.Crossed(r.evidence) }

// novelty is the family, for severity, of all that is new of a call.
const novelty = "novelty"

// severity is that of a crossing. It starts from the score and is raised where data leave:
// by their size, or to a place outside that is new, or new to the tool; and once more where
// they are many. A new tool is mostly deployed by those who run the agents, and brings its
// places with it: an episode of one and nothing else is at most medium, and so is what is
// held against nobody's history, unless the bytes are many. Critical takes two families that
// cross by themselves: a lone deviation is at most high.
func (d *Detector) severity(e *episode, p *policy, v Verdict) int {
	s := 0
	switch {
	case v.Score >= highScore:
		s = 2
	case v.Score >= mediumScore:
		s = 1
	}
	base := s
	tool, newTool := d.newTool()
	leaving, bulk := false, false
	families := make([]string, 0, 8)
	for _, r := range d.ranked {
		if !p.strong(r) {
			continue
		}
		info := &d.infos[r.index]
		switch {
		case !info.Leaves:
		case info.Novelty:
			leaving = leaving || d.gives() && d.reachesNew()
		default:
			leaving, bulk = true, bulk || p.crosses(r) && d.bulk(r.index)
		}
		if newTool && info.Novelty {
			continue
		}
		f := info.Family
		if info.Novelty {
			f = novelty // a tool and a place of one call are one thing
		}
		if p.crosses(r) && !slices.Contains(families, f) {
			families = append(families, f)
		}
	}
	if leaving {
		s++
	}
	if bulk {
		s++
	}
	if newTool && e.tool == 0 {
		e.tool = tool
	}
	e.beyondTool = e.beyondTool || len(families) > 0 || newTool && e.tool != tool
	assumed := !bulk && d.signals[d.ranked[0].index].Observe(&d.ctx).Baseline == schemas.BaselineAssumed
	switch {
	case !e.beyondTool && newTool, assumed:
		s = min(s, 1)
	case len(families) < 2:
		s = min(s, 2)
	}
	s = min(s, len(severities)-1)
	d.grounds = grounds{base, s, leaving, bulk, newTool && !e.beyondTool, assumed, len(families)}
	return s
}

// bulk reports whether the event sends somewhere what makes a leak a large one, by the
// value of the signal that shows it.
func (d *Detector) bulk(i int) bool {
	det := d.signals[i].Observe(&d.ctx)
	return det.Observed >= bulkBytes && det.Observed >= bulkTimes*det.Expected && d.reachesOutside()
}

// gives reports whether the event gives more than it gets: who reads a page for the first
// time contacts a place, and gives it little more than its name.
func (d *Detector) gives() bool {
	ev := d.ctx.Ev
	return ev.Access != schemas.AccessRead || ev.BytesSent > ev.BytesReceived
}

// newTool returns the tool of the event where it is new to the agent, or was of late.
func (d *Detector) newTool() (hash uint64, ok bool) {
	if d.ctx.Ev == nil {
		return 0, false
	}
	for i := range d.items {
		if it := &d.items[i]; it.Kind == baseline.ItemTool && !d.ctx.Own.Novelty.Known.Has(it.Hash) {
			return it.Hash, true
		}
	}
	return 0, false
}

// reachesNew reports whether the event touches a site outside that is new to the agent, or
// sends to one, or uses its tool on such places for the first time.
func (d *Detector) reachesNew() bool {
	ev := d.ctx.Ev
	return slices.ContainsFunc(d.newItems, func(f signal.NewItem) bool {
		k := f.Item.Kind
		return (k == baseline.ItemSite || k == baseline.ItemToolKind) && (baseline.Outside(f.Item.Kin) || ev.Access == schemas.AccessSend)
	})
}

// reachesOutside reports whether the event touches a place that is outside of the house, or
// is sent to one.
func (d *Detector) reachesOutside() bool {
	ev := d.ctx.Ev
	return slices.ContainsFunc(d.items, func(it baseline.Item) bool {
		return it.Kind == baseline.ItemDestination || it.Kind == baseline.ItemSite && (baseline.Outside(it.Kin) || ev.Access == schemas.AccessSend)
	})
}

// explain writes the alert of a crossing.
// It is that of a's episode; by is who crossed.
func (d *Detector) explain(a, by *agent, ev *schemas.Activity, at schemas.Millis, v Verdict) *schemas.Alert {
	e, top := a.episode, d.ranked[0]
	done := d.completedBy(ev, at)
	if done != nil {
		d.ctx.Target = done.Target
	}
	d.ctx.BeforeName = by.trail.tool(d.ctx.Before)
	al := &schemas.Alert{
		Kind: schemas.KindBehavior, TenantID: tenantShown(a),
		Agent: a.described(by), SessionID: e.session, OnBehalfOf: e.principal, Time: at,
		Score:               round4(v.Score),
		ExpectedPerAgentDay: round4(math.Pow(10, -v.Surprise)), Confidence: d.confidence(by),
		Title:    d.infos[top.index].Title,
		Evidence: schemas.Evidence{CompletedBy: done},
		Detector: d.info(),
	}
	var telling []schemas.AlertSignal
	var texts []string
	said := signal.Subject(0)
	for i, r := range d.ranked {
		if i > 0 && r.lambda > contributes {
			continue
		}
		det := d.signals[r.index].Explain(&d.ctx)
		for j := range det.FirstSeen {
			det.FirstSeen[j] = text(det.FirstSeen[j])
		}
		al.Signals = append(al.Signals, d.alertSignal(r, det))
		if i == 0 && det.Title != "" {
			al.Title = det.Title
		}
		if i == 0 || by.policy.strong(r) {
			telling = append(telling, al.Signals[len(al.Signals)-1])
			// A new tool that reached a new place, or a step that led there, is said once, and
			// a target that the first text named is not named again.
			if len(texts) == 0 || len(texts) < maxTexts && det.Text != "" && det.Subject&said == 0 {
				texts = append(texts, det.Text)
				said |= det.Subject | det.Also
			}
			d.ctx.TargetNamed = d.ctx.TargetNamed || i == 0 && det.NamesTarget
		}
	}
	d.ctx.TargetNamed = false
	al.Summary = d.summary(a, by, texts, v)
	al.Tags = d.cfg.Tags.For(telling, d.act(done))
	al.Counterfactual = d.counterfactual(by)
	al.Query = evidenceQuery(al, e, at, a)
	if d.cfg.Runbook != "" {
		al.Runbook = d.cfg.Runbook + d.names[top.index]
	}
	return al
}

// evidenceQuery finds the events that prove an alert. Of an hour they are all of that hour;
// of a swarm, whose agents are many, the ids that the episode holds.
func evidenceQuery(al *schemas.Alert, e *episode, at schemas.Millis, a *agent) string {
	q := schemas.EvidenceQuery{TenantID: al.TenantID, AgentID: al.Agent.ID, From: min(at, e.first), To: max(at, e.last)}
	hourly := al.Signals[0].WindowSeconds > 0
	if hourly {
		q.From = min(q.From, al.Signals[0].WindowStart)
	}
	if !hourly || a.id == swarmID {
		q.EventIDs = e.evidence.EventIDs
	}
	if a.id == swarmID {
		if q.AgentID = ""; a.tenant.name == floodTenant {
			q.TenantID = ""
		}
	}
	return q.SQL()
}

// tenantShown is what alerts call the tenant of an agent.
func tenantShown(a *agent) string {
	if a.id == swarmID && a.tenant.name == floodTenant {
		return allTenants
	}
	tenantID, _ := a.names()
	return text(tenantID)
}

func (d *Detector) summary(a, by *agent, texts []string, v Verdict) string {
	var b strings.Builder
	switch {
	case a != by:
		b.WriteString("Agent " + signal.Quote(text(by.id)) + ", one of " + signal.Count(float64(int(a.crowd)+a.tenant.ownEpisodes)) + " new agents that stand out at once, ")
	case a.id == swarmID:
		b.WriteString("New names ")
	default:
		b.WriteString("Agent " + signal.Quote(a.shown()) + " ")
	}
	b.WriteString(texts[0])
	for _, t := range texts[1:] {
		b.WriteString("; it also ")
		b.WriteString(t)
	}
	b.WriteString(". ")
	b.WriteString(often(v.Surprise, d.ctx.Young))
	return b.String()
}

// often says a rate per agent-day the way people count.
func often(surprise float64, young bool) string {
	days, of := math.Pow(10, surprise), "Expected of a normal agent "
	if young && days >= 2*baseline.YoungHours/24 {
		if agents := days / (baseline.YoungHours / 24); agents < maxToldDays {
			return "Expected of one new agent in " + signal.Count(math.Ceil(agents)) + "."
		}
		return "Expected of less than one new agent in a million."
	}
	return of + signal.Every(days) + "."
}

func closing(al *schemas.Alert, a *agent) string {
	e := a.episode
	by := ""
	if a.crowd > 0 {
		by = " by " + signal.Plural(float64(a.crowd), "new agent", "new agents")
	}
	during := " from " + e.first.String() + " to " + e.last.String()
	if e.first == e.last {
		during = " at " + e.first.String()
	}
	among := ""
	if t := &e.totals; t.Events > uint64(e.crossings) {
		among = "; all that it did since were " + signal.Plural(float64(t.Events), "call", "calls") + " that sent " + signal.Bytes(float64(t.BytesSent))
	}
	if e.back > 0 {
		among = "; it is back since " + e.back.String()
	}
	return "Ended after a quiet time: " + signal.Plural(float64(e.crossings), "crossing", "crossings") + by + during + among + ". " + al.Summary + e.most()
}

// confidence is how much history stands behind the verdict: the agent's own whole days,
// and where they are few the days of its peers, which count half.
func (d *Detector) confidence(a *agent) float64 {
	own := min(1, float64(max(a.profile.Days, 1)-1)/confidentDays)
	days := a.group.calibration.AgentDays()
	peers := peersConfidence * min(1, days/confidentPeers)
	return round4(own + float64((1-own)*peers))
}
