// Package detector scores what agents do against what they normally do.
//
// It is pure: no I/O, no clock, no goroutines, and no randomness but the seed of its
// index, on which no result depends. Invariants:
//
//  1. The same events and ticks in the same order give the same verdicts, alerts and windows,
//     byte for byte. No output depends on the order of a Go map.
//  2. Time is the time of events and ticks, no later than their arrival. Who says what the
//     clock is, and for whom, stands in clock.go: no agent and no tenant closes the
//     windows of others. An event before a closed window opens it no more; it counts
//     in the hour in which it arrives.
//  3. An event is scored against what was known before it, then learnt.
//  4. Nothing of an event is kept by reference, and nothing grows without a bound.
//  5. Tenants share nothing: neither peers, nor calibration, nor eviction, nor clocks.
//  6. A cut and RestoreCuts are invisible: a restored detector goes on exactly as
//     the one that was cut.
//
// A window is a UTC hour of one agent. It opens with the first event in it and
// closes when the tenant's clock is grace beyond its end, or the agent itself is in a
// later hour. Hours without events are observations of nothing; they are taken
// when the agent is next seen and emit no window.
//
// The package imports the standard library, gonum, schemas and its own parts:
// baseline (what is remembered), signal (what is scored), score (how rare that is).
package detector

import (
	"container/heap"
	"errors"
	"fmt"
	"strings"

	"github.com/plumbline-sec/plumbline/detector/baseline"
	"github.com/plumbline-sec/plumbline/detector/score"
	"github.com/plumbline-sec/plumbline/detector/signal"
	"github.com/plumbline-sec/plumbline/schemas"
)

// Sink takes what the detector says beside the verdict of an event. What it is
// handed is the callee's to keep.
type Sink interface {
	Alert(*schemas.Alert)
	Window(*schemas.Window)
}

// Verdict is what the detector thinks of one event.
type Verdict struct {
	// Surprise is -log10 of the calibrated number of exceedances expected per
	// agent-day. Unbounded.
	Surprise float64
	// Score is 0-100; 50 is the budget's threshold.
	Score float64
	// Signals contributed, strongest first. Valid until the next Process.
	Signals []schemas.AlertSignal
	// Duplicate: the same event came before; it was scored for what it touches and
	// moves, and not counted again.
	Duplicate bool
	// Late: the event's hour was over. Where the agent's own windows are past it, it was
	// counted in the hour in which it arrived.
	Late bool
	// Clamped: its time was later than its arrival, and is taken for that.
	Clamped bool
}

// Detector holds the baselines of all agents of one partition.
//
// It is not safe for concurrent use: one goroutine owns it.
type Detector struct {
	cfg  Config
	sink Sink

	signals []signal.Signal
	infos   []signal.Info
	names   []string
	drift   int // the number of that signal
	silence int // likewise
	origins int // of the first of the two that look at origins
	metrics []metricField

	policies policies
	decider  Decider // nil: nobody decides

	watermark  schemas.Millis // the highest of all tenants
	arrival    schemas.Millis // of the events at hand; 0: not known
	tenants    []*tenant
	sweep      int             // the tenant that was settled beside the last event's
	uses       uint64          // of tenants, counted: orders them
	tenantsIn  [2]list[tenant] // the young and the established, the longest unused first
	bySize     tenantHeap
	groups     int                // of all tenants
	floods     int                // the number of that signal
	byName     map[string]*tenant // never walked
	agents     int
	index      index
	registry   registry
	ahead      ahead
	touches    uint64 // windows opened; orders agents by activity
	episodes   uint64 // episodes opened: their counter
	silenceSeq uint64 // agents that fell silent or were looked at: their order
	room       baseline.Room

	evicted, late, duplicates uint64
	clamped, healed           uint64 // since New
	observed                  [checkCount]uint64
	observedDenials           uint64

	cutting cutting

	// Scratch of the event at hand.
	ctx      signal.Context
	items    []baseline.Item
	newItems []signal.NewItem
	weights  []float64 // of the items (weighItems)
	addedTo  *episode  // in whose totals the event counts
	repeats  bool      // it came before
	moved    bool      // the event makes another place the one to which the most went
	ranked   []rankedSignal
	out      []schemas.AlertSignal
	values   []signal.MetricValue
	last     *tenant
	// Likewise of what policies say of it (violation.go).
	decisions []schemas.PolicyDecision
	broken    []string
	order     []int // of the signals in the records that were restored
	places    []int // of its metrics

	// How the score of the event at hand came about (ladder.go).
	fused   fusedRung
	grounds grounds // of the severity of a crossing
	ladder  *Ladder // what is told; nil: nobody asks
}

