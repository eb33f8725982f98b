package detector

import (
	"cmp"
	"container/heap"
	"slices"
	"strings"

	"github.com/plumbline-sec/plumbline/detector/baseline"
	"github.com/plumbline-sec/plumbline/detector/signal"
	"github.com/plumbline-sec/plumbline/schemas"
)

// What a policy forbids is an episode of the agent and the policy, like those of identity
// checks (identity.go): nothing is learnt or calibrated, it costs nothing of the budget, and
// beyond the first few agents of a tenant the others are one episode.

// Ids of what is no policy. No policy has parentheses in its own.
const (
	defaultRule = "(default)"        // nothing permitted it, and the default is to deny
	otherRules  = "(other policies)" // of which an agent, or a tenant, has too many episodes
	grantRule   = "grant:"           // begins those of a registration's grants
)

// Bounds of episodes of policies, whatever somebody does.
const (
	ownRules     = 16 // policies that an agent has episodes of its own of, at once
	crowdRules   = 64 // policies of which a tenant has one of many agents, at once
	rulesAtOnce  = 64 // policies that one event is told to violate
	mostBreaches = checkCount + crowdRules + 2
)

// risk is the severity of the agent's open episode of behaviour; empty: it has none.
func (a *agent) risk() string {
	switch {
	case a.episode != nil:
		return a.episode.worst.Severity
	case a.folded():
		return a.tenant.swarm.episode.worst.Severity
	}
	return ""
}

// enforce asks the policies about an event. As in verify, a registration says nothing of what
// happened before it was said.
func (d *Detector) enforce(a *agent, ev *schemas.Activity, told schemas.Millis, risk string) {
	at := told
	if a.tenant.clock-told > believed {
		at = a.tenant.clock
	}
	var reg *schemas.Registration
	if r := a.registered; r != nil && at >= r.Time {
		reg = r.Registration
	}
	d.decisions = d.decider.Decide(d.decisions[:0], ev, reg, risk)
	d.broken = d.broken[:0]
	observed := false
	for i := range d.decisions {
		p := &d.decisions[i]
		observed = observed || p.Observed
		if !p.Denied {
			continue
		}
		v := violation{decision: p, at: at, reg: reg, risk: risk}
		if len(p.Policies) == 0 {
			d.violate(a, ev, defaultRule, &v)
		}
		for _, v.policy = range p.Policies {
			d.violate(a, ev, v.policy.ID, &v)
		}
	}
	if observed {
		d.observedDenials++
	}
}

// violation is what an event is denied, and by what.
type violation struct {
	decision *schemas.PolicyDecision
	policy   *schemas.Policy // nil: the default
	at       schemas.Millis
	reg      *schemas.Registration
	risk     string
}

// violate takes an event into the episode of a policy. An event counts once, however many
// of its resources are denied.
func (d *Detector) violate(a *agent, ev *schemas.Activity, rule string, v *violation) {
	if slices.Contains(d.broken, rule) || len(d.broken) >= rulesAtOnce {
		return
	}
	d.broken = append(d.broken, rule)
	b, reason := d.breachOf(a, offence{checkPolicy, a.room(rule)}, ev, v.at)
	opened := reason == schemas.ReasonOpened
	b.count(ev, v.at)
	b.due = a.tenant.clock + a.policy.quiet
	if addNotable(&b.values, baseline.Hash(6, v.decision.Resource)) && !opened {
		reason = schemas.ReasonNewResource
	}
	if reason == schemas.ReasonMoreAgents && b.agents < 2*b.crowd {
		reason = ""
	}
	if opened {
		b.queued = b.due
		heap.Push(&a.tenant.breaches, b)
	}
	if reason == "" {
		b.suppressed++
		return
	}
	b.crowd = b.agents
	al := d.charge(b, a, ev, v)
	if severityOf(al.Severity) >= severityOf(b.worst.Severity) {
		b.worst = *al
		b.score = al.Score
	}
	if opened {
		al.Status = schemas.StatusOpen
	}
	al.Episode.Reason = reason
	d.raise(&b.episode, al)
}

// room is the rule of whose episode a violation is part: another one's where there are too many.
func (a *agent) room(rule string) string {
	o, t := offence{checkPolicy, rule}, a.tenant
	own := 0
	if a.checked != nil {
		if breachIn(a.checked.breaches, o) != nil {
			return rule
		}
		own = rulesIn(a.checked.breaches)
	}
	switch {
	case breachIn(t.crowds, o) != nil:
		return rule
	case t.breached[o] < ownBreaches && own < ownRules, t.breached[o] >= ownBreaches && rulesIn(t.crowds) < crowdRules:
		return rule
	}
	return otherRules
}

func rulesIn(list []*breach) (n int) {
	for _, b := range list {
		if b.check == checkPolicy && b.rule != otherRules {
			n++
		}
	}
	return n
}

