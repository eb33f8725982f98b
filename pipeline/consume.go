package pipeline

import (
	"context"
	"errors"
	"fmt"
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

// A worker handles the partitions of one role, one goroutine per partition.
type worker interface {
	// open prepares for one partition and returns the handler of its records, and
	// the offset from which it wants them.
	open(ctx context.Context, gen Generation, a Assignment, logger zerolog.Logger) (handler, int64, error)
}

// A handler takes the records of one partition in order.
//
// take may keep what it gets in memory; done is the offset up to which all
// effects are acknowledged, and only that is ever committed. An error that is
// ErrFenced says that the partition is somebody else's: it is given up and the
// group joined again.
type handler interface {
	take(ctx context.Context, f Fetched) error
	// done is the offset to commit; a handler that commits by itself says 0.
	done() int64
	// due says when tick must be called even if no record comes; zero: no need.
	due() time.Time
	tick(ctx context.Context) error
	// finish makes everything acknowledged, before ownership ends.
	finish(ctx context.Context) error
	close()
}

// consumer runs a worker over the generations of a group.
type consumer struct {
	role    string
	log     Log
	group   Group
	metrics *Metrics
	logger  zerolog.Logger
	health  *Health
	worker  worker
	// joined, where set, is told what a generation has assigned.
	joined func([]Assignment)
}

// drainTimeout bounds what a stopping handler may take to get its effects
// acknowledged. It leaves room in the 30 s that an orchestrator commonly grants:
// for requests that linger, a commit and leaving the group.
const drainTimeout = 10 * time.Second

// run consumes until ctx ends (returns nil after draining) or a worker meets
// something that no retry heals.
func (c *consumer) run(ctx context.Context) error {
	for ctx.Err() == nil {
		gen, err := c.group.Next(ctx)
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			return fmt.Errorf("%s: join consumer group: %w", c.role, err)
		}
		c.metrics.Generations.WithLabelValues(c.role).Inc()
		if err := c.generation(ctx, gen); err != nil {
			return fmt.Errorf("%s: %w", c.role, err)
		}
	}
	return nil //nolint:nilerr // being asked to stop is no failure
}

