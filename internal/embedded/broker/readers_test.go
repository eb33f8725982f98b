package broker_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/segmentio/kafka-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/plumbline-sec/plumbline/internal/embedded/broker/brokertest"
	"github.com/plumbline-sec/plumbline/pipeline"
	adapter "github.com/plumbline-sec/plumbline/pipeline/kafka"
)

// Every reader goes on behind what is lost, in the midst and at the end of a log.
func TestReadersPassOverWhatIsLost(t *testing.T) {
	s := newSite(t)
	inside, last := s.batches[len(s.batches)/2], s.batches[len(s.batches)-1]
	data := copied(t, s.stopped)
	for _, b := range []placed{inside, last} {
		flip(t, filepath.Join(data, damagedPartition, b.file), b.at+70, 1)
	}
	addr := brokertest.Start(t, brokertest.WithDataDir(data))
	want := make(map[int64]string)
	for _, b := range s.batches {
		for at := b.from; at < b.to && b != inside && b != last; at++ {
			want[at] = s.records[at]
		}
	}
	c := client(t, addr)
	require.NoError(t, produce(t.Context(), c, "events", kafka.Zstd, record("after", time.Now())))
	want[s.end] = "after"

	t.Run("the service", func(t *testing.T) {
		c, err := adapter.New(adapter.Config{Brokers: []string{addr}}, zerolog.Nop())
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, c.Close()) })
		read := make(map[int64]string)
		for next := int64(0); next <= s.end; {
			got, err := c.Fetch(t.Context(), pipeline.TopicPartition{Topic: "events"}, next)
			require.NoError(t, err)
			require.Greater(t, got.Next, next)
			next = got.Next
			for _, r := range got.Records {
				read[r.Offset] = string(r.Value)
			}
		}
		assert.Equal(t, want, read)
		// A reader that had committed the end before.
		got, err := c.Fetch(t.Context(), pipeline.TopicPartition{Topic: "events"}, s.end)
		require.NoError(t, err)
		require.Len(t, got.Records, 1)
	})
	t.Run("franz-go", func(t *testing.T) {
		c, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"events": {0: kgo.NewOffset().AtStart()}}))
		require.NoError(t, err)
		defer c.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		read := make(map[int64]string)
		for len(read) < len(want) {
			fetches := c.PollFetches(ctx)
			require.NoError(t, fetches.Err())
			fetches.EachRecord(func(r *kgo.Record) { read[r.Offset] = string(r.Value) })
		}
		assert.Equal(t, want, read)
	})
	t.Run("kafka-go", func(t *testing.T) {
		r := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{addr}, Topic: "events", Partition: 0, MaxWait: 100 * time.Millisecond})
		defer func() { assert.NoError(t, r.Close()) }()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		read := make(map[int64]string)
		for len(read) < len(want) {
			m, err := r.ReadMessage(ctx)
			require.NoError(t, err)
			read[m.Offset] = string(m.Value)
		}
		assert.Equal(t, want, read)
	})
}

// What a producer writes into a record that is then damaged is no batch of the log.
func TestABatchInsideARecordIsNotTakenForOne(t *testing.T) {
	dir := t.TempDir()
	b := brokertest.StartBroker(t, brokertest.WithDataDir(dir))
	c := client(t, b.Addr())
	createTopic(t, c, "events", nil)
	forged := batch(0, packed(t, 0, plainRecord(0, 10)), 1)
	forged[7] = 1 // its offset
	require.NoError(t, produce(t.Context(), c, "events", 0, record(string(forged), time.Now()), record("x", time.Now())))
	require.NoError(t, produce(t.Context(), c, "events", 0, record("behind", time.Now())))
	commit(t, c, "readers", 3)
	require.NoError(t, b.Stop())
	flip(t, filepath.Join(dir, damagedPartition, "0.dat"), 62, 0x10)
	o := open(t, dir)
	assert.Equal(t, map[int64]string{2: "behind"}, o.records)
	assert.Equal(t, int64(3), o.end)
	info, err := os.Stat(o.lines[0].Kept)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0), info.Mode().Perm()&0o077, "nobody else may read it")
}
