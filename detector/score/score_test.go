package score_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/stat/distuv"

	"github.com/plumbline-sec/plumbline/detector/internal/wire"
	"github.com/plumbline-sec/plumbline/detector/score"
	"github.com/plumbline-sec/plumbline/internal/seeded"
)

// nbTail sums a negative binomial term by term.
func nbTail(n int, mu, over float64) float64 {
	r := 1 / over
	logPMF := func(k float64) float64 {
		a, _ := math.Lgamma(k + r)
		b, _ := math.Lgamma(r)
		c, _ := math.Lgamma(k + 1)
		return a - b - c + k*math.Log(mu/(mu+r)) + r*math.Log(r/(mu+r))
	}
	sum := math.Exp(logPMF(float64(n))) / 2
	for k := n + 1; k < n+20000; k++ {
		sum += math.Exp(logPMF(float64(k)))
	}
	return sum
}

func TestASteadyCountNeitherDividesByZeroNorGoesBlind(t *testing.T) {
	for _, over := range []float64{0, -1.0 / 20, -0.9 / 20} {
		require.Less(t, score.Counts(21, 20, over), 2.5, "one more is little")
		require.Greater(t, score.Counts(40, 20, over), 3.5, "twice as many is much")
	}
	require.Zero(t, score.Counts(0, 0, 0))
	require.Zero(t, score.Counts(5, 0, 1))
	require.Zero(t, score.Counts(20, 20, 0.1))
}

func TestTailsAgreeWithExactOnesWhateverTheirParameters(t *testing.T) {
	rng := seeded.Rand(t)
	between := func(low, high float64) float64 { return low * math.Pow(high/low, rng.Float64()) }
	near := func(want, got, within float64, msg string, args ...any) {
		t.Helper()
		require.InDelta(t, want, got, within*math.Max(1, want), append([]any{msg}, args...)...)
	}
	for range 100 {
		mu, over := between(0.01, 200), between(1e-3, 3)
		if over *= math.Max(1, 1/mu); over*mu >= 1e-3 {
			sd := math.Sqrt(mu + over*mu*mu)
			n := math.Ceil(mu + 6*sd*rng.Float64() + 1e-9)
			near(-math.Log10(nbTail(int(n), mu, over)), score.Counts(n, mu, over), 1e-6, "n %v mu %v over %v", n, mu, over)
		}
		df, x := between(2, 60), between(0.01, 30)
		near(-math.Log10(distuv.StudentsT{Sigma: 1, Nu: df}.Survival(x)), score.StudentT(x, df), 1e-9, "t %v df %v", x, df)
		near(-math.Log10(distuv.StudentsT{Sigma: 1, Nu: 60}.Survival(x)), score.StudentT(x, 60), 1e-9, "t %v df 60", x)
		require.LessOrEqual(t, score.StudentT(x, 60), score.StudentT(math.Nextafter(x, 99), 60)+1e-9)
		mean, variance := between(0.01, 1e6), between(0.01, 1e6)
		v := mean + between(0.01, 10)*math.Sqrt(variance)
		if want := (distuv.Gamma{Alpha: mean * mean / variance, Beta: mean / variance}).Survival(v); want > 1e-200 {
			near(-math.Log10(want), score.Gamma(v, mean, variance), 1e-9, "x %v mean %v variance %v", v, mean, variance)
		}
		relVar := between(1e-3, 100)
		s2 := math.Log1p(relVar)
		v = mean * between(1.001, 1e4)
		exact := distuv.LogNormal{Mu: math.Log(mean) - s2/2, Sigma: math.Sqrt(s2)}
		require.InEpsilon(t, exact.Quantile(0.999), score.LogNormalQuantile(3, mean, relVar), 1e-9)
		near(3, score.LogNormal(exact.Quantile(0.999), mean, relVar), 1e-9, "mean %v relative variance %v", mean, relVar)
		if want := exact.Survival(v); want > 1e-8 { // it is 1 - CDF
			near(-math.Log10(want), score.LogNormal(v, mean, relVar), 1e-6, "x %v mean %v relative variance %v", v, mean, relVar)
		}
	}
}

