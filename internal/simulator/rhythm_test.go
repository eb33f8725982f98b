package simulator

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/stat"

	"github.com/plumbline-sec/plumbline/schemas"
)

// pure returns a fleet of one archetype, and its counts: agent, hour.
func pure(t *testing.T, o Options) (*Fleet, [][]float64) {
	t.Helper()
	o.Joins, o.Still = -1, true
	t.Logf("seed %d", o.Seed)
	f := build(t, o)
	from, _ := f.Span()
	counts := make([][]float64, len(f.agents))
	row := map[string]int{}
	for i, a := range f.agents {
		counts[i] = make([]float64, 24*o.Days)
		row[a.id] = i
	}
	var ev schemas.Activity
	for f.Next(&ev) {
		counts[row[ev.AgentID]][(ev.Time-from)/hour]++
	}
	return f, counts
}

func TestASteadyAgentKeepsItsPaceGiveOrTakeOne(t *testing.T) {
	f, counts := pure(t, Options{Agents: 20, Days: 14, Seed: 11, Mix: Mix{Steady: 1}})
	for i, a := range f.agents {
		off := 0
		for h, n := range counts[i] {
			d := math.Abs(n - a.rhythm.level)
			require.LessOrEqual(t, d, 1.0, "%s in hour %d", a.id, h)
			if d > 0 {
				off++
			}
		}
		// One hour in ten is off by one: 33.6 expected, 5.5 the standard deviation.
		assert.InDelta(t, 33.6, float64(off), 5*5.5, "%s", a.id)
	}
}

func TestADiurnalAgentHasItsOwnPeakItsOwnWeekendAndItsMean(t *testing.T) {
	f, counts := pure(t, Options{Agents: 40, Days: 56, Seed: 12, Rate: 4, Mix: Mix{Diurnal: 1}})
	var ratio []float64
	for i, a := range f.agents {
		var sum, weekend, x, y float64
		for h, n := range counts[i] {
			sum += n
			if h/24%7 >= 5 { // the default start is a Monday
				weekend += n
			}
			phi := 2 * math.Pi * (float64(h%24) + .5) / 24
			x += n * math.Cos(phi)
			y += n * math.Sin(phi)
		}
		want := a.rhythm.level * (5 + 2*a.rhythm.weekend) / 7
		ratio = append(ratio, sum/float64(len(counts[i]))/want)
		peak := math.Mod(24+math.Atan2(y, x)*24/2/math.Pi, 24)
		away := math.Abs(math.Mod(peak-a.rhythm.phase+36, 24) - 12)
		assert.Less(t, away, .6, "%s peaks at %.1f, wants %.1f", a.id, peak, a.rhythm.phase)
		assert.InEpsilon(t, a.rhythm.weekend, weekend/2/((sum-weekend)/5), .25, "weekend of %s", a.id)
	}
	// The slow walk moves one agent's mean by several percent; the fleet's stays.
	assert.InDelta(t, 1, stat.Mean(ratio, nil), .04)
	assert.Less(t, stat.StdDev(ratio, nil), .15)
}

func TestABurstyAgentIsOverDispersedAsItsParameterSays(t *testing.T) {
	for _, tails := range []Tails{TailsNB, TailsHeavy} {
		t.Run(string(tails), func(t *testing.T) {
			f, counts := pure(t, Options{Agents: 60, Days: 56, Seed: 13, Mix: Mix{Bursty: 1}, Tails: tails})
			var level, phi, extreme []float64
			for i, a := range f.agents {
				mean, variance := stat.MeanVariance(counts[i], nil)
				level = append(level, mean/a.rhythm.level)
				phi = append(phi, (variance-mean)/(mean*mean)/a.rhythm.phi)
				most := 0.0
				for _, n := range counts[i] {
					most = math.Max(most, n)
				}
				extreme = append(extreme, most/mean)
			}
			t.Logf("mean %.3f, over-dispersion %.3f of the parameters; largest hour %.1f times the mean, at most %.1f",
				stat.Mean(level, nil), stat.Mean(phi, nil), stat.Mean(extreme, nil), maxOf(extreme))
			if tails == TailsNB {
				assert.InDelta(t, 1, stat.Mean(level, nil), .05)
				assert.InDelta(t, 1.08, stat.Mean(phi, nil), .15, "the days' factors add a little")
				assert.Less(t, maxOf(extreme), 18.0)
				return
			}
			assert.InDelta(t, 1, stat.Mean(level, nil), .15)
			assert.Greater(t, maxOf(extreme), 18.0, "heavy tails reach where the gamma does not")
		})
	}
}

func maxOf(x []float64) float64 {
	m := math.Inf(-1)
	for _, v := range x {
		m = math.Max(m, v)
	}
	return m
}

