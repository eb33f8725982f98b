package pipelinetest

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/schemas"
)

// Backend is one Kafka as the conformance suite uses it.
type Backend struct {
	Log pipeline.Log
	// CreateTopic creates a topic that takes records of 10 MiB, or of maxMessage
	// bytes where that is not zero, and has the broker's append time if asked to.
	CreateTopic   func(ctx context.Context, name string, partitions int32, appendTime bool, maxMessage int) error
	DeleteRecords func(ctx context.Context, tp pipeline.TopicPartition, before int64) error
	// Join returns a member of a group that gives its members about half a second to
	// stop before it goes on without them.
	Join func(id string, topics ...string) (pipeline.Group, error)
	// CommittedOffsets asks from outside.
	CommittedOffsets func(ctx context.Context, id string, of []pipeline.TopicPartition) ([]int64, error)
}

// patience bounds every wait of the suite.
const patience = 30 * time.Second

// suite is one conformance test at work.
type suite struct {
	Backend
	t *testing.T
}

var topicNumber atomic.Int64

// RunLogConformance checks what every implementation of the log and group ports
// promises. newBackend is called for each test.
func RunLogConformance(t *testing.T, newBackend func(t *testing.T) Backend) {
	t.Helper()
	for _, test := range slices.Concat(logTests, groupTests) {
		t.Run(test.name, func(t *testing.T) {
			test.run(&suite{Backend: newBackend(t), t: t})
		})
	}
}

type conformanceTest struct {
	name string
	run  func(s *suite)
}

func (s *suite) ctx() context.Context { return s.t.Context() }

func (s *suite) topic(partitions int32) string {
	s.t.Helper()
	return s.topicWith(partitions, true, 0)
}

func (s *suite) topicWith(partitions int32, appendTime bool, maxMessage int) string {
	s.t.Helper()
	name := fmt.Sprintf("conformance-%d", topicNumber.Add(1))
	require.NoError(s.t, s.CreateTopic(s.ctx(), name, partitions, appendTime, maxMessage))
	return name
}

func (s *suite) partition() pipeline.TopicPartition {
	s.t.Helper()
	return pipeline.TopicPartition{Topic: s.topic(1)}
}

func (s *suite) produce(tp pipeline.TopicPartition, values ...string) {
	s.t.Helper()
	var records []pipeline.Record
	for _, v := range values {
		records = append(records, pipeline.Record{Value: []byte(v)})
	}
	require.NoError(s.t, s.Log.Produce(s.ctx(), tp, records))
}

// read fetches from the beginning until n records have come, checking that nothing is skipped.
func (s *suite) read(tp pipeline.TopicPartition, n int) []pipeline.Record {
	s.t.Helper()
	var out []pipeline.Record
	offset := int64(0)
	for deadline := time.Now().Add(patience); len(out) < n; {
		require.True(s.t, time.Now().Before(deadline), "%d of %d records after %s", len(out), n, patience)
		f, err := s.Log.Fetch(s.ctx(), tp, offset)
		require.NoError(s.t, err)
		for _, r := range f.Records {
			require.Equal(s.t, offset, r.Offset, "offsets are contiguous")
			offset++
		}
		require.Equal(s.t, offset, f.Next)
		out = append(out, f.Records...)
	}
	return out
}

