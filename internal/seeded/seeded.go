// Package seeded gives tests of properties their random numbers: the same on every
// run, others where they are asked for, and told where a test fails.
package seeded

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

// Rand returns the random numbers of a test. PLUMBLINE_SEED=random draws a seed at
// every call, PLUMBLINE_SEED=N repeats what a failed test has named.
func Rand(tb testing.TB) *rand.Rand {
	tb.Helper()
	seed := uint64(1)
	switch s := os.Getenv("PLUMBLINE_SEED"); s {
	case "":
	case "random":
		seed = rand.Uint64() //nolint:gosec // not a secret
	default:
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			tb.Fatalf("PLUMBLINE_SEED=%s is neither a number nor 'random'", s)
		}
		seed = n
	}
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("to repeat it: PLUMBLINE_SEED=%d", seed)
		}
	})
	return rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // not a secret
}
