package pipeline

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// commitEvery bounds how much is read again after a crash, and how often an
// offset is committed while there is much to do.
// commitIdle is the pause after which it is committed when there is nothing to do.
const (
	commitEvery = time.Second
	commitIdle  = 100 * time.Millisecond
)

// Handler takes the records of one partition in order.
//
// Take may keep what it gets in memory; Done is the offset up to which all
// effects are acknowledged, and only that is ever committed. An error that is
// ErrFenced says that the partition is somebody else's: it is given up and the
// group joined again.
type Handler interface {
	Take(ctx context.Context, f Fetched) error
	// Done is the offset to commit; a handler that commits by itself says 0.
	Done() int64
	// Due says when Tick must be called even if no record comes; zero: no need.
	Due() time.Time
	Tick(ctx context.Context) error
	// Finish makes everything acknowledged, before ownership ends.
	Finish(ctx context.Context) error
	Close()
}

// Consumer is the loop of a role: it runs handlers over the generations of its
// group, one goroutine per partition.
type Consumer struct {
	Role
	Group Group
	// Open prepares for one partition and returns the handler of its records, and
	// the offset from which it wants them.
	Open func(ctx context.Context, gen Generation, a Assignment, logger zerolog.Logger) (Handler, int64, error)
	// Joined, where set, is told what a generation has assigned.
	Joined func([]Assignment)
}

// drainTimeout bounds what a stopping handler may take to get its effects
// acknowledged. It leaves room in the 30 s that an orchestrator commonly grants:
// for requests that linger, a commit and leaving the group.
const drainTimeout = 10 * time.Second

// Run consumes until ctx ends, and returns nil when what was read is acknowledged
// and committed, or until it meets something that no retry heals.
func (c *Consumer) Run(ctx context.Context) error {
	zero(c.Metrics.Generations, c.Name)
	zero(c.Metrics.Fenced, c.Name)
	zero(c.Metrics.CommitErrors, c.Name)
	for ctx.Err() == nil {
		gen, err := c.Group.Next(ctx)
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			return fmt.Errorf("%s: join consumer group: %w", c.Name, err)
		}
		c.Metrics.Generations.WithLabelValues(c.Name).Inc()
		if err := c.generation(ctx, gen); err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
	}
	return nil //nolint:nilerr // being asked to stop is no failure
}

