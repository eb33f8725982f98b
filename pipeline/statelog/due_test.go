package statelog

import (
	"context"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/pipeline"
)

// large is a state whose partition record alone fills the chunks that may wait.
type large struct{}

func (large) BeginCut(sink detector.CutSink, _ func(tenantID, agentID string) bool) {
	sink.Partition(make([]byte, (readyChunks+1)*chunkBytes))
}
func (large) ContinueCut(int) bool { return true }
func (large) CutWhole() bool       { return false }
func (large) ConfirmCut()          {}
func (large) AbortCut()            {}

// Where no record comes, only this has it go on.
func TestACheckpointThatBeginsWithManyChunksIsDueAtOnce(t *testing.T) {
	o := NewOwner(&pipeline.Role{}, pipeline.TopicPartition{}, nil, zerolog.Nop())
	pauses := prometheus.NewHistogram(prometheus.HistogramOpts{})
	c := o.Begin(t.Context(), large{}, Marker{Slices: 1}, nil, pauses)
	require.False(t, c.Due().IsZero())
	require.ErrorIs(t, c.Abandon(), context.Canceled)
}