// New returns a detector without history.
func New(cfg Config, sink Sink) (*Detector, error) {
	if sink == nil {
		return nil, errors.New("new detector: no sink")
	}
	if !(cfg.AlertsPerAgentDay > 0 && cfg.AlertsPerAgentDay <= 100) {
		return nil, fmt.Errorf("new detector: %v alerts per agent-day is no budget: write a number above 0", cfg.AlertsPerAgentDay)
	}
	if cfg.QuietTime <= 0 || cfg.MaxAgents <= 0 || cfg.MaxTenants <= 0 {
		return nil, fmt.Errorf("new detector: quiet time %v, max agents %d and max tenants %d must be above 0", cfg.QuietTime, cfg.MaxAgents, cfg.MaxTenants)
	}
	d := &Detector{
		cfg: cfg, sink: sink, index: newIndex(), room: baseline.Room{Limit: recognised},
		signals: signal.All(), byName: make(map[string]*tenant),
	}
	if err := d.addMetrics(cfg.Metrics); err != nil {
		return nil, err
	}
	d.drift, d.silence, d.floods = -1, -1, -1
	for i, s := range d.signals {
		info := s.Info()
		d.infos = append(d.infos, info)
		d.names = append(d.names, info.Name)
		switch info.Name {
		case schemas.SignalDrift:
			d.drift = i
		case schemas.SignalSilence:
			d.silence = i
		case schemas.SignalNameFlood:
			d.floods = i
		case schemas.SignalForeignAddress:
			d.origins = i
		}
	}
	var err error
	if d.policies, err = newPolicies(&cfg); err != nil {
		return nil, err
	}
	if cfg.NewDecider != nil {
		d.decider = cfg.NewDecider()
	} else if len(cfg.Policies) > 0 {
		return nil, errors.New("new detector: policies, and nobody to decide by them")
	}
	return d, d.checkPolicies()
}

// info says in an alert what raised it.
func (d *Detector) info() schemas.DetectorInfo {
	out := schemas.DetectorInfo{Version: d.cfg.Version, ConfigHash: d.cfg.Hash}
	if len(d.cfg.Policies) > 0 {
		out.PolicyHash = d.decider.Hash()
	}
	return out
}

// Process scores one event, then learns from it. It keeps nothing of ev. A registration is
// no event: it says who an agent is.
func (d *Detector) Process(ev *schemas.Activity) Verdict {
	if ev.Registration != nil {
		d.register(ev.Registration)
		return Verdict{Surprise: score.Floor}
	}
	at := d.time(ev)
	clamped := at < ev.Time
	t := d.tenant(ev.TenantID)
	d.advance(t, at)
	a := d.agent(t, ev, at)
	d.cutting.change(a)
	t.advance(a.group)
	verify := a.registered != nil || a.policy.identity.all || ev.CredentialExpires != 0
	risk := ""
	if d.decider != nil {
		risk = a.risk() // as it was before the event
	}
	sighting := baseline.SeenNew
	if ev.EventID != "" {
		sighting = a.seen.See(baseline.Hash(1, ev.EventID), contentOf(ev), &d.room)
	}
	if sighting == baseline.SeenRepeated || sighting == baseline.SeenAgain {
		v := d.repeated(a, ev, at, sighting == baseline.SeenAgain)
		v.Clamped = clamped
		if verify {
			d.verify(a, ev, at, true)
		}
		return v
	}
	a.identify(ev)
	late := t.hourClosed(int64(at) / hourMillis)
	if late {
		d.late++
	}
	told := at
	at, behind := d.enter(a, ev, at)
	a.profile.Novelty.Promote(int64(at))
	d.gather(a, ev, at, behind, sighting == baseline.SeenReused)
	v := d.judge(a, ev, at, false)
	v.Late, v.Clamped = late, clamped
	if d.ladder != nil {
		d.climb(a, ev, at, &v)
	}
	d.learn(a, ev, at)
	if verify {
		d.verify(a, ev, told, false)
	}
	if d.decider != nil && ev.Outcome != schemas.OutcomeDenied { // what its target denied did no harm
		d.enforce(a, ev, told, risk)
	}
	return v
}

