package detector

import (
	"cmp"
	"container/heap"
	"fmt"
	"slices"
	"strings"

	"github.com/plumbline-sec/plumbline/detector/baseline"
	"github.com/plumbline-sec/plumbline/detector/internal/wire"
	"github.com/plumbline-sec/plumbline/detector/signal"
	"github.com/plumbline-sec/plumbline/schemas"
)

// What an agent is, is said by its registration, and whether an event is that of such an agent
// is a yes or no, not a matter of a baseline: identity checks have episodes of their own, which
// cost nothing of the budget. An agent has one open episode of a check. Names cost nothing
// (swarm.go): beyond the first few agents of a tenant that fail a check, the others are one
// episode of the tenant, with the count of them.

// Values of Config.Identity: what comes of a check that fails.
const (
	IdentityOff     = "off"
	IdentityObserve = "observe" // it is counted (Stats.Observed), and nobody is told
	IdentityAlert   = "alert"
)

// The checks, in the order in which they are made.
const (
	checkUnregistered = iota
	checkDecommissioned
	checkSuspended
	checkNoOwner
	checkVersion
	checkUnknown
	checkStatic
	checkExpired
	checkOverdue
	checkCount
	checkPolicy = checkCount // not one of them: what a policy forbids (violation.go)
)

// check is how a check is told of.
type check struct {
	name, severity, title string
	unit                  string
	mode                  string // what the config says nothing of
	own                   int    // agents of a tenant with episodes of their own at once
	standing              bool   // it stays so until somebody changes it: its quiet time is long
	every                 bool   // all that the agent does proves it
	next                  string // what to do
	silent                string // what would have been no alert
}

var checks = [checkCount + 1]check{
	checkUnregistered: {
		schemas.CheckUnregisteredAgent, schemas.SeverityMedium, "Agent without a registration", unitCalls, IdentityOff, ownStrangers, true, true,
		"Find out who runs it: register it, or take its access away.", "Silent had the agent been registered.",
	},
	checkDecommissioned: {
		schemas.CheckDecommissionedAgent, schemas.SeverityHigh, "Decommissioned agent acts", unitCalls, IdentityAlert, ownBreaches, false, true,
		"Revoke its credentials, and find out what still runs it.", "Silent had the agent been active by its registration.",
	},
	checkSuspended: {
		schemas.CheckSuspendedAgent, schemas.SeverityHigh, "Suspended agent acts", unitCalls, IdentityAlert, ownBreaches, false, true,
		"Stop it where it runs, and revoke its credentials until it may act again.", "Silent had the agent been active by its registration.",
	},
	checkNoOwner: {
		schemas.CheckNoOwner, schemas.SeverityLow, "Agent without an owner", unitCalls, IdentityAlert, ownStrangers, true, true,
		"Name an owner in its registration.", "Silent had the registration named an owner.",
	},
	checkVersion: {
		schemas.CheckUnapprovedVersion, schemas.SeverityMedium, "Agent runs a version that is not approved", "versions", IdentityAlert, ownBreaches, true, false,
		"Ask who deployed it: approve the version in the registration, or roll it back.", "Silent had the registration listed the version.",
	},
	checkUnknown: {
		schemas.CheckUnknownCredential, schemas.SeverityHigh, "Agent uses a credential that is not registered for it", "credentials", IdentityAlert, ownBreaches, false, false,
		"Find out whose credential it is; revoke it, or add it to the registration.", "Silent had the registration listed the credential.",
	},
	checkStatic: {
		schemas.CheckStaticKey, schemas.SeverityLow, "Static key where credentials have to be short-lived", unitCalls, IdentityOff, ownStrangers, true, false,
		"Replace it by a token or a certificate that expires.", "Silent had the credential been of another type.",
	},
	checkExpired: {
		schemas.CheckExpiredCredential, schemas.SeverityMedium, "Expired credential was accepted", "hours", IdentityAlert, ownBreaches, true, false,
		"Renew it, and find out why what it was shown to still takes it.", "Silent had the call been denied, or the credential been renewed.",
	},
	checkOverdue: {
		schemas.CheckCredentialOverdue, schemas.SeverityLow, "Credential is older than allowed", "days", IdentityAlert, ownStrangers, true, false,
		"Rotate it.", "Silent had the credential been rotated in time.",
	},
	checkPolicy: {unit: unitCalls, own: ownBreaches},
}

