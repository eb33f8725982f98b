package pipelinetest

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/pipeline"
)

// member runs a group membership as a role does: it holds every generation until
// it ends and keeps the latest for the test to look at.
type member struct {
	s       *suite
	group   pipeline.Group
	latest  atomic.Pointer[held]
	stopped chan struct{}
	cancel  context.CancelFunc
}

type held struct {
	number int
	gen    pipeline.Generation
	ended  chan struct{} // closed when its context ended
}

func (s *suite) join(id string, topics ...string) pipeline.Group {
	s.t.Helper()
	g, err := s.Join(id, topics...)
	require.NoError(s.t, err)
	s.t.Cleanup(func() { assert.NoError(s.t, g.Close()) })
	return g
}

func (s *suite) member(id string, topics ...string) *member {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	m := &member{s: s, group: s.join(id, topics...), stopped: make(chan struct{}), cancel: cancel}
	go func() {
		defer close(m.stopped)
		for number := 1; ; number++ {
			gen, err := m.group.Next(ctx)
			if err != nil {
				return
			}
			h := &held{number: number, gen: gen, ended: make(chan struct{})}
			m.latest.Store(h)
			gen.Start(func(genCtx context.Context) {
				<-genCtx.Done()
				close(h.ended)
			})
		}
	}()
	s.t.Cleanup(m.leave)
	return m
}

func (m *member) leave() {
	m.cancel()
	assert.NoError(m.s.t, m.group.Close())
	<-m.stopped
}

// settled waits until each member holds want partitions in a generation that lasts,
// and returns what each holds.
func (s *suite) settled(want int, members ...*member) [][]pipeline.Assignment {
	s.t.Helper()
	var out [][]pipeline.Assignment
	require.Eventually(s.t, func() bool {
		out = nil
		for _, m := range members {
			h := m.latest.Load()
			if h == nil || len(h.gen.Assignments()) != want {
				return false
			}
			select {
			case <-h.ended:
				return false
			default:
			}
			out = append(out, h.gen.Assignments())
		}
		return true
	}, patience, 5*time.Millisecond, "members with %d partitions each", want)
	return out
}

// next returns the next generation and a function that ends it.
func (s *suite) next(g pipeline.Group) (pipeline.Generation, func()) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.ctx(), patience)
	defer cancel()
	gen, err := g.Next(ctx)
	require.NoError(s.t, err)
	end := make(chan struct{})
	ended := make(chan struct{})
	gen.Start(func(ctx context.Context) {
		defer close(ended)
		select {
		case <-end:
		case <-ctx.Done():
		}
	})
	return gen, func() {
		close(end)
		<-ended
	}
}

func groupID() string { return fmt.Sprintf("conformance-group-%d", topicNumber.Add(1)) }

