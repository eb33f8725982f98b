package pipeline

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/rs/zerolog"

	"github.com/plumbline-sec/plumbline/pipeline/failpoint"
)

// stateOwner is the ownership of one partition's state during one generation: it
// claims the log, restores from it, and appends checkpoints.
//
// Invariants:
//  1. Nothing but an open is written before the group coordinator has accepted a
//     commit of this generation (rule 4).
//  2. A checkpoint counts when its marker stands in the log with no foreign open
//     of a higher epoch before it, and the coordinator has accepted the commit of
//     its offset (rule 9).
//  3. An attempt's number is never used twice in an epoch (rule 7).
//
// Its methods return an error that is ErrFenced where somebody else owns the
// partition now, one that is ErrStateLost where an operator has to decide, and
// the context's error where that ended; everything else they retry.
type stateOwner struct {
	log     Log
	input   TopicPartition // of TopicActivity
	tp      TopicPartition // of TopicBaselines
	commit  func(offset int64) error
	metrics *Metrics
	health  *Health
	logger  zerolog.Logger

	id      attempt // of the last checkpoint that was begun
	end     int64   // of the log, as far as it is known to hold no foreign open
	window  []windowEntry
	counter uint64
	trimmed int64 // below it the log was deleted
	refused bool  // deleting was
}

// claim takes the log over under a new epoch (rule 2). known is an earlier
// ownership of this process; nil: there is none. claim returns nil where nobody has
// written since, so that what the process holds in memory is still right, and else
// what the log comes to. With an error that is ErrStateLost it returns that too
// where it could be read.
func (o *stateOwner) claim(ctx context.Context, known *stateOwner) (*stateFold, error) {
	for {
		fold, from := newStateFold(), int64(-1)
		if known != nil {
			fold.fence, from = known.id.Epoch, known.end
		}
		clean, err := o.claimOnce(ctx, fold, from)
		switch {
		case err != nil:
			return nil, err
		case !clean:
			continue
		case known == nil:
			if err := fold.check(); err != nil {
				return fold, fmt.Errorf("%w: %s/%d: %w", ErrStateLost, o.tp.Topic, o.tp.Partition, err)
			}
			if m := fold.marker; m != nil {
				o.window, o.counter = m.Window, m.Counter
			}
			return fold, nil
		case o.id.Epoch == known.id.Epoch+1 && fold.marker == nil:
			o.window, o.counter = known.window, known.counter
			return nil, nil //nolint:nilnil // nothing to restore
		}
		known = nil // somebody came in between: read all of it
	}
}

// claimOnce reads the log to its end, appends an open, and reads up to that. It
// reports false where somebody else was faster.
func (o *stateOwner) claimOnce(ctx context.Context, fold *stateFold, from int64) (bool, error) {
	for {
		start, end, err := o.bounds(ctx)
		if err != nil {
			return false, err
		}
		if from < 0 {
			from = start
		}
		from, err = o.read(ctx, from, end, func(rec *Record) error { _, err := fold.add(rec); return err })
		if errors.Is(err, ErrOffsetOutOfRange) { // the log was trimmed under our feet
			*fold, from = *newStateFold(), -1
			continue
		}
		if err != nil {
			return false, err
		}
		break
	}
	o.id = attempt{Epoch: fold.fence + 1}
	nonce := rand.Text()
	value, err := json.Marshal(stateOpen{Format: stateFormat, Epoch: o.id.Epoch, Nonce: nonce})
	if err != nil {
		return false, fmt.Errorf("open: %w", err)
	}
	o.end = from
	at, err := o.append(ctx, Record{Key: []byte(keyOpen), Value: value})
	if err != nil {
		return false, err
	}
	failpoint.Hit(failpoint.StateOpen)
	clean := true
	_, err = o.read(ctx, from, at, func(rec *Record) error {
		opened, err := fold.add(rec)
		if opened != nil && opened.Nonce != nonce && opened.Epoch >= o.id.Epoch {
			clean = false
		}
		return err
	})
	if errors.Is(err, ErrOffsetOutOfRange) {
		return false, nil // trimmed between the two looks: what we have read is old
	}
	fold.raise(o.id.Epoch)
	o.end = at + 1
	return clean, err
}