// generation runs one goroutine per assigned partition until the generation or
// ctx ends, and returns the first error that no retry heals.
func (c *consumer) generation(ctx context.Context, gen Generation) error {
	assigned := gen.Assignments()
	c.logger.Info().Int("partitions", len(assigned)).Msg("joined generation")
	c.health.joined()
	defer c.health.left()
	if c.joined != nil {
		c.joined(assigned)
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
func (c *consumer) partition(ctx, genCtx context.Context, gen Generation, a Assignment) error {
	readCtx, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(genCtx, stop)()

	logger := c.logger.With().Str("topic", a.Topic).Int32("partition", a.Partition).Logger()
	h, start, err := c.worker.open(readCtx, gen, a, logger)
	switch {
	case err != nil && readCtx.Err() != nil:
		return nil
	case errors.Is(err, ErrFenced):
		c.fenced(readCtx, err, logger)
		return nil
	case err != nil:
		return fmt.Errorf("%s/%d: %w", a.Topic, a.Partition, err)
	}
	defer h.close()
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
func (c *consumer) fenced(ctx context.Context, err error, logger zerolog.Logger) {
	c.metrics.Fenced.WithLabelValues(c.role).Inc()
	logger.Warn().Err(err).Msg("partition given up to another owner; joining the group again. If this goes on, two services use one group by mistake")
	t := time.NewTimer(time.Second)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// handle feeds the handler and commits what it has done.
func (c *consumer) handle(readCtx, genCtx context.Context, gen Generation, a Assignment, h handler, batches <-chan Fetched, logger zerolog.Logger) error {
	committed := a.Offset
	lastCommit := time.Now()
	refused := false // the last commit: the next one takes its time
	retry := newBackoff()
	commit := func() {
		lastCommit = time.Now()
		d := h.done()
		if d <= committed {
			return
		}
		err := gen.Commit(a.TopicPartition, d)
		if refused = err != nil; refused {
			c.metrics.CommitErrors.WithLabelValues(c.role).Inc()
			if retry.worthSaying() {
				logger.Warn().Err(err).Int64("offset", d).Msg("offset commit refused; what follows it may be read again")
			}
			return
		}
		retry.reset()
		committed = d
	}
	timer := time.NewTimer(commitEvery)
	defer timer.Stop()
	defer c.health.ended(a.TopicPartition)
	defer c.metrics.Lag.DeleteLabelValues(c.role, a.Topic, label(a.Partition))
	for {
		c.health.beat(a.TopicPartition)
		wait := commitEvery
		if h.done() > committed && !refused {
			wait = commitIdle
		}
		if due := h.due(); !due.IsZero() {
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
			err = h.take(readCtx, f)
			c.metrics.Lag.WithLabelValues(c.role, a.Topic, label(a.Partition)).Set(float64(max(0, f.HighWatermark-f.Next)))
		case <-timer.C:
			if due := h.due(); !due.IsZero() && !time.Now().Before(due) {
				err = h.tick(readCtx)
			}
			idle = true
		}
		if err != nil {
			if readCtx.Err() != nil {
				return c.drain(genCtx, h, commit, logger)
			}
			commit()
			return fmt.Errorf("%s/%d: %w", a.Topic, a.Partition, err)
		}
		if idle || time.Since(lastCommit) >= commitEvery {
			commit()
		}
	}
}

// drain gets acknowledged what the handler still holds, within a bound, and
// commits it. While functions of a generation still run, the group waits for
// them, so the commit is accepted even when the generation is ending.
func (c *consumer) drain(genCtx context.Context, h handler, commit func(), logger zerolog.Logger) error {
	limit := drainTimeout
	if genCtx.Err() != nil {
		// A rebalance waits for us: what is not done quickly is done by the next owner.
		limit = 3 * time.Second
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(genCtx), limit)
	defer cancel()
	if err := h.finish(ctx); err != nil {
		logger.Warn().Err(err).Msg("not everything was acknowledged before the stop; it is read again later")
	}
	commit()
	return nil
}

// fetch reads ahead by one batch.
func (c *consumer) fetch(ctx context.Context, a Assignment, out chan<- Fetched, logger zerolog.Logger) error {
	offset := a.Offset
	what := "read " + a.Topic + "/" + label(a.Partition)
	retry := newBackoff()
	tries := 0 // in a row that failed
	for ctx.Err() == nil {
		f, err := c.log.Fetch(ctx, a.TopicPartition, offset)
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
				c.fetchFailed(ctx, a.Topic, what, offset, err, retry, logger)
			}
			offset = at
			continue
		case err != nil && (tries >= corruptTries || intact(err)) && c.stepOver(&offset, err, logger):
			// The next such batch gets no longer wait for the sake of this one.
			retry.reset()
			tries = 0
			continue
		case err != nil:
			tries++
			c.fetchFailed(ctx, a.Topic, what, offset, err, retry, logger)
			continue
		}
		retry.reset()
		tries = 0
		c.health.working(what)
		if len(f.Records) == 0 && f.Next <= offset {
			continue
		}
		c.metrics.Records.WithLabelValues(c.role, a.Topic).Add(float64(len(f.Records)))
		c.metrics.BatchRecords.WithLabelValues(c.role, a.Topic).Observe(float64(len(f.Records)))
		offset = f.Next
		select {
		case out <- f:
		case <-ctx.Done():
			return nil
		}
	}
	return nil //nolint:nilerr // being asked to stop is no failure
}

// fetchFailed counts a failed read, says so, and waits.
func (c *consumer) fetchFailed(ctx context.Context, topic, what string, offset int64, err error, retry *backoff, logger zerolog.Logger) {
	c.metrics.FetchErrors.WithLabelValues(c.role, topic).Inc()
	c.health.failing(what, err)
	if retry.worthSaying() {
		logger.Warn().Err(err).Int64("offset", offset).Msg("read failed; retrying")
	}
	retry.wait(ctx)
}

// corruptTries is how often a batch that can't be read is fetched before it is
// given up: about ten seconds, in which a broker may heal it from a replica.
const corruptTries = 6

// intact reports whether err is about a batch that its producer wrote as it is.
// No replica has it otherwise, and to try again would be a gift: each compression
// bomb of some kilobytes would hold up its partition for the time of all tries.
func intact(err error) bool {
	var corrupt *CorruptError
	return errors.As(err, &corrupt) && corrupt.Intact
}

// stepOver gives up a corrupt batch: a bad checksum that stays, or an attacker's
// compression bomb. To stop at it for ever would be worse. It reports whether err
// is about such a batch and its end is known.
func (c *consumer) stepOver(offset *int64, err error, logger zerolog.Logger) bool {
	var corrupt *CorruptError
	if !errors.As(err, &corrupt) || corrupt.Next <= *offset {
		return false
	}
	lost := corrupt.Next - *offset
	c.metrics.LostRecords.WithLabelValues(c.role, corrupt.Topic).Add(float64(lost))
	c.health.lost(fmt.Sprintf("%s/%d: %d records from offset %d could not be read: %s", corrupt.Topic, corrupt.Partition, lost, *offset, corrupt.Reason))
	logger.Error().Err(err).Int64("offset", *offset).Int64("next", corrupt.Next).Int64("lost", lost).
		Msg("DATA LOST: a batch that can't be read is stepped over; look at the topic's log with kafka-dump-log, and at who wrote it")
	*offset = corrupt.Next
	return true
}

// startOffset checks an offset against the log before the first read.
func (c *consumer) startOffset(ctx context.Context, a Assignment, logger zerolog.Logger) (int64, error) {
	what := "look up offsets of " + a.Topic + "/" + label(a.Partition)
	retry := newBackoff()
	for {
		start, end, err := c.log.Bounds(ctx, a.TopicPartition)
		if err == nil {
			c.health.working(what)
			if !a.Committed {
				return start, nil
			}
			return c.within(a.TopicPartition, a.Offset, start, end, logger)
		}
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		c.health.failing(what, err)
		if retry.worthSaying() {
			logger.Warn().Err(err).Msg("looking up offsets failed; retrying")
		}
		retry.wait(ctx)
	}
}

// partitionsOf asks how many partitions a topic has that the role writes to, until
// it gets an answer.
func (c *consumer) partitionsOf(ctx context.Context, topic string) (int32, error) {
	what := "look up topic " + topic
	retry := newBackoff()
	for {
		n, err := c.log.Partitions(ctx, topic)
		if err == nil && n > 0 {
			c.health.working(what)
			return n, nil
		}
		if ctx.Err() != nil {
			return 0, errors.Join(ctx.Err(), err)
		}
		if err == nil {
			err = errors.New("it has no partitions")
		}
		c.health.failing(what, err)
		if retry.worthSaying() {
			c.logger.Warn().Err(err).Str("topic", topic).Msg("looking up a topic that is written to failed; nothing is read until it is there")
		}
		retry.wait(ctx)
	}
}

func (c *consumer) resolveRange(ctx context.Context, tp TopicPartition, offset int64, logger zerolog.Logger) (int64, error) {
	start, end, err := c.log.Bounds(ctx, tp)
	if err != nil {
		return offset, nil //nolint:nilerr // the next fetch brings us here again
	}
	return c.within(tp, offset, start, end, logger)
}

// within returns where to read on. Below the log's start, records were removed
// before we read them: that is said and counted, and reading goes on, because
// stopping would lose more. Beyond its end, the topic is another one than the
// offset belongs to: going on would mix two histories, so it is refused.
func (c *consumer) within(tp TopicPartition, offset, start, end int64, logger zerolog.Logger) (int64, error) {
	switch {
	case offset < start:
		c.metrics.LostRecords.WithLabelValues(c.role, tp.Topic).Add(float64(start - offset))
		c.health.lost(fmt.Sprintf("%s/%d: %d records were removed by retention before %s read them", tp.Topic, tp.Partition, start-offset, c.role))
		logger.Error().Int64("offset", offset).Int64("log_start", start).Int64("lost", start-offset).
			Msg("DATA LOST: retention removed records before they were read; raise the topic's retention or add capacity")
		return start, nil
	case offset > end:
		return 0, fmt.Errorf("%s/%d: the committed offset %d lies beyond the log's end %d: the topic was deleted and created anew; "+
			"raise `incarnation` of its source in the config and reset the group's offsets (kafka-consumer-groups --group plumbline-%s --topic %s --reset-offsets --to-earliest --execute)",
			tp.Topic, tp.Partition, offset, end, c.role, tp.Topic)
	}
	return offset, nil
}

// backoff waits longer after each failure, and says only some of them.
type backoff struct {
	delay time.Duration
	said  time.Time
}

func newBackoff() *backoff { return &backoff{} }

func (b *backoff) reset() { b.delay = 0; b.said = time.Time{} }

// worthSaying is true for the first failure and then every ten seconds.
func (b *backoff) worthSaying() bool {
	if now := time.Now(); b.said.IsZero() || now.Sub(b.said) >= 10*time.Second {
		b.said = now
		return true
	}
	return false
}

func (b *backoff) wait(ctx context.Context) {
	b.delay = min(max(2*b.delay, 100*time.Millisecond), 5*time.Second)
	t := time.NewTimer(b.delay)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
