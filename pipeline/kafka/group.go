package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
	kafkago "github.com/segmentio/kafka-go"

	"github.com/plumbline-sec/plumbline/pipeline"
)

// GroupConfig describes one membership of a consumer group. Durations that are
// zero take the defaults stated beside them.
type GroupConfig struct {
	ID     string
	Topics []string

	SessionTimeout    time.Duration // 30 s: a member that is silent for so long is out
	HeartbeatInterval time.Duration // 3 s
	RebalanceTimeout  time.Duration // 30 s: what members get to stop and join again
	RequestTimeout    time.Duration // 5 s: for an answer of the coordinator
	RejoinBackoff     time.Duration // 1 s: after a failed attempt to join
	PartitionWatch    time.Duration // 5 s: how soon added partitions are seen
}

func (g *GroupConfig) setDefaults() {
	g.SessionTimeout = cmp.Or(g.SessionTimeout, 30*time.Second)
	g.HeartbeatInterval = cmp.Or(g.HeartbeatInterval, min(3*time.Second, g.SessionTimeout/3))
	g.RebalanceTimeout = cmp.Or(g.RebalanceTimeout, 30*time.Second)
	g.RequestTimeout = cmp.Or(g.RequestTimeout, 5*time.Second)
	g.RejoinBackoff = cmp.Or(g.RejoinBackoff, time.Second)
	g.PartitionWatch = cmp.Or(g.PartitionWatch, 5*time.Second)
}

// How often the same complaint is logged, how long Close waits for a polite leave
// before it cuts the connections, and how fast generations may follow each other.
const (
	complainEvery = 10 * time.Second
	leaveTimeout  = 3 * time.Second
	minGeneration = 500 * time.Millisecond
	freeRejoins   = 3
)

// Group is one membership of a consumer group. Next must not be called
// concurrently with itself.
type Group struct {
	client *Client
	cfg    GroupConfig
	logger zerolog.Logger

	group    *kafkago.ConsumerGroup // nil until all topics exist
	current  *generation
	joinedAt time.Time
	sizes    map[string]int32 // partitions of each topic, as last seen before a generation was joined
	brief    int              // generations in a row that were shorter than minGeneration
	said     time.Time        // when a complaint was last logged
	trouble  time.Time        // since when joining fails

	done      chan struct{}
	closeOnce sync.Once

	mu      sync.Mutex // guards what follows, and group against Close
	conns   map[net.Conn]struct{}
	severed bool
}

var _ pipeline.Group = (*Group)(nil)

// Group prepares a membership. It joins with the first call of Next.
func (c *Client) Group(cfg GroupConfig) (pipeline.Group, error) {
	cfg.Topics = slices.Clone(cfg.Topics)
	cfg.setDefaults()
	switch {
	case cfg.ID == "":
		return nil, errors.New("consumer group: no id")
	case len(cfg.Topics) == 0:
		return nil, fmt.Errorf("consumer group %s: no topic", cfg.ID)
	case cfg.HeartbeatInterval >= cfg.SessionTimeout:
		return nil, fmt.Errorf("consumer group %s: the heartbeat interval %s must be well below the session timeout %s", cfg.ID, cfg.HeartbeatInterval, cfg.SessionTimeout)
	}
	g := &Group{
		client: c,
		cfg:    cfg,
		logger: c.logger.With().Str("group", cfg.ID).Logger(),
		done:   make(chan struct{}),
		conns:  make(map[net.Conn]struct{}),
		sizes:  make(map[string]int32),
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errClosed
	}
	c.groups[g] = struct{}{}
	return g, nil
}

// Next waits until the generation before has ended and its functions have
// returned, joins, and returns the next one. It rides out every failure of the
// cluster, saying what is wrong, until ctx ends or the group is closed.
func (g *Group) Next(ctx context.Context) (pipeline.Generation, error) {
	if err := g.previousEnded(ctx); err != nil {
		return nil, err
	}
	if err := g.topicsExist(ctx); err != nil {
		return nil, err
	}
	for {
		gen, err := g.group.Next(ctx)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.Is(err, kafkago.ErrGroupClosed):
			return nil, errGroupClosed
		case err != nil:
			g.complain(err)
			continue
		}
		out := newGeneration(g, gen)
		if err := out.resolve(ctx); err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			g.complain(err)
			continue // it ended while we looked
		}
		g.current, g.joinedAt, g.said, g.trouble = out, time.Now(), time.Time{}, time.Time{}
		g.logger.Debug().Int32("generation", gen.ID).Str("member", gen.MemberID).Int("partitions", len(out.assigned)).Msg("joined consumer group")
		return out, nil
	}
}

