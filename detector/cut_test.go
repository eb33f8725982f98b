package detector

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/schemas"
)

type nowhere struct{}

func (nowhere) Alert(*schemas.Alert)   {}
func (nowhere) Window(*schemas.Window) {}

// cutStore is what a log of cuts comes to: the newest record of every agent.
type cutStore struct {
	partition []byte
	agents    map[string][]byte
	// Of the cut at hand.
	newPartition []byte
	newAgents    map[string][]byte
	newGone      []string
}

func (s *cutStore) Partition(r []byte) {
	s.newPartition, s.newAgents, s.newGone = bytes.Clone(r), map[string][]byte{}, nil
}

func (s *cutStore) Gone(tenantID, agentID string) {
	s.newGone = append(s.newGone, tenantID+"/"+agentID)
}

func (s *cutStore) Agent(r []byte) {
	tenantID, agentID, err := AgentOf(r)
	if err != nil {
		panic(err)
	}
	key := tenantID + "/" + agentID
	if _, twice := s.newAgents[key]; twice {
		panic(key + " twice in one cut")
	}
	s.newAgents[key] = bytes.Clone(r)
}

func (s *cutStore) confirm(whole bool) {
	if whole {
		clear(s.agents)
	}
	for _, key := range s.newGone {
		delete(s.agents, key)
	}
	maps.Copy(s.agents, s.newAgents)
	s.partition = s.newPartition
}

// cutEvents is a stream in which agents come, go, are evicted and alert.
func cutEvents(rng *rand.Rand, n int) []schemas.Activity {
	at := schemas.Millis(1_700_000_000_000)
	out := make([]schemas.Activity, 0, n)
	for i := range n {
		at += schemas.Millis(rng.IntN(60_000))
		agent := rng.IntN(12)
		if rng.IntN(4) == 0 {
			agent = rng.IntN(400)
		}
		out = append(out, schemas.Activity{
			EventID: strconv.Itoa(i), Time: at, RecordedAt: at, TenantID: "t" + strconv.Itoa(agent%2), AgentID: "a" + strconv.Itoa(agent),
			PeerGroup: "g" + strconv.Itoa(agent%3), Tool: "tool" + strconv.Itoa(rng.IntN(4)), Action: "tool_call", Outcome: schemas.OutcomeSuccess,
			Access: schemas.AccessSend, Resources: []string{"host:h" + strconv.Itoa(rng.IntN(50)) + ".example"}, BytesSent: uint64(rng.IntN(5000)),
		})
	}
	return out
}

// TestADetectorRestoredFromCutsIsTheOneThatWasCut takes cuts of all kinds at
// random while events go on, gives some up, and compares what the log of the
// confirmed ones comes to with the records taken at the instant of the last one.
func TestADetectorRestoredFromCutsIsTheOneThatWasCut(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		cfg := DefaultConfig()
		cfg.MaxAgents = 40 // evictions all the time
		d, err := New(cfg, nowhere{})
		require.NoError(t, err)
		store := &cutStore{agents: map[string][]byte{}}
		var instant []byte
		running, whole, full, cuts := false, false, false, 0
		for i, ev := range cutEvents(rng, 6000) {
			d.Process(&ev)
			switch {
			case !running && rng.IntN(40) == 0:
				if full = rng.IntN(5) == 0; rng.IntN(20) == 0 {
					d.cutting.whole = cuts > 0
				}
				whole = d.CutWhole()
				var also func(string, string) bool
				if full {
					also = func(string, string) bool { return true }
				}
				instant = d.Save()
				d.BeginCut(store, also)
				running = true
			case running && rng.IntN(3) == 0 && d.ContinueCut(1+rng.IntN(8)):
				running = false
				if rng.IntN(4) == 0 {
					d.AbortCut()
					break
				}
				d.ConfirmCut()
				store.confirm(full || whole)
				cuts++
				back, err := RestoreCuts(cfg, nowhere{}, store.partition, maps.Values(store.agents))
				require.NoError(t, err, "seed %d, event %d", seed, i)
				require.True(t, bytes.Equal(instant, back.Save()), "seed %d: cut %d, ended at event %d", seed, cuts, i)
				if rng.IntN(3) == 0 {
					// Go on with the restored one, as a new owner does, from the instant of the
					// cut: what came since is lost to this test, which a log would replay.
					d = back
				}
			}
		}
		require.Greater(t, cuts, 20, "seed %d", seed)
		require.Positive(t, d.evicted)
	}
}

func TestACutWithoutChangesHoldsNoAgent(t *testing.T) {
	d, err := New(DefaultConfig(), nowhere{})
	require.NoError(t, err)
	for _, ev := range cutEvents(rand.New(rand.NewPCG(1, 1)), 500) {
		d.Process(&ev)
	}
	store := &cutStore{agents: map[string][]byte{}}
	d.BeginCut(store, nil)
	require.True(t, d.ContinueCut(1<<20))
	require.Len(t, store.newAgents, d.agents)
	d.ConfirmCut()
	d.BeginCut(store, nil)
	require.True(t, d.ContinueCut(1<<20))
	require.Empty(t, store.newAgents)
	d.BeginCut(store, func(_, id string) bool { return id == "a1" })
	require.True(t, d.ContinueCut(1<<20))
	require.Equal(t, []string{"t1/a1"}, slices.Collect(maps.Keys(store.newAgents)))
}
