package pipelinetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/plumbline-sec/plumbline/pipeline"
)

// ErrGroupClosed is returned by Next of a closed member.
var ErrGroupClosed = errors.New("consumer group is closed")

// coordinator is the state of one consumer group. Its methods need Cluster.mu.
type coordinator struct {
	cluster    *Cluster
	id         string
	members    []*Member // in the order in which they came
	generation int
	committed  map[pipeline.TopicPartition]int64
	timer      *time.Timer // of a rebalance in progress
}

// Member is one membership of a group in memory: a pipeline.Group.
type Member struct {
	cluster *Cluster
	coord   *coordinator
	topics  []string

	// Guarded by Cluster.mu.
	waiting chan *memGeneration // set while Next waits for a generation
	current *memGeneration
	closed  bool

	done chan struct{}
}

var _ pipeline.Group = (*Member)(nil)

// Group returns a member of a group. It joins with the first call of Next.
func (c *Cluster) Group(id string, topics ...string) *Member {
	c.mu.Lock()
	defer c.mu.Unlock()
	return &Member{cluster: c, coord: c.coordinator(id), topics: slices.Clone(topics), done: make(chan struct{})}
}

func (c *Cluster) coordinator(id string) *coordinator {
	g, ok := c.groups[id]
	if !ok {
		g = &coordinator{cluster: c, id: id, committed: make(map[pipeline.TopicPartition]int64)}
		c.groups[id] = g
	}
	return g
}

// Committed returns the committed offset of a group, and whether there is one.
func (c *Cluster) Committed(group string, tp pipeline.TopicPartition) (int64, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o, ok := c.coordinator(group).committed[tp]
	return o, ok
}

// CommittedOffsets is that of all of them, -1 for none.
func (c *Cluster) CommittedOffsets(ctx context.Context, group string, of []pipeline.TopicPartition) ([]int64, error) {
	out := make([]int64, len(of))
	for i, tp := range of {
		o, ok := c.Committed(group, tp)
		if out[i] = o; !ok {
			out[i] = -1
		}
	}
	return out, ctx.Err()
}

// SetCommitted sets the committed offset of a group, as a reset by hand does.
func (c *Cluster) SetCommitted(group string, tp pipeline.TopicPartition, offset int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.coordinator(group).committed[tp] = offset
}

// Rebalance ends the current generation of a group and starts the next one.
func (c *Cluster) Rebalance(group string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.coordinator(group).rebalance()
}

// Move gives what the first member of a group owns to the next one.
func (c *Cluster) Move(group string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	g := c.coordinator(group)
	if len(g.members) > 1 {
		g.members = append(g.members[1:], g.members[0])
	}
	g.rebalance()
}

// Evict removes a member without telling it, as the session timeout of a paused
// process does. The others go on without it; it learns so from its next commit.
func (c *Cluster) Evict(m *Member) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m.coord.remove(m)
	m.coord.rebalance()
}

func (g *coordinator) subscribes(topic string) bool {
	return slices.ContainsFunc(g.members, func(m *Member) bool { return slices.Contains(m.topics, topic) })
}

func (g *coordinator) remove(m *Member) {
	g.members = slices.DeleteFunc(g.members, func(o *Member) bool { return o == m })
}

// rebalance asks all members to stop and join again. The next generation begins
// when all have, or when the time for it is up, without those that have not.
func (g *coordinator) rebalance() {
	for _, m := range g.members {
		if m.current != nil {
			m.current.cancel()
		}
	}
	if g.timer == nil {
		g.timer = time.AfterFunc(g.cluster.rebalance, func() {
			g.cluster.mu.Lock()
			defer g.cluster.mu.Unlock()
			if g.timer == nil {
				return
			}
			g.members = slices.DeleteFunc(g.members, func(m *Member) bool { return m.waiting == nil })
			g.complete()
		})
	}
	g.complete()
}

// complete begins the next generation if every member waits for it.
func (g *coordinator) complete() {
	if slices.ContainsFunc(g.members, func(m *Member) bool { return m.waiting == nil }) {
		return
	}
	if g.timer != nil {
		g.timer.Stop()
		g.timer = nil
	}
	if len(g.members) == 0 {
		return
	}
	g.generation++
	assigned := g.assign()
	for _, m := range g.members {
		ctx, cancel := context.WithCancel(context.Background())
		m.current = &memGeneration{member: m, id: g.generation, assigned: assigned[m], ctx: ctx, cancel: cancel}
		m.waiting <- m.current
		m.waiting = nil
	}
}

