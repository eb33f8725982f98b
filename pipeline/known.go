package pipeline

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// knownAlerts are the alerts that stand in the output topics already although
// their events are going to be processed again: an earlier owner of the partition
// sent them before it died (rule 6). They are recognised by topic and alert_id,
// and not sent once more.
type knownAlerts struct {
	of map[alertIn]knownAlert
}

type alertIn struct{ topic, id string }

type knownAlert struct {
	at     TopicPartition
	offset int64 // the lowest one at which it stands
	source int64 // offset in TopicActivity of the event that completed it
}

func (k *knownAlerts) has(topic, id string) bool {
	_, ok := k.of[alertIn{topic, id}]
	return ok
}

// passed forgets the alerts of events before an offset: a checkpoint holds them.
func (k *knownAlerts) passed(offset int64) {
	for in, a := range k.of {
		if a.source < offset {
			delete(k.of, in)
		}
	}
}

// lowest returns where the first known alert of a partition stands, and end if
// there is none (P_out of rule 8).
func (k *knownAlerts) lowest(tp TopicPartition, end int64) int64 {
	for _, a := range k.of {
		if a.at == tp {
			end = min(end, a.offset)
		}
	}
	return end
}

// appendSource writes the value of HeaderSource.
func appendSource(dst []byte, partition int32, offset int64) []byte {
	dst = strconv.AppendInt(dst, int64(partition), 10)
	dst = append(dst, '/')
	return strconv.AppendInt(dst, offset, 10)
}

func parseSource(b []byte) (partition int32, offset int64, ok bool) {
	p, o, ok := bytes.Cut(b, []byte{'/'})
	if !ok {
		return 0, 0, false
	}
	n, err := strconv.ParseInt(string(p), 10, 32)
	if err != nil {
		return 0, 0, false
	}
	offset, err = strconv.ParseInt(string(o), 10, 64)
	return int32(n), offset, err == nil
}

// outputScan looks for alerts in the output topics.
type outputScan struct {
	log    Log
	health *Health
	logger zerolog.Logger
}

// ends returns the end of every partition of the alert topics.
func (s *outputScan) ends(ctx context.Context, targets []target) (map[string][]int64, error) {
	out := make(map[string][]int64, len(targets))
	for _, t := range targets {
		out[t.topic] = make([]int64, t.partitions)
	}
	err := s.each(ctx, targets, func(ctx context.Context, tp TopicPartition) error {
		_, end, err := s.bounds(ctx, tp)
		out[tp.Topic][tp.Partition] = end
		return err
	})
	return out, err
}

// each calls f for every partition of the targets, all at once.
func (s *outputScan) each(ctx context.Context, targets []target, f func(context.Context, TopicPartition) error) error {
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		errs []error
	)
	limit := make(chan struct{}, 16)
	for _, t := range targets {
		for p := range t.partitions {
			limit <- struct{}{}
			wg.Go(func() {
				defer func() { <-limit }()
				if err := f(ctx, TopicPartition{t.topic, p}); err != nil {
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

// scan reads the alert topics from the offsets of a marker to their ends, and
// returns the alerts of events of this input partition at or behind an offset.
func (s *outputScan) scan(ctx context.Context, targets []target, from map[string][]int64, input int32, offset int64) (knownAlerts, error) {
	known := knownAlerts{of: make(map[alertIn]knownAlert)}
	var mu sync.Mutex
	err := s.each(ctx, targets, func(ctx context.Context, tp TopicPartition) error {
		// A partition that the marker does not know was added since.
		at := int64(0)
		if of := from[tp.Topic]; int(tp.Partition) < len(of) {
			at = of[tp.Partition]
		}
		return s.partition(ctx, tp, at, func(rec *Record) {
			p, source, ok := parseSource(header(rec, HeaderSource))
			id := header(rec, HeaderAlertID)
			if !ok || p != input || source < offset || id == nil {
				return
			}
			in := alertIn{tp.Topic, string(id)}
			mu.Lock()
			defer mu.Unlock()
			if _, again := known.of[in]; !again {
				known.of[in] = knownAlert{tp, rec.Offset, source}
			}
		})
	})
	return known, err
}

// partition calls f with every record from an offset to the end as it is now.
func (s *outputScan) partition(ctx context.Context, tp TopicPartition, from int64, f func(*Record)) error {
	start, end, err := s.bounds(ctx, tp)
	if err != nil {
		return err
	}
	what := "read " + tp.Topic + "/" + label(tp.Partition)
	if from < start {
		s.logger.Warn().Str("topic", tp.Topic).Int32("partition", tp.Partition).Int64("from", from).Int64("log_start", start).
			Msg("retention removed alerts before they could be recognised: some may be sent a second time, with the same alert_id; raise the topic's retention")
		from = start
	}
	retry := newBackoff()
	for from < end {
		got, err := s.log.Fetch(ctx, tp, from)
		var corrupt *CorruptError
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, ErrOffsetOutOfRange):
			if from, end, err = s.bounds(ctx, tp); err != nil {
				return err
			}
			continue
		case errors.As(err, &corrupt) && corrupt.Next > from && retry.delay >= corruptDelay:
			from = corrupt.Next // what can't be read can't be recognised
			continue
		default:
			s.failed(ctx, what, err, retry)
			continue
		}
		s.health.working(what)
		retry.reset()
		for i := range got.Records {
			f(&got.Records[i])
		}
		from = got.Next
	}
	return nil
}

func (s *outputScan) bounds(ctx context.Context, tp TopicPartition) (start, end int64, err error) {
	what := "look up offsets of " + tp.Topic + "/" + label(tp.Partition)
	retry := newBackoff()
	for {
		if start, end, err = s.log.Bounds(ctx, tp); err == nil {
			s.health.working(what)
			return start, end, nil
		}
		if ctx.Err() != nil {
			return 0, 0, ctx.Err()
		}
		s.failed(ctx, what, err, retry)
	}
}

func (s *outputScan) failed(ctx context.Context, what string, err error, retry *backoff) {
	s.health.failing(what, err)
	if retry.worthSaying() {
		s.logger.Warn().Err(err).Msg("looking for alerts that were sent already failed; retrying")
	}
	retry.wait(ctx)
}

// corruptDelay is the pause from which a batch that can't be read is not waited
// for any more: some tries later.
const corruptDelay = time.Second