// read calls f with the records from one offset up to another, exclusive, and
// returns where it stopped.
func (o *stateOwner) read(ctx context.Context, from, to int64, f func(*Record) error) (int64, error) {
	what := "read " + o.tp.Topic + "/" + label(o.tp.Partition)
	retry := newBackoff()
	for from < to {
		got, err := o.log.Fetch(ctx, o.tp, from)
		var corrupt *CorruptError
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return from, ctx.Err()
		case errors.Is(err, ErrOffsetOutOfRange):
			return from, err
		case errors.As(err, &corrupt) && retry.delay >= corruptDelay:
			return from, fmt.Errorf("%w: %s/%d: %w", ErrStateLost, o.tp.Topic, o.tp.Partition, err)
		default:
			o.failed(what, err, retry, "reading detector state failed; retrying")
			retry.wait(ctx)
			continue
		}
		o.health.working(what)
		retry.reset()
		for i := range got.Records {
			rec := &got.Records[i]
			if rec.Offset >= to {
				return to, nil
			}
			if err := f(rec); err != nil {
				return from, fmt.Errorf("%w: %s/%d: %w", ErrStateLost, o.tp.Topic, o.tp.Partition, err)
			}
		}
		from = got.Next
	}
	return from, nil
}

func (o *stateOwner) failed(what string, err error, retry *backoff, msg string) {
	o.health.failing(what, err)
	if retry.worthSaying() {
		o.logger.Warn().Err(err).Msg(msg)
	}
}

func (o *stateOwner) bounds(ctx context.Context) (start, end int64, err error) {
	what := "look up offsets of " + o.tp.Topic + "/" + label(o.tp.Partition)
	retry := newBackoff()
	for {
		if start, end, err = o.log.Bounds(ctx, o.tp); err == nil {
			o.health.working(what)
			return start, end, nil
		}
		if ctx.Err() != nil {
			return 0, 0, ctx.Err()
		}
		o.failed(what, err, retry, "looking up offsets of detector state failed; retrying")
		retry.wait(ctx)
	}
}

// append writes one record until it is acknowledged, and returns its offset.
// Repeating is safe: whoever reads takes the same record once.
func (o *stateOwner) append(ctx context.Context, rec Record) (int64, error) {
	what := "write " + o.tp.Topic + "/" + label(o.tp.Partition)
	retry := newBackoff()
	for {
		at, err := o.log.Append(ctx, o.tp, []Record{rec})
		if err == nil {
			o.health.working(what)
			return at.First, nil
		}
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		o.metrics.ProduceErrors.WithLabelValues(o.tp.Topic).Inc()
		o.failed(what, err, retry, "writing detector state failed; retrying until acknowledged")
		retry.wait(ctx)
	}
}

// write appends a record of this ownership, and looks at what others wrote before
// it (rule 9a).
func (o *stateOwner) write(ctx context.Context, rec Record) (int64, error) {
	at, err := o.append(ctx, rec)
	if err != nil {
		return 0, err
	}
	if at < o.end {
		return 0, fmt.Errorf("%w: %s/%d: a record went to offset %d, the log had reached %d: the topic was deleted and created anew",
			ErrStateLost, o.tp.Topic, o.tp.Partition, at, o.end)
	}
	_, err = o.read(ctx, o.end, at, func(other *Record) error {
		epoch, err := epochOf(other)
		if err == nil && epoch > o.id.Epoch {
			return ErrFenced
		}
		return err
	})
	if errors.Is(err, ErrFenced) || errors.Is(err, ErrOffsetOutOfRange) {
		return 0, fmt.Errorf("%w: somebody else owns the state of %s/%d", ErrFenced, o.input.Topic, o.input.Partition)
	}
	if err != nil {
		return 0, err
	}
	o.end = at + 1
	return at, nil
}

