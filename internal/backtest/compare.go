package backtest

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/plumbline-sec/plumbline/schemas"
)

// How much of it a result lists.
const (
	mostEpisodes = 15
	MostAgents   = 20
)

// Result says how the alerts of two sides differ. An episode is counted by the UTC day on
// which it opened.
type Result struct {
	Events      int64   `json:"events"`
	From        string  `json:"from"` // UTC days, as dates
	To          string  `json:"to"`
	CountedFrom string  `json:"counted_from"` // before that the baselines were warming up
	WarmupDays  int     `json:"warmup_days"`
	AgentDays   int     `json:"agent_days"` // counted
	Old         Totals  `json:"old"`
	New         Totals  `json:"new"`
	Kept        int     `json:"kept"`   // episodes of the old side that the new one has too
	Lost        int     `json:"lost"`   // that it has not
	Gained      int     `json:"gained"` // of the new side that the old one has not
	Signals     []Count `json:"signals"`
	Agents      []Count `json:"agents"` // those of which most was lost or gained
	Days        []Count `json:"days"`

	TopLost   []*Episode `json:"top_lost"`
	TopGained []*Episode `json:"top_gained"`

	Incidents *Incidents `json:"incidents,omitempty"` // nil: none were named
	// Interrupted: events behind To were not read.
	Interrupted bool `json:"interrupted,omitempty"`
}

// Totals are the episodes of a side.
type Totals struct {
	ConfigHash  string         `json:"config_hash"`
	Budget      float64        `json:"alerts_per_agent_day_budget"`
	Episodes    int            `json:"episodes"`
	PerAgentDay float64        `json:"episodes_per_agent_day"` // those of kind behavior, which the budget is for
	Severities  map[string]int `json:"severities"`
}

// Count is how many episodes have something in common.
type Count struct {
	Name   string `json:"name"`
	Tenant string `json:"tenant_id,omitempty"`
	Old    int    `json:"old"`
	New    int    `json:"new"`
	Lost   int    `json:"lost"`
	Gained int    `json:"gained"`
}

// span is the days of a run, and from which on it counts.
type span struct{ first, counted, last int64 }

// span leaves out the days at either end that hold together under a thousandth of the
// agent-days: they are of clocks that are wrong. Without a warm-up given it is a quarter of
// the days, at most 14.
func (r *Run) span(warmup time.Duration) span {
	days := slices.Sorted(maps.Keys(r.days))
	if len(days) == 0 {
		return span{}
	}
	few := len(r.perDay) / 1000
	edge := func(days []int64) int64 {
		sum := 0
		for _, d := range days {
			if sum += r.days[d]; sum > few {
				return d
			}
		}
		return days[0]
	}
	first := edge(days)
	slices.Reverse(days)
	s := span{first: first, last: max(first, edge(days))}
	warm := min((s.last-s.first+1)/4, 14)
	if warmup >= 0 {
		warm = int64((warmup + 24*time.Hour - 1) / (24 * time.Hour))
	}
	s.counted = s.first + warm
	return s
}

// agentDays counts those from a day on.
func (r *Run) agentDays(s span) int {
	n := 0
	for day, agents := range r.days {
		if day >= s.counted && day <= s.last {
			n += agents
		}
	}
	return n
}

// counts reports whether an instant lies in what is counted. What is later than the last day
// closes what began before.
func (s span) counts(at schemas.Millis) bool { return int64(at)/dayMillis >= s.counted }

func dayName(day int64) string { return schemas.Millis(day * dayMillis).Time().Format(time.DateOnly) }

