package baseline_test

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/detector/baseline"
	"github.com/plumbline-sec/plumbline/internal/seeded"
)

// The statistics of this file are held against the same ones computed from all the
// data at once. PLUMBLINE_SEED=random and -count take them through as many seeds as
// one likes.

func TestAVolumeIsTheWeightedMeanAndVarianceOfItsCalls(t *testing.T) {
	rng := seeded.Rand(t)
	for range 20 {
		var p baseline.VolumePrior
		var v baseline.Volume
		var sizes, weights []float64
		level, spread := 2.1+2*rng.Float64(), 0.05+2*rng.Float64()
		for range 1 + rng.IntN(300) {
			if rng.IntN(10) == 0 {
				hours := int64(1 + rng.IntN(200))
				v.Fade(hours)
				for i := range weights {
					weights[i] *= baseline.Decay(hours, 24*14)
				}
			}
			// Within the clip of four deviations, the start's being 1.9 around 0.
			bytes := uint64(baseline.BytesOf(level + spread*(2*rng.Float64()-1)))
			w := 0.1 + rng.Float64()
			v.Learn(v.At(&p), baseline.CallOf(bytes, 0), w)
			sizes, weights = append(sizes, baseline.Size(float64(bytes))), append(weights, w)
		}
		n, mean, square := 0.0, 0.0, 0.0
		for i, w := range weights {
			n += w
			mean += w * sizes[i]
		}
		mean /= n
		for i, w := range weights {
			square += w * (sizes[i] - mean) * (sizes[i] - mean)
		}
		a := v.At(&p)
		require.InEpsilon(t, n, v.N, 1e-3)
		// What is stated of a fleet that is not known: 1.5 within an agent, 1.2 between agents.
		const within, worth = 2.25, 6
		k := within / 1.44
		require.InDelta(t, mean*n/(n+k), a.Mean, 1e-3)
		variance := (square + worth*within) / (n + worth)
		require.InEpsilon(t, math.Max(math.Sqrt(variance*(1+1/(n+k))), 0.05), a.Scale, 1e-3)
	}
}

func TestTheLastEightStepsAreAlwaysKnown(t *testing.T) {
	rng := seeded.Rand(t)
	var s baseline.Steps
	var last []uint64 // the oldest first
	for range 5000 {
		h := baseline.Mix(uint64(rng.IntN(400)) + 1)
		s.Add(h)
		if i := slices.Index(last, h); i >= 0 {
			last = slices.Delete(last, i, i+1)
		}
		if last = append(last, h); len(last) > 8 {
			last = last[1:]
		}
		for _, k := range last {
			require.True(t, s.Use(k))
		}
	}
}

func TestARatioIsTheShareOfItsCallsShrunkToThePeers(t *testing.T) {
	rng := seeded.Rand(t)
	for range 20 {
		var r, other baseline.Ratio
		var p baseline.RatioPrior
		share := 0.01 + 0.2*rng.Float64()
		calls, count := 0.0, 0.0
		for range 200 {
			n := 1 + float64(rng.IntN(60))
			k := 0.0
			for range int(n) {
				if rng.Float64() < share {
					k++
				}
			}
			before := p
			r.Learn(&p, n, k, 1)
			calls, count = calls+n, count+k
			// What was clipped is told apart: then the exact ratio is not the same.
			if a := other.At(&before, n); a.Mu > 0 && k > a.Mu+4*math.Sqrt(a.Mu+a.Overdispersion*a.Mu*a.Mu)+1 {
				calls = math.NaN()
			}
			other = r
		}
		if math.IsNaN(calls) {
			continue
		}
		require.InEpsilon(t, calls, r.Calls(), 1e-3)
		peers := (count + 100*0.02) / (calls + 100)
		require.InEpsilon(t, (count+100*peers)/(calls+100), r.At(&p, 1).Ratio, 1e-3)
	}
}
