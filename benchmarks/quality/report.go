package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/plumbline-sec/plumbline/internal/simulator"
	"github.com/plumbline-sec/plumbline/schemas"
)

// settled is when the promise about the budget begins to hold.
const settled = 14

// share is a number of alerts and the agent-days in which they came.
type share struct {
	Alerts    int `json:"alerts"`
	AgentDays int `json:"agent_days"`
}

func (s share) ratio(budget float64) float64 {
	if s.AgentDays == 0 {
		return 0
	}
	return float64(s.Alerts) / float64(s.AgentDays) / budget
}

// budgetUse says how the alert budget was used, on agents that are not attacked.
type budgetUse struct {
	All     share `json:"all"`
	Early   share `json:"first_14_days"`
	Settled share `json:"after_day_14"`
	// After day 14.
	Archetypes map[string]share `json:"archetypes_after_day_14"`
	Signals    map[string]int   `json:"strongest_signals"`
}

func newBudgetUse() budgetUse {
	return budgetUse{Archetypes: map[string]share{}, Signals: map[string]int{}}
}

func (s share) plus(o share) share { return share{s.Alerts + o.Alerts, s.AgentDays + o.AgentDays} }

func (b *budgetUse) add(o budgetUse) {
	b.All, b.Early, b.Settled = b.All.plus(o.All), b.Early.plus(o.Early), b.Settled.plus(o.Settled)
	for k, s := range o.Archetypes {
		b.Archetypes[k] = b.Archetypes[k].plus(s)
	}
	for k, n := range o.Signals {
		b.Signals[k] += n
	}
}

// tally says how attacks of one kind fared.
type tally struct {
	Attacks int `json:"attacks"`
	Found   int `json:"found"`
	// Luck counts those of Found that the honest run alerts on too.
	Luck    int            `json:"found_by_luck"`
	Events  []float64      `json:"attack_events_to_alert"`
	Hours   []float64      `json:"hours_to_alert"`
	Signals map[string]int `json:"strongest_signals"`
}

func (t *tally) plus(o *tally) *tally {
	if t == nil {
		t = &tally{Signals: map[string]int{}}
	}
	t.Attacks += o.Attacks
	t.Found += o.Found
	t.Luck += o.Luck
	t.Events = append(t.Events, o.Events...)
	t.Hours = append(t.Hours, o.Hours...)
	for k, n := range o.Signals {
		t.Signals[k] += n
	}
	return t
}

// report is one seed, or the sum of several.
type report struct {
	Name    string          `json:"name"`
	Tails   simulator.Tails `json:"tails"`
	Budget  float64         `json:"alerts_per_agent_day"`
	Events  uint64          `json:"events"`
	Seconds float64         `json:"detector_seconds"`
	// What the detector says of itself.
	StatedBytesPerAgent float64 `json:"stated_bytes_per_agent"`

	outcome            // Plumbline's
	Attacked budgetUse `json:"honest_agents_among_attacked"`
	// Changes counts honest alerts within two days of a legitimate change: a new
	// tool for the group, an agent that joined.
	Changes        int         `json:"honest_alerts_near_changes"`
	SettledChanges int         `json:"honest_alerts_near_changes_after_day_14"`
	Severity       severityUse `json:"severity"`

	EWMA   outcome `json:"poisson_ewma"`
	ZScore outcome `json:"z_score"`
}

// outcome is how one detector fared.
type outcome struct {
	Honest  budgetUse `json:"honest"`
	Attacks tallies   `json:"attacks"`
}

// outcomes are Plumbline's and those of what it is compared with.
func (r *report) outcomes() []*outcome { return []*outcome{&r.outcome, &r.EWMA, &r.ZScore} }

// tallies are those of the kinds that there were.
type tallies map[simulator.Kind]*tally

func (t tallies) add(o tallies) {
	for kind, x := range o {
		t[kind] = t[kind].plus(x)
	}
}

func (t tallies) total() (all tally) {
	for _, x := range t {
		all.Attacks += x.Attacks
		all.Found += x.Found
		all.Luck += x.Luck
	}
	return all
}

// share is the part of the attacks that was found, with its interval.
func (t tally) share() string { return wilson(t.Found, t.Attacks) }

// after is how long an alert may come after the last event of an attack: the
// turn of the hour closes its window.
const after = hour

// rates counts the alerts that opened on agents without a label.
func rates(p *played, found alarms, labels []simulator.Label) budgetUse {
	b := newBudgetUse()
	attacked := map[who]bool{}
	for _, l := range labels {
		attacked[who{l.TenantID, l.AgentID}] = true
	}
	for id, a := range p.agents {
		if attacked[id] {
			continue
		}
		kind := b.Archetypes[a.Archetype.String()]
		count := func(d schemas.Millis, n share) {
			b.All = b.All.plus(n)
			if d < settled {
				b.Early = b.Early.plus(n)
				return
			}
			b.Settled, kind = b.Settled.plus(n), kind.plus(n)
		}
		for _, d := range p.agentDays[id] {
			count(d, share{AgentDays: 1})
		}
		for _, x := range found[id] {
			if x.open {
				count((x.at-p.from)/day, share{Alerts: 1})
				b.Signals[x.signal]++
			}
		}
		b.Archetypes[a.Archetype.String()] = kind
	}
	return b
}

// nearChanges counts alerts within two days of a change to the agent's group or
// of the agent's arrival.
func nearChanges(p *played) (all, late int) {
	for id, list := range p.detector {
		for _, x := range list {
			near := func(c simulator.Change) bool {
				if c.What == "upgrade" {
					return false // nothing but the version changes
				}
				hits := c.AgentID == id.agent || c.AgentID == "" && c.PeerGroup == p.agents[id].PeerGroup
				return c.TenantID == id.tenant && hits && x.at >= c.At && x.at < c.At+2*day
			}
			if x.open && slices.ContainsFunc(p.changes, near) {
				all++
				if (x.at-p.from)/day >= settled {
					late++
				}
			}
		}
	}
	return all, late
}

// credit enters one attack into its kind.
func credit(into tallies, l simulator.Label, found, honest alarms) {
	id := who{l.TenantID, l.AgentID}
	in := func(x alarm) bool { return x.at >= l.Start && x.at <= l.End+after }
	t := &tally{Attacks: 1, Signals: map[string]int{}}
	if i := slices.IndexFunc(found[id], in); i >= 0 {
		x := found[id][i]
		t.Found = 1
		t.Events = []float64{float64(x.attacks)}
		t.Hours = []float64{float64(x.at-l.Start) / float64(hour)}
		t.Signals[x.signal]++
		if slices.ContainsFunc(honest[id], in) {
			t.Luck = 1
		}
	}
	into[l.Kind] = into[l.Kind].plus(t)
}

// names lists counts by name, the largest first.
func names(m map[string]int) string {
	keys := slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		return cmp.Or(cmp.Compare(m[b], m[a]), cmp.Compare(a, b))
	})
	parts := make([]string, 0, len(keys))
	for _, k := range keys {
		parts = append(parts, fmt.Sprintf("%s %d", k, m[k]))
	}
	return strings.Join(parts, ", ")
}