var errGroupClosed = errors.New("consumer group is closed")

// previousEnded waits for the generation before. When one generation after the
// other ends as soon as it begins (a deleted topic does that), it slows them down.
func (g *Group) previousEnded(ctx context.Context) error {
	if g.current == nil {
		return ctx.Err()
	}
	finished := make(chan struct{})
	go func() {
		g.current.functions.Wait()
		close(finished)
	}()
	for _, wait := range []<-chan struct{}{g.current.ended, finished} {
		select {
		case <-wait:
		case <-g.done:
			return errGroupClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	g.current = nil
	lasted := time.Since(g.joinedAt)
	if lasted >= minGeneration {
		g.brief = 0
		return ctx.Err()
	}
	if g.brief++; g.brief <= freeRejoins {
		return ctx.Err()
	}
	return g.sleep(ctx, minGeneration-lasted)
}

func (g *Group) sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-g.done:
		return errGroupClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// topicsExist waits until every topic does: kafka-go would join and leave without
// a pause for one that does not.
func (g *Group) topicsExist(ctx context.Context) error {
	for _, topic := range g.cfg.Topics {
		for {
			n, err := g.client.Partitions(ctx, topic)
			if err == nil {
				if g.group == nil { // later it is the generation that looks
					g.sizes[topic] = n
				}
				break
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if errors.Is(err, kafkago.UnknownTopicOrPartition) {
				err = fmt.Errorf("topic %s does not exist: %w", topic, err)
			}
			g.complain(err)
			if err := g.sleep(ctx, g.cfg.RejoinBackoff); err != nil {
				return err
			}
		}
	}
	return g.join()
}

// join starts kafka-go's loop, once.
func (g *Group) join() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.severed {
		return errGroupClosed
	}
	select {
	case <-g.done:
		return errGroupClosed
	default:
	}
	if g.group != nil {
		return nil
	}
	dialer := *g.client.dialer
	dialer.DialFunc = g.dial
	group, err := kafkago.NewConsumerGroup(kafkago.ConsumerGroupConfig{
		ID:                g.cfg.ID,
		Brokers:           g.client.cfg.Brokers,
		Dialer:            &dialer,
		Topics:            g.cfg.Topics,
		GroupBalancers:    []kafkago.GroupBalancer{kafkago.RangeGroupBalancer{}, kafkago.RoundRobinGroupBalancer{}},
		HeartbeatInterval: g.cfg.HeartbeatInterval,
		SessionTimeout:    g.cfg.SessionTimeout,
		RebalanceTimeout:  g.cfg.RebalanceTimeout,
		JoinGroupBackoff:  g.cfg.RejoinBackoff,
		StartOffset:       kafkago.FirstOffset,
		Timeout:           g.cfg.RequestTimeout,
	})
	if err != nil {
		return fmt.Errorf("consumer group %s: %w", g.cfg.ID, err)
	}
	g.group = group
	return nil
}

// complain logs what keeps us from joining, at once and then from time to time.
// What a rebalance or a restarting coordinator brings with it is logged only if it
// lasts.
func (g *Group) complain(err error) {
	if g.trouble.IsZero() {
		g.trouble = time.Now()
	}
	if time.Since(g.said) < complainEvery || passing(err) && time.Since(g.trouble) < complainEvery {
		return
	}
	g.said = time.Now()
	err = g.client.hint(err)
	g.logger.Warn().Err(err).Str("topics", strings.Join(g.cfg.Topics, ",")).Msg("can't join the consumer group yet; trying on")
}

// passing says whether an error belongs to the normal life of a group.
func passing(err error) bool {
	return fenced(err) || errors.Is(err, kafkago.NotCoordinatorForGroup) ||
		errors.Is(err, kafkago.GroupCoordinatorNotAvailable) || errors.Is(err, kafkago.GroupLoadInProgress)
}

// Close leaves the group. It waits for the functions of the current generation,
// whose contexts end; a coordinator that does not answer is not waited for.
func (g *Group) Close() error {
	g.closeOnce.Do(func() {
		close(g.done)
		g.mu.Lock()
		group := g.group
		g.mu.Unlock()
		if group != nil {
			left := make(chan struct{})
			go func() {
				defer close(left)
				_ = group.Close()
			}()
			t := time.NewTimer(leaveTimeout)
			defer t.Stop()
			select {
			case <-left:
			case <-t.C:
				g.sever()
				<-left
			}
		}
		g.client.mu.Lock()
		delete(g.client.groups, g)
		g.client.mu.Unlock()
	})
	return nil
}

// dial keeps track of the group's connections, so that Close can cut off a
// request that the library would wait out.
func (g *Group) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := g.client.dialer.DialFunc(ctx, network, address)
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.severed {
		_ = conn.Close()
		return nil, errGroupClosed
	}
	tracked := &trackedConn{Conn: conn, group: g}
	g.conns[tracked] = struct{}{}
	return tracked, nil
}

func (g *Group) sever() {
	g.mu.Lock()
	g.severed = true
	conns := make([]net.Conn, 0, len(g.conns))
	for c := range g.conns {
		conns = append(conns, c)
	}
	g.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
	}
}

