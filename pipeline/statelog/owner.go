package statelog

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/rs/zerolog"

	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/pipeline/failpoint"
)

// Owner is the ownership of one partition's state during one generation: it claims
// the log, goes on from it, and appends checkpoints.
//
// Its methods return an error that is pipeline.ErrFenced where somebody else owns
// the partition now, one that is ErrLost where an operator has to decide, and the
// context's error where that ended; everything else they retry.
type Owner struct {
	role       *pipeline.Role
	input      pipeline.TopicPartition // of the activity topic
	tp         pipeline.TopicPartition // of the log
	commit     func(offset int64) error
	logger     zerolog.Logger
	partitions int32

	id      attempt // of the last checkpoint that was begun
	end     int64   // of the log, as far as it is known to hold no foreign open
	window  []windowEntry
	counter uint64
	trimmed int64 // below it the log was deleted
	refused bool  // deleting was
}

// NewOwner returns an owner that has claimed nothing yet. commit commits an offset of
// the input, checked against the generation.
func NewOwner(role *pipeline.Role, input pipeline.TopicPartition, commit func(offset int64) error, logger zerolog.Logger) *Owner {
	return &Owner{
		role: role, input: input, tp: pipeline.TopicPartition{Topic: pipeline.TopicBaselines, Partition: input.Partition},
		commit: commit, logger: logger,
	}
}

const adviceLost = "To give the baselines of this partition up and learn anew, set detector.on_lost_state: fresh for one start; " +
	"where records of the topic can't be read, delete the topic " + pipeline.TopicBaselines + " before that. Events and stored rows are not affected"

const advicePartitions = "Where partitions were added, stop every instance and run `plumbline state split`; or delete the topic " + pipeline.TopicBaselines +
	", set detector.on_lost_state: fresh for one start, and let baselines be learnt anew"

// Lost is an ErrLost with what to do.
func Lost(err error) error { return fmt.Errorf("%w: %w. %s", ErrLost, err, adviceLost) }

// Recover takes the partition over (rules 2, 3, 5 and 12). before is an earlier
// ownership of this process, or nil. It returns what the log comes to, and from which
// offset of the input to go on; or nil where nobody has written since before, so that
// what the process holds in memory is still right. fresh: where the state of a
// partition that was worked on is lost, begin anew.
func (o *Owner) Recover(ctx context.Context, a pipeline.Assignment, before *Owner, fresh bool) (*Content, int64, error) {
	if err := o.samePartitions(ctx); err != nil {
		return nil, 0, err
	}
	c, err := o.claim(ctx, before)
	if errors.Is(err, ErrLost) && c != nil && fresh {
		o.logger.Error().Err(err).Msg("detector state is incomplete, and detector.on_lost_state says fresh")
		c, err = newContent(), nil
	}
	if errors.Is(err, ErrLost) {
		err = fmt.Errorf("%w. %s", err, adviceLost)
	}
	if err != nil || c == nil {
		return nil, 0, err
	}
	switch m := c.Marker; {
	case m != nil && m.Partitions != o.partitions:
		return nil, 0, fmt.Errorf("the detector state is of a topic with %d partitions, %s has %d. %s", m.Partitions, o.input.Topic, o.partitions, advicePartitions)
	case m != nil:
		a.Offset, a.Committed = m.Offset, true
	case a.Committed && a.Offset > 0 && !fresh:
		return nil, 0, fmt.Errorf("%w: events up to offset %d were processed, and %s holds no checkpoint. %s", ErrLost, a.Offset, o.tp, adviceLost)
	}
	start, err := o.role.StartOffset(ctx, a, o.logger)
	if err != nil && c.Marker != nil && ctx.Err() == nil {
		err = fmt.Errorf("%w; the detector state is of the old topic too. %s", err, adviceLost)
	}
	return c, start, err
}

// samePartitions refuses to work where state and input are divided differently
// (rule 12).
func (o *Owner) samePartitions(ctx context.Context) error {
	input, err := o.role.Topic(ctx, o.input.Topic)
	if err != nil {
		return err
	}
	state, err := o.role.Topic(ctx, o.tp.Topic)
	if err != nil {
		return err
	}
	o.partitions = input.Partitions
	if input.Partitions != state.Partitions {
		return fmt.Errorf("%s has %d partitions and %s has %d: agents would be held against the baselines of others. %s",
			input.Name, input.Partitions, state.Name, state.Partitions, advicePartitions)
	}
	return nil
}

// claim takes the log over under a new epoch (rule 2). known is an earlier
// ownership of this process; nil: there is none. claim returns nil where nobody has
// written since, so that what the process holds in memory is still right, and else
// what the log comes to. With an error that is ErrLost it returns that too
// where it could be read.
func (o *Owner) claim(ctx context.Context, known *Owner) (*Content, error) {
	for {
		c, from := newContent(), int64(-1)
		if known != nil {
			c.Epoch, from = known.id.Epoch, known.end
		}
		clean, err := o.claimOnce(ctx, c, from)
		switch {
		case err != nil:
			return nil, err
		case !clean:
			continue
		case known == nil:
			if err := c.check(); err != nil {
				return c, fmt.Errorf("%w: %s: %w", ErrLost, o.tp, err)
			}
			if m := c.Marker; m != nil {
				o.window, o.counter = m.Window, m.Counter
			}
			return c, nil
		case o.id.Epoch == known.id.Epoch+1 && c.Marker == nil:
			o.window, o.counter = known.window, known.counter
			return nil, nil //nolint:nilnil // nothing to restore
		}
		known = nil // somebody came in between: read all of it
	}
}