const unitCalls = "calls"

// IdentityChecks are the names of the checks, as Stats.Observed has them.
func IdentityChecks() []string {
	names := make([]string, checkCount)
	for i := range names {
		names[i] = checks[i].name
	}
	return names
}

func checkNamed(name string) int {
	return slices.IndexFunc(checks[:checkCount], func(c check) bool { return c.name == name })
}

func checkModes(said map[string]string) error {
	for name, mode := range said {
		if checkNamed(name) < 0 {
			return fmt.Errorf("no identity check is called %q", name)
		}
		if mode != IdentityOff && mode != IdentityObserve && mode != IdentityAlert {
			return fmt.Errorf("identity check %s: %q is none of %s, %s, %s", name, mode, IdentityOff, IdentityObserve, IdentityAlert)
		}
	}
	return nil
}

// identityPolicy is which checks are made of an agent.
type identityPolicy struct {
	modes [checkCount]string
	all   bool // also of agents that are not registered
}

func newIdentityPolicy(said map[string]string) identityPolicy {
	var p identityPolicy
	for i := range p.modes {
		p.modes[i] = cmp.Or(said[checks[i].name], checks[i].mode)
	}
	p.all = p.modes[checkUnregistered] != IdentityOff || p.modes[checkStatic] != IdentityOff
	return p
}

// identityScores are what alerts of the checks have as a score, by severity: nothing was
// measured.
var identityScores = map[string]float64{schemas.SeverityLow: 50, schemas.SeverityMedium: 60, schemas.SeverityHigh: 80, schemas.SeverityCritical: 95}

// offence is what episodes of checks and policies are told apart by.
type offence struct {
	check int
	rule  string // of checkPolicy: the id of the policy
}

// checked is what checks and policies know of an agent that failed one.
type checked struct {
	breaches []*breach
	folds    []uint64 // numbers of the episodes of its tenant that it is part of
}

// breach is an open episode of a check.
type breach struct {
	episode
	offence

	number uint64   // of the episode, in the partition
	agents uint32   // that are part of it; 0: it is that of one
	values []uint64 // the credentials or versions that it is about

	tenant *tenant
	agent  *agent // whose it is; nil: the tenant's
}

// breachHeap orders open episodes of checks by when they are due.
type breachHeap []*breach