// Compare says how the second side differs from the first one. warmup below zero: the default.
func (r *Run) Compare(sides []Side, warmup time.Duration, incidents []Incident) *Result {
	s := r.span(warmup)
	from, to := r.counted(0, s), r.counted(1, s)
	out := &Result{
		Events: r.events, From: dayName(s.first), To: dayName(s.last), CountedFrom: dayName(s.counted),
		WarmupDays: int(s.counted - s.first), AgentDays: r.agentDays(s),
	}
	out.Old, out.New = totals(&sides[0], from, out.AgentDays), totals(&sides[1], to, out.AgentDays)
	quiet := schemas.Millis(max(sides[0].Detector.QuietTime, sides[1].Detector.QuietTime).Milliseconds())
	inNew, inOld := overlapping(to, quiet), overlapping(from, quiet)

	t := tables{signals: make(map[Count]*Count), agents: make(map[Count]*Count), days: make(map[Count]*Count)}
	for day := s.counted; day <= s.last; day++ {
		t.count(t.days, Count{Name: dayName(day)})
	}
	var lost, gained []*Episode
	for _, e := range from {
		gone := !inNew(e)
		t.add(e, func(c *Count) {
			c.Old++
			if gone {
				c.Lost++
			}
		})
		if gone {
			lost = append(lost, e)
		}
	}
	for _, e := range to {
		came := !inOld(e)
		t.add(e, func(c *Count) {
			c.New++
			if came {
				c.Gained++
			}
		})
		if came {
			gained = append(gained, e)
		}
	}
	out.Kept, out.Lost, out.Gained = len(from)-len(lost), len(lost), len(gained)
	out.Signals = sorted(t.signals, func(a, b *Count) int { return b.Old + b.New - a.Old - a.New })
	out.Agents = sorted(t.agents, func(a, b *Count) int { return b.Lost + b.Gained - a.Lost - a.Gained })
	out.Agents = slices.DeleteFunc(out.Agents, func(c Count) bool { return c.Lost+c.Gained == 0 })
	out.Agents = out.Agents[:min(len(out.Agents), MostAgents)]
	out.Days = sorted(t.days, func(a, b *Count) int { return cmp.Compare(a.Name, b.Name) })
	out.TopLost, out.TopGained = top(lost), top(gained)
	if incidents != nil {
		out.Incidents = judge(incidents, s, r.sides[0].episodes, r.sides[1].episodes)
	}
	return out
}

// counted returns the episodes of a side that opened after the warm-up.
func (r *Run) counted(side int, s span) []*Episode {
	var out []*Episode
	for _, e := range r.sides[side].episodes {
		if s.counts(e.Opened) {
			out = append(out, e)
		}
	}
	return out
}

func totals(s *Side, episodes []*Episode, agentDays int) Totals {
	t := Totals{ConfigHash: s.Detector.Hash, Budget: s.Detector.AlertsPerAgentDay, Episodes: len(episodes), Severities: make(map[string]int)}
	within := 0 // the budget
	for _, e := range episodes {
		t.Severities[e.Severity]++
		if e.Kind == schemas.KindBehavior {
			within++
		}
	}
	if agentDays > 0 {
		t.PerAgentDay = float64(within) / float64(agentDays)
	}
	return t
}

type who struct{ tenant, agent string }

// overlapping tells of an episode whether others has one of the same agent at the same
// time: both stay open for quiet after what crossed the budget last.
func overlapping(others []*Episode, quiet schemas.Millis) func(*Episode) bool {
	of := make(map[who][]*Episode)
	for _, e := range others {
		of[who{e.Tenant, e.Agent}] = append(of[who{e.Tenant, e.Agent}], e)
	}
	return func(e *Episode) bool {
		return slices.ContainsFunc(of[who{e.Tenant, e.Agent}], func(o *Episode) bool {
			return o.First <= e.Last+quiet && e.First <= o.Last+quiet
		})
	}
}

// tables count episodes by what they have in common.
type tables struct{ signals, agents, days map[Count]*Count }

func (t *tables) count(in map[Count]*Count, key Count) *Count {
	if in[key] == nil {
		in[key] = &key
	}
	return in[key]
}

func (t *tables) add(e *Episode, to func(*Count)) {
	to(t.count(t.signals, Count{Name: e.Signal()}))
	to(t.count(t.agents, Count{Name: e.Agent, Tenant: e.Tenant}))
	to(t.count(t.days, Count{Name: dayName(int64(e.Opened) / dayMillis)}))
}

func sorted(in map[Count]*Count, by func(a, b *Count) int) []Count {
	all := slices.SortedFunc(maps.Values(in), func(a, b *Count) int {
		return cmp.Or(by(a, b), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Tenant, b.Tenant))
	})
	out := make([]Count, 0, len(all))
	for _, c := range all {
		out = append(out, *c)
	}
	return out
}

// top returns the worst episodes.
func top(episodes []*Episode) []*Episode {
	slices.SortFunc(episodes, worse)
	return append([]*Episode{}, episodes[:min(len(episodes), mostEpisodes)]...)
}

// worse orders episodes, the worst first.
func worse(a, b *Episode) int {
	return cmp.Or(
		cmp.Compare(schemas.Risk(b.Severity), schemas.Risk(a.Severity)), cmp.Compare(b.Score, a.Score),
		cmp.Compare(a.Opened, b.Opened), cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Agent, b.Agent),
	)
}
