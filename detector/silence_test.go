package detector

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/detector/score"
	"github.com/plumbline-sec/plumbline/internal/seeded"
	"github.com/plumbline-sec/plumbline/schemas"
)

// A group that pauses every weekend teaches its agents so, though the first weekend
// might have been an outage.
func TestAPauseOfAllSaysSomethingWhereItComesEveryWeek(t *testing.T) {
	var g group
	saturday := int64(100 * weekHours)
	says := func(week, hour int64) bool { return g.informative(saturday + week*weekHours + hour) }
	for week := range int64(4) {
		for to := range int64(48) { // as the silence grows, hour by hour
			g.pause(saturday+week*weekHours, saturday+week*weekHours+to+1)
		}
		require.Equal(t, week > 0, says(week, 0), "week %d", week)
		require.Equal(t, week > 0, says(week, 47), "week %d", week)
		require.True(t, says(week, 48), "work begins")
	}
	g.pause(saturday+6*weekHours, saturday+6*weekHours+3)
	require.False(t, says(6, 2), "two weekends were worked")
	require.True(t, says(6, 3))
}

func TestWhatSticksOutFarCountsATenthAsOftenAsTheBudgetAllows(t *testing.T) {
	d := Started(t, DefaultConfig(), nowhere{})
	ten := d.addTenant("t")
	budget := score.Budget{Alerts: 0.01}
	require.InDelta(t, 1, ten.calibrationWeight(budget.Threshold()+0.9, budget), 0)
	ten.calibration.Expose(1, 250)
	trusted := 0.0
	for range 10 {
		trusted += ten.calibrationWeight(budget.Threshold()+1, budget)
	}
	require.InDelta(t, 3*0.1+7, trusted, 1e-9, "of 300 agent-days, at one alert in a hundred")
}

// What a group counts of its agents must be what its agents are, whatever they do:
// a count that drifts would call a group silent for ever, and teach it nothing.
func TestAGroupsCountsAreThoseOfItsAgents(t *testing.T) {
	rng := seeded.Rand(t)
	cfg := DefaultConfig()
	cfg.MaxAgents = 25 // some are evicted
	d := Started(t, cfg, nowhere{})
	const agents, days = 30, 60
	at := schemas.Millis(1_700_000_000_000)
	silent := 0
	for hour := range 24 * days {
		for a := range agents {
			busy := hour%24 >= 8 && hour%24 < 18
			calls := rng.IntN(3)
			if busy {
				calls = 5 + rng.IntN(30)
			}
			switch {
			case a%3 == 0:
				calls = 6 // around the clock
			case a%7 == 1:
				calls = rng.IntN(200) * rng.IntN(2) // anything
			}
			if (hour/(20+a))%5 == 4 || hour > 900 && hour < 930 { // pauses of its own, and one of all
				continue
			}
			for i := range calls {
				d.Process(&schemas.Activity{
					Time: at + schemas.Millis(i*3_600_000/(calls+1)), TenantID: "t", AgentID: fmt.Sprint("a", a), PeerGroup: fmt.Sprint("g", a%2),
					Action: "tool_call", Tool: "x", Outcome: schemas.OutcomeSuccess,
				})
			}
		}
		at += 3_600_000
		counts := map[*group][2]int{}
		for _, ten := range d.tenants {
			for _, l := range []*list[agent]{&ten.newcomers, &ten.established} {
				for a := l.first; a != nil; a = a.next {
					c := counts[a.group]
					if a.win.Open {
						c[0]++
					}
					c[1] += a.silent.missed()
					silent += a.silent.missed()
					counts[a.group] = c
				}
			}
			for _, g := range ten.groups {
				want := counts[g]
				require.Equal(t, want, [2]int{g.active, g.silent}, "hour %d, group %s: active, silent", hour, g.name)
			}
		}
	}
	require.Greater(t, silent, 500, "silence was exercised")
	require.Positive(t, d.evicted)
}

// Agents that work on weekdays; one does not come back on Monday. A weekend of which it
// is not known whether it is worked hides that for no longer than the weekend.
func TestWhoStopsOverAWeekendIsMissedOnMonday(t *testing.T) {
	var sink heard
	d := Started(t, DefaultConfig(), &sink)
	const weeks = 6
	for hour := range weeks*weekHours + 24 {
		for minute := 0; minute < 60; minute += 5 {
			for a := range 6 {
				if hour/24%7 < 5 && (a > 0 || hour < weeks*weekHours) {
					call(d, hour, minute, fmt.Sprint("a", a))
				}
			}
			call(d, hour, minute, "clock") // time goes on over the weekend
		}
	}
	var missed []string
	for _, a := range sink.alerts {
		if a.Status == schemas.StatusOpen && a.Time >= monday+weeks*weekHours*hourMillis {
			missed = append(missed, a.Agent.ID+" "+a.Signals[0].Name)
		}
	}
	require.Equal(t, []string{"a0 silence"}, missed)
}

// What a group's outage teaches an agent: of three days nothing. (Longer ones count from
// then on, as an agent's own would.)
func TestAPauseOfAllTeachesNothing(t *testing.T) {
	for _, c := range []struct{ gap, low, high float64 }{{60, 0.9, 1.1}, {10 * 24, 0.35, 0.6}} {
		d := Started(t, DefaultConfig(), nowhere{})
		const worked = 4 * weekHours
		for hour := range worked + int(c.gap) {
			for minute := 0; minute < 60; minute += 5 {
				for a := range 10 {
					if hour < worked {
						call(d, hour, minute, fmt.Sprint("a", a))
					}
				}
				call(d, hour, minute, "clock")
			}
		}
		a := d.index.find(d.byName["t"], "a3")
		expected := func() float64 {
			return a.profile.Rate.At(&a.group.peers.Rate, int64(monday)/hourMillis+8*weekHours).Mu
		}
		before := expected()
		require.InEpsilon(t, 12, before, 0.1)
		call(d, worked+int(c.gap), 0, "a3")
		require.Greater(t, expected(), c.low*before, "%v hours", c.gap)
		require.Less(t, expected(), c.high*before, "%v hours", c.gap)
	}
}

const monday = schemas.Millis(1_717_372_800_000)

// call is a call of an agent so long after a Monday's midnight. The clock has a group of
// its own.
func call(d *Detector, hour, minute int, agent string) {
	group := "office"
	if agent == "clock" {
		group = "clocks"
	}
	d.Process(&schemas.Activity{
		EventID: fmt.Sprint(hour, minute, agent), TenantID: "t", AgentID: agent, PeerGroup: group, SessionID: fmt.Sprint(hour, agent),
		Tool: "x", Outcome: schemas.OutcomeSuccess, Time: monday + schemas.Millis(hour)*hourMillis + schemas.Millis(minute)*60_000,
	})
}

// heard is a sink that keeps alerts.
type heard struct {
	nowhere
	alerts []*schemas.Alert
}

func (h *heard) Alert(a *schemas.Alert) { h.alerts = append(h.alerts, a) }