// charge writes the alert of an event that was denied.
func (d *Detector) charge(b *breach, by *agent, ev *schemas.Activity, v *violation) *schemas.Alert {
	p := v.policy
	if p == nil {
		p = &schemas.Policy{ID: defaultRule, Title: "No policy permits what the agent did", Severity: schemas.SeverityMedium}
	}
	agent := by.described(by)
	tenantID, _ := by.names()
	if b.agent == nil {
		agent = schemas.AlertAgent{ID: crowdName, PeerGroup: by.group.name}
		if by.tenant.name == floodTenant {
			tenantID = allTenants
		}
	}
	target := resource(v.decision.Resource)
	if v.decision.Resource == schemas.NoResource {
		target = ""
	}
	al := &schemas.Alert{
		Kind: schemas.KindPolicy, TenantID: text(tenantID), Agent: agent, SessionID: b.session, OnBehalfOf: b.principal,
		Status: schemas.StatusUpdate, Time: v.at, Severity: p.Severity, Score: identityScores[p.Severity], Confidence: 1,
		Title: cmp.Or(resource(p.Title), "Agent did what a policy forbids"),
		Signals: []schemas.AlertSignal{{
			Name: schemas.SignalPolicy + resource(p.ID), Unit: unitCalls, WindowStart: b.totals.Since, Baseline: schemas.BaselinePolicy,
		}},
		Evidence:       schemas.Evidence{CompletedBy: completed(ev, v.at, target), Decision: d.decided(ev, v)},
		Counterfactual: silentHad(p),
		Tags:           schemas.Tags{OwaspASI: []string{}, ATLAS: []string{}, Attack: []string{}},
		Detector:       d.info(),
	}
	if target != "" {
		al.Signals[0].FirstSeen = []string{target}
	}
	if tags, err := schemas.ParseTags(p.Tags); err == nil { // else nobody has read the policies
		al.Tags = schemas.Tagging{Signals: map[string]schemas.Tags{al.Signals[0].Name: tags}}.For(al.Signals, nil)
	}
	b.observe(al)
	al.Summary = b.charged(by, ev, p, target)
	al.Query = b.query(al)
	if al.Runbook = resource(p.Runbook); al.Runbook == "" && d.cfg.Runbook != "" {
		al.Runbook = d.cfg.Runbook + al.Signals[0].Name
	}
	return al
}

// decided is the decision as an alert shows it.
func (d *Detector) decided(ev *schemas.Activity, v *violation) *schemas.Decision {
	out := &schemas.Decision{Action: text(v.decision.Action), Resource: resource(v.decision.Resource), Policies: []string{}, Seen: []schemas.SeenValue{}}
	for _, p := range v.decision.Policies[:min(len(v.decision.Policies), schemas.MaxEvidence)] {
		out.Policies = append(out.Policies, resource(p.ID))
	}
	for _, id := range v.decision.Failed[:min(len(v.decision.Failed), schemas.MaxEvidence)] {
		out.Failed = append(out.Failed, resource(id))
	}
	seen := d.decider.Seen(ev, v.reg, v.risk, v.decision.Resource)
	for _, s := range seen[:min(len(seen), schemas.MaxSeen)] {
		out.Seen = append(out.Seen, schemas.SeenValue{Name: resource(s.Key), Value: resource(s.Value)})
	}
	return out
}

// charged says what an agent did and what forbids it, for somebody who is tired.
func (b *breach) charged(by *agent, ev *schemas.Activity, p *schemas.Policy, target string) string {
	var s strings.Builder
	_, id := by.names()
	s.WriteString("Agent " + signal.Quote(text(id)))
	if r := by.registered; r != nil && r.Owner != "" {
		s.WriteString(" (owner " + signal.Quote(short(r.Owner)) + ")")
	}
	if b.agent == nil {
		s.WriteString(" and " + signal.Plural(float64(int(b.agents)+by.tenant.breached[b.offence]-1), "other one", "other ones") + " before it did what is denied: it")
	}
	what := signal.Quote(short(ev.Tool))
	if ev.Tool == "" {
		what = cmp.Or(text(ev.Access), "something")
	}
	s.WriteString(" called " + what)
	if target != "" {
		s.WriteString(" on " + signal.Quote(target))
	}
	s.WriteString(", which " + deniedBy(p) + ": " + signal.Plural(float64(b.crossings), "call", "calls") + " since " + minuteOf(b.totals.Since) + ". ")
	if strings.HasPrefix(p.ID, grantRule) {
		s.WriteString("Ask its owner whether it has to: grant it in the registration, or stop it.")
	} else {
		s.WriteString("Ask its owner whether it has to: permit it, or stop it.")
	}
	return s.String()
}

// deniedBy is why something is denied.
func deniedBy(p *schemas.Policy) string {
	list, granted := strings.CutPrefix(p.ID, grantRule)
	list, _, _ = strings.Cut(list, ":")
	switch {
	case granted:
		return "is not among the " + list + " that its registration grants"
	case p.ID == defaultRule:
		return "no policy permits"
	}
	return "policy " + signal.Quote(resource(p.ID)) + " forbids"
}

// silentHad is what would have been no alert.
func silentHad(p *schemas.Policy) string {
	switch {
	case strings.HasPrefix(p.ID, grantRule):
		return "Silent had the registration granted it."
	case p.ID == defaultRule:
		return "Silent had a policy permitted it."
	}
	return "Silent had policy " + signal.Quote(resource(p.ID)) + " not applied."
}
