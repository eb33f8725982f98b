package pipeline_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/schemas"
)

// A record of many events is one dead letter however many of them are refused:
// otherwise one record of 10 MiB could become terabytes.
func TestARecordOfManyEventsIsOneDeadLetterAndEveryGoodEventIsRouted(t *testing.T) {
	r := newRig(t, 4)
	r.form = "cloudtrail"
	var events []string
	for i := range 300 {
		events = append(events, fmt.Sprintf(`{"eventID":"e%d","eventTime":"2024-06-03T08:00:00Z","eventSource":"s3.amazonaws.com","eventName":"GetObject","userIdentity":{"arn":"agent-%d"}}`, i, i%3), `{}`)
	}
	r.send(`{"Records":[`+strings.Join(events, ",")+`]}`, `{"Records":[{}]}`)
	s := r.run("route")

	last := map[string]int32{}
	routed := 0
	for _, rec := range r.cluster.All(pipeline.TopicActivity) {
		origin, err := schemas.ParseOrigin(rec.Headers[0].Value)
		require.NoError(t, err)
		require.GreaterOrEqual(t, origin.Index, last[string(rec.Key)], "the order of an agent is kept")
		last[string(rec.Key)] = origin.Index
		require.Contains(t, string(rec.Value), fmt.Sprintf(`"event_id":"e%d"`, origin.Index/2))
		routed++
	}
	require.Equal(t, 300, routed)
	require.Len(t, last, 3)

	refused := map[string]string{}
	for _, rec := range r.cluster.All(pipeline.TopicDeadLetter) {
		for _, h := range rec.Headers {
			if h.Key == pipeline.HeaderRefused {
				refused[string(h.Value)] = string(rec.Value[:12])
			}
		}
	}
	require.Len(t, r.cluster.All(pipeline.TopicDeadLetter), 2)
	require.Equal(t, map[string]string{"300": `{"Records":[`}, refused, "one refusal needs no count")
	require.InDelta(t, 301, testutil.ToFloat64(s.metrics.Refused.WithLabelValues("default", "no_agent_id")), 0)
}
