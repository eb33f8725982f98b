package detector_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/schemas"
)

// tally is how many alerts were opened in how many agent-days.
type tally struct{ alerts, days float64 }

// ofBudget is how many there were for one that the budget pays for.
func (a tally) ofBudget() float64 {
	return a.alerts / a.days / detector.DefaultConfig().AlertsPerAgentDay
}

func (a *tally) add(b tally) { *a = tally{a.alerts + b.alerts, a.days + b.days} }

// benign tallies the alerts on honest traffic: all, and by peer group those after two weeks.
func benign(t *testing.T, seed uint64, all *tally, late map[string]*tally) {
	t.Helper()
	sink := &recorder{}
	d := detector.Started(t, detector.DefaultConfig(), sink)
	f := newFleet(seed, 60)
	for day := range 28 {
		count := func(group string, n tally) {
			all.add(n)
			if day >= 14 {
				late[group].add(n)
			}
		}
		active := map[string]bool{}
		sink.alerts, sink.windows = sink.alerts[:0], sink.windows[:0]
		for _, ev := range f.day(day) {
			if !active[ev.AgentID] {
				active[ev.AgentID] = true
				count(ev.PeerGroup, tally{days: 1})
			}
			require.LessOrEqual(t, d.Process(&ev).Surprise, 1e3, "finite")
		}
		for _, a := range sink.alerts {
			if a.Status == schemas.StatusOpen {
				count(a.Agent.PeerGroup, tally{alerts: 1})
			}
		}
	}
}

func TestBenignTrafficKeepsTheAlertBudget(t *testing.T) {
	seeds := []uint64{1, 2, 3}
	if testing.Short() {
		seeds = seeds[:1]
	}
	all, after, late := tally{}, tally{}, map[string]*tally{}
	for _, k := range archetypes {
		late[string(k)] = &tally{}
	}
	for _, s := range seeds {
		benign(t, s, &all, late)
	}
	for _, k := range archetypes {
		v := late[string(k)]
		t.Logf("%-8s after day 14: %.2f of the budget (%.0f in %.0f agent-days)", k, v.ofBudget(), v.alerts, v.days)
		require.Less(t, v.ofBudget(), 3.0, "%s", k)
		after.add(*v)
	}
	t.Logf("seeds %v: %.2f of the budget in all %.0f agent-days, %.2f after day 14", seeds, all.ofBudget(), all.days, after.ofBudget())
	// Too few is a fault as well: a detector that is silent finds nothing.
	require.InDelta(t, 1, all.ofBudget(), 0.5)
	require.InDelta(t, 1, after.ofBudget(), 0.6)
}
