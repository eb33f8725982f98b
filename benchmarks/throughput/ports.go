package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/schemas"
)

// memoryLog hands out one corpus after the other as the records of a partition,
// and discards what is produced. It is the least that a role can run on, so that
// what is measured is the role.
type memoryLog struct {
	in    pipeline.TopicPartition
	bytes int // of one fetch
	keyed bool

	mu       sync.Mutex
	c        *corpus
	base     int64 // offset of the corpus' first record
	changed  chan struct{}
	produced map[string]int
	end      int64         // the log's end, and the commit that closes done
	done     chan struct{} // nil: nobody waits
}

var _ pipeline.Log = (*memoryLog)(nil)

// fetchBytes is what the Kafka adapter asks for at once.
const fetchBytes = 8 << 20

func newMemoryLog(topic string) *memoryLog {
	return &memoryLog{
		in: pipeline.TopicPartition{Topic: topic}, bytes: fetchBytes, keyed: topic == pipeline.TopicActivity,
		changed: make(chan struct{}), produced: make(map[string]int),
	}
}

// run appends the corpus to the partition and waits until the role has committed
// all of it: then nothing refers to the corpus any more. ended is closed when the
// role is no more.
func (l *memoryLog) run(c *corpus, ended <-chan struct{}) error {
	done := make(chan struct{})
	l.mu.Lock()
	l.base = l.end
	l.c, l.end, l.done = c, l.base+int64(c.len()), done
	close(l.changed)
	l.changed = make(chan struct{})
	l.mu.Unlock()
	select {
	case <-done:
		return nil
	case <-ended:
		return fmt.Errorf("the role on %s ended", l.in.Topic)
	case <-time.After(5 * time.Minute):
		return fmt.Errorf("the role on %s did not commit %d records within five minutes", l.in.Topic, c.len())
	}
}

// Fetch implements pipeline.Log. As the adapter does, it allocates the records of
// a fetch at once and their headers at once.
func (l *memoryLog) Fetch(ctx context.Context, tp pipeline.TopicPartition, offset int64) (pipeline.Fetched, error) {
	for {
		l.mu.Lock()
		c, base, end, changed := l.c, l.base, l.end, l.changed
		l.mu.Unlock()
		// At the end the corpus may be another one already: it is not looked at.
		if c != nil && tp == l.in && offset >= base && offset < end {
			return l.batch(c, base, offset), nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return pipeline.Fetched{}, ctx.Err()
		}
	}
}

func (l *memoryLog) batch(c *corpus, base, offset int64) pipeline.Fetched {
	from := int(offset - base)
	to, size := from, 0
	for to < c.len() && size < l.bytes {
		size += len(c.value(to))
		to++
	}
	out := pipeline.Fetched{Records: make([]pipeline.Record, to-from), Next: base + int64(to), HighWatermark: base + int64(c.len())}
	var headers []pipeline.Header
	if l.keyed {
		headers = make([]pipeline.Header, to-from)
	}
	for i := from; i < to; i++ {
		r := &out.Records[i-from]
		r.Offset, r.Time, r.Key, r.Value = base+int64(i), c.recs[i].time, c.key(i), c.value(i)
		if l.keyed {
			h := headers[i-from : i-from+1 : i-from+1]
			h[0] = pipeline.Header{Key: schemas.OriginHeader, Value: c.origin(i)}
			r.Headers = h
		}
	}
	return out
}

// Produce implements pipeline.Log.
func (l *memoryLog) Produce(ctx context.Context, tp pipeline.TopicPartition, records []pipeline.Record) error {
	_, err := l.Append(ctx, tp, records)
	return err
}

// Append implements pipeline.Log.
func (l *memoryLog) Append(ctx context.Context, tp pipeline.TopicPartition, records []pipeline.Record) (pipeline.Appended, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := int64(l.produced[tp.Topic])
	l.produced[tp.Topic] += len(records)
	return pipeline.Appended{First: first, Last: first + int64(len(records)) - 1, Count: len(records)}, ctx.Err()
}

// DeleteRecords implements pipeline.Log.
func (l *memoryLog) DeleteRecords(ctx context.Context, _ pipeline.TopicPartition, _ int64) error {
	return ctx.Err()
}

// Bounds implements pipeline.Log. What was produced is deleted at once.
func (l *memoryLog) Bounds(_ context.Context, tp pipeline.TopicPartition) (start, end int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if tp != l.in {
		n := int64(l.produced[tp.Topic])
		return n, n, nil
	}
	return 0, l.end, nil
}

// Partitions implements pipeline.Log.
func (l *memoryLog) Partitions(context.Context, string) (int32, error) { return 1, nil }

func (l *memoryLog) count(topic string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.produced[topic]
}

func (l *memoryLog) committed(offset int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done != nil && offset >= l.end {
		close(l.done)
		l.done = nil
	}
}

// soleMember is a consumer group with one member that owns one partition for as
// long as it likes.
type soleMember struct {
	log    *memoryLog
	joined bool
}

var _ pipeline.Group = (*soleMember)(nil)

// Next implements pipeline.Group.
func (m *soleMember) Next(ctx context.Context) (pipeline.Generation, error) {
	if m.joined {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	m.joined = true
	return &soleGeneration{m.log}, nil
}

// Close implements pipeline.Group.
func (m *soleMember) Close() error { return nil }

type soleGeneration struct{ log *memoryLog }

// Assignments implements pipeline.Generation.
func (g *soleGeneration) Assignments() []pipeline.Assignment {
	return []pipeline.Assignment{{TopicPartition: g.log.in}}
}

// Start implements pipeline.Generation; fn ends with the role's own context.
func (g *soleGeneration) Start(fn func(ctx context.Context)) { go fn(context.Background()) }

// Commit implements pipeline.Generation.
func (g *soleGeneration) Commit(_ pipeline.TopicPartition, offset int64) error {
	g.log.committed(offset)
	return nil
}
