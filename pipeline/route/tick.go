package route

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/schemas"
)

// A partition's clock moves only with its records. So that it moves where nothing happens,
// route writes ticks (schemas.Tick): one an hour into every partition, a little behind the
// turn, for what waits for a clock are hours. A tick says that what stood in the sources at
// an instant is in the log before it. So it is written only when the group has committed
// beyond all of that, whichever instance routed it. Which clocks it moves, the detector says.
//
// Who holds partition n of the first source writes the ticks of partition n of the activity
// topic (and of those beyond, where that has more). Two who both think so write one too many,
// which does nothing.

// Ticks says how route writes ticks.
type Ticks struct {
	Offsets Offsets
	Every   time.Duration // zero: there are none
}

// TickEvery is how often a partition gets a tick.
const TickEvery = time.Hour

// NextTick is when a partition gets its next one, unless something waits in a source then.
func NextTick(after time.Time) time.Time { return next(after, TickEvery) }

func next(after time.Time, every time.Duration) time.Time {
	late := every / behind
	return after.Add(-late).Truncate(every).Add(every + late)
}

// Offsets tells what a group has committed.
type Offsets interface {
	// CommittedOffsets returns an offset for each of the partitions, -1 where there is none.
	CommittedOffsets(ctx context.Context, group string, of []pipeline.TopicPartition) ([]int64, error)
}

const (
	looks    = 60     // in the time between two ticks, whether one is due
	behind   = 20     // part of that time by which it comes after the turn: windows stay open for two minutes
	patience = 30     // seconds until what stands in the sources is committed
	lastOf   = 24 * 5 // ticks without an event between them, the last that a partition gets: silences end after three days, episodes some hours later
)

// ticker writes the ticks of one instance.
type ticker struct {
	*Route
	begun time.Time
	last  map[int32]time.Time // when each partition got one from here
}

// Run routes until ctx ends, or until it meets something that no retry heals.
func (r *Route) Run(ctx context.Context) error {
	if r.Ticks.Every == 0 {
		return r.Consumer.Run(ctx)
	}
	ticking, stop := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() { (&ticker{r, time.Now(), make(map[int32]time.Time)}).run(ticking) })
	defer done.Wait()
	defer stop()
	return r.Consumer.Run(ctx)
}

// joined remembers what this instance holds.
func (r *Route) joined(assigned []pipeline.Assignment) {
	held := make(map[int32]bool)
	for _, a := range assigned {
		if a.Topic == r.first {
			held[a.Partition] = true
		}
	}
	r.held.Store(&held)
}

func (t *ticker) run(ctx context.Context) {
	look := time.NewTicker(t.Ticks.Every / looks)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
		if err := t.round(ctx); err != nil && ctx.Err() == nil {
			t.metrics.withheld.WithLabelValues("failed").Inc()
			t.Logger.Warn().Err(err).Msg("a tick could not be written: clocks of partitions without events stand still until one is; trying again")
		}
	}
}

// round writes the ticks that are due.
func (t *ticker) round(ctx context.Context) error {
	now := time.Now()
	due, err := t.due(ctx, now)
	if err != nil || len(due) == 0 {
		return err
	}
	switch routed, err := t.routed(ctx); {
	case err != nil:
		return err
	case !routed:
		t.metrics.withheld.WithLabelValues("waiting").Inc()
		return nil
	}
	tick := pipeline.Record{
		Value:   schemas.AppendTick(nil, schemas.Tick{At: schemas.Millis(now.UnixMilli())}),
		Headers: []pipeline.Header{{Key: schemas.RecordHeader, Value: []byte(schemas.RecordTick)}},
	}
	var errs []error
	for _, p := range due {
		tp := pipeline.TopicPartition{Topic: pipeline.TopicActivity, Partition: p}
		wanted, err := t.wanted(ctx, tp, now)
		if err == nil && wanted {
			if err = t.Log.Produce(ctx, tp, []pipeline.Record{tick}); err == nil {
				t.metrics.ticks.Inc()
			}
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		t.last[p] = now
	}
	return errors.Join(errs...)
}

// due are the partitions of this instance that are to get a tick.
func (t *ticker) due(ctx context.Context, now time.Time) (due []int32, err error) {
	held := t.held.Load()
	if held == nil || len(*held) == 0 {
		return nil, nil
	}
	of, err := t.Log.Partitions(ctx, t.first)
	if err != nil {
		return nil, err
	}
	n, err := t.Log.Partitions(ctx, pipeline.TopicActivity)
	for p := range n {
		last, ok := t.last[p]
		if !ok {
			last = t.begun
		}
		if (*held)[p%of] && !now.Before(next(last, t.Ticks.Every)) {
			due = append(due, p)
		}
	}
	return due, err
}

// routed waits until what stands in the sources now is in the log, and reports whether that
// came to pass.
func (t *ticker) routed(ctx context.Context) (bool, error) {
	var topics []pipeline.Topic
	for name := range t.sources {
		n, err := t.Log.Partitions(ctx, name)
		if err != nil {
			return false, err
		}
		topics = append(topics, pipeline.Topic{Name: name, Partitions: n})
	}
	var mu sync.Mutex
	var of []pipeline.TopicPartition
	ends := make(map[pipeline.TopicPartition]int64)
	err := pipeline.EachPartition(ctx, topics, func(ctx context.Context, tp pipeline.TopicPartition) error {
		start, end, err := t.Log.Bounds(ctx, tp)
		mu.Lock()
		defer mu.Unlock()
		if start < end {
			of, ends[tp] = append(of, tp), end
		}
		return err
	})
	if err != nil {
		return false, err
	}
	for try := 0; ; try++ {
		if len(of) == 0 || try == patience {
			return len(of) == 0, nil
		}
		at, err := t.Ticks.Offsets.CommittedOffsets(ctx, pipeline.GroupRoute, of)
		if err != nil {
			return false, err
		}
		waiting := of[:0]
		for i, tp := range of {
			if at[i] < ends[tp] {
				waiting = append(waiting, tp)
			}
		}
		if of = waiting; len(of) == 0 {
			return true, nil
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}

var errEvent = errors.New("an event")

// wanted reports whether a tick may say something to a partition: not where there was never
// an event, nor where there has been none for so long that nothing waits any more.
func (t *ticker) wanted(ctx context.Context, tp pipeline.TopicPartition, now time.Time) (bool, error) {
	start, end, err := t.Log.Bounds(ctx, tp)
	if err != nil || start == end {
		return false, err
	}
	from := max(start, end-lastOf)
	first := now
	_, err = pipeline.ReadRange(ctx, t.Log, tp, from, end, nil, func(rec *pipeline.Record) error {
		if string(rec.Header(schemas.RecordHeader)) != schemas.RecordTick {
			return errEvent
		}
		if at := rec.Time.Time(); at.Before(first) {
			first = at
		}
		return nil
	})
	// What can't be read is no proof that there is none.
	return err != nil || now.Sub(first) < lastOf*t.Ticks.Every, ctx.Err()
}
