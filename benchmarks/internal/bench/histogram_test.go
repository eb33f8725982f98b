package bench

import (
	"math"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"
)

func TestAHistogramGivesTheBucketOfWhatCameBetweenTwoLooks(t *testing.T) {
	look := func(counts ...uint64) *dto.Histogram {
		h := &dto.Histogram{SampleCount: &counts[2]}
		for i, bound := range []float64{.1, .2, math.Inf(1)} {
			h.Bucket = append(h.Bucket, &dto.Bucket{UpperBound: &bound, CumulativeCount: &counts[i]})
		}
		return h
	}
	before := look(1000, 1000, 1000)
	require.InDelta(t, .1, Bound(before, look(1099, 1100, 1100), .99), 1e-12)
	require.InDelta(t, .2, Bound(before, look(1099, 1100, 1100), 1), 1e-12, "the largest")
	require.InDelta(t, .2, Bound(before, look(1098, 1100, 1100), .99), 1e-12)
	require.InDelta(t, -1, Bound(before, look(1000, 1000, 1100), .99), 0, "beyond the last bucket")
	require.InDelta(t, .2, Bound(nil, look(0, 7, 7), .99), 0, "nothing was observed before the first look")
	require.Zero(t, Bound(before, before, .99))
}