// repeated judges an event that came before by what it touches and moves itself. One that
// comes again and again is not counted either, but for being irregular.
func (d *Detector) repeated(a *agent, ev *schemas.Activity, at schemas.Millis, again bool) Verdict {
	d.duplicates++
	d.gatherRepeated(a, ev, at)
	if again && a.win.Open {
		a.win.Malformed++
		d.ctx.Win, d.ctx.Irregular = &a.win, true
	}
	v := d.judge(a, ev, at, true)
	v.Duplicate = true
	if d.ladder != nil {
		d.climb(a, ev, at, &v)
	}
	return v
}

// contentOf is a hash of what an event says was done. That includes neither when it
// was recorded nor its time: a source that names none gives a record that it repeats
// another one.
func contentOf(ev *schemas.Activity) uint64 {
	h := baseline.Hash(3, ev.Tool)
	for i, s := range [...]string{ev.SessionID, ev.TargetAgentID, ev.OnBehalfOf, ev.Model, ev.CredentialID, ev.SourceIP} {
		if s != "" {
			h = baseline.Hash(h+uint64(i), s)
		}
	}
	for _, s := range [...]string{ev.Access, ev.Outcome} { // of a few words that begin differently
		if h = baseline.Mix(h*31 + uint64(len(s))); s != "" {
			h += uint64(s[0])
		}
	}
	for _, r := range ev.Resources {
		h = baseline.Hash(h, r)
	}
	for _, n := range [...]uint64{uint64(len(ev.Resources)), ev.BytesSent, ev.BytesReceived, ev.TokensIn, ev.TokensOut, ev.DurationMS} {
		h = baseline.Mix(h*31 + n)
	}
	for i := range ev.Attributes {
		h = baseline.Hash(baseline.Hash(h, ev.Attributes[i].Key), ev.Attributes[i].Value)
	}
	return h
}

// recognised is what all agents of a partition together may hold to recognise repeated
// events, bytes, beyond the first 64 events of each: a quarter of a million events more, whichever
// agents need them.
const recognised = 2 << 20

// tenant returns the tenant of that name, a new one where it was not known.
func (d *Detector) tenant(name string) *tenant {
	t := d.last
	if t == nil || t.name != name {
		var ok bool
		if t, ok = d.byName[name]; !ok {
			if !d.makeRoom() {
				return d.shared()
			}
			t = d.addTenant(strings.Clone(name))
		}
		d.last = t
	}
	d.use(t)
	return t
}

// agent returns the event's agent, a new one where it was not known.
func (d *Detector) agent(t *tenant, ev *schemas.Activity, at schemas.Millis) *agent {
	id := ev.AgentID
	if t.name == floodTenant {
		id = sharedID(ev.TenantID, ev.AgentID)
	}
	if a := d.index.find(t, id); a != nil {
		return a
	}
	for d.agents >= d.cfg.MaxAgents && d.evict() {
	}
	// Nobody has a history from before there was anything: who says so begins now.
	if t.clock-at > oldest {
		at = t.clock
	}
	if t.name == floodTenant {
		d.flood(d.swarm(t, schemas.DefaultPeerGroup), "tenants", t.clock)
		return d.newAgent(t, id, schemas.DefaultPeerGroup, at)
	}
	return d.newAgent(t, strings.Clone(id), ev.PeerGroup, at)
}