var groupTests = []conformanceTest{
	{"the first member of a new group gets all partitions from the log's start", func(s *suite) {
		topic := s.topic(3)
		trimmed := pipeline.TopicPartition{Topic: topic, Partition: 1}
		s.produce(trimmed, "a", "b")
		require.NoError(s.t, s.DeleteRecords(s.ctx(), trimmed, 1))
		gen, end := s.next(s.join(groupID(), topic))
		defer end()
		assert.Equal(s.t, []pipeline.Assignment{
			{TopicPartition: pipeline.TopicPartition{Topic: topic, Partition: 0}},
			{TopicPartition: trimmed, Offset: 1},
			{TopicPartition: pipeline.TopicPartition{Topic: topic, Partition: 2}},
		}, gen.Assignments())
	}},
	{"a member that comes back goes on at its commit, also at zero", func(s *suite) {
		topic, id := s.topic(2), groupID()
		zero, one := pipeline.TopicPartition{Topic: topic}, pipeline.TopicPartition{Topic: topic, Partition: 1}
		s.produce(one, "a", "b", "c")
		g := s.join(id, topic)
		gen, end := s.next(g)
		require.NoError(s.t, gen.Commit(zero, 0))
		require.NoError(s.t, gen.Commit(one, 2))
		end()
		want := []pipeline.Assignment{{TopicPartition: zero, Committed: true}, {TopicPartition: one, Offset: 2, Committed: true}}
		gen, end = s.next(g)
		assert.Equal(s.t, want, gen.Assignments(), "the same member")
		end()
		require.NoError(s.t, g.Close())
		gen, end = s.next(s.join(id, topic))
		defer end()
		assert.Equal(s.t, want, gen.Assignments(), "another member")
	}},
	{"two members share the partitions, and one takes over when the other leaves", func(s *suite) {
		topic, id := s.topic(4), groupID()
		first := s.member(id, topic)
		s.settled(4, first)
		second := s.member(id, topic)
		seen := make(map[pipeline.TopicPartition]int)
		for _, assigned := range s.settled(2, first, second) {
			for _, a := range assigned {
				seen[a.TopicPartition]++
			}
		}
		assert.Len(s.t, seen, 4)
		first.leave()
		s.settled(4, second)
	}},
	{"what a group has committed can be asked by anybody", func(s *suite) {
		a, b, id := s.topic(1), s.topic(2), groupID()
		of := []pipeline.TopicPartition{{Topic: b, Partition: 1}, {Topic: a}, {Topic: b}}
		require.Eventually(s.t, func() bool { // a coordinator that has just been named may not know it yet
			none, err := s.CommittedOffsets(s.ctx(), id, of)
			return err == nil && slices.Equal(none, []int64{-1, -1, -1})
		}, patience, 50*time.Millisecond)
		gen, end := s.next(s.join(id, a, b))
		defer end()
		s.produce(of[0], "x", "y", "z")
		require.NoError(s.t, gen.Commit(of[0], 3))
		require.NoError(s.t, gen.Commit(of[1], 0))
		some, err := s.CommittedOffsets(s.ctx(), id, of)
		require.NoError(s.t, err)
		assert.Equal(s.t, []int64{3, 0, -1}, some)
	}},
	{"a member without partitions has a generation all the same", func(s *suite) {
		topic, id := s.topic(1), groupID()
		first := s.member(id, topic)
		s.settled(1, first)
		second := s.member(id, topic)
		require.Eventually(s.t, func() bool {
			a, b := first.latest.Load(), second.latest.Load()
			return a != nil && b != nil && len(a.gen.Assignments())+len(b.gen.Assignments()) == 1
		}, patience, 5*time.Millisecond)
	}},
	{"a group over two topics gets the partitions of both", func(s *suite) {
		a, b := s.topic(1), s.topic(2)
		gen, end := s.next(s.join(groupID(), a, b))
		defer end()
		assert.Len(s.t, gen.Assignments(), 3)
	}},
	{"a generation ends when one of its functions returns", func(s *suite) {
		g := s.join(groupID(), s.topic(2))
		gen, end := s.next(g)
		other := make(chan struct{})
		gen.Start(func(ctx context.Context) {
			<-ctx.Done()
			close(other)
		})
		end()
		select {
		case <-other:
		case <-time.After(patience):
			s.t.Fatal("the other function's context did not end")
		}
		_, end = s.next(g)
		end()
	}},
	{"the next generation waits for the functions of the one before", func(s *suite) {
		g := s.join(groupID(), s.topic(1))
		gen, end := s.next(g)
		var returned atomic.Bool
		gen.Start(func(ctx context.Context) {
			<-ctx.Done()
			time.Sleep(100 * time.Millisecond)
			returned.Store(true)
		})
		end()
		_, end = s.next(g)
		defer end()
		assert.True(s.t, returned.Load())
	}},
	{"a commit while stopping for a rebalance is accepted", func(s *suite) {
		topic, id := s.topic(1), groupID()
		tp := pipeline.TopicPartition{Topic: topic}
		s.produce(tp, "a", "b")
		g := s.join(id, topic)
		gen, _ := s.next(g)
		result := make(chan error, 1)
		gen.Start(func(ctx context.Context) {
			<-ctx.Done()
			result <- gen.Commit(tp, 2)
		})
		second := s.member(id, topic)
		select {
		case err := <-result:
			require.NoError(s.t, err)
		case <-time.After(patience):
			s.t.Fatal("no rebalance came")
		}
		require.NoError(s.t, g.Close())
		assert.Equal(s.t, []pipeline.Assignment{{TopicPartition: tp, Offset: 2, Committed: true}}, s.settled(1, second)[0])
	}},
	{"a member that does not stop in time is fenced", func(s *suite) {
		topic, id := s.topic(1), groupID()
		tp := pipeline.TopicPartition{Topic: topic}
		s.produce(tp, "a", "b")
		g := s.join(id, topic)
		ctx, cancel := context.WithTimeout(s.ctx(), patience)
		defer cancel()
		gen, err := g.Next(ctx)
		require.NoError(s.t, err)
		release := make(chan struct{})
		defer close(release)
		gen.Start(func(context.Context) { <-release })
		require.NoError(s.t, gen.Commit(tp, 1))
		second := s.member(id, topic)
		s.settled(1, second)
		require.ErrorIs(s.t, gen.Commit(tp, 2), pipeline.ErrFenced)
		assert.Equal(s.t, int64(1), second.latest.Load().gen.Assignments()[0].Offset)
	}},
	{"Next returns when its context ends", func(s *suite) {
		topic, id := s.topic(1), groupID()
		g := s.join(id, topic)
		_, end := s.next(g)
		defer end()
		ctx, cancel := context.WithTimeout(s.ctx(), 50*time.Millisecond)
		defer cancel()
		_, err := g.Next(ctx)
		require.ErrorIs(s.t, err, context.DeadlineExceeded)
	}},
	{"Close ends the generation, waits for its functions, and may be called twice", func(s *suite) {
		g := s.join(groupID(), s.topic(1))
		gen, _ := s.next(g)
		var returned atomic.Bool
		gen.Start(func(ctx context.Context) {
			<-ctx.Done()
			time.Sleep(50 * time.Millisecond)
			returned.Store(true)
		})
		require.NoError(s.t, g.Close())
		assert.True(s.t, returned.Load())
		require.NoError(s.t, g.Close())
		_, err := g.Next(s.ctx())
		require.Error(s.t, err)
	}},
	{"a group may be closed before it joined", func(s *suite) {
		g := s.join(groupID(), s.topic(1))
		require.NoError(s.t, g.Close())
		_, err := g.Next(s.ctx())
		require.Error(s.t, err)
	}},
}