func TestNoNumberMakesATailPanic(t *testing.T) {
	numbers := []float64{0, -1, 5e-324, 1e-300, 1e-3, 1, 3, 1e9, 1e150, 1e160, math.MaxFloat64, math.Inf(1), math.Inf(-1), math.NaN()}
	for _, a := range numbers {
		for _, b := range numbers {
			for _, c := range numbers {
				for name, x := range map[string]float64{
					"counts": score.Counts(a, b, c), "gamma": score.Gamma(a, b, c), "log-normal": score.LogNormal(a, b, c),
					"student": score.StudentT(a, b), "either": score.Either(score.Gamma(a, b, c), score.StudentT(b, c)),
				} {
					require.True(t, x >= 0 && x <= score.MaxEvidence, "%s of %v %v %v: %v", name, a, b, c, x)
				}
			}
		}
	}
}

func TestNoNumberLeavesACurve(t *testing.T) {
	var c score.Curve
	numbers := []float64{math.Inf(-1), -1e300, -1, 0, 0.5, 12, 12.6, 1e30, 1e300, math.Inf(1), math.NaN()}
	for _, from := range numbers {
		for _, to := range numbers {
			c.Record(from, to, 1)
			c.Expose(1)
		}
	}
	last := math.Inf(1)
	for x := 0.0; x < 20; x += 0.05 {
		l := c.Lambda(x, 0.01, 1)
		require.True(t, l > 0 && l <= last, "at %v: %v", x, l)
		last = l
	}
}

func TestTheGammaQuantileIsWithinItsStatedError(t *testing.T) {
	for _, c := range []struct{ shape, within float64 }{{0.1, 0.15}, {0.3, 0.15}, {1, 0.03}, {4, 0.01}, {100, 0.01}} {
		want := distuv.Gamma{Alpha: c.shape, Beta: 1}.Quantile(0.999)
		require.InEpsilon(t, want, score.GammaQuantile(3, c.shape, c.shape), c.within, "shape %v", c.shape)
	}
}

func TestTailsAreFiniteAndDoNotFallAsTheValueGrows(t *testing.T) {
	tails := map[string]func(v float64) float64{
		"negative binomial": func(v float64) float64 { return score.Counts(math.Round(v), 7, 0.5) },
		"steady":            func(v float64) float64 { return score.Counts(math.Round(v), 7, 0) },
		"sparse":            func(v float64) float64 { return score.Counts(math.Round(v), 1e-6, 1e6) },
		"gamma":             func(v float64) float64 { return score.Gamma(v, 7, 20) },
		"student":           func(v float64) float64 { return score.StudentT(v, 5) },
		"log-normal":        func(v float64) float64 { return score.LogNormal(v, 7, 3) },
	}
	for name, tail := range tails {
		t.Run(name, func(t *testing.T) {
			last := 0.0
			for v := 0.0; v < 1e15; v = v*1.07 + 1 {
				x := tail(v)
				require.False(t, math.IsNaN(x) || x < 0 || x > score.MaxEvidence, "at %v: %v", v, x)
				require.GreaterOrEqual(t, x, last-1e-6, "at %v", v)
				last = x
			}
			require.Greater(t, last, 3.0)
		})
	}
}

func TestACurveKnowsHowOftenItsEvidenceIsReallyExceeded(t *testing.T) {
	rng := seeded.Rand(t)
	const days, curves = 2000, 20
	for _, slope := range []float64{0.6, 1} {
		mean := map[float64]float64{}
		for range curves {
			var c score.Curve
			for range days {
				c.Expose(1)
				c.Record(0, -math.Log10(rng.Float64())/slope, 1)
			}
			for _, x := range []float64{1, 2, 3, 4} {
				want, got := math.Pow(10, -slope*x), c.Lambda(x, 0, 0.001)
				mean[x] += got / curves
				// Five standard errors, in decades: of the count, 8 at the edge of the tail, and
				// beyond it of the slope, which 40 exceedances say and the nominal one is worth 10.
				beyond := math.Max(0, slope*x-math.Log10(days/8.0))
				tolerance := 5*math.Log10E/math.Sqrt(math.Max(days*want, 8)) + beyond*(5/math.Sqrt(50)+0.1)
				require.InDelta(t, math.Log10(want), math.Log10(got), tolerance, "slope %v at %v", slope, x)
			}
		}
		for x, got := range mean {
			require.InEpsilon(t, math.Pow(10, -slope*x), got, 0.4+0.35*math.Max(0, slope*x-2), "slope %v at %v, the mean of all", slope, x)
		}
	}
}