func (d *Detector) add(a *agent) {
	d.index.add(a)
	push(a.listOf(), a)
	d.agents++
	d.cutting.add(a)
	heap.Fix(&d.bySize, a.tenant.heapAt)
}

// evict forgets one agent: of the tenant that holds the most, the newcomer that
// has been silent for the longest, and an established agent only where there is
// no newcomer. A tenant that holds no more than its equal share never loses an
// agent to another. Agents with an open episode are passed over where they can be.
// false: there is nobody to forget.
func (d *Detector) evict() bool {
	t := d.bySize[0]
	var victim *agent
	look := 32
	for _, l := range [...]*list[agent]{&t.newcomers, &t.established} {
		for a := l.first; a != nil && look > 0 && (victim == nil || victim.toldOf()); a = a.next {
			if look--; a != t.swarm && (victim == nil || !a.toldOf()) {
				victim = a
			}
		}
		if victim != nil {
			break
		}
	}
	if victim == nil {
		return false
	}
	d.flood(d.swarm(t, victim.group.name), "agents", t.clock)
	d.forget(victim)
	return true
}

// forget takes an agent out.
func (d *Detector) forget(victim *agent) {
	d.cutting.change(victim)
	if victim.win.Open {
		d.closeWindow(victim)
	}
	if victim.episode != nil {
		d.endEpisode(victim, victim.tenant.clock)
	}
	if victim.checked != nil {
		for len(victim.checked.breaches) > 0 {
			d.endBreach(victim.checked.breaches[0], victim.tenant.clock)
		}
	}
	victim.endSilence()
	victim.seen.Release(&d.room)
	d.cutting.remove(victim)
	d.detach(victim)
	unlink(victim)
	victim.stopVouching()
	d.leaveGroup(victim)
	d.index.remove(victim)
	t := victim.tenant
	if victim == t.swarm {
		t.swarm = nil
	}
	victim.tenant = nil // what still queues for it finds it gone
	d.agents--
	d.evicted++
	heap.Fix(&d.bySize, t.heapAt)
}

// Stats are the numbers that a service exports as metrics.
type Stats struct {
	Agents       int
	StateBytes   int64 // estimate, everything included
	Watermark    schemas.Millis
	OpenEpisodes int
	Evicted      uint64 // agents, since New
	Tenants      int
	Late         uint64 // events, since New
	Duplicates   uint64 // events, since New
	Clamped      uint64 // events whose time was later than their arrival, since New
	Healed       uint64 // how often the clock was set back, since New

	Registrations         int
	RegistrationsRefused  uint64 // for which there was no room
	RegistrationsOutdated uint64 // older than what was known, since New
	// PolicyObserved counts events that only observing policies would have denied, since New.
	PolicyObserved uint64
	// Observed counts events that failed an identity check which is only observed, in the
	// order of IdentityChecks, since New.
	Observed [checkCount]uint64
}

// agentBytes is about what one agent takes: the value, its strings, its place in
// the index and the queue, and what its sets and its trail hold on average.
const agentBytes = 3400

// Stats returns the detector's numbers.
func (d *Detector) Stats() Stats {
	s := Stats{
		Agents: d.agents, Tenants: len(d.tenants), Watermark: d.watermark,
		Evicted: d.evicted, Late: d.late, Duplicates: d.duplicates, Clamped: d.clamped, Healed: d.healed,
	}
	s.StateBytes = int64(d.agents)*agentBytes + d.room.Used + d.registry.bytes + int64(len(d.registry.by))*registeredBytes
	s.Registrations, s.RegistrationsRefused, s.RegistrationsOutdated = len(d.registry.by), d.registry.refused, d.registry.outdated
	s.Observed, s.PolicyObserved = d.observed, d.observedDenials
	for _, t := range d.tenants {
		s.OpenEpisodes += len(t.open) + len(t.breaches)
		for _, g := range t.groups {
			s.StateBytes += int64(g.peers.Bytes()) + groupBytes
		}
	}
	return s
}

// registeredBytes is what a registration takes beside its texts.
const registeredBytes = 600

// groupBytes is the calibration and the pauses of one group.
const groupBytes = 18*512 + 8*weekHours
