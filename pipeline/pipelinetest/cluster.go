package pipelinetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/schemas"
)

// ErrUnknownTopic is returned for topics and partitions that are not there.
var ErrUnknownTopic = errors.New("unknown topic or partition")

// DefaultMaxMessage is the largest record of a topic that says nothing else.
const DefaultMaxMessage = 10<<20 + 64<<10

// Hooks let a test see requests and make them fail. A nil hook does nothing.
type Hooks struct {
	Fetch   func(tp pipeline.TopicPartition, offset int64) error
	Produce func(tp pipeline.TopicPartition, records []pipeline.Record) error // before the append
	// Produced comes after the append: its error is that of a lost acknowledgement.
	Produced func(tp pipeline.TopicPartition, records []pipeline.Record) error
	Commit   func(group string, tp pipeline.TopicPartition, offset int64) error
}

// Cluster is Kafka in memory: a pipeline.Log, and groups over it.
type Cluster struct {
	mu        sync.Mutex
	changed   chan struct{} // closed at the next append
	topics    map[string]*memTopic
	groups    map[string]*coordinator
	hooks     Hooks
	fetchWait time.Duration
	fetchMax  int
	rebalance time.Duration
}

var _ pipeline.Log = (*Cluster)(nil)

type memTopic struct {
	partitions []*memPartition
	appendTime bool
	maxMessage int
}

type memPartition struct {
	start   int64
	records []pipeline.Record // the first has offset start
}

func (p *memPartition) end() int64 { return p.start + int64(len(p.records)) }

// NewCluster returns a cluster without topics.
func NewCluster() *Cluster {
	return &Cluster{
		changed:   make(chan struct{}),
		topics:    make(map[string]*memTopic),
		groups:    make(map[string]*coordinator),
		fetchWait: 20 * time.Millisecond,
		fetchMax:  1000,
		rebalance: 2 * time.Second,
	}
}

// A TopicOption changes what CreateTopic creates.
type TopicOption func(*memTopic)

// CreateTime keeps the time that the producer sends; else it is the cluster's.
func CreateTime() TopicOption { return func(t *memTopic) { t.appendTime = false } }

// MaxMessage limits the size of a record.
func MaxMessage(n int) TopicOption { return func(t *memTopic) { t.maxMessage = n } }

// CreateTopic creates a topic, or replaces it by an empty one. Like the topics that
// Plumbline creates it has the broker's append time and takes records of 10 MiB.
func (c *Cluster) CreateTopic(name string, partitions int32, opts ...TopicOption) {
	t := &memTopic{appendTime: true, maxMessage: DefaultMaxMessage}
	for _, o := range opts {
		o(t)
	}
	for range partitions {
		t.partitions = append(t.partitions, &memPartition{})
	}
	c.mu.Lock()
	c.topics[name] = t
	c.topicChanged(name)
	c.mu.Unlock()
}

// AddPartitions raises the number of partitions of a topic.
func (c *Cluster) AddPartitions(name string, to int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for t := c.topics[name]; int32(len(t.partitions)) < to; {
		t.partitions = append(t.partitions, &memPartition{})
	}
	c.topicChanged(name)
}

func (c *Cluster) topicChanged(name string) {
	close(c.changed)
	c.changed = make(chan struct{})
	for _, g := range c.groups {
		if g.subscribes(name) {
			g.rebalance()
		}
	}
}

// SetHooks replaces the hooks.
func (c *Cluster) SetHooks(h Hooks) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hooks = h
}

// SetFetch sets how long a fetch waits for data and how many records it returns at
// most.
func (c *Cluster) SetFetch(wait time.Duration, most int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fetchWait, c.fetchMax = wait, most
}

// SetRebalanceTimeout sets how long members get to stop before they are out.
func (c *Cluster) SetRebalanceTimeout(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rebalance = d
}

func (c *Cluster) currentHooks() Hooks {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hooks
}

// partition finds a partition; c.mu is held.
func (c *Cluster) partition(tp pipeline.TopicPartition) (*memTopic, *memPartition, error) {
	t, ok := c.topics[tp.Topic]
	if !ok || tp.Partition < 0 || int(tp.Partition) >= len(t.partitions) {
		return nil, nil, fmt.Errorf("%s: %w", tp, ErrUnknownTopic)
	}
	return t, t.partitions[tp.Partition], nil
}