func (h breachHeap) Len() int { return len(h) }
func (h breachHeap) Less(i, j int) bool {
	if h[i].queued != h[j].queued {
		return h[i].queued < h[j].queued
	}
	return h[i].id < h[j].id
}
func (h breachHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push adds an episode; container/heap calls it.
func (h *breachHeap) Push(x any) { *h = append(*h, x.(*breach)) }

// Pop removes the last one; container/heap calls it.
func (h *breachHeap) Pop() any {
	old := *h
	b := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return b
}

// failure is a check that an event failed.
type failure struct {
	check              int
	about              string  // the credential or version
	observed, expected float64 // in the check's unit; 0 of one that counts
	since              schemas.Millis
}

// verify makes the checks. told is the time of the event, again that it came before.
//
// A registration says nothing of what happened before it was said: an earlier one, which
// nobody has any more, may have said something else. But whoever may date events back can't
// go back behind the end of an agent by more than an hour.
func (d *Detector) verify(a *agent, ev *schemas.Activity, told schemas.Millis, again bool) {
	at := told
	if a.tenant.clock-told > believed {
		at = a.tenant.clock
	}
	fails := func(f failure) { d.fail(a, ev, at, again, f) }
	r := a.registered
	switch {
	case r == nil:
		if d.registry.refused == 0 { // else it may be one for which there was no room
			fails(failure{check: checkUnregistered})
		}
	case at < r.Time:
		r = nil
	default:
		switch r.StatusAt(at) {
		case schemas.StatusDecommissioned:
			since := r.Time
			if r.Status != schemas.StatusDecommissioned {
				since = r.ValidUntil
			}
			fails(failure{check: checkDecommissioned, since: since})
			return
		case schemas.StatusSuspended:
			fails(failure{check: checkSuspended, since: r.Time})
			return
		}
		if r.Owner == "" {
			fails(failure{check: checkNoOwner})
		}
		if v := ev.AgentVersion; v != "" && r.Versions != nil && !slices.Contains(r.Versions, v) {
			fails(failure{check: checkVersion, about: v})
		}
	}
	var known schemas.Credential
	key := -1
	if id := ev.CredentialID; r != nil && id != "" {
		if key = r.credential(id); key >= 0 {
			known = r.Credentials[key]
		} else if r.Credentials != nil {
			fails(failure{check: checkUnknown, about: id})
		}
	}
	if ev.CredentialType == staticKey || known.Type == staticKey {
		fails(failure{check: checkStatic, about: ev.CredentialID})
	}
	if !ev.Succeeded() { // a credential that was refused did no harm
		return
	}
	expires := ev.CredentialExpires
	if known.Expires != 0 && (expires == 0 || known.Expires < expires) {
		expires = known.Expires
	}
	if expires != 0 && at-expires >= expiredBy {
		fails(failure{check: checkExpired, about: ev.CredentialID, observed: round4(float64(at-expires) / hourMillis), since: expires})
	}
	if key < 0 {
		return
	}
	if r.used[key] == 0 {
		d.cutting.changeRegistered(r)
		r.used[key] = max(at, 1)
	}
	if age := at - r.used[key]; known.MaxAgeDays > 0 && age >= schemas.Millis(known.MaxAgeDays)*dayMillis {
		fails(failure{checkOverdue, ev.CredentialID, round4(float64(age) / dayMillis), float64(known.MaxAgeDays), r.used[key]})
	}
}

const staticKey = "static_key"

// fail takes an event that failed a check.
func (d *Detector) fail(a *agent, ev *schemas.Activity, at schemas.Millis, again bool, f failure) {
	switch a.policy.identity.modes[f.check] {
	case IdentityOff:
		return
	case IdentityObserve:
		if !again {
			d.observed[f.check]++
		}
		return
	}
	b, reason := d.breachOf(a, offence{check: f.check}, ev, at)
	opened := reason == schemas.ReasonOpened
	if again && reason == "" {
		return // it was counted when it first came
	}
	b.count(ev, at)
	b.due = a.tenant.clock + max(a.policy.quiet, checks[f.check].quiet())
	if f.about != "" && addNotable(&b.values, baseline.Hash(5, f.about)) && !opened {
		reason = schemas.ReasonNewCredential
		if f.check == checkVersion {
			reason = schemas.ReasonNewVersion
		}
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
	al := d.accuse(b, a, ev, at, f)
	if b.worst = *al; opened {
		al.Status = schemas.StatusOpen
	}
	al.Episode.Reason = reason
	d.raise(&b.episode, al)
}

func (c *check) quiet() schemas.Millis {
	if c.standing {
		return standingQuiet
	}
	return 0
}

// breachOf returns the episode of a check that an agent fails, and a reason to tell of it:
// it is new, or the agent is new to it. An episode may be that of several agents.
func (d *Detector) breachOf(a *agent, o offence, ev *schemas.Activity, at schemas.Millis) (b *breach, reason string) {
	t := a.tenant
	if a.checked != nil {
		if b := breachIn(a.checked.breaches, o); b != nil {
			return b, ""
		}
	}
	crowd := breachIn(t.crowds, o)
	if crowd != nil && a.foldedInto(crowd) {
		return crowd, ""
	}
	if a.checked == nil {
		a.checked = &checked{}
	}
	if crowd == nil && t.breached[o] < checks[o.check].own {
		b = d.newBreach(t, a, o, ev, at)
		a.checked.breaches = append(a.checked.breaches, b)
		t.breached[o]++
		return b, schemas.ReasonOpened
	}
	reason = schemas.ReasonMoreAgents
	if crowd == nil {
		crowd = d.newBreach(t, nil, o, ev, at)
		t.crowds = append(t.crowds, crowd)
		reason = schemas.ReasonOpened
	}
	crowd.agents++
	a.checked.folds = slices.DeleteFunc(a.checked.folds, func(n uint64) bool {
		return !slices.ContainsFunc(t.crowds, func(b *breach) bool { return b.number == n })
	})
	a.checked.folds = append(a.checked.folds, crowd.number)
	return crowd, reason
}

func breachIn(list []*breach, o offence) *breach {
	for _, b := range list {
		if b.offence == o {
			return b
		}
	}
	return nil
}

func (a *agent) foldedInto(b *breach) bool {
	return a.checked != nil && slices.Contains(a.checked.folds, b.number)
}

// newBreach opens an episode: that of an agent, or without one that of a tenant.
func (d *Detector) newBreach(t *tenant, a *agent, o offence, ev *schemas.Activity, at schemas.Millis) *breach {
	b := &breach{offence: o, number: d.episodes, tenant: t, agent: a}
	id := ""
	if a != nil {
		id = a.id
	}
	kind, name := schemas.KindIdentity, checks[o.check].name
	if o.check == checkPolicy {
		kind, name = schemas.KindPolicy, o.rule
	}
	b.id = digest(kind, d.episodes, t.name, id, name, ev.EventID)
	b.first, b.last, b.totals.Since = at, at, at
	d.episodes++
	return b
}

// count takes an event into what the episode has come to.
func (b *breach) count(ev *schemas.Activity, at schemas.Millis) {
	b.first, b.last = min(b.first, at), max(b.last, at)
	b.crossings++
	b.proofs++
	b.totals.Events++
	b.totals.BytesSent = sum(b.totals.BytesSent, ev.BytesSent)
	b.totals.BytesReceived = sum(b.totals.BytesReceived, ev.BytesReceived)
	b.session, b.principal = text(ev.SessionID), text(ev.OnBehalfOf)
	b.meet(ev.SessionID)
	b.proveEvent(ev)
}

// accuse writes the alert of an event that failed a check; by is whose event it is.
func (d *Detector) accuse(b *breach, by *agent, ev *schemas.Activity, at schemas.Millis, f failure) *schemas.Alert {
	c, agent := &checks[b.check], by.described(by)
	tenantID, _ := by.names()
	if b.agent == nil {
		agent = schemas.AlertAgent{ID: crowdName, PeerGroup: by.group.name}
		if by.tenant.name == floodTenant {
			tenantID = allTenants
		}
	}
	score := identityScores[c.severity]
	b.score = score
	al := &schemas.Alert{
		Kind: schemas.KindIdentity, TenantID: text(tenantID), Agent: agent, SessionID: b.session, OnBehalfOf: b.principal,
		Status: schemas.StatusUpdate, Time: at, Severity: c.severity, Score: score, Confidence: 1, Title: c.title,
		Signals: []schemas.AlertSignal{{
			Name: c.name, Observed: f.observed, Expected: f.expected, High: f.expected, Unit: c.unit, WindowStart: b.totals.Since,
			Baseline: schemas.BaselineRegistration,
		}},
		Evidence:       schemas.Evidence{CompletedBy: completed(ev, at, resource(d.mainThing(ev)))},
		Counterfactual: c.silent,
		Detector:       d.info(),
	}
	if f.about != "" {
		al.Signals[0].FirstSeen = []string{short(f.about)}
	}
	b.observe(al)
	al.Summary = b.sentence(by, f) + ". " + c.next
	al.Tags = d.cfg.Tags.For(al.Signals, nil)
	al.Query = b.query(al)
	if d.cfg.Runbook != "" {
		al.Runbook = d.cfg.Runbook + c.name
	}
	return al
}

// observe says in an alert what the episode counts.
func (b *breach) observe(al *schemas.Alert) {
	s := &al.Signals[0]
	switch {
	case b.agent == nil:
		s.Observed, s.Unit = float64(b.agents), "agents"
	case s.Unit == unitCalls:
		s.Observed = float64(b.crossings)
	case len(b.values) > 0 && s.Observed == 0:
		s.Observed = float64(len(b.values))
	}
}

// sentence says what an agent did, for somebody who is tired.
func (b *breach) sentence(by *agent, f failure) string {
	var s strings.Builder
	_, id := by.names()
	s.WriteString("Agent " + signal.Quote(text(id)) + " ")
	if b.agent == nil {
		s.WriteString("and " + signal.Plural(float64(int(b.agents)+by.tenant.breached[b.offence]-1), "other one", "other ones") + " before it fail the same check: it ")
	}
	s.WriteString(f.says(by.registered))
	if r := by.registered; r != nil && r.Owner != "" {
		s.WriteString(" (owner " + signal.Quote(short(r.Owner)) + ")")
	}
	s.WriteString(": " + signal.Plural(float64(b.crossings), "call", "calls") + " since " + minuteOf(b.totals.Since))
	if tools := b.evidence.Tools; len(tools) > 0 {
		s.WriteString(", first " + signal.Quote(tools[0]))
	}
	return s.String()
}

// says is what a failure is, said of the agent.
func (f *failure) says(r *registered) string {
	about := signal.Quote(short(f.about))
	switch f.check {
	case checkDecommissioned:
		if r.Status != schemas.StatusDecommissioned {
			return "acts although its registration ended on " + dayOf(f.since)
		}
		return "acts although it was decommissioned on " + dayOf(f.since)
	case checkSuspended:
		return "acts although it was suspended on " + dayOf(f.since)
	case checkNoOwner:
		return "acts, and its registration names no owner"
	case checkVersion:
		return "runs version " + about + ", which its registration does not allow"
	case checkUnknown:
		if len(r.Credentials) == 0 {
			return "uses credential " + about + ", and is registered with none"
		}
		return "uses credential " + about + ", which is not " + ofThose(len(r.Credentials))
	case checkStatic:
		return "uses " + withName("static key", about) + ", where credentials have to be short-lived"
	case checkExpired:
		return "used " + withName("credential", about) + " " + signal.Plural(f.observed, "hour", "hours") + " after it had expired on " + dayOf(f.since)
	case checkOverdue:
		return "uses credential " + about + " since " + dayOf(f.since) + ", for " + signal.Plural(f.observed, "day", "days") + " of at most " + signal.Count(f.expected)
	}
	return "acts, and nobody has registered it"
}

func ofThose(n int) string {
	if n == 1 {
		return "the one that it is registered with"
	}
	return "one of the " + signal.Count(float64(n)) + " that it is registered with"
}

// withName is a thing by its name, where it has one.
func withName(what, name string) string {
	if name == "" {
		return "a " + what
	}
	return what + " " + name
}

func dayOf(t schemas.Millis) string    { return t.Time().Format("2006-01-02") }
func minuteOf(t schemas.Millis) string { return t.Time().Format("2006-01-02 15:04 UTC") }

// query finds the events that prove an episode.
func (b *breach) query(al *schemas.Alert) string {
	q := schemas.EvidenceQuery{TenantID: al.TenantID, AgentID: al.Agent.ID, From: b.first, To: b.last}
	if b.agent == nil {
		if q.AgentID = ""; b.tenant.name == floodTenant {
			q.TenantID = ""
		}
	}
	if b.agent == nil || !checks[b.check].every {
		q.EventIDs = b.evidence.EventIDs
	}
	return q.SQL()
}

// closeBreaches ends the episodes of checks whose quiet time the tenant's clock has passed.
func (d *Detector) closeBreaches(t *tenant) {
	for len(t.breaches) > 0 && t.breaches[0].queued <= t.clock {
		b := t.breaches[0]
		if b.agent != nil {
			d.cutting.change(b.agent)
		}
		if b.due > t.clock {
			b.queued = b.due // it failed again since it was queued
			heap.Fix(&t.breaches, 0)
			continue
		}
		d.endBreach(b, b.due)
	}
}

// endBreach raises the closing alert of an episode.
func (d *Detector) endBreach(b *breach, at schemas.Millis) {
	t := b.tenant
	al := b.worst
	al.Status, al.Episode.Reason = schemas.StatusClose, schemas.ReasonEnded
	al.Time, al.SessionID, al.OnBehalfOf = at, b.session, b.principal
	if al.Signals = slices.Clone(al.Signals); len(al.Signals) > 0 {
		b.observe(&al)
	}
	by := ""
	if b.agents > 0 {
		by = " by " + signal.Plural(float64(b.agents), "agent", "agents")
	}
	al.Summary = "Ended after a quiet time: " + signal.Plural(float64(b.crossings), "call", "calls") + by + " from " + b.first.String() + " to " + b.last.String() + ". " + al.Summary
	al.Query = b.query(&al)
	d.raise(&b.episode, &al)
	if i := slices.Index(t.breaches, b); i >= 0 {
		heap.Remove(&t.breaches, i)
	}
	same := func(o *breach) bool { return o == b }
	if b.agent == nil {
		t.crowds = slices.DeleteFunc(t.crowds, same)
		return
	}
	b.agent.checked.breaches = slices.DeleteFunc(b.agent.checked.breaches, same)
	if t.breached[b.offence]--; t.breached[b.offence] == 0 {
		delete(t.breached, b.offence)
	}
}

// setBreachesBack sets the times of a tenant's episodes back that are ahead of now.
func (d *Detector) setBreachesBack(t *tenant, now schemas.Millis) {
	for _, b := range t.breaches {
		due := now + max(schemas.Millis(d.policies.base.quiet.Milliseconds()), checks[b.check].quiet())
		b.due, b.queued = min(b.due, due), min(b.queued, due)
		b.first, b.last = min(b.first, now), min(b.last, now)
	}
	heap.Init(&t.breaches)
}

// codeBreaches codes open episodes of checks.
func codeBreaches(c *wire.Coder, name string, list *[]*breach) {
	wire.List(c, name, list, mostBreaches, 16, func(b **breach, c *wire.Coder) {
		if c.Reading() {
			*b = &breach{}
		}
		(*b).code(c)
	})
}

func (b *breach) code(c *wire.Coder) {
	name := checks[b.check].name
	if b.check == checkPolicy {
		name = schemas.SignalPolicy + b.rule
	}
	c.String("check", &name, maxString)
	if rule, ok := strings.CutPrefix(name, schemas.SignalPolicy); c.Reading() && ok {
		b.offence = offence{checkPolicy, rule}
	} else if c.Reading() {
		if b.check = checkNamed(name); b.check < 0 {
			b.check = 0
			c.Fail("an episode of the check %.40q, which there is not", name)
		}
	}
	c.U64("number", &b.number)
	c.U32("agents", &b.agents)
	codeHashes(c, "values", &b.values)
	b.episode.code(c)
}

// codeChecked codes what checks know of an agent.
func (a *agent) codeChecked(c *wire.Coder) {
	if c.Version < 4 {
		return
	}
	var k checked
	if a.checked != nil {
		k = *a.checked
	}
	c.In("checked")
	codeBreaches(c, "breaches", &k.breaches)
	wire.List(c, "folds", &k.folds, mostBreaches, 1, func(n *uint64, c *wire.Coder) { c.U64("", n) })
	c.Out()
	if c.Reading() && len(k.breaches)+len(k.folds) > 0 {
		a.checked = &k
	}
}