type trackedConn struct {
	net.Conn
	group *Group
}

// Close closes the connection and forgets it.
func (t *trackedConn) Close() error {
	t.group.mu.Lock()
	delete(t.group.conns, t)
	t.group.mu.Unlock()
	return t.Conn.Close()
}

// generation is one period of ownership.
type generation struct {
	group     *Group
	gen       *kafkago.Generation
	assigned  []pipeline.Assignment
	ended     chan struct{}
	functions sync.WaitGroup
}

func newGeneration(g *Group, gen *kafkago.Generation) *generation {
	out := &generation{group: g, gen: gen, ended: make(chan struct{})}
	for topic, partitions := range gen.Assignments {
		for _, p := range partitions {
			out.assigned = append(out.assigned, pipeline.Assignment{
				TopicPartition: pipeline.TopicPartition{Topic: topic, Partition: int32(p.ID)},
				Offset:         p.Offset,
				Committed:      p.Offset >= 0,
			})
		}
	}
	slices.SortFunc(out.assigned, func(a, b pipeline.Assignment) int {
		return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	gen.Start(func(ctx context.Context) {
		<-ctx.Done()
		close(out.ended)
	})
	gen.Start(out.watch)
	return out
}

// watch returns, and with it the generation ends, when a topic has another number of
// partitions than before the generation was joined. kafka-go's own watcher first looks
// some time after that: what came in between would belong to nobody.
func (g *generation) watch(ctx context.Context) {
	ticker := time.NewTicker(g.group.cfg.PartitionWatch)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		changed := false
		for topic, before := range g.group.sizes {
			n, err := g.group.client.Partitions(ctx, topic)
			if err == nil || errors.Is(err, kafkago.UnknownTopicOrPartition) {
				changed = changed || n != before
				g.group.sizes[topic] = n
			}
		}
		if changed {
			return
		}
	}
}

// resolve finds the log's start where nothing was committed.
func (g *generation) resolve(ctx context.Context) error {
	for i := range g.assigned {
		a := &g.assigned[i]
		for a.Offset < 0 {
			start, _, err := g.group.client.Bounds(ctx, a.TopicPartition)
			if err == nil {
				a.Offset = start
				break
			}
			select {
			case <-g.ended:
				return err
			default:
			}
			g.group.complain(err)
			if err := g.group.sleep(ctx, g.group.cfg.RejoinBackoff); err != nil {
				return err
			}
		}
	}
	return nil
}

// Assignments returns the partitions of this member, by topic and partition.
func (g *generation) Assignments() []pipeline.Assignment { return slices.Clone(g.assigned) }

// Start runs fn until it returns; ctx ends with the generation.
func (g *generation) Start(fn func(ctx context.Context)) {
	g.functions.Add(1)
	g.gen.Start(func(ctx context.Context) {
		defer g.functions.Done()
		fn(ctx)
	})
}

// Commit commits the next offset to read, checked against the generation. While
// functions of the generation still run after its end, a commit may yet succeed.
func (g *generation) Commit(tp pipeline.TopicPartition, offset int64) error {
	err := g.gen.CommitOffsets(map[string]map[int]int64{tp.Topic: {int(tp.Partition): offset}})
	switch {
	case err == nil:
		return nil
	case fenced(err), errors.Is(err, net.ErrClosed):
		return fmt.Errorf("commit %s/%d at %d: %w: %w", tp.Topic, tp.Partition, offset, pipeline.ErrFenced, err)
	}
	return fmt.Errorf("commit %s/%d at %d: %w", tp.Topic, tp.Partition, offset,
		g.group.client.hint(err))
}
