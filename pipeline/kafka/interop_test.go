package kafka_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/plumbline-sec/plumbline/internal/embedded/broker/brokertest"
	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/pipeline/kafka"
)

// franz returns a client of the other library.
func franz(t *testing.T, addrs []string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(addrs...), kgo.RecordPartitioner(kgo.ManualPartitioner())}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(cl.Close)
	return cl
}

// fakeCluster starts a cluster of several brokers, which the embedded one is not.
func fakeCluster(t *testing.T, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(3), kfake.GroupMinSessionTimeout(100 * time.Millisecond)}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// readAll fetches as far as there are committed records.
func readAll(t *testing.T, c *kafka.Client, tp pipeline.TopicPartition) []pipeline.Record {
	t.Helper()
	var out []pipeline.Record
	for offset := int64(0); ; {
		f, err := c.Fetch(t.Context(), tp, offset)
		require.NoError(t, err)
		out = append(out, f.Records...)
		if f.Next >= f.HighWatermark || f.Next == offset {
			return out
		}
		offset = f.Next
	}
}

func TestFetchReadsWhatAnotherLibraryWrote(t *testing.T) {
	for name, codec := range map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	} {
		t.Run(name, func(t *testing.T) {
			addr := brokertest.Start(t)
			c := newClient(t, kafka.Config{Brokers: []string{addr}})
			require.NoError(t, c.EnsureTopics(t.Context(), []kafka.TopicSpec{{Name: "t", Configs: map[string]string{"message.timestamp.type": "CreateTime"}}}))
			var sent []*kgo.Record
			for i := range 3000 {
				r := &kgo.Record{Topic: "t", Timestamp: time.UnixMilli(int64(1_700_000_000_000 + i)), Value: fmt.Appendf(nil, "value %d %s", i, bytes.Repeat([]byte("x"), i%200))}
				if i%3 > 0 {
					r.Key = fmt.Append(nil, i)
				}
				if i%5 == 0 {
					r.Headers = []kgo.RecordHeader{{Key: "h", Value: fmt.Append(nil, i)}, {Key: "null"}}
				}
				if i%7 == 0 {
					r.Value = nil
				}
				sent = append(sent, r)
			}
			require.NoError(t, franz(t, []string{addr}, kgo.ProducerBatchCompression(codec)).ProduceSync(t.Context(), sent...).FirstErr())
			got := readAll(t, c, tp)
			require.Len(t, got, len(sent))
			for i, r := range got {
				assert.Equal(t, int64(i), r.Offset)
				assert.Equal(t, sent[i].Key, r.Key)
				assert.Equal(t, sent[i].Value, r.Value)
				assert.Equal(t, sent[i].Timestamp.UnixMilli(), int64(r.Time))
				require.Len(t, r.Headers, len(sent[i].Headers))
				for j, h := range r.Headers {
					assert.Equal(t, sent[i].Headers[j].Key, h.Key)
					assert.Equal(t, string(sent[i].Headers[j].Value), string(h.Value))
				}
			}
		})
	}
}

func TestAnotherLibraryReadsWhatProduceWrote(t *testing.T) {
	addr := brokertest.Start(t)
	c := newClient(t, kafka.Config{Brokers: []string{addr}})
	require.NoError(t, c.EnsureTopics(t.Context(), []kafka.TopicSpec{{Name: "t", Partitions: 2}}))
	tp := pipeline.TopicPartition{Topic: "t", Partition: 1}
	sent := []pipeline.Record{
		{Key: []byte("k"), Value: []byte("v"), Headers: []pipeline.Header{{Key: "h", Value: []byte("x")}, {Key: "null"}}},
		{Value: bytes.Repeat([]byte("0123456789"), 200_000)}, // larger than one request
		{},
	}
	appended, err := c.Append(t.Context(), tp, sent)
	require.NoError(t, err)
	assert.Equal(t, pipeline.Appended{First: 0, Last: 2, Count: 3}, appended)
	assert.True(t, appended.Contiguous())
	cl := franz(t, []string{addr}, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"t": {1: kgo.NewOffset().AtStart()}}))
	var got []*kgo.Record
	for len(got) < 3 {
		f := cl.PollFetches(t.Context())
		require.NoError(t, f.Err())
		got = append(got, f.Records()...)
	}
	for i, r := range got {
		assert.Equal(t, sent[i].Key, r.Key)
		assert.Equal(t, sent[i].Value, r.Value)
		assert.Len(t, r.Headers, len(sent[i].Headers))
		assert.WithinDuration(t, time.Now(), r.Timestamp, time.Minute)
	}
	assert.Equal(t, "h", got[0].Headers[0].Key)
	assert.Nil(t, got[0].Headers[1].Value)
}