func TestACurveDoesNotRiseAndWithoutEvidenceSaysItsPrior(t *testing.T) {
	rng := seeded.Rand(t)
	for n := range 60 {
		var c score.Curve
		for range n {
			c.Expose(1)
			c.Record(0, rng.ExpFloat64()*2, 1)
		}
		last := math.Inf(1)
		for x := 0.5; x < 40; x += 0.03 {
			l := c.Lambda(x, math.Pow(10, -x), 50)
			require.LessOrEqual(t, l, last*(1+1e-9), "at %v of %d", x, n)
			require.Positive(t, l)
			last = l
		}
	}
	var empty score.Curve
	require.InDelta(t, 0.25, empty.Lambda(2, 0.25, 50), 1e-12)
}

func TestACurveThatIsAskedAllTheTimeAnswersLikeOneThatIsAskedOnce(t *testing.T) {
	rng := seeded.Rand(t)
	for range 50 {
		var asked, left score.Curve
		for range 400 {
			from := 12 * rng.Float64() * rng.Float64()
			to := from + rng.ExpFloat64()
			for _, c := range []*score.Curve{&asked, &left} {
				c.Record(from, to, 1)
				c.Expose(0.1)
			}
			asked.Lambda(3, 1, 1)
		}
		for x := 0.0; x < 14; x += 0.07 {
			require.Equal(t, left.Lambda(x, 1, 1), asked.Lambda(x, 1, 1), "x %v", x) //nolint:testifylint // the same bits
		}
	}
}

func TestARisenBlockCountsOnce(t *testing.T) {
	var once, steps score.Curve
	once.Expose(10)
	steps.Expose(10)
	once.Record(0, 3.3, 1)
	steps.Record(0, 0.9, 1)
	steps.Record(0.9, 2.1, 1)
	steps.Record(2.1, 2.1, 1)
	steps.Record(2.1, 3.3, 1)
	for x := 0.5; x < 5; x += 0.1 {
		require.InDelta(t, once.Lambda(x, 1, 1), steps.Lambda(x, 1, 1), 1e-9)
	}
}

func TestCalibrationWithoutEvidenceNeverAlerts(t *testing.T) {
	p := score.Pair{Group: score.NewCalibration(2), Fleet: score.NewCalibration(2)}
	for _, class := range []score.Maturity{score.Young, score.Mature} {
		require.InDelta(t, score.NoEvidence, p.Signal(0, class, 0, 24), 0)
		require.InDelta(t, score.NoEvidence, p.Signal(0, class, 0.4, 24), 0)
		p.Fleet.Expose(class, 1e6)
		p.Group.Expose(class, 1e6)
		require.InDelta(t, score.NoEvidence, p.Signal(0, class, 0, 24), 0, "whatever was watched")
		require.GreaterOrEqual(t, p.Fused(class, -5), 1.0)
	}
}

func TestAMillionQuietDaysDoNotMakeWeakEvidenceAnAlert(t *testing.T) {
	p := score.Pair{Group: score.NewCalibration(1), Fleet: score.NewCalibration(1)}
	for _, class := range []score.Maturity{score.Young, score.Mature} {
		p.Fleet.Expose(class, 1e6)
		p.Group.Expose(class, 1e6)
		for _, y := range []float64{-1, 0.37, 2, 5} {
			require.GreaterOrEqual(t, p.Fused(class, y), math.Pow(10, -y)/31, "at %v", y)
		}
		require.Less(t, p.Fused(class, 2), 0.01, "but it counts for more than by the model")
	}
}

func TestThoseWhoGrowUpAreHeldToTheYoungADecadeLessAtFirst(t *testing.T) {
	p := score.Pair{Group: score.NewCalibration(1), Fleet: score.NewCalibration(1)}
	p.Fleet.Expose(0, 600)
	p.Group.Expose(0, 100)
	for range 60 {
		p.Fleet.RecordFused(0, -1, 1, 1) // 0.1 a day
	}
	young := p.Fused(0, 3)
	require.Greater(t, p.Fused(1, 3), 5*young, "none of them has been watched")
	last := p.Fused(1, 3)
	for range 20 { // in 200 agent-days what they do themselves has taken over
		p.Fleet.Expose(1, 10)
		require.LessOrEqual(t, p.Fused(1, 3), last)
		last = p.Fused(1, 3)
	}
	require.Less(t, last, 2*young)
}

