package simulator

import (
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/stat/distuv"
)

// mix64 is the finaliser of splitmix64: a bijection, so distinct inputs give
// distinct outputs.
func mix64(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// dice is a seeded random stream.
type dice struct{ r *rand.Rand }

// newDice returns the stream number stream of seed.
func newDice(seed, stream uint64) dice {
	return dice{rand.New(rand.NewPCG(mix64(seed+0x9e3779b97f4a7c15), mix64(stream+0x632be59bd9b4e019)))} //nolint:gosec // a simulation must be reproducible, not secret
}

func (d dice) chance(p float64) bool { return d.r.Float64() < p }

func (d dice) between(lo, hi float64) float64 { return lo + (hi-lo)*d.r.Float64() }

// logBetween is uniform on the logarithm.
func (d dice) logBetween(lo, hi float64) float64 { return lo * math.Exp(d.r.Float64()*math.Log(hi/lo)) }

func (d dice) logNormal(median, sigma float64) float64 {
	return median * math.Exp(sigma*d.r.NormFloat64())
}

// unitGamma has mean 1 and variance phi.
func (d dice) unitGamma(phi float64) float64 {
	if phi < 1e-9 {
		return 1
	}
	return distuv.Gamma{Alpha: 1 / phi, Beta: 1 / phi, Src: d.r}.Rand()
}

func (d dice) poisson(mu float64) int {
	if mu <= 0 {
		return 0
	}
	return int(distuv.Poisson{Lambda: mu, Src: d.r}.Rand())
}

// pareto has minimum 1 and survival x^-alpha, cut at most.
func (d dice) pareto(alpha, most float64) float64 {
	return math.Min(most, math.Exp(d.r.ExpFloat64()/alpha))
}

// zipf returns a rank in [0, n), rank k with a probability close to 1/(k+1).
func (d dice) zipf(n int) int {
	if n <= 1 {
		return 0
	}
	return min(n-1, int(math.Exp(d.r.Float64()*math.Log(float64(n+1))))-1)
}

// geometric returns a count of at least 1 with the given mean.
func (d dice) geometric(mean float64) int {
	if mean <= 1 {
		return 1
	}
	return 1 + int(d.r.ExpFloat64()/-math.Log1p(-1/mean))
}

// firstOf is the smallest of n uniform points of [0,1): drawing it again on what
// is left gives n sorted points without holding them.
func (d dice) firstOf(n float64) float64 { return -math.Expm1(-d.r.ExpFloat64() / n) }
