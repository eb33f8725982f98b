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
func (p *policy) strong(r rankedSignal) bool { return r.evidence >= p.budget.Threshold()-1 }

// severity starts from the score and is raised where data leaves. Critical takes
// more than one family of signals: a lone deviation is at most high.
func (d *Detector) severity(e *episode, p *policy, v Verdict) int {
	s := 0
	switch {
	case v.Score >= 75:
		s = 2
	case v.Score >= 60:
		s = 1
	}
	leaving := false
	for _, r := range d.ranked {
		leaving = leaving || p.strong(r) && d.infos[r.index].Leaves
	}
	if leaving {
		s++
	}
	if len(e.families) < 2 {
		s = min(s, 2)
	}
	return min(s, len(severities)-1)
}

// explain writes the alert of a crossing.
// It is that of a's episode; by is who crossed.
func (d *Detector) explain(a, by *agent, ev *schemas.Activity, at schemas.Millis, v Verdict) *schemas.Alert {
	e, top := a.episode, d.ranked[0]
	d.ctx.BeforeName = by.trail.tool(d.ctx.Before)
	al := &schemas.Alert{
		Kind: schemas.KindBehavior, TenantID: tenantShown(a),
		Agent:     schemas.AlertAgent{ID: a.shown(), Name: a.name, Version: a.version, PeerGroup: by.group.name},
		SessionID: e.session, OnBehalfOf: e.principal, Time: at,
		Severity: severities[max(e.severity, 0)], Score: round4(v.Score),
		ExpectedPerAgentDay: round4(math.Pow(10, -v.Surprise)), Confidence: d.confidence(by),
		Title:    d.infos[top.index].Title,
		Detector: schemas.DetectorInfo{Version: d.cfg.Version, ConfigHash: d.cfg.Hash},
	}
	var names, texts []string
	for i, r := range d.ranked {
		if i > 0 && r.lambda > contributes {
			continue
		}
		det := d.signals[r.index].Explain(&d.ctx)
		for j := range det.FirstSeen {
			det.FirstSeen[j] = text(det.FirstSeen[j])
		}
		al.Signals = append(al.Signals, d.alertSignal(r, det))
		if i == 0 || by.policy.strong(r) {
			names = append(names, d.names[r.index])
			// A new destination that is also a new resource or tool, or was reached out of
			// order, is said once.
			said := func(text string) bool { return strings.Contains(text, thing(det.Text)) }
			if len(texts) < 3 && !slices.ContainsFunc(texts, said) {
				texts = append(texts, det.Text)
			}
		}
	}
	al.Summary = d.summary(a, by, texts, v) + e.most()
	al.Tags = d.cfg.Tags.For(names, ev.Access)
	al.Counterfactual = d.counterfactual(by, top)
	al.Query = query(al, e, at, a)
	if d.cfg.Runbook != "" {
		al.Runbook = d.cfg.Runbook + d.names[top.index]
	}
	return al
}

// tenantShown is what alerts call the tenant of an agent.
func tenantShown(a *agent) string {
	if a.id == swarmID && a.tenant.name == floodTenant {
		return "(all)"
	}
	tenantID, _ := a.names()
	return text(tenantID)
}

// thing is a text without for whom it is new and how much else was.
func thing(text string) string {
	before, _, _ := strings.Cut(text, ", ")
	return before
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
	b.WriteString(often(v.Surprise))
	return b.String()
}

// often says a rate per agent-day the way people count.
func often(surprise float64) string {
	days := math.Pow(10, surprise)
	switch {
	case days < 2:
		return "Expected of a normal agent about " + signal.Count(1/days) + " times a day."
	case days < 730:
		return "Expected of a normal agent once in " + signal.Count(days) + " days."
	case days < 1e6*365:
		return "Expected of a normal agent once in " + signal.Count(days/365) + " years."
	default:
		return "Expected of a normal agent less than once in a million years."
	}
}

func closing(al *schemas.Alert, a *agent) string {
	e := a.episode
	by := ""
	if a.crowd > 0 {
		by = " by " + signal.Plural(float64(a.crowd), "new agent", "new agents")
	}
	return "Ended after a quiet time: " + signal.Plural(float64(e.crossings), "crossing", "crossings") + by + " from " +
		e.first.String() + " to " + e.last.String() + ". " + al.Summary + e.most()
}

// confidence is how much history stands behind the verdict: the agent's own days,
// and where they are few the days of its peers, which count half.
func (d *Detector) confidence(a *agent) float64 {
	own := min(1, float64(a.profile.Days)/14)
	days := a.group.calibration.Fused[0].Days() + a.group.calibration.Fused[1].Days()
	peers := 0.5 * min(1, days/100)
	return round4(own + float64((1-own)*peers))
}