func TestWhatAGroupShowsEveryDaySaysLittleAboutWhatIsRare(t *testing.T) {
	p := score.Pair{Group: score.NewCalibration(1), Fleet: score.NewCalibration(1)}
	record := func(c *score.Calibration, days, n int, from float64) {
		c.Expose(1, float64(days))
		for i := range n {
			c.RecordFused(1, score.Floor, from-math.Log10((float64(i)+0.5)/float64(n)), 1)
		}
	}
	record(p.Fleet, 5000, 5000, 0) // as the model says
	record(p.Group, 60, 240, 0)    // four times as often
	for y, times := range map[float64][2]float64{0.2: {2.5, 4}, 2: {1.5, 2.5}, 4: {1, 1.1}} {
		usual := math.Pow(10, -y)
		require.Greater(t, p.Fused(1, y), times[0]*usual, "at %v", y)
		require.Less(t, p.Fused(1, y), times[1]*usual, "at %v", y)
	}
	record(p.Group, 0, 30, 3.5)
	require.Greater(t, p.Fused(1, 3), 0.02, "thirty of what is rare do")
}

func TestCalibrationSurvivesAnotherOrderOfSignals(t *testing.T) {
	c := score.NewCalibration(3)
	for i := range 3 {
		for range 20 {
			c.Signals[0][i].Record(0, float64(i+1), 1)
		}
	}
	c.Expose(0, 100)
	w := wire.Encoder(nil)
	c.Code(w, []string{"a", "b", "c"})
	back := score.NewCalibration(3)
	r := wire.Decoder(w.Bytes())
	back.Code(r, []string{"c", "new", "a"})
	require.NoError(t, r.Err())
	require.Empty(t, r.Bytes())
	require.InDelta(t, c.Signals[0][0].Lambda(1, 0, 1), back.Signals[0][2].Lambda(1, 0, 1), 1e-12)
	require.InDelta(t, c.Signals[0][2].Lambda(3, 0, 1), back.Signals[0][0].Lambda(3, 0, 1), 1e-12)
	require.Zero(t, back.Signals[0][1].Days(), "a signal that was not there starts empty")
}

func TestSharesDivideTheBudget(t *testing.T) {
	f := score.NewFuse([]float64{1, 3, 0}, func(int) bool { return false })
	require.True(t, f.On(0))
	require.False(t, f.On(2))
	require.InDelta(t, 2-math.Log10(4), f.Evidence(0, 0.01), 1e-12)
	require.InDelta(t, 2-math.Log10(4.0/3), f.Evidence(1, 0.01), 1e-12)
}

func TestTheScoreIsFiftyAtTheBudgetAndTenADecade(t *testing.T) {
	b := score.NewBudget(0.01)
	for _, c := range []struct{ surprise, score float64 }{{2, 50}, {3, 60}, {1, 40}, {7, 100}, {300, 100}, {-3, 0}} {
		require.InDelta(t, c.score, b.Score(c.surprise), 1e-9)
		require.Equal(t, c.score >= 50, b.Crossed(c.surprise))
	}
}

func TestQuantileFindsWhereTheTailReaches(t *testing.T) {
	for _, mean := range []float64{0.01, 3, 4000} {
		tail := func(v float64) float64 { return score.Gamma(v, mean, mean*mean) } // exponential
		require.InEpsilon(t, mean*3*math.Ln10, score.Quantile(tail, 3, mean, 50), 1e-6)
	}
	flat := func(float64) float64 { return 0 }
	require.Greater(t, score.Quantile(flat, 3, 1, 10), 1.0, "a tail that never reaches ends the search")
}

func TestEitherAddsProbabilities(t *testing.T) {
	for _, c := range [][2]float64{{3, 3}, {2, 9}, {9, 2}, {0, 5}, {300, 301}} {
		want := -math.Log10(math.Pow(10, -c[0]) + math.Pow(10, -c[1]))
		require.InDelta(t, math.Max(want, 0), score.Either(c[0], c[1]), 1e-9, "%v", c)
	}
	require.Zero(t, score.Either(-1, 0.2))
}