// generation runs one goroutine per assigned partition until the generation or
// ctx ends, and returns the first error that no retry heals.
func (c *Consumer) generation(ctx context.Context, gen Generation) error {
	assigned := gen.Assignments()
	c.Logger.Info().Int("partitions", len(assigned)).Msg("joined generation")
	c.Health.joined()
	defer c.Health.left()
	if c.Joined != nil {
		c.Joined(assigned)
	}
	if len(assigned) == 0 {
		// More members than partitions: wait for the next generation.
		done := make(chan struct{})
		gen.Start(func(genCtx context.Context) {
			defer close(done)
			select {
			case <-genCtx.Done():
			case <-ctx.Done():
			}
		})
		<-done
		return nil
	}
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		first error
	)
	for _, a := range assigned {
		wg.Add(1)
		gen.Start(func(genCtx context.Context) {
			defer wg.Done()
			if err := c.partition(ctx, genCtx, gen, a); err != nil {
				mu.Lock()
				if first == nil {
					first = err
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return first
}

// partition consumes one partition until ctx (the service stops) or genCtx (the
// generation ends) is done.
func (c *Consumer) partition(ctx, genCtx context.Context, gen Generation, a Assignment) error {
	readCtx, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(genCtx, stop)()

	logger := c.Logger.With().Str("topic", a.Topic).Int32("partition", a.Partition).Logger()
	zero(c.Metrics.Records, c.Name, a.Topic)
	zero(c.Metrics.FetchErrors, c.Name, a.Topic)
	zero(c.Metrics.LostRecords, c.Name, a.Topic)
	h, start, err := c.Open(readCtx, gen, a, logger)
	switch {
	case err != nil && readCtx.Err() != nil:
		return nil
	case errors.Is(err, ErrFenced):
		c.fenced(readCtx, err, logger)
		return nil
	case err != nil:
		return fmt.Errorf("%s: %w", a.TopicPartition, err)
	}
	defer h.Close()
	a.Offset = start

	batches := make(chan Fetched, 1)
	var fetchErr error
	var fetcher sync.WaitGroup
	fetcher.Go(func() {
		defer close(batches)
		fetchErr = c.fetch(readCtx, a, batches, logger)
	})
	err = c.handle(readCtx, genCtx, gen, a, h, batches, logger)
	stop()
	for range batches { // the fetcher may wait to hand over its last batch
	}
	fetcher.Wait()
	if errors.Is(err, ErrFenced) {
		c.fenced(genCtx, err, logger)
		err = nil
	}
	return errors.Join(err, fetchErr)
}

// fenced says that a partition is given up. Its function returns, so that the
// generation ends and the group is joined again, after a pause: two owners who
// take it from each other should not do so in a hurry.
func (c *Consumer) fenced(ctx context.Context, err error, logger zerolog.Logger) {
	c.Metrics.Fenced.WithLabelValues(c.Name).Inc()
	logger.Warn().Err(err).Msg("partition given up to another owner; joining the group again. If this goes on, two services use one group by mistake")
	sleep(ctx, time.Second)
}

// handle feeds the handler and commits what it has done.
func (c *Consumer) handle(readCtx, genCtx context.Context, gen Generation, a Assignment, h Handler, batches <-chan Fetched, logger zerolog.Logger) error {
	committed := a.Offset
	lastCommit := time.Now()
	refused := false // the last commit: the next one takes its time
	retry := Retry{
		Msg:   "offset commit refused; what follows it may be read again",
		Count: func() { c.Metrics.CommitErrors.WithLabelValues(c.Name).Inc() },
	}
	commit := func() {
		lastCommit = time.Now()
		d := h.Done()
		if d <= committed {
			return
		}
		err := gen.Commit(a.TopicPartition, d)
		if refused = err != nil; refused {
			retry.Logger = logger.With().Int64("offset", d).Logger()
			retry.note(err)
			return
		}
		retry.worked()
		committed = d
	}
	timer := time.NewTimer(commitEvery)
	defer timer.Stop()
	defer c.Health.ended(a.TopicPartition)
	defer c.Metrics.Lag.DeleteLabelValues(c.Name, a.Topic, strconv.Itoa(int(a.Partition)))
	for {
		c.Health.beat(a.TopicPartition)
		wait := commitEvery
		if h.Done() > committed && !refused {
			wait = commitIdle
		}
		if due := h.Due(); !due.IsZero() {
			wait = min(wait, max(0, time.Until(due)))
		}
		timer.Reset(wait)
		var err error
		idle := false
		select {
		case f, ok := <-batches:
			if !ok {
				return c.drain(genCtx, h, commit, logger)
			}
			err = h.Take(readCtx, f)
			c.Metrics.Lag.WithLabelValues(c.Name, a.Topic, strconv.Itoa(int(a.Partition))).Set(float64(max(0, f.HighWatermark-f.Next)))
		case <-timer.C:
			if due := h.Due(); !due.IsZero() && !time.Now().Before(due) {
				err = h.Tick(readCtx)
			}
			idle = true
		}
		if err != nil {
			if readCtx.Err() != nil {
				return c.drain(genCtx, h, commit, logger)
			}
			commit()
			return fmt.Errorf("%s: %w", a.TopicPartition, err)
		}
		if idle || time.Since(lastCommit) >= commitEvery {
			commit()
		}
	}
}

// drain gets acknowledged what the handler still holds, within a bound, and
// commits it. While functions of a generation still run, the group waits for
// them, so the commit is accepted even when the generation is ending.
func (c *Consumer) drain(genCtx context.Context, h Handler, commit func(), logger zerolog.Logger) error {
	limit := drainTimeout
	if genCtx.Err() != nil {
		// A rebalance waits for us: what is not done quickly is done by the next owner.
		limit = 3 * time.Second
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(genCtx), limit)
	defer cancel()
	if err := h.Finish(ctx); err != nil {
		logger.Warn().Err(err).Msg("not everything was acknowledged before the stop; it is read again later")
	}
	commit()
	return nil
}

// fetch reads ahead by one batch.
func (c *Consumer) fetch(ctx context.Context, a Assignment, out chan<- Fetched, logger zerolog.Logger) error {
	offset := a.Offset
	retry := Retry{
		What: "read " + a.String(), Msg: "read failed; retrying", Health: c.Health,
		Count: func() { c.Metrics.FetchErrors.WithLabelValues(c.Name, a.Topic).Inc() },
	}
	failed := func(err error) {
		retry.Logger = logger.With().Int64("offset", offset).Logger()
		retry.failed(ctx, err)
	}
	for ctx.Err() == nil {
		f, err := c.Log.Fetch(ctx, a.TopicPartition, offset)
		if ctx.Err() != nil {
			break
		}
		switch {
		case errors.Is(err, ErrOffsetOutOfRange):
			at, rangeErr := c.resolveRange(ctx, a.TopicPartition, offset, logger)
			if rangeErr != nil && ctx.Err() == nil {
				return rangeErr
			}
			if at == offset {
				// Two brokers see the log differently, as after a change of leader.
				failed(err)
			}
			offset = at
			continue
		case err != nil && retry.staysUnreadable(err) && c.stepOver(&offset, err, logger):
			// The next such batch gets no longer wait for the sake of this one.
			retry.reset()
			continue
		case err != nil:
			failed(err)
			continue
		}
		retry.worked()
		if len(f.Records) == 0 && f.Next <= offset {
			continue
		}
		c.Metrics.Records.WithLabelValues(c.Name, a.Topic).Add(float64(len(f.Records)))
		c.Metrics.BatchRecords.WithLabelValues(c.Name, a.Topic).Observe(float64(len(f.Records)))
		offset = f.Next
		select {
		case out <- f:
		case <-ctx.Done():
			return nil
		}
	}
	return nil //nolint:nilerr // being asked to stop is no failure
}

// stepOver gives up a corrupt batch: a bad checksum that stays, or an attacker's
// compression bomb. To stop at it for ever would be worse. It reports whether err
// is about such a batch and its end is known.
func (c *Consumer) stepOver(offset *int64, err error, logger zerolog.Logger) bool {
	var corrupt *CorruptError
	if !errors.As(err, &corrupt) || corrupt.Next <= *offset {
		return false
	}
	lost := corrupt.Next - *offset
	c.Metrics.LostRecords.WithLabelValues(c.Name, corrupt.Topic).Add(float64(lost))
	logger.Error().Err(err).Int64("offset", *offset).Int64("next", corrupt.Next).Int64("lost", lost).
		Msg("DATA LOST: a batch that can't be read is stepped over; look at the topic's log with kafka-dump-log, and at who wrote it")
	*offset = corrupt.Next
	return true
}

func (c *Consumer) resolveRange(ctx context.Context, tp TopicPartition, offset int64, logger zerolog.Logger) (int64, error) {
	start, end, err := c.Log.Bounds(ctx, tp)
	if err != nil {
		return offset, nil //nolint:nilerr // the next fetch brings us here again
	}
	return c.within(tp, offset, start, end, logger)
}
