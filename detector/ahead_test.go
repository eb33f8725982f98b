package detector_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/internal/seeded"
	"github.com/plumbline-sec/plumbline/schemas"
)

// Keys of agents that come, that don't, that were evicted, and of none at all.
func TestWhatIsSaidAheadChangesNothing(t *testing.T) {
	rng := seeded.Rand(t)
	cfg := detector.DefaultConfig()
	cfg.MaxAgents = 50
	var states [2][]byte
	var alerts [2]recorder
	events := make([]schemas.Activity, 20_000)
	for i := range events {
		events[i] = schemas.Activity{
			EventID: fmt.Sprint(i), Time: schemas.Millis(1_700_000_000_000 + i*20_000), TenantID: fmt.Sprint("t", rng.IntN(2)),
			AgentID: fmt.Sprint("a", rng.IntN(70)), PeerGroup: "g", Tool: fmt.Sprint("tool", rng.IntN(3)), Outcome: schemas.OutcomeSuccess,
		}
		if i > len(events)-500 { // an attack
			events[i].TenantID, events[i].AgentID, events[i].BytesSent = "t0", "a1", 1<<30
		}
	}
	for hinted := range 2 {
		d := detector.Started(t, cfg, &alerts[hinted])
		for i := range events {
			if hinted == 1 {
				for _, at := range []int{i + detector.Lead, i, rng.IntN(len(events))} {
					ev := &events[min(at, len(events)-1)]
					d.Ahead(schemas.AppendKey(nil, ev.TenantID, ev.AgentID))
				}
				d.Ahead([]byte([]string{"", "/", "t0", "t0/", "t1/nobody", "nobody/a1", "/a1"}[rng.IntN(7)]))
			}
			d.Process(&events[i])
		}
		require.Positive(t, d.Stats().Evicted)
		states[hinted] = d.Save()
	}
	require.NotEmpty(t, alerts[0].alerts)
	require.Equal(t, states[0], states[1])
	require.Equal(t, alerts[0], alerts[1])
}