var logTests = []conformanceTest{
	{"records come back in order, with key, value, headers and offset", func(s *suite) {
		tp := s.partition()
		sent := []pipeline.Record{
			{Key: []byte("k0"), Value: []byte("v0"), Headers: []pipeline.Header{{Key: "a", Value: []byte("1")}, {Key: "a", Value: []byte("2")}}},
			{Key: []byte("k1"), Value: []byte("v1")},
			{Value: []byte("v2"), Headers: []pipeline.Header{{Key: "b", Value: []byte("3")}}},
		}
		require.NoError(s.t, s.Log.Produce(s.ctx(), tp, sent))
		for i, r := range s.read(tp, 3) {
			assert.Equal(s.t, int64(i), r.Offset)
			assert.Equal(s.t, sent[i].Key, r.Key)
			assert.Equal(s.t, sent[i].Value, r.Value)
			assert.Len(s.t, r.Headers, len(sent[i].Headers))
			for j := range r.Headers {
				assert.Equal(s.t, sent[i].Headers[j], r.Headers[j])
			}
		}
	}},
	{"a null key or value is not an empty one", func(s *suite) {
		tp := s.partition()
		require.NoError(s.t, s.Log.Produce(s.ctx(), tp, []pipeline.Record{{}, {Key: []byte{}, Value: []byte{}}}))
		got := s.read(tp, 2)
		assert.Nil(s.t, got[0].Key)
		assert.Nil(s.t, got[0].Value)
		assert.NotNil(s.t, got[1].Key)
		assert.NotNil(s.t, got[1].Value)
	}},
	{"a fetch in the middle begins there, also inside a batch", func(s *suite) {
		tp := s.partition()
		s.produce(tp, "a", "b", "c")
		s.produce(tp, "d")
		for offset, want := range []string{"a", "b", "c", "d"} {
			f, err := s.Log.Fetch(s.ctx(), tp, int64(offset))
			require.NoError(s.t, err)
			require.NotEmpty(s.t, f.Records)
			assert.Equal(s.t, want, string(f.Records[0].Value))
			assert.Equal(s.t, int64(offset), f.Records[0].Offset)
			assert.Equal(s.t, int64(4), f.HighWatermark)
			assert.Equal(s.t, int64(0), f.LogStart)
		}
	}},
	{"a fetch at the end of the log, also of an empty one, returns nothing and stays there", func(s *suite) {
		tp := s.partition()
		for _, end := range []int64{0, 2} {
			f, err := s.Log.Fetch(s.ctx(), tp, end)
			require.NoError(s.t, err)
			assert.Empty(s.t, f.Records)
			assert.Equal(s.t, end, f.Next)
			assert.Equal(s.t, end, f.HighWatermark)
			s.produce(tp, "a", "b")
		}
	}},
	{"a fetch that waits returns what is produced meanwhile", func(s *suite) {
		tp := s.partition()
		done := make(chan error, 1)
		go func() {
			time.Sleep(50 * time.Millisecond)
			done <- s.Log.Produce(s.ctx(), tp, []pipeline.Record{{Value: []byte("late")}})
		}()
		assert.Equal(s.t, "late", string(s.read(tp, 1)[0].Value))
		require.NoError(s.t, <-done)
	}},
	{"an offset outside the log is out of range", func(s *suite) {
		tp := s.partition()
		s.produce(tp, "a", "b", "c")
		_, err := s.Log.Fetch(s.ctx(), tp, 4)
		require.ErrorIs(s.t, err, pipeline.ErrOffsetOutOfRange)
		require.NoError(s.t, s.DeleteRecords(s.ctx(), tp, 2))
		_, err = s.Log.Fetch(s.ctx(), tp, 1)
		require.ErrorIs(s.t, err, pipeline.ErrOffsetOutOfRange)
		f, err := s.Log.Fetch(s.ctx(), tp, 2)
		require.NoError(s.t, err)
		require.Len(s.t, f.Records, 1)
		assert.Equal(s.t, "c", string(f.Records[0].Value))
		assert.Equal(s.t, int64(2), f.LogStart)
	}},
	{"bounds follow what is produced and what is removed", func(s *suite) {
		tp := s.partition()
		bounds := func(wantStart, wantEnd int64) {
			start, end, err := s.Log.Bounds(s.ctx(), tp)
			require.NoError(s.t, err)
			assert.Equal(s.t, wantStart, start)
			assert.Equal(s.t, wantEnd, end)
		}
		bounds(0, 0)
		s.produce(tp, "a", "b", "c")
		bounds(0, 3)
		require.NoError(s.t, s.DeleteRecords(s.ctx(), tp, 2))
		bounds(2, 3)
		require.NoError(s.t, s.DeleteRecords(s.ctx(), tp, 3))
		bounds(3, 3)
	}},
	{"a record of 10 MiB goes through, and its neighbours", func(s *suite) {
		tp := s.partition()
		big := incompressible(10 << 20)
		require.NoError(s.t, s.Log.Produce(s.ctx(), tp, []pipeline.Record{{Value: []byte("before")}, {Key: []byte("k"), Value: big}, {Value: []byte("after")}}))
		got := s.read(tp, 3)
		assert.Equal(s.t, "before", string(got[0].Value))
		assert.True(s.t, bytes.Equal(big, got[1].Value), "the bytes of the large record")
		assert.Equal(s.t, "after", string(got[2].Value))
	}},
	{"more than fits into one request stays in order", func(s *suite) {
		tp := s.partition()
		payload := incompressible(10 << 10)
		var records []pipeline.Record
		for i := range 400 {
			records = append(records, pipeline.Record{Key: fmt.Append(nil, i), Value: payload})
		}
		require.NoError(s.t, s.Log.Produce(s.ctx(), tp, records))
		for i, r := range s.read(tp, len(records)) {
			require.Equal(s.t, strconv.Itoa(i), string(r.Key))
		}
	}},
	{"a record that is too large for the topic is refused as that", func(s *suite) {
		tp := pipeline.TopicPartition{Topic: s.topicWith(1, true, 100<<10)}
		err := s.Log.Produce(s.ctx(), tp, []pipeline.Record{{Value: incompressible(200 << 10)}})
		require.ErrorIs(s.t, err, pipeline.ErrTooLarge)
		_, end, err := s.Log.Bounds(s.ctx(), tp)
		require.NoError(s.t, err)
		assert.Zero(s.t, end, "nothing of it is appended")
	}},
	{"the broker's append time replaces the producer's where the topic says so", func(s *suite) {
		tp := s.partition()
		before := time.Now().Add(-time.Minute).UnixMilli()
		require.NoError(s.t, s.Log.Produce(s.ctx(), tp, []pipeline.Record{{Time: 12345, Value: []byte("a")}, {Time: 99 << 40, Value: []byte("b")}}))
		for _, r := range s.read(tp, 2) {
			assert.Greater(s.t, int64(r.Time), before)
			assert.Less(s.t, int64(r.Time), time.Now().Add(time.Minute).UnixMilli())
		}
	}},
	{"the producer's time is kept elsewhere", func(s *suite) {
		tp := pipeline.TopicPartition{Topic: s.topicWith(1, false, 0)}
		require.NoError(s.t, s.Log.Produce(s.ctx(), tp, []pipeline.Record{{Time: 1700000000123}, {Time: 1700000000001}}))
		got := s.read(tp, 2)
		assert.Equal(s.t, schemas.Millis(1700000000123), got[0].Time)
		assert.Equal(s.t, schemas.Millis(1700000000001), got[1].Time)
	}},
	{"partitions are apart, and as many as were asked for", func(s *suite) {
		topic := s.topic(3)
		n, err := s.Log.Partitions(s.ctx(), topic)
		require.NoError(s.t, err)
		assert.Equal(s.t, int32(3), n)
		for p := range n {
			s.produce(pipeline.TopicPartition{Topic: topic, Partition: p}, strconv.Itoa(int(p)))
		}
		for p := range n {
			got := s.read(pipeline.TopicPartition{Topic: topic, Partition: p}, 1)
			assert.Equal(s.t, strconv.Itoa(int(p)), string(got[0].Value))
		}
	}},
	{"a topic or partition that is not there is an error worth a retry", func(s *suite) {
		for _, tp := range []pipeline.TopicPartition{{Topic: "absent"}, {Topic: s.topic(1), Partition: 7}} {
			_, fetchErr := s.Log.Fetch(s.ctx(), tp, 0)
			_, _, boundsErr := s.Log.Bounds(s.ctx(), tp)
			for _, err := range []error{fetchErr, boundsErr, s.Log.Produce(s.ctx(), tp, []pipeline.Record{{}})} {
				require.Error(s.t, err)
				for _, sentinel := range []error{pipeline.ErrOffsetOutOfRange, pipeline.ErrCorrupt, pipeline.ErrTooLarge, pipeline.ErrFenced} {
					require.NotErrorIs(s.t, err, sentinel)
				}
			}
		}
		_, err := s.Log.Partitions(s.ctx(), "absent")
		require.Error(s.t, err)
	}},
	{"what was fetched does not change when more is fetched and produced", func(s *suite) {
		tp := s.partition()
		for i := range 20 {
			s.produce(tp, fmt.Sprintf("value %d", i))
		}
		first := s.read(tp, 20)
		for range 20 {
			s.produce(tp, "overwritten overwritten")
			s.read(tp, 20)
		}
		for i, r := range first {
			assert.Equal(s.t, fmt.Sprintf("value %d", i), string(r.Value))
		}
	}},
	{"a cancelled context ends a waiting fetch at once", func(s *suite) {
		tp := s.partition()
		ctx, cancel := context.WithCancel(s.ctx())
		cancel()
		_, err := s.Log.Fetch(ctx, tp, 0)
		require.ErrorIs(s.t, err, context.Canceled)
	}},
	{"producing nothing is no error", func(s *suite) {
		require.NoError(s.t, s.Log.Produce(s.ctx(), s.partition(), nil))
	}},
}

// incompressible returns n bytes of a fixed pseudo-random sequence (xorshift).
func incompressible(n int) []byte {
	out := make([]byte, n)
	x := uint64(0x9e3779b97f4a7c15)
	for i := range out {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		out[i] = byte(x)
	}
	return out
}