func TestABatchJobRunsOnceADayAtItsOwnHour(t *testing.T) {
	f, counts := pure(t, Options{Agents: 30, Days: 28, Seed: 14, Mix: Mix{Batch: 1}})
	hours := map[schemas.Millis]bool{}
	var ratio []float64
	for i, a := range f.agents {
		first := a.rhythm.runAt / hour
		hours[first] = true
		var runs []float64
		for d := range 28 {
			var n float64
			for h := range 24 {
				c := counts[i][24*d+h]
				n += c
				in := a.rhythm.runAt-hour < schemas.Millis(h)*hour && schemas.Millis(h)*hour < a.rhythm.runAt+a.rhythm.runFor*14/10+10*minute
				require.False(t, c > 0 && !in, "%s runs at %d, its hour is %d", a.id, h, first)
			}
			if weekend := d%7 >= 5; weekend && a.rhythm.weekend == 0 {
				require.Zero(t, n, "%s works on its day off", a.id)
				continue
			}
			require.Positive(t, n, "%s did not run on day %d", a.id, d)
			runs = append(runs, n)
		}
		ratio = append(ratio, stat.Mean(runs, nil)/a.rhythm.level)
	}
	assert.InDelta(t, 1, stat.Mean(ratio, nil), .04)
	assert.Greater(t, len(hours), 4, "the jobs share few hours")
}

func TestARareAgentActsNowAndThen(t *testing.T) {
	f, counts := pure(t, Options{Agents: 80, Days: 56, Seed: 15, Mix: Mix{Rare: 1}})
	var got, want float64
	for i, a := range f.agents {
		for _, n := range counts[i] {
			got += n
		}
		want += a.rhythm.level * (5 + 2*a.rhythm.weekend) / 7 * 24 * 56
	}
	perDay := want / 80 / 56
	t.Logf("%.2f events an agent and day, %.2f expected", got/80/56, perDay)
	assert.InEpsilon(t, want, got, .05)
	assert.False(t, perDay < 1 || perDay > 8, "%.2f a day is not rare", perDay)
}

func TestTheMixIsKeptExactly(t *testing.T) {
	f := build(t, Options{Agents: 200, Days: 1, Seed: 16, Mix: Mix{Steady: 2, Diurnal: 5, Bursty: 1, Batch: 1, Rare: 1}})
	n := map[Archetype]int{}
	for _, a := range f.Agents() {
		n[a.Archetype]++
	}
	assert.Equal(t, map[Archetype]int{Steady: 40, Diurnal: 100, Bursty: 20, Batch: 20, Rare: 20}, n)
}

func TestARampGrowsAsFastAsItWasAsked(t *testing.T) {
	const perDay = .08
	var plain, ramped [28]float64
	for seed := range uint64(12) {
		o := Options{Agents: 3, Days: 28, Seed: seed, Rate: 5, Mix: Mix{Bursty: 1}, Still: true, Joins: -1, Strength: perDay / rampPerDay}
		for _, attacked := range []bool{false, true} {
			f := build(t, o)
			victim := f.agents[0].id
			if attacked {
				f.raid(f.agents[0], KindRamp, f.start)
			}
			from, _ := f.Span()
			var ev schemas.Activity
			for f.Next(&ev) {
				if ev.AgentID != victim {
					continue
				}
				if attacked {
					ramped[(ev.Time-from)/day]++
				} else {
					plain[(ev.Time-from)/day]++
				}
			}
		}
	}
	for d := range plain {
		want := math.Pow(1+perDay, float64(d)+.5)
		assert.InEpsilon(t, want, ramped[d]/plain[d], .25, "day %d", d)
	}
}

func TestARolloutReachesTheWholeGroupAndNobodyBefore(t *testing.T) {
	for seed := range uint64(20) {
		f := build(t, Options{Agents: 60, Days: 14, Seed: seed})
		var c Change
		for _, x := range f.Changes() {
			if x.What == "rollout" {
				c = x
			}
		}
		if c.Tool == "" {
			continue
		}
		first := map[string]schemas.Millis{}
		var ev schemas.Activity
		for f.Next(&ev) {
			if ev.Tool == c.Tool && first[ev.AgentID] == 0 {
				first[ev.AgentID] = ev.Time
				assert.GreaterOrEqual(t, ev.Time, c.At)
				assert.Equal(t, c.PeerGroup, ev.PeerGroup)
			}
		}
		assert.GreaterOrEqual(t, len(first), 2, "seed %d: %s of %s", seed, c.Tool, c.PeerGroup)
		return
	}
	t.Fatal("no seed of twenty has a rollout")
}