// Fetch implements pipeline.Log.
func (c *Cluster) Fetch(ctx context.Context, tp pipeline.TopicPartition, offset int64) (pipeline.Fetched, error) {
	if h := c.currentHooks().Fetch; h != nil {
		if err := h(tp, offset); err != nil {
			return pipeline.Fetched{}, err
		}
	}
	var timeout <-chan time.Time
	for {
		if err := ctx.Err(); err != nil {
			return pipeline.Fetched{}, err
		}
		c.mu.Lock()
		_, p, err := c.partition(tp)
		if err != nil {
			c.mu.Unlock()
			return pipeline.Fetched{}, err
		}
		start, end := p.start, p.end()
		if offset < start || offset > end {
			c.mu.Unlock()
			return pipeline.Fetched{}, fmt.Errorf("%s/%d at %d: %w", tp.Topic, tp.Partition, offset, pipeline.ErrOffsetOutOfRange)
		}
		out := pipeline.Fetched{Next: offset, HighWatermark: end, LogStart: start}
		if offset < end {
			from := int(offset - start)
			out.Records = slices.Clone(p.records[from:min(len(p.records), from+c.fetchMax)])
			out.Next = offset + int64(len(out.Records))
		}
		changed, wait := c.changed, c.fetchWait
		c.mu.Unlock()
		if len(out.Records) > 0 {
			return out, nil
		}
		if timeout == nil {
			t := time.NewTimer(wait)
			defer t.Stop()
			timeout = t.C
		}
		select {
		case <-changed:
		case <-timeout:
			return out, nil
		case <-ctx.Done():
		}
	}
}

// Produce implements pipeline.Log.
func (c *Cluster) Produce(ctx context.Context, tp pipeline.TopicPartition, records []pipeline.Record) error {
	_, err := c.Append(ctx, tp, records)
	return err
}

// Append implements pipeline.Log.
func (c *Cluster) Append(ctx context.Context, tp pipeline.TopicPartition, records []pipeline.Record) (pipeline.Appended, error) {
	if err := ctx.Err(); err != nil {
		return pipeline.Appended{}, err
	}
	hooks := c.currentHooks()
	if hooks.Produce != nil {
		if err := hooks.Produce(tp, records); err != nil {
			return pipeline.Appended{}, err
		}
	}
	if len(records) == 0 {
		return pipeline.Appended{}, nil
	}
	first, err := c.Put(tp, records...)
	if err != nil {
		return pipeline.Appended{}, err
	}
	if hooks.Produced != nil {
		if err := hooks.Produced(tp, records); err != nil {
			return pipeline.Appended{}, err
		}
	}
	return pipeline.Appended{First: first, Last: first + int64(len(records)) - 1, Count: len(records)}, nil
}

// Put appends records without asking the hooks, and returns the offset of the
// first.
func (c *Cluster) Put(tp pipeline.TopicPartition, records ...pipeline.Record) (int64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t, p, err := c.partition(tp)
	if err != nil {
		return 0, err
	}
	first := p.end()
	for i := range records {
		if n := len(records[i].Key) + len(records[i].Value); n > t.maxMessage {
			return 0, fmt.Errorf("%s: record of %d bytes: %w", tp, n, pipeline.ErrTooLarge)
		}
	}
	now := schemas.Millis(time.Now().UnixMilli())
	for _, r := range records {
		r.Offset = p.end()
		if t.appendTime || r.Time == 0 {
			r.Time = now
		}
		r.Key, r.Value, r.Headers = bytes.Clone(r.Key), bytes.Clone(r.Value), slices.Clone(r.Headers)
		for i := range r.Headers {
			r.Headers[i].Value = bytes.Clone(r.Headers[i].Value)
		}
		p.records = append(p.records, r)
	}
	close(c.changed)
	c.changed = make(chan struct{})
	return first, nil
}

// Bounds implements pipeline.Log.
func (c *Cluster) Bounds(ctx context.Context, tp pipeline.TopicPartition) (start, end int64, err error) {
	if err := ctx.Err(); err != nil {
		return 0, 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_, p, err := c.partition(tp)
	if err != nil {
		return 0, 0, err
	}
	return p.start, p.end(), nil
}

// Partitions implements pipeline.Log.
func (c *Cluster) Partitions(ctx context.Context, topic string) (int32, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	t, ok := c.topics[topic]
	if !ok {
		return 0, fmt.Errorf("%s: %w", topic, ErrUnknownTopic)
	}
	return int32(len(t.partitions)), nil
}

// DeleteRecords removes the records below an offset, as retention does.
func (c *Cluster) DeleteRecords(_ context.Context, tp pipeline.TopicPartition, before int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, p, err := c.partition(tp)
	if err != nil {
		return err
	}
	if before > p.end() {
		return fmt.Errorf("%s below %d: %w", tp, before, pipeline.ErrOffsetOutOfRange)
	}
	if before > p.start {
		p.records = slices.Clone(p.records[before-p.start:])
		p.start = before
	}
	return nil
}

// Records returns what stands in a partition; nothing for one that is not there.
func (c *Cluster) Records(tp pipeline.TopicPartition) []pipeline.Record {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, p, err := c.partition(tp)
	if err != nil {
		return nil
	}
	return slices.Clone(p.records)
}

// All returns what stands in the partitions of a topic, one after the other.
func (c *Cluster) All(topic string) []pipeline.Record {
	n, err := c.Partitions(context.Background(), topic)
	if err != nil {
		return nil
	}
	var out []pipeline.Record
	for p := range n {
		out = append(out, c.Records(pipeline.TopicPartition{Topic: topic, Partition: p})...)
	}
	return out
}
