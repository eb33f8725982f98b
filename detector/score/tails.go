package score

import (
	"math"

	"gonum.org/v1/gonum/mathext"
)

func evidence(p float64) float64 {
	if !(p > minTail) { // NaN too: a tail that can't be told is not evidence beyond the end
		if p <= minTail {
			return MaxEvidence
		}
		return 0
	}
	return max(0, -math.Log10(p))
}

// Counts returns -log10 P(X >= n), mid-p, of an overdispersed count: mean mu and
// variance mu + overdispersion*mu^2. It is a negative binomial; where the counts are as
// good as Poisson or steadier, a gamma whose standard deviation is at least half
// a count and 4 % of the mean, so that a perfectly steady agent neither divides
// by zero nor alarms on a single call more.
func Counts(n, mu, overdispersion float64) float64 {
	if n <= mu || mu <= 0 {
		return 0
	}
	if overdispersion*mu < steadyBelow {
		floor := steadySigma * mu
		variance := max(minCountVar, float64(floor*floor), mu+float64(overdispersion*mu*mu))
		return Gamma(n-0.5, mu, variance)
	}
	r := 1 / overdispersion
	p := mu / (mu + r)
	if !(r > 0 && p > 0 && p < 1 && n < math.MaxFloat64) {
		return 0 // past the numbers: only a state that somebody made up has such
	}
	// P(X >= n) = I_p(n, r). Mid-p takes the mean with P(X >= n+1).
	above := mathext.RegIncBeta(n, r, p)
	beyond := mathext.RegIncBeta(n+1, r, p)
	if above > minSurvival {
		return evidence((above + beyond) / 2)
	}
	// Past the end of the numbers the tail falls by log10(p) a count, and by the
	// power of n that the binomial coefficient brings.
	lg, _ := math.Lgamma(n + r)
	lr, _ := math.Lgamma(r)
	ln, _ := math.Lgamma(n + 1)
	log := lg - lr - ln + float64(n*math.Log(p)) + float64(r*math.Log1p(-p)) - math.Log1p(-p)
	if !(log < 0) {
		return 0 // NaN too: the difference of two numbers past all bounds
	}
	return min(-log/math.Ln10, MaxEvidence)
}

// Gamma returns -log10 P(X >= x) of a gamma with the given mean and variance.
func Gamma(x, mean, variance float64) float64 {
	if x <= mean || mean <= 0 || variance <= 0 {
		return 0
	}
	shape, z := mean*mean/variance, x*mean/variance
	if !(shape > 0 && shape < math.MaxFloat64 && z < math.MaxFloat64) {
		return 0 // past the numbers, which gonum refuses with a panic
	}
	return evidence(mathext.GammaIncRegComp(shape, z))
}

// studentTerms are the coefficients of the sum that is P(|T| < t) at StudentMax
// degrees of freedom (Abramowitz and Stegun 26.7.4).
var studentTerms = func() (terms [StudentMax / 2]float64) {
	terms[0] = 1
	for k := 1; k < len(terms); k++ {
		terms[k] = terms[k-1] * float64(2*k-1) / float64(2*k)
	}
	return terms
}()

// StudentT returns -log10 P(T >= t) with df degrees of freedom.
func StudentT(t, df float64) float64 {
	if !(t > 0 && df > minTail && df < 1/minTail) {
		return 0
	}
	tt := float64(t * t)
	if df == StudentMax && t < studentSumBelow { // ten times as fast; beyond, the difference to 1 loses digits
		cos := StudentMax / (StudentMax + tt)
		sum := 0.0
		for k := len(studentTerms) - 1; k >= 0; k-- {
			sum = float64(sum*cos) + studentTerms[k]
		}
		return evidence((1 - float64(math.Sqrt(1-cos)*sum)) / 2)
	}
	return evidence(mathext.RegIncBeta(df/2, 0.5, df/(df+tt)) / 2)
}

// LogNormal returns -log10 P(X >= x) of a log-normal with the given mean and
// relative variance.
func LogNormal(x, mean, relVar float64) float64 {
	if x <= mean || mean <= 0 {
		return 0
	}
	s2 := math.Log1p(relVar)
	s := math.Sqrt(max(s2, minLogVar))
	z := (math.Log(x/mean) + s2/2) / s
	return evidence(math.Erfc(z/math.Sqrt2) / 2)
}

// LogNormalQuantile returns the value that a log-normal exceeds with
// probability 10^-x.
func LogNormalQuantile(x, mean, relVar float64) float64 {
	s2 := math.Log1p(relVar)
	s := math.Sqrt(max(s2, minLogVar))
	z := upper(x)
	return mean * math.Exp(float64(z*s)-s2/2)
}

// Either returns the evidence where two events explain the same: -log10(10^-x + 10^-y).
func Either(x, y float64) float64 {
	low, high := max(min(x, y), 0), max(x, y)
	return max(low-math.Log10(1+pow10(low-high)), 0)
}

// Quantile returns the smallest value at which a tail reaches x decades, by
// bisection between low (where it has not) and an upper end that it looks for.
// The tail must not fall as the value grows.
func Quantile(tail func(v float64) float64, x, low float64, steps int) float64 {
	high := max(2*low, 1)
	for i := 0; tail(high) < x; i++ {
		if i == maxDoublings {
			return high
		}
		low, high = high, 2*high
	}
	for range steps {
		mid := low + (high-low)/2
		if tail(mid) >= x {
			high = mid
		} else {
			low = mid
		}
	}
	return high
}

// GammaQuantile returns about the value that a gamma exceeds with probability
// 10^-x: Wilson and Hilferty's cube. In the upper tail it is within 3 % where the
// shape is 1 or more and within 15 % down to a shape of 0.1.
func GammaQuantile(x, mean, variance float64) float64 {
	shape := mean * mean / variance
	z := upper(x)
	c := 1 / (9 * shape)
	r := 1 - c + float64(z*math.Sqrt(c))
	return mean * r * r * r
}

// upper returns the standard normal quantile that is exceeded with probability
// 10^-x.
func upper(x float64) float64 {
	if x == 3 {
		return z999
	}
	return -mathext.NormalQuantile(pow10(-x))
}

// pow10 is 10^x, a good deal faster than math.Pow and within a few last bits.
func pow10(x float64) float64 { return math.Exp(x * math.Ln10) }