func TestFetchReturnsCommittedTransactionsOnly(t *testing.T) {
	addr := brokertest.Start(t)
	c := withTopic(t, newClient(t, kafka.Config{Brokers: []string{addr}, FetchMaxWait: 50 * time.Millisecond}))
	plain := franz(t, []string{addr})
	first := franz(t, []string{addr}, kgo.TransactionalID("first"))
	second := franz(t, []string{addr}, kgo.TransactionalID("second"))
	write := func(cl *kgo.Client, value string) {
		t.Helper()
		require.NoError(t, cl.ProduceSync(t.Context(), &kgo.Record{Topic: "t", Value: []byte(value)}).FirstErr())
	}
	end := func(cl *kgo.Client, commit kgo.TransactionEndTry) {
		t.Helper()
		require.NoError(t, cl.EndTransaction(t.Context(), commit))
	}
	values := func() []string {
		var out []string
		for _, r := range readAll(t, c, tp) {
			out = append(out, string(r.Value))
		}
		return out
	}
	require.NoError(t, first.BeginTransaction())
	require.NoError(t, second.BeginTransaction())
	write(first, "aborted")
	write(plain, "plain 1")
	write(second, "committed 1")
	end(first, kgo.TryAbort)
	end(second, kgo.TryCommit)
	require.NoError(t, first.BeginTransaction())
	write(first, "committed 2")
	write(plain, "plain 2")
	assert.Equal(t, []string{"plain 1", "committed 1"}, values(), "nothing behind an open transaction")
	end(first, kgo.TryCommit)
	assert.Equal(t, []string{"plain 1", "committed 1", "committed 2", "plain 2"}, values())
	require.NoError(t, first.BeginTransaction())
	write(first, "aborted at the end")
	end(first, kgo.TryAbort)
	f, err := c.Fetch(t.Context(), tp, 8)
	require.NoError(t, err)
	assert.Empty(t, f.Records)
	assert.Equal(t, f.HighWatermark, f.Next, "the reader moves past what it leaves out")
}

// produceRaw sends a batch of one record, with the attributes given.
func produceRaw(t *testing.T, cl *kgo.Client, value string, attributes int16) {
	t.Helper()
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = 8, -1, 1000
	rt := kmsg.NewProduceRequestTopic()
	rt.Topic = "t"
	rp := kmsg.NewProduceRequestTopicPartition()
	rp.Records = kafka.RawBatch(t, value, attributes)
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	res, err := req.RequestWith(t.Context(), cl)
	require.NoError(t, err)
	require.Zero(t, res.Topics[0].Partitions[0].ErrorCode)
}

// kfake overwrites the times of a batch that comes with the append-time flag after
// its checksum was made, and so stores a batch that really is corrupt.
func TestFetchStopsAtACorruptBatchAndNamesIt(t *testing.T) {
	cluster := fakeCluster(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	cl := franz(t, cluster.ListenAddrs(), kgo.MaxVersions(kversion.V2_8_0())) // topics by name
	produceRaw(t, cl, "good", 0)
	produceRaw(t, cl, "corrupt", 8)
	produceRaw(t, cl, "behind it", 0)
	c := newClient(t, kafka.Config{Brokers: cluster.ListenAddrs()})
	f, err := c.Fetch(t.Context(), tp, 0)
	require.NoError(t, err)
	require.Len(t, f.Records, 1)
	assert.Equal(t, "good", string(f.Records[0].Value))
	assert.Equal(t, int64(1), f.Next)
	for range 3 {
		_, err = c.Fetch(t.Context(), tp, 1)
		var corrupt *pipeline.CorruptError
		require.ErrorAs(t, err, &corrupt)
		assert.Equal(t, pipeline.CorruptError{TopicPartition: tp, Offset: 1, Next: 2, Reason: corrupt.Reason}, *corrupt)
	}
	f, err = c.Fetch(t.Context(), tp, 2)
	require.NoError(t, err)
	assert.Equal(t, "behind it", string(f.Records[0].Value))
}

func TestClientSpeaksWithOldAndNewBrokers(t *testing.T) {
	for name, version := range map[string]*kversion.Versions{
		"0.11": kversion.V0_11_0(), "1.0": kversion.V1_0_0(), "2.0": kversion.V2_0_0(), "2.4": kversion.V2_4_0(), "3.0": kversion.V3_0_0(), "4.0": kversion.V4_0_0(),
	} {
		t.Run(name, func(t *testing.T) {
			cluster := fakeCluster(t, kfake.MaxVersions(version))
			c := newClient(t, kafka.Config{Brokers: cluster.ListenAddrs()})
			require.NoError(t, c.EnsureTopics(t.Context(), []kafka.TopicSpec{{Name: "t", Partitions: 3}}))
			for p := range int32(3) {
				tp := pipeline.TopicPartition{Topic: "t", Partition: p}
				require.NoError(t, c.Produce(t.Context(), tp, []pipeline.Record{{Value: []byte("a")}, {Value: []byte("b")}}))
				assert.Len(t, readAll(t, c, tp), 2)
				require.NoError(t, c.DeleteRecords(t.Context(), tp, 1))
				start, end, err := c.Bounds(t.Context(), tp)
				require.NoError(t, err)
				assert.Equal(t, []int64{1, 2}, []int64{start, end})
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			g, gen := join(ctx, t, c)
			assert.Len(t, gen.Assignments(), 3)
			require.NoError(t, gen.Commit(pipeline.TopicPartition{Topic: "t", Partition: 2}, 2))
			require.NoError(t, g.Close())
		})
	}
}
