package backtest

import (
	"cmp"
	"hash/maphash"
	"maps"
	"slices"
	"time"

	"github.com/plumbline-sec/plumbline/schemas"
)

// Tuning says where the alerts of the first side come from, and what would come of fewer.
type Tuning struct {
	Events      int64   `json:"events"`
	From        string  `json:"from"`
	To          string  `json:"to"`
	CountedFrom string  `json:"counted_from"`
	WarmupDays  int     `json:"warmup_days"`
	AgentDays   int     `json:"agent_days"`
	Incidents   int     `json:"incidents"` // of the days that are counted
	Present     Point   `json:"present"`
	Curve       []Point `json:"curve"` // by budget, the present one among them
	Agents      []Noisy `json:"agents"`
	Signals     []Noisy `json:"signals"`
	// Overrides are estimates of the first side's own alerts: those that would not have been
	// raised. The calibration of what is left changes with them, which a backtest shows.
	Overrides   []Override `json:"overrides"`
	Interrupted bool       `json:"interrupted,omitempty"`
}

// Point is what a budget gives.
type Point struct {
	Totals
	Incidents int `json:"incidents"` // that were told of; 0 also where none were named
}

// Noisy is how many episodes an agent had, or a signal led.
type Noisy struct {
	Tenant    string  `json:"tenant_id,omitempty"`
	Name      string  `json:"name"`
	PeerGroup string  `json:"peer_group,omitempty"`
	Alerts    int     `json:"alerts"`
	Share     float64 `json:"share"`
	AgentDays int     `json:"agent_days"`
}

// Override is an entry of detector.overrides, or a signal that is off for all.
type Override struct {
	Tenant    string `json:"tenant_id,omitempty"`
	PeerGroup string `json:"peer_group,omitempty"`
	Agent     string `json:"agent_id,omitempty"`
	// Signal is off, or else Budget is the agent's.
	Signal string  `json:"signal,omitempty"`
	Budget float64 `json:"alerts_per_agent_day,omitempty"`

	Saved     int        `json:"saved"`  // episodes
	Severe    int        `json:"severe"` // high and critical ones among them
	Incidents []Incident `json:"incidents_lost"`
	YAML      string     `json:"yaml"`
}

const (
	mostOverrides   = 20
	judgedOverrides = 200 // those that save the most
	leastSaved      = 2   // episodes that are worth an override
)

// Tune compares the first side with the others, which differ from it in their budget.
func (r *Run) Tune(sides []Side, warmup time.Duration, incidents []Incident) *Tuning {
	s := r.span(warmup)
	out := &Tuning{
		Events: r.events, From: dayName(s.first), To: dayName(s.last), CountedFrom: dayName(s.counted),
		WarmupDays: int(s.counted - s.first), AgentDays: r.agentDays(s),
	}
	incidents = slices.DeleteFunc(slices.Clone(incidents), func(i Incident) bool { return !s.counts(i.To) || int64(i.From)/dayMillis > s.last })
	out.Incidents = len(incidents)
	for i := range sides {
		episodes := r.counted(i, s)
		p := Point{Totals: totals(&sides[i], episodes, out.AgentDays), Incidents: len(told(incidents, episodes))}
		if i == 0 {
			out.Present = p
		}
		out.Curve = append(out.Curve, p)
	}
	slices.SortFunc(out.Curve, func(a, b Point) int { return cmp.Compare(a.Budget, b.Budget) })
	t := tuner{all: r.counted(0, s), told: told(incidents, r.counted(0, s)), agents: make(map[Noisy]*Noisy), signals: make(map[Noisy]*Noisy), saved: make(map[overrideKey][]*Episode)}
	for _, e := range t.all {
		t.add(e)
	}
	out.Signals = t.noisiest(t.signals, func(Noisy) int { return out.AgentDays })
	out.Agents = t.noisiest(t.agents, func(n Noisy) int { return r.daysOf(n.Tenant, n.Name, s) })
	if i := lower(sides); i > 0 {
		t.cheaper(out.Agents, sides[i].Detector.AlertsPerAgentDay, r.counted(i, s))
	}
	out.Overrides = t.overrides()
	return out
}

// lower is the side with the highest budget under the first one's, 0 where there is none.
func lower(sides []Side) int {
	best := 0
	for i := range sides {
		b := sides[i].Detector.AlertsPerAgentDay
		if b < sides[0].Detector.AlertsPerAgentDay && (best == 0 || b > sides[best].Detector.AlertsPerAgentDay) {
			best = i
		}
	}
	return best
}

// told returns the incidents that some of the episodes tell of.
func told(incidents []Incident, episodes []*Episode) []Incident {
	in := alerted(episodes)
	return slices.DeleteFunc(slices.Clone(incidents), func(i Incident) bool { return !in(i) })
}

