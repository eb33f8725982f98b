package detector

import (
	"bytes"
	"maps"
	"math"
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

// CutStore is what a log of cuts comes to: the newest record of every agent.
type CutStore struct {
	Agents    map[string][]byte
	partition []byte
	// Of the cut at hand.
	newPartition []byte
	newAgents    map[string][]byte
	newGone      []string
}

func (s *CutStore) Partition(r []byte) {
	s.newPartition, s.newAgents, s.newGone = bytes.Clone(r), map[string][]byte{}, nil
}

func (s *CutStore) Gone(tenantID, agentID string) {
	s.newGone = append(s.newGone, tenantID+"/"+agentID)
}

func (s *CutStore) Agent(r []byte) {
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

// Confirm makes the cut at hand a part of the log, or where it is whole all of it.
func (s *CutStore) Confirm(whole bool) {
	if whole || s.Agents == nil {
		s.Agents = map[string][]byte{}
	}
	for _, key := range s.newGone {
		delete(s.Agents, key)
	}
	maps.Copy(s.Agents, s.newAgents)
	s.partition = s.newPartition
}

// Add appends a cut of what has changed.
func (s *CutStore) Add(d *Detector) {
	whole := d.CutWhole()
	d.BeginCut(s, nil)
	d.ContinueCut(math.MaxInt)
	d.ConfirmCut()
	s.Confirm(whole)
}

// Restore returns the detector that the log comes to.
func (s *CutStore) Restore(tb testing.TB, cfg Config, sink Sink) *Detector {
	tb.Helper()
	d, err := RestoreCuts(cfg, sink, s.partition, maps.Values(s.Agents))
	require.NoError(tb, err)
	return d
}

// cutEvents is a stream in which agents come, go, are evicted, alert and are registered.
func cutEvents(rng *rand.Rand, n int) []schemas.Activity {
	at := schemas.Millis(1_700_000_000_000)
	out := make([]schemas.Activity, 0, n)
	for i := range n {
		at += schemas.Millis(rng.IntN(60_000))
		agent := rng.IntN(12)
		if rng.IntN(4) == 0 {
			agent = rng.IntN(400)
		}
		if rng.IntN(8) == 0 { // also of agents that never act, and of tenants that have none
			who := rng.IntN(900)
			out = append(out, schemas.Activity{Registration: &schemas.Registration{
				TenantID: "t" + strconv.Itoa(who%3), AgentID: "a" + strconv.Itoa(who), Time: at - schemas.Millis(rng.IntN(600_000)),
				Owner: []string{"", "owner " + strconv.Itoa(i)}[rng.IntN(2)], Credentials: []schemas.Credential{{ID: strconv.Itoa(i)}}, Versions: []string{},
			}})
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
		cfg.Identity = map[string]string{schemas.CheckUnregisteredAgent: IdentityAlert}
		d := Started(t, cfg, nowhere{})
		store := &CutStore{}
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
				store.Confirm(full || whole)
				cuts++
				back := store.Restore(t, cfg, nowhere{})
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
		attached := 0
		for _, r := range d.cutting.registered {
			if r.agent != nil {
				attached++
			}
		}
		require.Positive(t, attached)
		require.Greater(t, len(d.cutting.registered), attached)
	}
}

func TestACutWithoutChangesHoldsNoAgent(t *testing.T) {
	d := Started(t, DefaultConfig(), nowhere{})
	for _, ev := range cutEvents(rand.New(rand.NewPCG(1, 1)), 500) {
		d.Process(&ev)
	}
	alone := 0
	for _, r := range d.cutting.registered {
		if r.agent == nil {
			alone++
		}
	}
	store := &CutStore{}
	d.BeginCut(store, nil)
	require.True(t, d.ContinueCut(1<<20))
	require.Len(t, store.newAgents, d.agents+alone)
	d.ConfirmCut()
	d.BeginCut(store, nil)
	require.True(t, d.ContinueCut(1<<20))
	require.Empty(t, store.newAgents)
	d.BeginCut(store, func(_, id string) bool { return id == "a1" })
	require.True(t, d.ContinueCut(1<<20))
	require.Equal(t, []string{"t1/a1"}, slices.Collect(maps.Keys(store.newAgents)))
}
