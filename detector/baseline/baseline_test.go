package baseline_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/detector/baseline"
	"github.com/plumbline-sec/plumbline/detector/internal/wire"
	"github.com/plumbline-sec/plumbline/internal/seeded"
)

func TestTheHashIsTheSameInEveryProcess(t *testing.T) {
	for _, c := range []struct {
		seed uint64
		s    string
		want uint64
	}{
		{0, "", 0x0},
		{1, "", 0xb456bcfc34c2cb2c},
		{1, "a", 0xc40a8a4f795834c0},
		{1, "file:q3.xlsx", 0xb5c119f69dd06fef},
		{2, "file:q3.xlsx", 0x6177ad6fb55e5e1e},
	} {
		require.Equal(t, fmt.Sprintf("%#x", c.want), fmt.Sprintf("%#x", baseline.Hash(c.seed, c.s)), "%d %q", c.seed, c.s)
	}
}

func TestHashesOfSimilarNamesDoNotMeet(t *testing.T) {
	seen := map[uint64]string{}
	for i := range 200_000 {
		s := fmt.Sprintf("file:/srv/data/%d.parquet", i)
		h := baseline.Hash(1, s) >> 22 // as much as a set keeps
		require.Empty(t, seen[h], "%s", s)
		seen[h] = s
	}
}

func TestAKnownSetAgreesWithAMapUntilItIsFull(t *testing.T) {
	rng := seeded.Rand(t)
	var k baseline.ItemSet
	exact := map[uint64]bool{}
	for range 20_000 {
		h := baseline.Mix(uint64(rng.IntN(baseline.MaxKnown)) + 1)
		known, _ := k.Use(h, 5)
		require.Equal(t, exact[h], known)
		k.Add(h, 5)
		exact[h] = true
	}
	require.Equal(t, len(exact), k.Len())
}

func TestAFloodOfNewNamesPushesOutItselfAndNotWhatIsInUse(t *testing.T) {
	var k baseline.ItemSet
	for i := range uint64(100) {
		k.Add(baseline.Mix(i+1), 10)
	}
	for hour := range int64(3) {
		for i := range uint64(100) {
			known, first := k.Use(baseline.Mix(i+1), 11+hour)
			require.True(t, known)
			require.True(t, first)
		}
	}
	for i := range uint64(100_000) {
		k.Add(baseline.Mix(1_000_000+i), 20)
		require.LessOrEqual(t, k.Len(), baseline.MaxKnown)
	}
	for i := range uint64(100) {
		require.True(t, k.Has(baseline.Mix(i+1)), "item %d is still known", i)
	}
	require.LessOrEqual(t, k.Bytes(), 2048)
}

func TestAKnownSetSurvivesRandomUseAgainstItsRecord(t *testing.T) {
	rng := seeded.Rand(t)
	var k baseline.ItemSet
	for i := range 5000 {
		h := baseline.Mix(uint64(rng.IntN(600)) + 1)
		if known, _ := k.Use(h, int64(i/50)); !known {
			k.Add(h, int64(i/50))
		}
		if i%500 == 0 {
			e := wire.Encoder(nil)
			k.Code(e)
			var back baseline.ItemSet
			d := wire.Decoder(e.Bytes())
			back.Code(d)
			require.NoError(t, d.Err())
			require.Equal(t, k.Len(), back.Len())
			for j := range uint64(600) {
				require.Equal(t, k.Has(baseline.Mix(j+1)), back.Has(baseline.Mix(j+1)))
			}
		}
	}
}

func TestDocumentFrequenciesAreExactUntilTheTableIsFull(t *testing.T) {
	rng := seeded.Rand(t)
	var d baseline.DocFreq
	exact := map[uint64]int{}
	for range 20_000 {
		h := baseline.Mix(uint64(rng.IntN(3000)) + 1)
		d.Add(h)
		exact[h]++
	}
	for h, n := range exact {
		require.Equal(t, n, d.Count(h))
	}
	require.Zero(t, d.Count(baseline.Mix(1<<40)))
	for i := range uint64(1 << 20) {
		d.Add(baseline.Mix(1<<50 + i))
	}
	require.LessOrEqual(t, d.Bytes(), 8<<16)
}