// daysOf counts the days of an agent.
func (r *Run) daysOf(tenant, agent string, s span) int {
	n := 0
	if a := r.agents[maphash.Bytes(r.seed, schemas.AppendKey(nil, tenant, agent))]; a != nil {
		for _, day := range a.days {
			if day >= s.counted && day <= s.last {
				n++
			}
		}
	}
	return n
}

// tuner collects what the episodes of a side have in common.
type tuner struct {
	all     []*Episode
	told    []Incident
	agents  map[Noisy]*Noisy
	signals map[Noisy]*Noisy
	saved   map[overrideKey][]*Episode
}

func (t *tuner) add(e *Episode) {
	count := func(in map[Noisy]*Noisy, key Noisy) {
		if in[key] == nil {
			in[key] = &key
		}
		in[key].Alerts++
	}
	count(t.agents, Noisy{Tenant: e.Tenant, Name: e.Agent, PeerGroup: e.PeerGroup})
	count(t.signals, Noisy{Name: e.Signal()})
	if len(e.Signals) != 1 {
		return // another signal stood out too
	}
	signal := e.Signals[0]
	for _, key := range []overrideKey{
		{tenant: e.Tenant, agent: e.Agent, signal: signal},
		{tenant: e.Tenant, group: e.PeerGroup, signal: signal},
		{signal: signal},
	} {
		t.saved[key] = append(t.saved[key], e)
	}
}

// overrideKey is what an override says.
type overrideKey struct {
	tenant, group, agent, signal string
	budget                       float64
}

func (k overrideKey) compare(o overrideKey) int {
	return cmp.Or(cmp.Compare(k.tenant, o.tenant), cmp.Compare(k.group, o.group), cmp.Compare(k.agent, o.agent), cmp.Compare(k.signal, o.signal), cmp.Compare(k.budget, o.budget))
}

func (t *tuner) noisiest(in map[Noisy]*Noisy, days func(Noisy) int) []Noisy {
	all := slices.SortedFunc(maps.Values(in), func(a, b *Noisy) int {
		return cmp.Or(b.Alerts-a.Alerts, cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Name, b.Name))
	})
	out := make([]Noisy, 0, MostAgents)
	for _, n := range all[:min(len(all), MostAgents)] {
		n.Share, n.AgentDays = float64(n.Alerts)/float64(len(t.all)), days(*n)
		out = append(out, *n)
	}
	return out
}

// cheaper adds overrides of a smaller budget for the noisiest agents, whose episodes with it
// the pass has.
func (t *tuner) cheaper(agents []Noisy, budget float64, with []*Episode) {
	in := overlapping(with, 0)
	for _, n := range agents {
		key := overrideKey{tenant: n.Tenant, agent: n.Name, budget: budget}
		for _, e := range t.all {
			if e.Tenant == n.Tenant && e.Agent == n.Name && !in(e) {
				t.saved[key] = append(t.saved[key], e)
			}
		}
	}
}

// overrides are those that save the most, and first those that cost nothing.
func (t *tuner) overrides() []Override {
	keys := slices.SortedFunc(maps.Keys(t.saved), func(a, b overrideKey) int {
		return cmp.Or(len(t.saved[b])-len(t.saved[a]), a.compare(b))
	})
	out := []Override{}
	for _, key := range keys[:min(len(keys), judgedOverrides)] {
		saved := t.saved[key]
		if len(saved) < leastSaved {
			break
		}
		o := Override{Tenant: key.tenant, PeerGroup: key.group, Agent: key.agent, Signal: key.signal, Budget: key.budget, Saved: len(saved)}
		for _, e := range saved {
			if schemas.Risk(e.Severity) >= schemas.Risk(schemas.SeverityHigh) {
				o.Severe++
			}
		}
		gone := make(map[*Episode]bool, len(saved))
		for _, e := range saved {
			gone[e] = true
		}
		left := told(t.told, slices.DeleteFunc(slices.Clone(t.all), func(e *Episode) bool { return gone[e] }))
		o.Incidents = slices.DeleteFunc(slices.Clone(t.told), func(i Incident) bool { return slices.Contains(left, i) })
		out = append(out, o)
	}
	slices.SortFunc(out, func(a, b Override) int {
		return cmp.Or(
			cmp.Compare(len(a.Incidents), len(b.Incidents)), cmp.Compare(a.Severe, b.Severe), b.Saved-a.Saved,
			overrideKey{a.Tenant, a.PeerGroup, a.Agent, a.Signal, a.Budget}.compare(overrideKey{b.Tenant, b.PeerGroup, b.Agent, b.Signal, b.Budget}),
		)
	})
	return out[:min(len(out), mostOverrides)]
}