// assign gives every member a range of the partitions of each topic.
func (g *coordinator) assign() map[*Member][]pipeline.Assignment {
	var topics []string
	for _, m := range g.members {
		topics = append(topics, m.topics...)
	}
	slices.Sort(topics)
	out := make(map[*Member][]pipeline.Assignment)
	for _, topic := range slices.Compact(topics) {
		t, ok := g.cluster.topics[topic]
		if !ok {
			continue
		}
		var among []*Member
		for _, m := range g.members {
			if slices.Contains(m.topics, topic) {
				among = append(among, m)
			}
		}
		for p := range t.partitions {
			tp := pipeline.TopicPartition{Topic: topic, Partition: int32(p)}
			a := pipeline.Assignment{TopicPartition: tp, Offset: t.partitions[p].start}
			if o, ok := g.committed[tp]; ok {
				a.Offset, a.Committed = o, true
			}
			m := among[p*len(among)/len(t.partitions)]
			out[m] = append(out[m], a)
		}
	}
	for _, as := range out {
		slices.SortFunc(as, func(a, b pipeline.Assignment) int {
			return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
		})
	}
	return out
}

// Next implements pipeline.Group.
func (m *Member) Next(ctx context.Context) (pipeline.Generation, error) {
	if err := m.previousEnded(ctx); err != nil {
		return nil, err
	}
	m.cluster.mu.Lock()
	if m.closed {
		m.cluster.mu.Unlock()
		return nil, ErrGroupClosed
	}
	waiting := make(chan *memGeneration, 1)
	m.waiting = waiting
	if !slices.Contains(m.coord.members, m) {
		m.coord.members = append(m.coord.members, m)
	}
	m.coord.rebalance()
	m.cluster.mu.Unlock()

	select {
	case gen := <-waiting:
		return gen, nil
	case <-m.done:
		return nil, ErrGroupClosed
	case <-ctx.Done():
		m.cluster.mu.Lock()
		defer m.cluster.mu.Unlock()
		m.waiting = nil
		return nil, ctx.Err()
	}
}

func (m *Member) previousEnded(ctx context.Context) error {
	m.cluster.mu.Lock()
	gen := m.current
	m.cluster.mu.Unlock()
	if gen == nil {
		return ctx.Err()
	}
	select {
	case <-gen.ctx.Done():
	case <-m.done:
		return ErrGroupClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	gen.functions.Wait()
	m.cluster.mu.Lock()
	defer m.cluster.mu.Unlock()
	if m.current == gen {
		m.current = nil
	}
	return ctx.Err()
}

// Close implements pipeline.Group.
func (m *Member) Close() error {
	m.cluster.mu.Lock()
	if m.closed {
		m.cluster.mu.Unlock()
		return nil
	}
	m.closed = true
	close(m.done)
	gen := m.current
	m.cluster.mu.Unlock()
	if gen != nil {
		gen.cancel()
		gen.functions.Wait()
	}
	m.cluster.mu.Lock()
	defer m.cluster.mu.Unlock()
	if slices.Contains(m.coord.members, m) {
		m.coord.remove(m)
		m.coord.rebalance()
	}
	return nil
}

type memGeneration struct {
	member    *Member
	id        int
	assigned  []pipeline.Assignment
	ctx       context.Context
	cancel    context.CancelFunc
	functions sync.WaitGroup
}

// Assignments implements pipeline.Generation.
func (g *memGeneration) Assignments() []pipeline.Assignment { return slices.Clone(g.assigned) }

// Start implements pipeline.Generation.
func (g *memGeneration) Start(fn func(ctx context.Context)) {
	g.functions.Go(func() {
		defer g.cancel()
		fn(g.ctx)
	})
}

// Commit implements pipeline.Generation.
func (g *memGeneration) Commit(tp pipeline.TopicPartition, offset int64) error {
	c := g.member.cluster
	if h := c.currentHooks().Commit; h != nil {
		if err := h(g.member.coord.id, tp, offset); err != nil {
			return err
		}
	}
	c.mu.Lock()
	coord := g.member.coord
	owner := coord.generation == g.id && slices.Contains(coord.members, g.member)
	if owner {
		coord.committed[tp] = offset
	}
	c.mu.Unlock()
	if !owner {
		g.cancel()
		return fmt.Errorf("commit %s at %d: %w", tp, offset, pipeline.ErrFenced)
	}
	return nil
}
