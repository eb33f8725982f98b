package pipelinetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/schemas"
)

var errInjected = errors.New("injected")

func TestHooksMakeRequestsFail(t *testing.T) {
	c := NewCluster()
	c.CreateTopic("t", 1)
	tp := pipeline.TopicPartition{Topic: "t"}
	records := []pipeline.Record{{Value: []byte("v")}}

	c.SetHooks(Hooks{Produce: func(pipeline.TopicPartition, []pipeline.Record) error { return errInjected }})
	require.ErrorIs(t, c.Produce(t.Context(), tp, records), errInjected)
	assert.Empty(t, c.Records(tp), "refused before the append")

	c.SetHooks(Hooks{Produced: func(pipeline.TopicPartition, []pipeline.Record) error { return errInjected }})
	require.ErrorIs(t, c.Produce(t.Context(), tp, records), errInjected)
	assert.Len(t, c.All("t"), 1, "the acknowledgement was lost, not the record")

	c.SetHooks(Hooks{Fetch: func(pipeline.TopicPartition, int64) error { return errInjected }})
	_, err := c.Fetch(t.Context(), tp, 0)
	require.ErrorIs(t, err, errInjected)

	m := c.Group("g", "t")
	gen, err := m.Next(t.Context())
	require.NoError(t, err)
	c.SetHooks(Hooks{Commit: func(string, pipeline.TopicPartition, int64) error { return errInjected }})
	require.ErrorIs(t, gen.Commit(tp, 1), errInjected)
	_, ok := c.Committed("g", tp)
	assert.False(t, ok)
	require.NoError(t, m.Close())
}

func TestAnEvictedMemberLearnsSoFromItsCommit(t *testing.T) {
	c := NewCluster()
	c.CreateTopic("t", 1)
	tp := pipeline.TopicPartition{Topic: "t"}
	zombie, heir := c.Group("g", "t"), c.Group("g", "t")
	old, err := zombie.Next(t.Context())
	require.NoError(t, err)
	ended := make(chan struct{})
	old.Start(func(ctx context.Context) {
		<-ctx.Done()
		close(ended)
	})
	require.NoError(t, old.Commit(tp, 1))
	c.Evict(zombie)
	gen, err := heir.Next(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []pipeline.Assignment{{TopicPartition: tp, Offset: 1, Committed: true}}, gen.Assignments())
	select {
	case <-ended:
		t.Fatal("a paused process sees nothing of its eviction")
	default:
	}
	require.NoError(t, gen.Commit(tp, 5))
	require.ErrorIs(t, old.Commit(tp, 3), pipeline.ErrFenced)
	<-ended
	offset, _ := c.Committed("g", tp)
	assert.Equal(t, int64(5), offset)
	require.NoError(t, zombie.Close())
	require.NoError(t, heir.Close())
}

func TestTopicsAndGroupsCanBeTamperedWith(t *testing.T) {
	c := NewCluster()
	c.CreateTopic("t", 1)
	tp := pipeline.TopicPartition{Topic: "t"}
	_, err := c.Put(tp, pipeline.Record{}, pipeline.Record{})
	require.NoError(t, err)
	m := c.Group("g", "t")
	next := func() pipeline.Generation {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		gen, err := m.Next(ctx)
		require.NoError(t, err)
		return gen
	}
	gen := next()
	require.NoError(t, gen.Commit(tp, 2))

	c.AddPartitions("t", 3)
	assert.Len(t, next().Assignments(), 3, "added partitions make a rebalance")
	c.SetCommitted("g", tp, 1)
	c.Rebalance("g")
	assert.Equal(t, int64(1), next().Assignments()[0].Offset)
	c.CreateTopic("t", 1)
	_, end, err := c.Bounds(t.Context(), tp)
	require.NoError(t, err)
	assert.Zero(t, end, "a topic that is created anew is empty")
	require.NoError(t, m.Close())
}

func TestTheWarehouseStoresARowOnceHoweverOftenItIsInserted(t *testing.T) {
	w := NewWarehouse()
	for range 2 {
		require.NoError(t, w.InsertActivity(t.Context(), []pipeline.ActivityRow{{Origin: schemas.Origin{Offset: 1}}, {Origin: schemas.Origin{Offset: 0}}}))
		require.NoError(t, w.InsertAlerts(t.Context(), []pipeline.AlertRow{{Alert: schemas.Alert{AlertID: "x"}}, {Alert: schemas.Alert{AlertID: "y"}}}))
		require.NoError(t, w.InsertWindows(t.Context(), []pipeline.WindowRow{{Window: schemas.Window{AgentID: "b"}}, {Window: schemas.Window{AgentID: "a"}}}))
	}
	for _, table := range []string{"activity", "alerts", "windows"} {
		assert.Equal(t, 2, w.Stored(table))
		assert.Equal(t, 4, w.Inserted(table))
	}
}

func TestTheWarehouseFailsBeforeOrAfterItStored(t *testing.T) {
	rows := []pipeline.AlertRow{{Alert: schemas.Alert{AlertID: "x"}}}
	fail := func(_ context.Context, table string, n int) error {
		assert.Equal(t, "alerts", table)
		assert.Equal(t, 1, n)
		return errInjected
	}
	w := NewWarehouse()
	w.SetHooks(fail, nil)
	require.ErrorIs(t, w.InsertAlerts(t.Context(), rows), errInjected)
	assert.Zero(t, w.Stored("alerts"))
	w.SetHooks(nil, fail)
	require.ErrorIs(t, w.InsertAlerts(t.Context(), rows), errInjected)
	assert.Equal(t, 1, w.Stored("alerts"))
}
