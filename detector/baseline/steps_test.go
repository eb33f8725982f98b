package baseline_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/detector/baseline"
	"github.com/plumbline-sec/plumbline/internal/seeded"
)

func TestAStepIsFromToolToToolWithinASession(t *testing.T) {
	var r baseline.Runs
	a, b := baseline.ToolHash("read"), baseline.ToolHash("send")
	one, first := r.Session(baseline.Mix(1))
	require.True(t, first)
	two, first := r.Session(baseline.Mix(2))
	require.True(t, first)

	begin, before := r.Step(one, a)
	require.Zero(t, before)
	ab, before := r.Step(one, b)
	require.Equal(t, baseline.ToolTag(a), before)
	bb, _ := r.Step(one, b)
	again, before := r.Step(two, a)
	require.Zero(t, before, "the other session has just begun")
	require.Equal(t, begin, again)
	ab2, _ := r.Step(two, b)
	require.Equal(t, ab, ab2)
	ba, _ := r.Step(two, a)
	require.Len(t, map[uint64]bool{begin: true, ab: true, ba: true, bb: true}, 4)

	same, first := r.Session(baseline.Mix(1))
	require.False(t, first)
	require.Equal(t, one, same)
	for i := range uint64(16) {
		r.Session(baseline.Mix(100 + i))
	}
	place, first := r.Session(baseline.Mix(1))
	require.True(t, first, "sixteen others came after it")
	_, before = r.Step(place, b)
	require.Zero(t, before, "what came before it is forgotten with it")
}

func TestASetOfStepsKnowsWhatWasAddedAndForgetsWhatWasNotUsedForLongest(t *testing.T) {
	rng := seeded.Rand(t)
	require.False(t, new(baseline.Steps).Use(1<<60))
	var s baseline.Steps
	var steps []uint64
	known := 0
	for range 20 {
		s, steps = baseline.Steps{}, nil
		for range 100 {
			h := baseline.Mix(rng.Uint64())
			steps = append(steps, h)
			s.Add(h)
			s.Add(h)
		}
		for _, h := range steps {
			if s.Use(h) {
				known++
			}
		}
		require.LessOrEqual(t, s.Bytes(), 512)
	}
	require.GreaterOrEqual(t, known, 20*99, "of a hundred in each: now and then more than eight fall into one bucket")

	// What is in use outlives a flood; what the flood brought does not.
	s.Add(steps[0])
	for i := range uint64(20_000) {
		s.Add(baseline.Mix(1_000_000 + i))
		s.Use(steps[0])
	}
	require.True(t, s.Use(steps[0]))
	require.LessOrEqual(t, s.Bytes(), 512)

	wrong := 0
	for range 20_000 {
		if s.Use(baseline.Mix(rng.Uint64())) {
			wrong++
		}
	}
	require.Less(t, wrong, 200, "of 20,000 that were never added")
}

func TestNewDestinationsBringNewStepsAsOftenAsTheyDid(t *testing.T) {
	fleet := baseline.NewPeers(nil)
	g := baseline.NewPeers(fleet)
	start := g.Joint(0.1)
	for range 2000 {
		g.Reached(0.1, false)
	}
	require.Less(t, g.Joint(0.1), start/20)
	for range 40_000 {
		g.Reached(0.1, true)
	}
	require.InEpsilon(t, 0.95, g.Joint(0.1), 0.02, "lift 40000 of 4200 expected, times 0.1")
	require.InDelta(t, 1, g.Joint(0.9), 0, "a chance")
}
