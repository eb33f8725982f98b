package kafka_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/plumbline-sec/plumbline/internal/embedded/broker/brokertest"
	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/pipeline/kafka"
)

func TestNextWaitsForATopicThatIsNotThereYet(t *testing.T) {
	c, log := loggingClient(t, kafka.Config{Brokers: []string{brokertest.Start(t)}, MetadataTTL: 100 * time.Millisecond})
	g, err := c.Group(fastGroup("g", "late"))
	require.NoError(t, err)
	joined := make(chan pipeline.Generation, 1)
	go func() {
		gen, err := g.Next(t.Context())
		assert.NoError(t, err)
		joined <- gen
	}()
	require.Eventually(t, func() bool { return strings.Contains(log.String(), "topic late does not exist") }, 10*time.Second, 10*time.Millisecond)
	require.NoError(t, c.EnsureTopics(t.Context(), []kafka.TopicSpec{{Name: "late", Partitions: 2}}))
	select {
	case gen := <-joined:
		assert.Len(t, gen.Assignments(), 2)
	case <-time.After(20 * time.Second):
		t.Fatal("the topic is there and nobody joined")
	}
	require.NoError(t, g.Close())
}

func TestAddedPartitionsAreHandedOut(t *testing.T) {
	cluster := fakeCluster(t, kfake.SeedTopics(1, "t"))
	c := newClient(t, kafka.Config{Brokers: cluster.ListenAddrs(), MetadataTTL: 100 * time.Millisecond})
	g, gen := join(t.Context(), t, c)
	require.Len(t, gen.Assignments(), 1)
	gen.Start(func(ctx context.Context) { <-ctx.Done() })
	req := kmsg.NewPtrCreatePartitionsRequest()
	topic := kmsg.NewCreatePartitionsRequestTopic()
	topic.Topic, topic.Count = "t", 3
	req.Topics = append(req.Topics, topic)
	res, err := req.RequestWith(t.Context(), franz(t, cluster.ListenAddrs()))
	require.NoError(t, err)
	require.Zero(t, res.Topics[0].ErrorCode)
	gen, err = g.Next(t.Context())
	require.NoError(t, err)
	assert.Len(t, gen.Assignments(), 3)
	require.NoError(t, g.Close())
}

func TestADeletedTopicDoesNotMakeTheGroupSpin(t *testing.T) {
	cluster := fakeCluster(t, kfake.SeedTopics(1, "t"))
	c := newClient(t, kafka.Config{Brokers: cluster.ListenAddrs(), MetadataTTL: 100 * time.Millisecond})
	g, _ := join(t.Context(), t, c)
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TopicNames = []string{"t"}
	topic := kmsg.NewDeleteTopicsRequestTopic()
	topic.Topic = new("t")
	req.Topics = append(req.Topics, topic)
	res, err := req.RequestWith(t.Context(), franz(t, cluster.ListenAddrs()))
	require.NoError(t, err)
	require.Zero(t, res.Topics[0].ErrorCode)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	generations := 0
	for {
		if _, err := g.Next(ctx); err != nil {
			break
		}
		generations++
	}
	assert.Less(t, generations, 10)
	require.NoError(t, g.Close())
}

func TestCloseDoesNotWaitForACoordinatorThatHoldsTheJoin(t *testing.T) {
	addr := brokertest.Start(t)
	c, err := kafka.New(kafka.Config{Brokers: []string{addr}}, zerolog.Nop())
	require.NoError(t, err)
	require.NoError(t, c.EnsureTopics(t.Context(), []kafka.TopicSpec{{Name: "t"}}))
	cfg := fastGroup("g", "t")
	cfg.SessionTimeout, cfg.RebalanceTimeout = 20*time.Second, 20*time.Second
	stubborn, err := c.Group(cfg)
	require.NoError(t, err)
	gen, err := stubborn.Next(t.Context())
	require.NoError(t, err)
	release := make(chan struct{})
	rebalancing := make(chan struct{})
	gen.Start(func(ctx context.Context) {
		<-ctx.Done()
		close(rebalancing)
		<-release
	})
	second, err := c.Group(cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		_, err := second.Next(ctx)
		failed <- err
	}()
	<-rebalancing // the coordinator holds the second member's join for the first one
	cancel()
	require.ErrorIs(t, <-failed, context.Canceled)
	start := time.Now()
	require.NoError(t, second.Close())
	assert.Less(t, time.Since(start), 10*time.Second)
	close(release)
	require.NoError(t, c.Close())
}

func TestACommitAfterTheEndIsFenced(t *testing.T) {
	c := withTopic(t, newClient(t, kafka.Config{Brokers: []string{brokertest.Start(t)}}))
	g, gen := join(t.Context(), t, c)
	require.NoError(t, g.Close())
	require.ErrorIs(t, gen.Commit(tp, 1), pipeline.ErrFenced)
}

func TestGroupRefusesASenselessConfig(t *testing.T) {
	c := newClient(t, kafka.Config{Brokers: []string{"127.0.0.1:1"}})
	for name, test := range map[string]struct {
		cfg  kafka.GroupConfig
		want string
	}{
		"no id":                           {kafka.GroupConfig{Topics: []string{"t"}}, "no id"},
		"no topic":                        {kafka.GroupConfig{ID: "g"}, "no topic"},
		"heartbeats rarer than a session": {kafka.GroupConfig{ID: "g", Topics: []string{"t"}, SessionTimeout: time.Second, HeartbeatInterval: time.Second}, "heartbeat"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.Group(test.cfg)
			require.ErrorContains(t, err, test.want)
		})
	}
}

func TestAnOffsetIsCommittedFromOutsideOnlyWhileTheGroupHasNoMember(t *testing.T) {
	c := withTopic(t, newClient(t, kafka.Config{Brokers: []string{brokertest.Start(t)}}))
	require.NoError(t, c.Produce(t.Context(), tp, []pipeline.Record{{Value: []byte("a")}, {Value: []byte("b")}}))
	require.NoError(t, c.CommitOffset(t.Context(), "g", tp, 1))
	g, gen := join(t.Context(), t, c)
	require.Equal(t, []pipeline.Assignment{{TopicPartition: tp, Offset: 1, Committed: true}}, gen.Assignments())
	require.ErrorIs(t, c.CommitOffset(t.Context(), "g", tp, 2), pipeline.ErrGroupActive)
	require.NoError(t, g.Close())
	require.Eventually(t, func() bool { return c.CommitOffset(t.Context(), "g", tp, 2) == nil }, 10*time.Second, 20*time.Millisecond)
}
