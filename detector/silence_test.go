package detector

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/seeded"
	"github.com/plumbline-sec/plumbline/schemas"
)

type deaf struct{}

func (deaf) Alert(*schemas.Alert)   {}
func (deaf) Window(*schemas.Window) {}

// What a group counts of its agents must be what its agents are, whatever they do:
// a count that drifts would call a group silent for ever, and teach it nothing.
func TestAGroupsCountsAreThoseOfItsAgents(t *testing.T) {
	rng := seeded.Rand(t)
	cfg := DefaultConfig()
	cfg.MaxAgents = 25 // some are evicted
	d, err := New(cfg, deaf{})
	require.NoError(t, err)
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
			for _, l := range []*agentList{&ten.newcomers, &ten.established} {
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
