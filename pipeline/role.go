package pipeline

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/rs/zerolog"

	"github.com/plumbline-sec/plumbline/schemas"
)

// Role is what every part of a role works with. Its package sets the name.
type Role struct {
	Name    string
	Log     Log
	Metrics *Metrics
	Health  *Health
	Logger  zerolog.Logger
}

// ReadRange calls f with the records of a partition from one offset up to another,
// exclusive, and returns how far it came. It repeats what fails, but gives up where
// the log begins behind the offset (ErrOffsetOutOfRange), and at a batch that stays
// unreadable (ErrCorrupt). With a retry that is nil it gives up at once.
func ReadRange(ctx context.Context, log Log, tp TopicPartition, from, to int64, retry *Retry, f func(*Record) error) (int64, error) {
	for from < to {
		got, err := log.Fetch(ctx, tp, from)
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return from, ctx.Err()
		case retry == nil, errors.Is(err, ErrOffsetOutOfRange), retry.staysUnreadable(err):
			return from, err
		default:
			retry.failed(ctx, err)
			continue
		}
		if retry != nil {
			retry.worked()
		}
		for i := range got.Records {
			rec := &got.Records[i]
			if rec.Offset >= to {
				return to, nil
			}
			if err := f(rec); err != nil {
				return from, err
			}
		}
		from = got.Next
	}
	return from, nil
}

// Bounds returns the offsets of a partition's start and end, however often it has
// to ask.
func (r *Role) Bounds(ctx context.Context, tp TopicPartition, msg string, logger zerolog.Logger) (start, end int64, err error) {
	retry := Retry{What: "look up offsets of " + tp.String(), Msg: msg, Health: r.Health, Logger: logger}
	err = retry.Until(ctx, func() (err error) {
		start, end, err = r.Log.Bounds(ctx, tp)
		return err
	})
	return start, end, err
}

// StartOffset checks an offset against the log before the first read.
func (r *Role) StartOffset(ctx context.Context, a Assignment, logger zerolog.Logger) (int64, error) {
	start, end, err := r.Bounds(ctx, a.TopicPartition, "looking up offsets failed; retrying", logger)
	if err != nil || !a.Committed {
		return start, err
	}
	return r.within(a.TopicPartition, a.Offset, start, end, logger)
}

// within returns where to read on. Below the log's start, records were removed
// before we read them: that is said and counted, and reading goes on, because
// stopping would lose more. Beyond its end, the topic is another one than the
// offset belongs to: going on would mix two histories, so it is refused.
func (r *Role) within(tp TopicPartition, offset, start, end int64, logger zerolog.Logger) (int64, error) {
	switch {
	case offset < start:
		r.Metrics.LostRecords.WithLabelValues(r.Name, tp.Topic).Add(float64(start - offset))
		logger.Error().Int64("offset", offset).Int64("log_start", start).Int64("lost", start-offset).
			Msg("DATA LOST: retention removed records before they were read; raise the topic's retention or add capacity")
		return start, nil
	case offset > end:
		return 0, fmt.Errorf("%s: the committed offset %d lies beyond the log's end %d: the topic was deleted and created anew; "+
			"raise `incarnation` of its source in the config and reset the group's offsets (kafka-consumer-groups --group plumbline-%s --topic %s --reset-offsets --to-earliest --execute)",
			tp, offset, end, r.Name, tp.Topic)
	}
	return offset, nil
}

// Topic is a topic that a role writes to.
type Topic struct {
	Name       string
	Partitions int32
}

// Of returns the partition of a key.
func (t Topic) Of(key []byte) TopicPartition {
	return TopicPartition{t.Name, schemas.Partition(key, t.Partitions)}
}

// Topic asks how many partitions a topic has that the role writes to, until it gets
// an answer.
func (r *Role) Topic(ctx context.Context, name string) (Topic, error) {
	retry := Retry{
		What: "look up topic " + name, Msg: "looking up a topic that is written to failed; nothing is read until it is there",
		Health: r.Health, Logger: r.Logger.With().Str("topic", name).Logger(),
	}
	zero(r.Metrics.ProduceErrors, name)
	t := Topic{Name: name}
	err := retry.Until(ctx, func() (err error) {
		if t.Partitions, err = r.Log.Partitions(ctx, name); err == nil && t.Partitions == 0 {
			err = errors.New("it has no partitions")
		}
		return err
	})
	return t, err
}

// EachPartition calls f for every partition of the topics, many at once.
func EachPartition(ctx context.Context, topics []Topic, f func(context.Context, TopicPartition) error) error {
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		errs []error
	)
	limit := make(chan struct{}, 16)
	for _, t := range topics {
		for p := range t.Partitions {
			limit <- struct{}{}
			wg.Go(func() {
				defer func() { <-limit }()
				if err := f(ctx, TopicPartition{t.Name, p}); err != nil {
					mu.Lock()
					errs = append(errs, err)
					mu.Unlock()
				}
			})
		}
	}
	wg.Wait()
	return errors.Join(errs...)
}
