package kafka_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/pipeline/embedded/broker/brokertest"
	"github.com/plumbline-sec/plumbline/pipeline/kafka"
	"github.com/plumbline-sec/plumbline/pipeline/pipelinetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newClient(t *testing.T, cfg kafka.Config) *kafka.Client {
	t.Helper()
	c, err := kafka.New(cfg, zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.WarnLevel))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

// fastGroup gives members half a second to stop, as the conformance suite asks.
func fastGroup(id string, topics ...string) kafka.GroupConfig {
	return kafka.GroupConfig{
		ID: id, Topics: topics,
		SessionTimeout: 500 * time.Millisecond, HeartbeatInterval: 20 * time.Millisecond, RebalanceTimeout: 500 * time.Millisecond,
		RejoinBackoff: 20 * time.Millisecond, PartitionWatch: 50 * time.Millisecond,
	}
}

func TestClientConformsOnTheEmbeddedBroker(t *testing.T) {
	pipelinetest.RunLogConformance(t, func(t *testing.T) pipelinetest.Backend {
		t.Helper()
		c := newClient(t, kafka.Config{Brokers: []string{brokertest.Start(t)}, FetchMaxWait: 100 * time.Millisecond})
		return pipelinetest.Backend{
			Log: c,
			CreateTopic: func(ctx context.Context, name string, partitions int32, appendTime bool, maxMessage int) error {
				spec := kafka.TopicSpec{Name: name, Partitions: partitions, Configs: map[string]string{}}
				if !appendTime {
					spec.Configs["message.timestamp.type"] = "CreateTime"
				}
				if maxMessage != 0 {
					spec.Configs["max.message.bytes"] = strconv.Itoa(maxMessage)
				}
				return c.EnsureTopics(ctx, []kafka.TopicSpec{spec})
			},
			DeleteRecords: c.DeleteRecords,
			Join: func(id string, topics ...string) (pipeline.Group, error) {
				return c.Group(fastGroup(id, topics...))
			},
		}
	})
}