// hours feeds a rate and returns it with the prior of a group that never ended a
// day.
func hours(n int, count func(hour int) float64) (*baseline.Rate, *baseline.RatePrior) {
	p := baseline.NewRatePrior()
	r := &baseline.Rate{}
	for h := range n {
		r.Learn(&p, r.At(&p, int64(h)), int64(h), count(h), false)
		r.Fade()
	}
	return r, &p
}

func TestARateLearnsTheShapeOfTheDay(t *testing.T) {
	rng := seeded.Rand(t)
	shape := func(h int) float64 {
		if h%24 >= 8 && h%24 < 18 {
			return 40
		}
		return 2
	}
	const agents = 10
	var mean [24]float64
	for range agents {
		r, p := hours(24*42, func(h int) float64 {
			mu := shape(h)
			return math.Max(0, math.Round(mu+math.Sqrt(mu)*rng.NormFloat64()))
		})
		for h := range 24 {
			a := r.At(p, int64(24*42+h))
			// Five standard errors of 36 days, which is what 42 fading ones are worth, and a
			// tenth that the prior and the other factors take.
			require.InEpsilon(t, shape(h), a.Mu, 0.1+5/math.Sqrt(36*shape(h)), "hour %d", h)
			require.Less(t, a.Overdispersion, 0.6, "hour %d", h)
			mean[h] += a.Mu / agents
		}
	}
	for h := range 24 {
		require.InEpsilon(t, shape(h), mean[h], 0.3, "hour %d of all", h)
	}
}

func TestASteadyRateIsHeldTight(t *testing.T) {
	r, p := hours(24*28, func(h int) float64 { return 20 + float64(h%3) - 1 })
	a := r.At(p, 24*28+3)
	require.InEpsilon(t, 20, a.Mu, 0.06)
	require.Less(t, a.Mu+a.Overdispersion*a.Mu*a.Mu, 12.0, "its variance is below Poisson's")
}

func TestOverDispersionIsFound(t *testing.T) {
	rng := seeded.Rand(t)
	const phi = 0.5
	r, p := hours(24*60, func(int) float64 {
		g := 0.0 // gamma with mean 1 and variance phi, as a sum of two exponentials
		for range 2 {
			g -= math.Log(1-rng.Float64()) * phi
		}
		mu := 50 * g
		return math.Max(0, math.Round(mu+math.Sqrt(mu)*rng.NormFloat64()))
	})
	a := r.At(p, 24*60)
	require.InDelta(t, phi, a.Overdispersion, 0.3)
}

func TestOneHugeHourMovesARateByABoundedStep(t *testing.T) {
	r, p := hours(24*21, func(int) float64 { return 20 })
	before := r.At(p, 24*21)
	r.Learn(p, before, 24*21, 20_000, false)
	after := r.At(p, 24*21)
	require.Less(t, after.Mu, before.Mu*1.3)
	require.Less(t, after.Overdispersion, 0.5)
	inEpisode, p2 := hours(24*21, func(int) float64 { return 20 })
	inEpisode.Learn(p2, before, 24*21, 20_000, true)
	require.Less(t, inEpisode.At(p2, 24*21).Mu-before.Mu, after.Mu-before.Mu, "in an episode it counts less")
}

func TestEmptyHoursAreObservationsAndALeapIsBounded(t *testing.T) {
	busy, p := hours(24*7, func(int) float64 { return 20 })
	idle := *busy
	idle.Idle(p, 24*7, 24*14)
	require.Less(t, idle.At(p, 24*14).Mu, busy.At(p, 24*14).Mu/1.5)
	leap := *busy
	leap.Idle(p, 24*7, 24*7+1_000_000_000) // 114,000 years: done at once
	a := leap.At(p, 24*7+1_000_000_000)
	require.False(t, math.IsNaN(a.Mu) || math.IsInf(a.Mu, 0) || a.Mu < 0)
}

func TestNothingIsExpectedOfAnAgentOfWhichNothingIsKnown(t *testing.T) {
	p := baseline.NewRatePrior()
	var r baseline.Rate
	require.Zero(t, r.At(&p, 5).Mu)
}

