package bench

import (
	"math"

	dto "github.com/prometheus/client_model/go"
)

// Bound returns the upper bound of the bucket that holds a share, such as 0.99, of what
// was observed between two looks at a histogram; 0 where nothing was, infinity (which
// JSON has not) as -1.
func Bound(before, after *dto.Histogram, share float64) float64 {
	total := float64(after.GetSampleCount() - before.GetSampleCount())
	if total == 0 {
		return 0
	}
	for i, b := range after.GetBucket() {
		n := b.GetCumulativeCount()
		if i < len(before.GetBucket()) {
			n -= before.GetBucket()[i].GetCumulativeCount()
		}
		if float64(n) >= share*total && !math.IsInf(b.GetUpperBound(), 1) {
			return b.GetUpperBound()
		}
	}
	return -1
}