// epochOf returns the epoch of any record of the log.
func epochOf(rec *Record) (uint64, error) {
	if string(rec.Key) == keyChunk {
		id, _, _, err := parseChunk(rec.Value)
		return id.Epoch, err
	}
	var head struct {
		Epoch uint64 `json:"epoch"`
	}
	err := json.Unmarshal(rec.Value, &head)
	return head.Epoch, err
}

// accepted commits an offset under this generation, and retries what is no
// refusal (rules 4 and 9b).
func (o *stateOwner) accepted(ctx context.Context, offset int64) error {
	retry := newBackoff()
	what := "commit " + o.input.Topic + "/" + label(o.input.Partition)
	for {
		err := o.commit(offset)
		switch {
		case err == nil:
			o.health.working(what)
			return nil
		case errors.Is(err, ErrFenced):
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		}
		o.metrics.CommitErrors.WithLabelValues("detect").Inc()
		o.failed(what, err, retry, "offset commit refused; retrying, detection goes on")
		retry.wait(ctx)
	}
}

// checkpoint is one that is being written: chunks in order, then the marker.
type checkpoint struct {
	owner  *stateOwner
	marker StateMarker
	start  int64
	chunks int
	bytes  int
}

// begin starts a checkpoint (rule 7). full: it holds every agent.
func (o *stateOwner) begin(m StateMarker, full bool) *checkpoint {
	o.id.Attempt++
	m.Format, m.attempt, m.Counter = stateFormat, o.id, o.counter+1
	if full {
		m.Window = nil
	} else {
		m.Window = append([]windowEntry(nil), o.window[max(0, len(o.window)-m.Slices+1):]...)
	}
	return &checkpoint{owner: o, marker: m, start: -1}
}

// head begins the bytes of the next chunk.
func (c *checkpoint) head(dst []byte, index int) []byte {
	return appendChunkHead(dst, c.marker.attempt, index)
}

// chunk appends the next chunk.
func (c *checkpoint) chunk(ctx context.Context, value []byte) error {
	at, err := c.owner.write(ctx, Record{Key: []byte(keyChunk), Value: value})
	if err != nil {
		return err
	}
	failpoint.Hit(failpoint.StateChunk)
	if c.start < 0 {
		c.start = at
	}
	c.chunks++
	c.bytes += len(value)
	return nil
}

// confirm completes the checkpoint (rules 8 and 9), and gives the log's space back
// that no checkpoint needs any more (rule 10).
func (c *checkpoint) confirm(ctx context.Context) error {
	o := c.owner
	c.marker.Window = append(c.marker.Window, windowEntry{c.marker.attempt, c.start, c.chunks})
	value, err := json.Marshal(&c.marker)
	if err != nil {
		return fmt.Errorf("marker: %w", err)
	}
	if _, err := o.write(ctx, Record{Key: []byte(keyMarker), Value: value}); err != nil {
		return err
	}
	failpoint.Hit(failpoint.StateMarker)
	if err := o.accepted(ctx, c.marker.Offset); err != nil {
		return err
	}
	failpoint.Hit(failpoint.StateCommitted)
	o.window, o.counter = c.marker.Window, c.marker.Counter
	o.trim(ctx)
	return nil
}

// trim deletes what stands before the window.
func (o *stateOwner) trim(ctx context.Context) {
	first := o.window[0].Start
	for _, w := range o.window {
		first = min(first, w.Start)
	}
	if first <= o.trimmed {
		return
	}
	if err := o.log.DeleteRecords(ctx, o.tp, first); err != nil {
		if !o.refused && ctx.Err() == nil {
			o.logger.Warn().Err(err).Int64("before", first).
				Msg("old detector state can't be deleted: " + o.tp.Topic + " grows, and a restart takes longer; allow DELETE on the topic")
			o.refused = true
		}
		return
	}
	o.trimmed, o.refused = first, false
}