// counterfactual says what would have stayed silent: the largest value of the
// leading signal that keeps the whole verdict under the budget, the other signals
// as they are.
func (d *Detector) counterfactual(a *agent, top rankedSignal) string {
	c, pair := &d.ctx, a.group.pair(a.tenant)
	class, p := classOf(c.Young), a.policy
	rest := math.Inf(-1)
	for _, r := range d.ranked[1:] {
		rest = max(rest, r.evidence)
	}
	if p.budget.Crossed(a.tenant.steer(-math.Log10(pair.Fused(class, max(rest, -3))), p.budget)) {
		return "no change of this signal alone: another one crosses by itself"
	}
	s := d.signals[top.index]
	if c.Flood.What != "" {
		return "fewer new " + c.Flood.What + " in this hour"
	}
	if c.Silence.Hours > 0 {
		return "a call in these hours"
	}
	if s.Tail(c, 0) < 0 {
		if len(c.Fresh) == 0 {
			det := s.Observe(c)
			return "had it stayed near " + signal.Count(det.Expected) + " " + d.infos[top.index].Unit + " in such an hour"
		}
		if d.names[top.index] == schemas.SignalToolSequence {
			return "had this agent called its tools in this order before"
		}
		return fresh(c)
	}
	silent := func(v float64) bool {
		if !p.heard(top.index, v) {
			return true
		}
		lambda := d.lambda(pair, top.index, class, s.Tail(c, v))
		y := max(rest, p.fuse.Evidence(top.index, lambda))
		return !p.budget.Crossed(a.tenant.steer(-math.Log10(pair.Fused(class, y)), p.budget))
	}
	det := s.Observe(c)
	low, high := 0.0, det.Observed
	for range 60 {
		mid := low + (high-low)/2
		if silent(mid) {
			low = mid
		} else {
			high = mid
		}
	}
	if d.infos[top.index].Unit == "bytes" {
		where := "in this window"
		if det.Seconds == 0 {
			where = "in this call"
		}
		return "under " + signal.Bytes(high) + " " + where
	}
	return "up to " + signal.Count(math.Floor(low)) + " " + d.infos[top.index].Unit + " in this window"
}

// fresh is the counterfactual of novelty.
func fresh(c *signal.Context) string {
	it := signal.Newest(c)
	name := signal.Quote(text(it.Name))
	switch it.Kind {
	case baseline.ItemTool:
		name = "tool " + name
	case baseline.ItemToolKind:
		name = "tool " + name + " on " + signal.Quote(text(it.Kin))
	case baseline.ItemSite:
		name = strings.TrimSpace(it.Kin + " " + text(it.Name))
	case baseline.ItemSource, baseline.ItemWrite, baseline.ItemDestination, baseline.ItemAgent, baseline.ItemStep, baseline.ItemKinds:
	}
	return "had this agent used " + name + " before"
}

// query is ClickHouse SQL for the proving events.
func query(al *schemas.Alert, e *episode, at schemas.Millis, a *agent) string {
	start, end := at, at
	for _, s := range al.Signals {
		if s.WindowStart > 0 {
			start = min(start, s.WindowStart)
		}
	}
	start = min(start, e.first)
	end = max(end, e.last)
	var b strings.Builder
	if a.id == swarmID && a.tenant.name == floodTenant { // who they are, the newest first
		b.WriteString("SELECT tenant_id, count() AS events, min(time) AS first_seen FROM activity WHERE time BETWEEN ")
		sqlTime(&b, start)
		b.WriteString(" AND ")
		sqlTime(&b, end)
		b.WriteString(" GROUP BY tenant_id ORDER BY first_seen DESC LIMIT 1000")
		return b.String()
	}
	b.WriteString("SELECT * FROM activity WHERE tenant_id = ")
	sqlString(&b, al.TenantID)
	if a.id != swarmID {
		b.WriteString(" AND agent_id = ")
		sqlString(&b, al.Agent.ID)
	}
	b.WriteString(" AND time BETWEEN ")
	sqlTime(&b, start)
	b.WriteString(" AND ")
	sqlTime(&b, end)
	if lead := al.Signals[0]; len(e.evidence.EventIDs) > 0 && (a.id == swarmID || len(lead.FirstSeen) > 0 && lead.WindowSeconds == 0) {
		b.WriteString(" AND event_id IN (")
		for i, id := range e.evidence.EventIDs {
			if i > 0 {
				b.WriteString(", ")
			}
			sqlString(&b, id)
		}
		b.WriteByte(')')
	}
	b.WriteString(" ORDER BY time")
	return b.String()
}

func sqlTime(b *strings.Builder, t schemas.Millis) {
	b.WriteString("toDateTime64('")
	b.WriteString(t.Time().Format("2006-01-02 15:04:05.000"))
	b.WriteString("', 3, 'UTC')")
}

// sqlString writes a ClickHouse string literal. Quotes, backslashes and what is
// not printable ASCII or a letter are escaped: no name breaks out of its literal.
func sqlString(b *strings.Builder, s string) {
	const hex = "0123456789abcdef"
	b.WriteByte('\'')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '\'' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < 0x20 || c == 0x7f:
			b.WriteString(`\x`)
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('\'')
}
