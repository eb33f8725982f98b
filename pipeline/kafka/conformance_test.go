package kafka_test

import (
	"context"
	"net"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/plumbline-sec/plumbline/internal/embedded/broker/brokertest"
	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/pipeline/kafka"
	"github.com/plumbline-sec/plumbline/pipeline/kafka/kafkatest"
	"github.com/plumbline-sec/plumbline/pipeline/pipelinetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tp is the partition of most tests.
var tp = pipeline.TopicPartition{Topic: "t"}

// withTopic creates the topic of tp, and returns the client.
func withTopic(t *testing.T, c *kafka.Client) *kafka.Client {
	t.Helper()
	require.NoError(t, c.EnsureTopics(t.Context(), []kafka.TopicSpec{{Name: "t"}}))
	return c
}

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

// join becomes the only member of group g, over topic t.
func join(ctx context.Context, t *testing.T, c *kafka.Client) (pipeline.Group, pipeline.Generation) {
	t.Helper()
	g, err := c.Group(fastGroup("g", "t"))
	require.NoError(t, err)
	gen, err := g.Next(ctx)
	require.NoError(t, err)
	return g, gen
}

func TestClientConformsOnTheEmbeddedBroker(t *testing.T) {
	pipelinetest.RunLogConformance(t, func(t *testing.T) pipelinetest.Backend {
		t.Helper()
		return backend(t, brokertest.Start(t))
	})
}

// TestClientConformsOnApacheKafka wants a directory of jars: see
// pipeline/kafka/kafkatest/fetch.sh.
func TestClientConformsOnApacheKafka(t *testing.T) {
	home := os.Getenv("PLUMBLINE_TEST_KAFKA")
	if home == "" {
		t.Skip("PLUMBLINE_TEST_KAFKA names no directory with the jars of an Apache Kafka: make faults-kafka does")
	}
	listen, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listen.Close())
	b := &kafkatest.Broker{Home: home, Dir: t.TempDir(), Listen: listen.Addr().String()}
	require.NoError(t, b.Start())
	t.Cleanup(func() { require.NoError(t, b.Stop()) })
	pipelinetest.RunLogConformance(t, func(t *testing.T) pipelinetest.Backend {
		t.Helper()
		return backend(t, b.Listen)
	})
}

func backend(t *testing.T, addr string) pipelinetest.Backend {
	t.Helper()
	c := newClient(t, kafka.Config{Brokers: []string{addr}, FetchMaxWait: 100 * time.Millisecond})
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
			if err := c.EnsureTopics(ctx, []kafka.TopicSpec{spec}); err != nil {
				return err
			}
			// Apache Kafka answers "not leader" for a moment; the roles retry, the suite does not.
			for p := range partitions {
				require.Eventually(t, func() bool {
					_, _, err := c.Bounds(ctx, pipeline.TopicPartition{Topic: name, Partition: p})
					return err == nil
				}, 10*time.Second, 10*time.Millisecond)
			}
			return nil
		},
		DeleteRecords: c.DeleteRecords,
		Join: func(id string, topics ...string) (pipeline.Group, error) {
			return c.Group(fastGroup(id, topics...))
		},
		CommittedOffsets: c.CommittedOffsets,
	}
}