// claimOnce reads the log to its end, appends an open, and reads up to that. It
// reports false where somebody else was faster.
func (o *Owner) claimOnce(ctx context.Context, c *Content, from int64) (bool, error) {
	for {
		start, end, err := o.role.Bounds(ctx, o.tp, "looking up offsets of detector state failed; retrying", o.logger)
		if err != nil {
			return false, err
		}
		if from < 0 {
			from = start
		}
		from, err = o.read(ctx, from, end, func(rec *pipeline.Record) error { _, err := c.add(rec); return err })
		if errors.Is(err, pipeline.ErrOffsetOutOfRange) { // the log was trimmed under our feet
			*c, from = *newContent(), -1
			continue
		}
		if err != nil {
			return false, err
		}
		break
	}
	o.id = attempt{Epoch: c.Epoch + 1}
	nonce := rand.Text()
	value, err := json.Marshal(open{Format: format, Epoch: o.id.Epoch, Nonce: nonce})
	if err != nil {
		return false, fmt.Errorf("open: %w", err)
	}
	o.end = from
	at, err := o.append(ctx, pipeline.Record{Key: []byte(keyOpen), Value: value})
	if err != nil {
		return false, err
	}
	failpoint.Hit(failpoint.StateOpen)
	clean := true
	_, err = o.read(ctx, from, at, func(rec *pipeline.Record) error {
		opened, err := c.add(rec)
		if opened != nil && opened.Nonce != nonce && opened.Epoch >= o.id.Epoch {
			clean = false
		}
		return err
	})
	if errors.Is(err, pipeline.ErrOffsetOutOfRange) {
		return false, nil // trimmed between the two looks: what we have read is old
	}
	c.raise(o.id.Epoch)
	o.end = at + 1
	return clean, err
}

// read calls f with the records from one offset up to another, exclusive, and
// returns where it stopped. What can't be read or understood is lost.
func (o *Owner) read(ctx context.Context, from, to int64, f func(*pipeline.Record) error) (int64, error) {
	at, err := pipeline.ReadRange(ctx, o.role.Log, o.tp, from, to, o.retry("read "+o.tp.String(), "reading detector state failed; retrying"), f)
	if err != nil && ctx.Err() == nil && !errors.Is(err, pipeline.ErrOffsetOutOfRange) {
		err = fmt.Errorf("%w: %s: %w", ErrLost, o.tp, err)
	}
	return at, err
}

func (o *Owner) retry(what, msg string) *pipeline.Retry {
	return &pipeline.Retry{What: what, Msg: msg, Health: o.role.Health, Logger: o.logger}
}

// append writes one record until it is acknowledged, and returns its offset.
// Repeating is safe: whoever reads takes the same record once.
func (o *Owner) append(ctx context.Context, rec pipeline.Record) (int64, error) {
	retry := o.retry("write "+o.tp.String(), "writing detector state failed; retrying until acknowledged")
	retry.Count = func() { o.role.Metrics.ProduceErrors.WithLabelValues(o.tp.Topic).Inc() }
	var at pipeline.Appended
	err := retry.Until(ctx, func() (err error) {
		at, err = o.role.Log.Append(ctx, o.tp, []pipeline.Record{rec})
		return err
	})
	return at.First, err
}

// write appends a record of this ownership, and looks at what others wrote before
// it (rule 9a).
func (o *Owner) write(ctx context.Context, rec pipeline.Record) (int64, error) {
	at, err := o.append(ctx, rec)
	if err != nil {
		return 0, err
	}
	if at < o.end {
		return 0, fmt.Errorf("%w: %s: a record went to offset %d, the log had reached %d: the topic was deleted and created anew",
			ErrLost, o.tp, at, o.end)
	}
	_, err = o.read(ctx, o.end, at, func(other *pipeline.Record) error {
		epoch, err := epochOf(other)
		if err == nil && epoch > o.id.Epoch {
			return pipeline.ErrFenced
		}
		return err
	})
	if errors.Is(err, pipeline.ErrFenced) || errors.Is(err, pipeline.ErrOffsetOutOfRange) {
		return 0, fmt.Errorf("%w: somebody else owns the state of %s", pipeline.ErrFenced, o.input)
	}
	if err != nil {
		return 0, err
	}
	o.end = at + 1
	return at, nil
}

// epochOf returns the epoch of any record of the log.
func epochOf(rec *pipeline.Record) (uint64, error) {
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

// Accepted commits an offset under this generation, and retries what is no refusal
// (rules 4 and 9b).
func (o *Owner) Accepted(ctx context.Context, offset int64) error {
	retry := o.retry("commit "+o.input.String(), "offset commit refused; retrying, detection goes on")
	retry.Count = func() { o.role.Metrics.CommitErrors.WithLabelValues(o.role.Name).Inc() }
	return retry.Until(ctx, func() error { return o.commit(offset) })
}

// trim deletes what stands before the window.
func (o *Owner) trim(ctx context.Context) {
	first := o.window[0].Start
	for _, w := range o.window {
		first = min(first, w.Start)
	}
	if first <= o.trimmed {
		return
	}
	if err := o.role.Log.DeleteRecords(ctx, o.tp, first); err != nil {
		if !o.refused && ctx.Err() == nil {
			o.logger.Warn().Err(err).Int64("before", first).
				Msg("old detector state can't be deleted: " + o.tp.Topic + " grows, and a restart takes longer; allow DELETE on the topic")
			o.refused = true
		}
		return
	}
	o.trimmed, o.refused = first, false
}
