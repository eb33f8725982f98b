package score

import "math"

// Floor is the surprise of an event that shows nothing unusual.
var Floor = -math.Log10(NoEvidence)

// Fuse is the corrected maximum: each signal's lambda over its share of the
// budget, the strongest counts. (A sum of evidence was tried: with many weak
// signals it drowns the one that matters.)
type Fuse struct {
	shares []float64
}

// NewFuse returns the fusion for the given weights; a weight of 0 or less turns a
// signal off. Those that are beside the others have their part on top of the budget, so that
// it is nobody else's: the fused evidence is calibrated again.
func NewFuse(weights []float64, beside func(i int) bool) Fuse {
	total := 0.0
	for i, w := range weights {
		if !beside(i) {
			total += max(w, 0)
		}
	}
	if total <= 0 { // they are alone
		for _, w := range weights {
			total += max(w, 0)
		}
	}
	f := Fuse{shares: make([]float64, len(weights))}
	for i, w := range weights {
		if w > 0 {
			f.shares[i] = w / total
		}
	}
	return f
}

// On reports whether signal i takes part.
func (f *Fuse) On(i int) bool { return f.shares[i] > 0 }

// Share is the part of the budget that signal i has.
func (f *Fuse) Share(i int) float64 { return f.shares[i] }

// Evidence returns -log10 of signal i's lambda over its share.
func (f *Fuse) Evidence(i int, lambda float64) float64 {
	return -math.Log10(lambda / f.shares[i])
}
