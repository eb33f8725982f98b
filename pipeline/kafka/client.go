package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/metadata"

	"github.com/plumbline-sec/plumbline/pipeline"
)

// clientID names us in the logs and quotas of brokers.
const clientID = "plumbline"

// Client reads and writes partitions of one cluster. It is safe for concurrent
// use.
type Client struct {
	cfg       Config
	logger    zerolog.Logger
	addr      net.Addr
	transport *kafkago.Transport
	client    *kafkago.Client
	dialer    *kafkago.Dialer
	reached   atomic.Bool // the cluster has answered at least once
	raw       sync.Pool   // *[]byte: fetched bytes that no record refers to
	growth    sync.Map    // topic to float64: what a fetched byte came to in memory

	stop   context.CancelFunc // ends what the transport runs in the background
	mu     sync.Mutex
	closed bool
	groups map[*Group]struct{}
}

var _ pipeline.Log = (*Client)(nil)

// New checks the config and prepares a client. It connects to nothing: an
// unreachable cluster shows in the first call.
func New(cfg Config, logger zerolog.Logger) (*Client, error) {
	cfg.Brokers = slices.Clone(cfg.Brokers)
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	cfg.setDefaults()
	mechanism, err := cfg.mechanism(logger)
	if err != nil {
		return nil, err
	}
	dial, byTLS := (&net.Dialer{Timeout: cfg.DialTimeout}).DialContext, cfg.TLS
	if cfg.DialTLS != nil {
		dial, byTLS = cfg.DialTLS, nil
	}
	background, stop := context.WithCancel(context.Background())
	transport := &kafkago.Transport{
		Dial:        dial,
		DialTimeout: cfg.DialTimeout,
		MetadataTTL: cfg.MetadataTTL,
		ClientID:    clientID,
		TLS:         byTLS,
		SASL:        mechanism,
		Context:     background,
	}
	addr := kafkago.TCP(cfg.Brokers...)
	return &Client{
		cfg:       cfg,
		logger:    logger,
		addr:      addr,
		transport: transport,
		client:    &kafkago.Client{Addr: addr, Timeout: cfg.RequestTimeout, Transport: transport},
		dialer: &kafkago.Dialer{
			ClientID:      clientID,
			DialFunc:      dial,
			Timeout:       cfg.DialTimeout,
			TLS:           byTLS,
			SASLMechanism: mechanism,
		},
		stop:   stop,
		groups: make(map[*Group]struct{}),
	}, nil
}

// Close closes the groups that are still open and all connections. A second call
// does nothing.
func (c *Client) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	groups := make([]*Group, 0, len(c.groups))
	for g := range c.groups {
		groups = append(groups, g)
	}
	c.mu.Unlock()
	for _, g := range groups {
		_ = g.Close()
	}
	c.transport.CloseIdleConnections()
	c.stop() // also what a call that is under way may start after this
	return nil
}

func (c *Client) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// Bounds returns the offsets of the log's start and end (the high watermark).
func (c *Client) Bounds(ctx context.Context, tp pipeline.TopicPartition) (start, end int64, err error) {
	if c.isClosed() {
		return 0, 0, errClosed
	}
	p := int(tp.Partition)
	res, err := c.client.ListOffsets(ctx, &kafkago.ListOffsetsRequest{
		Topics: map[string][]kafkago.OffsetRequest{tp.Topic: {kafkago.FirstOffsetOf(p), kafkago.LastOffsetOf(p)}},
	})
	if err != nil {
		return 0, 0, fmt.Errorf("offsets of %s/%d: %w", tp.Topic, tp.Partition, c.explain(ctx, err))
	}
	c.reached.Store(true)
	for _, o := range res.Topics[tp.Topic] {
		if o.Partition != p {
			continue
		}
		if o.Error != nil {
			return 0, 0, fmt.Errorf("offsets of %s/%d: %w", tp.Topic, tp.Partition, o.Error)
		}
		return o.FirstOffset, o.LastOffset, nil
	}
	return 0, 0, fmt.Errorf("offsets of %s/%d: the broker's answer leaves them out", tp.Topic, tp.Partition)
}

// OffsetAt returns the offset of the first record that is not older than at; the end of
// the log where there is none.
func (c *Client) OffsetAt(ctx context.Context, tp pipeline.TopicPartition, at time.Time) (int64, error) {
	if c.isClosed() {
		return 0, errClosed
	}
	_, end, err := c.Bounds(ctx, tp) // before the question: what comes meanwhile is newer
	if err != nil {
		return 0, err
	}
	p := int(tp.Partition)
	res, err := c.client.ListOffsets(ctx, &kafkago.ListOffsetsRequest{
		Topics: map[string][]kafkago.OffsetRequest{tp.Topic: {kafkago.TimeOffsetOf(p, at)}},
	})
	if err != nil {
		return 0, fmt.Errorf("offset of %s/%d at a time: %w", tp.Topic, tp.Partition, c.explain(ctx, err))
	}
	for _, o := range res.Topics[tp.Topic] {
		if o.Partition != p {
			continue
		}
		if o.Error != nil {
			return 0, fmt.Errorf("offset of %s/%d at a time: %w", tp.Topic, tp.Partition, o.Error)
		}
		for offset := range o.Offsets {
			if offset >= 0 {
				return offset, nil
			}
		}
	}
	return end, nil
}