func TestPeersAreThePriorOfANewAgent(t *testing.T) {
	p := baseline.NewRatePrior()
	for day := range 10 {
		for agent := range 8 {
			r, _ := hours(24*(day+3), func(int) float64 { return 10 + float64(agent) })
			p.Contribute(r)
		}
		p.EndDay()
	}
	var newborn baseline.Rate
	a := newborn.At(&p, 5)
	require.InEpsilon(t, 13.5, a.Mu, 0.3)
	require.Less(t, a.Overdispersion, 2.0)
}

func TestAVolumeLearnsItsSizesAndOneHugeCallDoesNotWidenTheBand(t *testing.T) {
	rng := seeded.Rand(t)
	var p baseline.VolumePrior
	var v baseline.Volume
	for range 500 {
		v.Learn(v.At(&p), baseline.CallOf(uint64(1000*math.Exp(0.5*rng.NormFloat64())), 0), 1)
	}
	a := v.At(&p)
	require.InDelta(t, baseline.Size(1000), a.Mean, 0.15)
	require.InDelta(t, 0.45, a.Scale, 0.15)
	v.Learn(a, baseline.CallOf(1<<40, 0), 1)
	b := v.At(&p)
	require.InDelta(t, a.Scale, b.Scale, 0.05)
	require.InDelta(t, a.Mean, b.Mean, 0.05)
}

func TestItemsTellDestinationsFromSources(t *testing.T) {
	kinds := func(touch baseline.Touch) map[baseline.ItemKind][]string {
		out := make(map[baseline.ItemKind][]string)
		for _, it := range baseline.AppendItems(nil, touch) {
			if it.Kind != baseline.ItemTool && it.Kind != baseline.ItemToolKind {
				out[it.Kind] = append(out[it.Kind], it.Name)
			}
		}
		return out
	}
	for _, access := range []string{"", "read"} {
		require.Equal(t, map[baseline.ItemKind][]string{
			baseline.ItemSource:      {"file:a", "bare"},
			baseline.ItemDestination: {"url:https://x.example/p"},
			baseline.ItemSite:        {"x.example"},
		}, kinds(baseline.Touch{Tool: "get", Access: access, Resources: []string{"file:a", "url:https://x.example/p", "bare"}}),
			"reading from outside sends the request out")
	}
	for _, access := range []string{"write", "delete", "execute"} {
		require.Equal(t, map[baseline.ItemKind][]string{
			baseline.ItemWrite: {"file:a"},
			baseline.ItemSite:  {""},
			baseline.ItemAgent: {"agent-7"},
		}, kinds(baseline.Touch{Tool: "put", Access: access, Resources: []string{"file:a"}, Target: "agent-7"}),
			"what is changed in the house has not left it")
	}
	require.Equal(t, []string{"file:a"},
		kinds(baseline.Touch{Tool: "put", Access: "send", Resources: []string{"file:a"}})[baseline.ItemDestination])
}

func TestAnItemIsNewUntilItsProbationIsOver(t *testing.T) {
	var n baseline.Novelty
	n.Admit(42<<40, 1000)
	n.Promote(1000 + baseline.Probation - 1)
	require.True(t, n.Pending(42<<40))
	require.False(t, n.Known.Has(42<<40))
	n.Promote(1000 + baseline.Probation)
	require.False(t, n.Pending(42<<40))
	require.True(t, n.Known.Has(42<<40))
}

func TestWhatPeersKnowMakesANewItemLessRare(t *testing.T) {
	fleet := baseline.NewPeers(nil)
	g := baseline.NewPeers(fleet)
	g.Vouching = 20
	item := baseline.Hash(1, "email:new@corp.example")
	var n baseline.Novelty
	unknown := n.Rarity(g, baseline.ItemDestination, item, nil, false, 0)
	for i := range 10 {
		g.Learnt(item, int64(i))
	}
	g.Advance(baseline.Probation - 1)
	require.InDelta(t, unknown.PerDay, n.Rarity(g, baseline.ItemDestination, item, nil, false, 0).PerDay, 0, "on probation for peers too")
	g.Advance(baseline.Probation + 10)
	known := n.Rarity(g, baseline.ItemDestination, item, nil, false, 0)
	require.Equal(t, 10, known.PeersKnowing)
	require.Greater(t, known.PerDay, unknown.PerDay)
}

