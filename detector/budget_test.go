package detector_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/schemas"
)

// tallies of one run over benign traffic.
type budgetRun struct {
	days, lateDays     float64
	alerts, lateAlerts float64
	byKind             map[string][2]float64 // alerts, agent-days after day 14
	bySignal           map[string]int
}

func benign(t *testing.T, seed uint64, agents, days int, run *budgetRun) {
	t.Helper()
	sink := &recorder{}
	cfg := detector.DefaultConfig()
	d, err := detector.New(cfg, sink)
	require.NoError(t, err)
	f := newFleet(seed, agents)
	for day := range days {
		active := map[string]string{}
		sink.alerts, sink.windows = sink.alerts[:0], sink.windows[:0]
		for _, ev := range f.day(day) {
			active[ev.AgentID] = ev.PeerGroup
			v := d.Process(&ev)
			require.LessOrEqual(t, v.Surprise, 1e3, "finite")
		}
		opened := map[string]float64{}
		for _, a := range sink.alerts {
			if a.Status == schemas.StatusOpen {
				opened[a.Agent.PeerGroup]++
				run.bySignal[a.Signals[0].Name]++
			}
		}
		run.days += float64(len(active))
		for _, g := range active {
			if day >= 14 {
				k := run.byKind[g]
				k[1]++
				run.byKind[g] = k
				run.lateDays++
			}
		}
		for g, n := range opened {
			run.alerts += n
			if day >= 14 {
				k := run.byKind[g]
				k[0] += n
				run.byKind[g] = k
				run.lateAlerts += n
			}
		}
	}
}

func TestBenignTrafficKeepsTheAlertBudget(t *testing.T) {
	seeds := []uint64{1, 2, 3}
	if testing.Short() {
		seeds = seeds[:1]
	}
	run := budgetRun{byKind: map[string][2]float64{}, bySignal: map[string]int{}}
	for _, s := range seeds {
		benign(t, s, 60, 28, &run)
	}
	budget := detector.DefaultConfig().AlertsPerAgentDay
	all, late := run.alerts/run.days/budget, run.lateAlerts/run.lateDays/budget
	t.Logf("seeds %v: realised/budget %.2f over all %.0f agent-days (%.0f alerts), %.2f after day 14 (%.0f alerts)",
		seeds, all, run.days, run.alerts, late, run.lateAlerts)
	for _, k := range archetypes {
		v := run.byKind[string(k)]
		t.Logf("  %-8s after day 14: %.2f (%.0f in %.0f agent-days)", k, v[0]/v[1]/budget, v[0], v[1])
	}
	t.Logf("  led by %v", run.bySignal)
	require.Less(t, all, 2.0)
	require.Less(t, late, 2.0)
}