// Partitions returns how many partitions a topic has. A topic that was created a
// moment ago may be unknown for up to the metadata's time to live.
func (c *Client) Partitions(ctx context.Context, topic string) (int32, error) {
	m, err := c.metadata(ctx, topic)
	if err != nil {
		return 0, fmt.Errorf("partitions of %s: %w", topic, err)
	}
	t := m.Topics[0]
	if t.ErrorCode != 0 {
		return 0, fmt.Errorf("partitions of %s: %w", topic, kafkago.Error(t.ErrorCode))
	}
	if len(t.Partitions) == 0 {
		return 0, fmt.Errorf("partitions of %s: %w", topic, kafkago.UnknownTopicOrPartition)
	}
	return int32(len(t.Partitions)), nil
}

// metadata answers from the transport's view of the cluster.
func (c *Client) metadata(ctx context.Context, topics ...string) (*metadata.Response, error) {
	if c.isClosed() {
		return nil, errClosed
	}
	bounded, cancel := context.WithTimeout(ctx, c.cfg.RequestTimeout)
	defer cancel()
	res, err := c.transport.RoundTrip(bounded, c.addr, &metadata.Request{TopicNames: topics})
	if err != nil {
		return nil, c.explain(ctx, err)
	}
	c.reached.Store(true)
	m, ok := res.(*metadata.Response)
	if !ok || len(m.Topics) < len(topics) {
		return nil, fmt.Errorf("unexpected answer %T to a metadata request", res)
	}
	return m, nil
}

// roundTrip sends a request to the broker that it names.
func (c *Client) roundTrip(ctx context.Context, req protocol.Message) (protocol.Message, error) {
	if c.isClosed() {
		return nil, errClosed
	}
	bounded, cancel := context.WithTimeout(ctx, c.cfg.RequestTimeout)
	defer cancel()
	res, err := c.transport.RoundTrip(bounded, c.addr, req)
	if err != nil {
		return nil, c.explain(ctx, err)
	}
	c.reached.Store(true)
	return res, nil
}

// CommittedOffsets returns what a group has committed of each partition, -1 where it has
// committed nothing.
func (c *Client) CommittedOffsets(ctx context.Context, group string, of []pipeline.TopicPartition) ([]int64, error) {
	if c.isClosed() {
		return nil, errClosed
	}
	req := &kafkago.OffsetFetchRequest{GroupID: group, Topics: make(map[string][]int)}
	for _, tp := range of {
		req.Topics[tp.Topic] = append(req.Topics[tp.Topic], int(tp.Partition))
	}
	res, err := c.client.OffsetFetch(ctx, req)
	if err == nil && !errors.Is(res.Error, kafkago.GroupIdNotFound) { // nobody has joined it yet
		err = res.Error
	}
	if err != nil {
		return nil, fmt.Errorf("committed offsets of group %s: %w", group, c.explain(ctx, err))
	}
	out := make([]int64, len(of))
	for i, tp := range of {
		out[i] = -1
		for _, p := range res.Topics[tp.Topic] {
			if p.Partition != int(tp.Partition) {
				continue
			}
			if p.Error != nil {
				return nil, fmt.Errorf("committed offset of %s for group %s: %w", tp, group, c.hint(p.Error))
			}
			out[i] = p.CommittedOffset
		}
	}
	return out, nil
}

// CommitOffset commits an offset of a group from outside. It is refused, with
// pipeline.ErrGroupActive, while the group has members.
func (c *Client) CommitOffset(ctx context.Context, group string, tp pipeline.TopicPartition, offset int64) error {
	fail := func(err error) error {
		return fmt.Errorf("commit %s/%d at %d for group %s: %w", tp.Topic, tp.Partition, offset, group, err)
	}
	res, err := c.client.OffsetCommit(ctx, &kafkago.OffsetCommitRequest{
		GroupID: group, GenerationID: -1,
		Topics: map[string][]kafkago.OffsetCommit{tp.Topic: {{Partition: int(tp.Partition), Offset: offset}}},
	})
	if err != nil {
		return fail(c.explain(ctx, err))
	}
	for _, p := range res.Topics[tp.Topic] {
		switch {
		case errors.Is(p.Error, kafkago.UnknownMemberId), errors.Is(p.Error, kafkago.IllegalGeneration), errors.Is(p.Error, kafkago.RebalanceInProgress):
			return fail(fmt.Errorf("%w: %w", pipeline.ErrGroupActive, p.Error))
		case p.Error != nil:
			return fail(c.hint(p.Error))
		}
	}
	return nil
}