func TestANightlyRunIsLearntThoughEachNightIsAnEpisode(t *testing.T) {
	prior := baseline.NewPeers(nil).Rate
	var r baseline.Rate
	learn := func(days int, at func(day int) bool) {
		for d := range days {
			for h := range 24 {
				hour := int64(d*24 + h)
				if h == 2 && at(d) {
					r.Learn(&prior, r.At(&prior, hour), hour, 300, true)
				} else {
					r.Learn(&prior, r.At(&prior, hour), hour, 1, false)
				}
				r.Fade()
			}
		}
	}
	learn(12, func(int) bool { return true })
	nightly := r.At(&prior, 12*24+2).Mu
	require.Greater(t, nightly, 100.0, "every night at the same hour")
	require.Less(t, r.At(&prior, 12*24+14).Mu, 10.0, "the other hours stay what they are")

	r = baseline.Rate{}
	learn(12, func(d int) bool { return d%3 == 0 })
	require.Less(t, r.At(&prior, 12*24+2).Mu, nightly/3, "now and then: no schedule")
}

// That a schedule was not known is not what its nights differ by.
func TestANightlyRunOfTheSameSizeHasNoSpread(t *testing.T) {
	prior := baseline.NewPeers(nil).Rate
	var r baseline.Rate
	for hour := range int64(14 * 24) {
		count := 0.0
		if hour%24 == 2 {
			count = 500 + float64(hour/24%5)*10
		}
		r.Learn(&prior, r.At(&prior, hour), hour, count, count > 0 && hour < 72)
		r.Fade()
	}
	a := r.At(&prior, 14*24+2)
	require.InDelta(t, 520, a.Mu, 130)
	require.Less(t, a.Overdispersion, 0.5)
}

func TestAWeekdayThatIsHardlyWorkedMayStillBeEmpty(t *testing.T) {
	r, prior := hours(4*7*24, func(hour int) float64 { // 1 January 1970 was a Thursday
		if weekday := (hour/24 + 3) % 7; weekday >= 5 {
			return 0
		}
		return 40
	})
	thursday, saturday := int64(28*24+10), int64(30*24+10)
	mu, over, day := r.Idles(prior, thursday)
	require.InDelta(t, 40, mu, 6)
	require.InDelta(t, r.At(prior, thursday).Overdispersion, over, 0.05)
	require.Less(t, day, 0.05)
	few, rest, doubt := r.Idles(prior, saturday)
	require.Less(t, few, 4.0)
	require.Greater(t, rest+doubt, over+0.5)
	require.Greater(t, doubt, 0.5)
}

func TestTheFirstNightsAreHeldAgainstTheBusiestHour(t *testing.T) {
	peers := baseline.NewPeers(nil)
	p := baseline.Profile{}
	for hour := range int64(24 * 8) {
		w := baseline.Window{Hour: hour, Open: true}
		w.Expect(&p, peers)
		require.Zero(t, w.Rate.Near, "nor is the hour beside an excuse")
		if hour > 1 {
			require.InDelta(t, 200, w.Rate.Peak, 1e-3, "hour %d", hour)
		}
		if hour == 1 {
			w.Events = 200
		}
		p.Close(peers, &w, hour == 5, false)
	}
	w := baseline.Window{Hour: 24 * 8, Open: true}
	w.Expect(&p, peers)
	require.Zero(t, w.Rate.Peak, "after its first days the hours of the day speak for themselves")
}

func TestToActSeldomIsNoEvidence(t *testing.T) {
	g := baseline.NewPeers(baseline.NewPeers(nil))
	var n baseline.Novelty
	for range 40 { // one incidence a day
		n.Learn(g, baseline.ItemDestination, nil, false, baseline.NoveltyWeight{}, 0)
		n.Day(1)
		g.Novelty.Day()
	}
	r := n.Rarity(g, baseline.ItemDestination, 1, nil, false, 0)
	require.InEpsilon(t, 7, r.PerDay/r.Incidence/r.PeerShare, 1e-9, "held to have seven a day")
}
