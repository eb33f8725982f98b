package kafka_test

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/plumbline-sec/plumbline/internal/embedded/broker/brokertest"
	"github.com/plumbline-sec/plumbline/pipeline/kafka"
)

func TestEnsureTopicsCreatesWhatIsMissing(t *testing.T) {
	for name, test := range map[string]struct {
		brokers      int
		spec         kafka.TopicSpec
		wantReplicas int
		want         map[string]string
	}{
		"one broker": {1, kafka.TopicSpec{}, 1, map[string]string{
			"message.timestamp.type": "LogAppendTime", "cleanup.policy": "delete", "max.message.bytes": "10551296", "min.insync.replicas": "",
		}},
		"two brokers":  {2, kafka.TopicSpec{}, 2, map[string]string{"min.insync.replicas": "2"}},
		"five brokers": {5, kafka.TopicSpec{}, 3, map[string]string{"min.insync.replicas": "2"}},
		"settings of its own": {
			5,
			kafka.TopicSpec{Replication: 1, Configs: map[string]string{"retention.ms": "-1", "retention.bytes": "-1", "segment.bytes": "134217728", "message.timestamp.type": "CreateTime"}},
			1,
			map[string]string{"retention.ms": "-1", "retention.bytes": "-1", "segment.bytes": "134217728", "message.timestamp.type": "CreateTime", "min.insync.replicas": ""},
		},
	} {
		t.Run(name, func(t *testing.T) {
			cluster := fakeCluster(t, kfake.NumBrokers(test.brokers))
			c := newClient(t, kafka.Config{Brokers: cluster.ListenAddrs()})
			test.spec.Name, test.spec.Partitions = "t", 4
			require.NoError(t, c.EnsureTopics(t.Context(), []kafka.TopicSpec{test.spec}))
			require.Len(t, cluster.PartitionInfos("t"), 4)
			got := cluster.TopicInfo("t")
			assert.Equal(t, test.wantReplicas, got.NumReplicas)
			for k, v := range test.want {
				set := "" // the broker's own
				if c := got.Configs[k]; c != nil {
					set = *c
				}
				assert.Equal(t, v, set, k)
			}
			test.spec.CheckPartitions = true
			require.NoError(t, c.EnsureTopics(t.Context(), []kafka.TopicSpec{test.spec}), "what was just created is as it should be")
		})
	}
}

func TestEnsureTopicsNamesEverythingThatIsWrongAtOnce(t *testing.T) {
	cluster := fakeCluster(t, kfake.NumBrokers(1))
	addr := cluster.ListenAddrs()[0]
	c := newClient(t, kafka.Config{Brokers: []string{addr}})
	require.NoError(t, cluster.CreateTopic("bad", 3, map[string]string{"cleanup.policy": "compact", "retention.ms": "1000"}))
	require.NoError(t, cluster.CreateTopic("odd", 8, map[string]string{"message.timestamp.type": "LogAppendTime", "max.message.bytes": "20000000", "retention.ms": "1000"}))
	require.NoError(t, cluster.CreateTopic("foreign", 3, nil))
	forever := map[string]string{"retention.ms": "-1"}
	err := c.EnsureTopics(t.Context(), []kafka.TopicSpec{
		{Name: "bad", Partitions: 4, CheckPartitions: true, Configs: forever},
		{Name: "odd", Partitions: 4, Configs: map[string]string{"retention.ms": "604800000"}},
		{Name: "foreign", Partitions: 4, Foreign: true, CheckPartitions: true},
		{Name: "new"},
	})
	var topics *kafka.TopicsError
	require.ErrorAs(t, err, &topics)
	type problem struct{ topic, setting, have, want string }
	var got []problem
	for _, p := range topics.Problems {
		got = append(got, problem{p.Topic, p.Setting, p.Have, p.Want})
	}
	assert.Equal(t, []problem{
		{"bad", "partitions", "3", "4"},
		{"bad", "message.timestamp.type", "CreateTime", "LogAppendTime"},
		{"bad", "cleanup.policy", "compact", "delete"},
		{"bad", "max.message.bytes", "1048588", "10551296"},
		{"bad", "retention.ms", "1000", "-1"},
	}, got, "a larger limit, another retention and more partitions than asked for will do where nothing depends on them")
	for _, want := range []string{
		"kafka-configs.sh --bootstrap-server " + addr + " --entity-type topics --entity-name bad --alter --add-config cleanup.policy=delete",
		"kafka-topics.sh --bootstrap-server " + addr + " --alter --topic bad --partitions 4",
	} {
		require.ErrorContains(t, err, want)
	}
	n, err := c.Partitions(t.Context(), "new")
	require.NoError(t, err, "the missing one was created all the same")
	assert.Equal(t, int32(1), n)
}

func TestTooManyPartitionsHaveNoCommand(t *testing.T) {
	c := newClient(t, kafka.Config{Brokers: []string{brokertest.Start(t)}})
	require.NoError(t, c.EnsureTopics(t.Context(), []kafka.TopicSpec{{Name: "t", Partitions: 8}}))
	err := c.EnsureTopics(t.Context(), []kafka.TopicSpec{{Name: "t", Partitions: 4, CheckPartitions: true}})
	var topics *kafka.TopicsError
	require.ErrorAs(t, err, &topics)
	require.Len(t, topics.Problems, 1)
	assert.Empty(t, topics.Problems[0].Command)
}

func TestInstancesMayCreateTheSameTopicsAtOnce(t *testing.T) {
	cluster := fakeCluster(t)
	specs := []kafka.TopicSpec{{Name: "a", Partitions: 2, CheckPartitions: true}, {Name: "b"}, {Name: "c"}}
	var wg sync.WaitGroup
	for range 6 {
		c := newClient(t, kafka.Config{Brokers: cluster.ListenAddrs()})
		wg.Go(func() { assert.NoError(t, c.EnsureTopics(t.Context(), specs)) })
	}
	wg.Wait()
}

func TestSettingsThatMayNotBeSeenAreNotInTheWay(t *testing.T) {
	cluster := fakeCluster(t, kfake.SeedTopics(2, "t"))
	cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.DescribeConfigs}, Err: kerr.TopicAuthorizationFailed, Count: -1})
	c, log := loggingClient(t, kafka.Config{Brokers: cluster.ListenAddrs()})
	require.NoError(t, c.EnsureTopics(t.Context(), []kafka.TopicSpec{{Name: "t", Partitions: 2, CheckPartitions: true}}))
	assert.Contains(t, log.String(), "DescribeConfigs")
	require.ErrorContains(t, c.EnsureTopics(t.Context(), []kafka.TopicSpec{{Name: "t", Partitions: 4, CheckPartitions: true}}), "partitions is 2, must be 4")
}

func TestATopicThatMayNotBeCreatedIsNamed(t *testing.T) {
	cluster := fakeCluster(t)
	cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.CreateTopics}, Topic: "b", Err: kerr.TopicAuthorizationFailed, Count: -1})
	c := newClient(t, kafka.Config{Brokers: cluster.ListenAddrs()})
	err := c.EnsureTopics(t.Context(), []kafka.TopicSpec{{Name: "a"}, {Name: "b"}})
	require.ErrorContains(t, err, "create topic b: an ACL denies this")
	require.NotContains(t, err.Error(), "topic a")
}
