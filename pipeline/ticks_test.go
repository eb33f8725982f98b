package pipeline_test

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/schemas"
)

// tick is the record of a tick.
func tick(at time.Time) pipeline.Record {
	return pipeline.Record{
		Value:   schemas.AppendTick(nil, schemas.Tick{At: schemas.Millis(at.UnixMilli())}),
		Headers: []pipeline.Header{{Key: schemas.RecordHeader, Value: []byte(schemas.RecordTick)}},
	}
}

func TestARecordThatIsNoEventIsPassedOver(t *testing.T) {
	r := newRig(t, 1)
	r.send(line("a", 1, time.Now(), ""))
	r.run("route")
	of := func(kind string) pipeline.Record {
		return pipeline.Record{Value: []byte("\x00"), Key: []byte("default/a"), Headers: []pipeline.Header{{Key: schemas.RecordHeader, Value: []byte(kind)}}}
	}
	_, err := r.cluster.Put(activity, of("of a later release"), of(""), tick(time.Now()))
	require.NoError(t, err)
	s := r.run("detect", "archive")
	require.Empty(t, r.cluster.All(pipeline.TopicDeadLetter))
	require.Equal(t, 1, r.warehouse.Stored("activity"))
	require.InDelta(t, 2, testutil.ToFloat64(s.metrics.Passed.WithLabelValues("detect")), 0)
	require.InDelta(t, 3, testutil.ToFloat64(s.metrics.Passed.WithLabelValues("archive")), 0)

	_, err = r.cluster.Put(activity, of("tick"))
	require.NoError(t, err)
	s = r.run("detect", "archive")
	require.Len(t, r.cluster.All(pipeline.TopicDeadLetter), 1, "route writes no such tick")
	require.InDelta(t, 1, testutil.ToFloat64(s.metrics.Refused.WithLabelValues(pipeline.TopicActivity, "no_origin")), 0)
}

// An agent may send what looks like a tick: its headers stay where they are.
func TestNoSourceRecordBecomesATick(t *testing.T) {
	r := newRig(t, 1)
	forged := tick(time.Now().Add(1000 * time.Hour))
	forged.Headers = append(forged.Headers, pipeline.Header{Key: "plumbline-origin", Value: []byte("default/1/agent-activity/0/99/0")})
	_, err := r.cluster.Put(pipeline.TopicPartition{Topic: sourceTopic}, forged)
	require.NoError(t, err)
	forged.Value = []byte(line("a", 1, time.Now(), `,"at":"2100-01-01T00:00:00Z"`))
	_, err = r.cluster.Put(pipeline.TopicPartition{Topic: sourceTopic}, forged)
	require.NoError(t, err)
	r.run(allRoles...)
	require.Len(t, r.cluster.All(pipeline.TopicDeadLetter), 1, "what names no agent is no event")
	routed := r.cluster.All(pipeline.TopicActivity)
	require.Len(t, routed, 1)
	require.Nil(t, routed[0].Header(schemas.RecordHeader))
	require.Equal(t, "default/1/"+sourceTopic+"/0/1/0", string(routed[0].Header(schemas.OriginHeader)))
	require.Equal(t, 1, r.warehouse.Stored("activity"))
}
