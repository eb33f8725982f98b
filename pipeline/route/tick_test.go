package route_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/internal/embedded/broker/brokertest"
	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/pipeline/detect"
	"github.com/plumbline-sec/plumbline/pipeline/kafka"
	"github.com/plumbline-sec/plumbline/pipeline/route"
	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// An agent worked for four weeks and stopped eight hours ago; of the time since then a tick
// was written an hour and a half ago, and the next one is route's, over a broker. The
// topic takes the times that its records come with, else this would take five weeks.
func TestTheTickOfARouteHasAnAgentMissedThatIsAlone(t *testing.T) {
	client, err := kafka.New(kafka.Config{Brokers: []string{brokertest.Start(t)}, FetchMaxWait: 50 * time.Millisecond}, zerolog.Nop())
	require.NoError(t, err)
	defer func() { require.NoError(t, client.Close()) }()
	given := map[string]string{"message.timestamp.type": "CreateTime"}
	require.NoError(t, client.EnsureTopics(t.Context(), []kafka.TopicSpec{
		{Name: "source", Partitions: 2},
		{Name: pipeline.TopicActivity, Configs: given},
		{Name: pipeline.TopicAlerts},
		{Name: pipeline.TopicWindows},
		{Name: pipeline.TopicBaselines},
		{Name: pipeline.TopicDeadLetter},
	}))
	now := time.Now()
	tp := pipeline.TopicPartition{Topic: pipeline.TopicActivity}
	var worked []pipeline.Record
	for at := now.Add(-28 * 24 * time.Hour); at.Before(now.Add(-8 * time.Hour)); at = at.Add(10 * time.Minute) {
		ev := schemas.Activity{
			EventID: fmt.Sprint(at.Unix()), Time: schemas.Millis(at.UnixMilli()), TenantID: schemas.DefaultTenant, AgentID: "alone", SessionID: "s",
			PeerGroup: schemas.DefaultPeerGroup, Action: "tool_call", Tool: "t", Outcome: schemas.OutcomeSuccess,
		}
		origin := schemas.Origin{Source: "old", Topic: "source", Offset: int64(len(worked))}
		worked = append(worked, pipeline.Record{
			Time: ev.Time, Key: schemas.AppendKey(nil, ev.TenantID, ev.AgentID), Value: schemas.AppendActivity(nil, &ev),
			Headers: []pipeline.Header{{Key: schemas.OriginHeader, Value: origin.AppendTo(nil)}},
		})
	}
	before := schemas.Millis(now.Add(-90 * time.Minute).UnixMilli())
	worked = append(worked, pipeline.Record{
		Time: before, Value: schemas.AppendTick(nil, schemas.Tick{At: before}),
		Headers: []pipeline.Header{{Key: schemas.RecordHeader, Value: []byte(schemas.RecordTick)}},
	})
	require.NoError(t, client.Produce(t.Context(), tp, worked))
	// Something that is refused: it is routed when the dead-letter topic has it.
	require.NoError(t, client.Produce(t.Context(), pipeline.TopicPartition{Topic: "source", Partition: 1}, []pipeline.Record{{Value: []byte("no JSON")}}))

	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	reg := prometheus.NewRegistry()
	metrics := pipeline.NewMetrics(reg)
	start := func(group, topic string, made func(pipeline.Role, pipeline.Group) func(context.Context) error) {
		g, err := client.Group(kafka.GroupConfig{ID: group, Topics: []string{topic}})
		require.NoError(t, err)
		run := made(pipeline.Role{Log: client, Metrics: metrics, Health: pipeline.NewHealth(), Logger: zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.WarnLevel)}, g)
		running.Go(func() {
			_ = run(ctx)
			_ = g.Close()
		})
	}
	start(pipeline.GroupRoute, "source", func(role pipeline.Role, g pipeline.Group) func(context.Context) error {
		activity := func() (decode.Decoder, error) { return decode.NewActivity(), nil }
		r := route.New(role, g, []route.Source{{Name: "default", Topic: "source", NewDecoder: activity}}, route.NewMetrics(reg))
		r.Ticks = route.Ticks{Offsets: client, Every: 2 * time.Second}
		return r.Run
	})
	start(pipeline.GroupDetect, pipeline.TopicActivity, func(role pipeline.Role, g pipeline.Group) func(context.Context) error {
		d, err := detect.New(role, g, detect.Config{Detector: detector.DefaultConfig(), CheckpointEvery: time.Minute}, detect.NewMetrics(reg))
		require.NoError(t, err)
		return d.Run
	})

	var alerts []pipeline.Record
	for from := int64(0); len(alerts) == 0; {
		f, err := client.Fetch(t.Context(), pipeline.TopicPartition{Topic: pipeline.TopicAlerts}, from)
		require.NoError(t, err)
		require.Less(t, time.Since(now), time.Minute, "no alert came")
		alerts, from = f.Records, f.Next
	}
	var a schemas.Alert
	require.NoError(t, json.Unmarshal(alerts[0].Value, &a))
	require.Equal(t, []string{"alone", schemas.SignalSilence, schemas.StatusOpen}, []string{a.Agent.ID, a.Signals[0].Name, a.Status})
	place, ok := pipeline.ParsePlace(alerts[0].Header(pipeline.HeaderSource))
	require.True(t, ok)
	f, err := client.Fetch(t.Context(), tp, place.Offset)
	require.NoError(t, err)
	require.Equal(t, schemas.RecordTick, string(f.Records[0].Header(schemas.RecordHeader)))
	require.GreaterOrEqual(t, place.Offset, int64(len(worked)), "it is route's")
	letters, err := client.Fetch(t.Context(), pipeline.TopicPartition{Topic: pipeline.TopicDeadLetter}, 0)
	require.NoError(t, err)
	require.Len(t, letters.Records, 1)
}
