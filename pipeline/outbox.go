package pipeline

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
)

// maxChunk bounds one produce request before compression: the default limit of
// a Kafka broker is 1 MiB.
const maxChunk = 900 << 10

// Outbox holds the records that a batch gave rise to until all are acknowledged.
//
// Per partition one request is in flight at a time and it is repeated until it
// succeeds, so that records never overtake each other: when a record is in the
// log, all earlier ones of the same outbox and partition already are.
type Outbox struct {
	role *Role

	// Sent, where set, returns which alerts stand in a partition although they may
	// not have been acknowledged; nil for a partition that holds no alerts. It is
	// asked before a request is repeated of which nobody knows whether it was applied,
	// and fails only when ctx ends.
	Sent func(ctx context.Context, tp TopicPartition) (map[string]bool, error)

	mu       sync.Mutex
	pending  map[TopicPartition][]Record
	doubtful map[TopicPartition]bool // the last request may have been applied
}

// NewOutbox returns an empty outbox of a role.
func NewOutbox(role *Role) *Outbox {
	return &Outbox{role: role, pending: make(map[TopicPartition][]Record), doubtful: make(map[TopicPartition]bool)}
}

// Add takes a record in.
func (o *Outbox) Add(tp TopicPartition, r Record) {
	o.mu.Lock()
	o.pending[tp] = append(o.pending[tp], r)
	o.mu.Unlock()
}

// Empty reports whether everything is acknowledged.
func (o *Outbox) Empty() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, rs := range o.pending {
		if len(rs) > 0 {
			return false
		}
	}
	return true
}

// Flush returns nil when everything is acknowledged, or the context's error. What
// was acknowledged before that is not sent again by a later flush.
func (o *Outbox) Flush(ctx context.Context) error {
	for !o.Empty() {
		// Oversized records come back as dead letters: hence the loop.
		var wg sync.WaitGroup
		o.mu.Lock()
		for tp, rs := range o.pending {
			if len(rs) > 0 {
				wg.Go(func() { o.send(ctx, tp) })
			}
		}
		o.mu.Unlock()
		wg.Wait()
		if err := ctx.Err(); err != nil && !o.Empty() {
			return err
		}
	}
	return nil
}

// send works off one partition; only one goroutine does so at a time.
func (o *Outbox) send(ctx context.Context, tp TopicPartition) {
	retry := Retry{
		What: "write " + tp.String(), Msg: "write failed; retrying until acknowledged", Health: o.role.Health,
		Count: func() { o.role.Metrics.ProduceErrors.WithLabelValues(tp.Topic).Inc() },
	}
	limit := maxChunk
	request, stop := linger(ctx)
	defer stop()
	for ctx.Err() == nil {
		if o.settle(ctx, tp) != nil {
			return // it has tried until ctx ended
		}
		chunk := o.head(tp, limit)
		if len(chunk) == 0 {
			return
		}
		err := o.role.Log.Produce(request, tp, chunk)
		o.doubt(tp, err)
		switch {
		case err == nil:
			retry.worked()
			o.drop(tp, len(chunk))
		case errors.Is(err, ErrTooLarge) && len(chunk) > 1:
			limit = 0 // one record at a time shows which one it is
		case errors.Is(err, ErrTooLarge):
			o.setAside(tp, chunk[0])
		case ctx.Err() != nil:
			return
		default:
			retry.Logger = o.role.Logger.With().Str("topic", tp.Topic).Int32("partition", tp.Partition).Logger()
			retry.failed(ctx, err)
		}
	}
}

// doubt notes whether the outcome of a request is known.
func (o *Outbox) doubt(tp TopicPartition, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err != nil && !errors.Is(err, ErrTooLarge) {
		o.doubtful[tp] = true
	}
}

// settle drops the alerts of a request whose acknowledgement was lost, and which
// stand in the log all the same.
func (o *Outbox) settle(ctx context.Context, tp TopicPartition) error {
	o.mu.Lock()
	doubtful := o.doubtful[tp]
	o.mu.Unlock()
	if !doubtful || o.Sent == nil {
		return nil
	}
	ids, err := o.Sent(ctx, tp)
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.doubtful, tp)
	if len(ids) > 0 {
		o.pending[tp] = slices.DeleteFunc(slices.Clone(o.pending[tp]), func(r Record) bool { return ids[string(r.Header(HeaderAlertID))] })
	}
	return nil
}

// lingerTime is how long a request that is in flight may outlast the order to
// stop. To cut it off would leave open whether its records are in the log, and
// sending them again would write most of them twice.
const lingerTime = 2 * time.Second

// linger returns a context that ends lingerTime after ctx. stop releases it.
func linger(ctx context.Context) (_ context.Context, stop func()) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	disarm := context.AfterFunc(ctx, func() {
		select {
		case <-time.After(lingerTime):
			cancel()
		case <-longer.Done():
		}
	})
	return longer, func() { disarm(); cancel() }
}

// head returns the next records of tp that fit into one request, at least one.
func (o *Outbox) head(tp TopicPartition, limit int) []Record {
	o.mu.Lock()
	defer o.mu.Unlock()
	rs := o.pending[tp]
	size, n := 0, 0
	for n < len(rs) {
		size += recordSize(&rs[n])
		if n > 0 && size > limit {
			break
		}
		n++
	}
	return rs[:n:n]
}

func (o *Outbox) drop(tp TopicPartition, n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	rs := o.pending[tp][n:]
	if len(rs) == 0 {
		delete(o.pending, tp)
		return
	}
	o.pending[tp] = rs
}

// setAside takes a record that the broker refuses for its size out of the way
// of those behind it, without losing it: it becomes a dead letter, and a dead
// letter that is itself too large is cut, with its true size in a header.
func (o *Outbox) setAside(tp TopicPartition, r Record) {
	o.drop(tp, 1)
	if tp.Topic != TopicDeadLetter {
		o.role.Metrics.Refused.WithLabelValues(tp.Topic, "record_too_large").Inc()
		o.role.Logger.Error().Str("topic", tp.Topic).Int("bytes", len(r.Value)).
			Msg("the broker refuses a record of this size; it goes to the dead-letter topic. Raise the topic's max.message.bytes")
		r.Headers = append(slices.Clone(r.Headers),
			Header{HeaderReason, []byte("record_too_large")}, Header{HeaderDetail, []byte("refused by the broker for topic " + tp.Topic)})
		o.Add(TopicPartition{Topic: TopicDeadLetter}, r)
		return
	}
	if !slices.ContainsFunc(r.Headers, func(h Header) bool { return h.Key == HeaderCut }) {
		r.Headers = append(slices.Clone(r.Headers), Header{HeaderCut, strconv.AppendInt(nil, int64(len(r.Value)), 10)})
	}
	r.Value = r.Value[:len(r.Value)/2]
	if len(r.Value) == 0 {
		o.role.Logger.Error().Msg("the broker refuses even an empty dead letter for its size; it is given up")
		return
	}
	o.mu.Lock()
	o.pending[tp] = slices.Insert(slices.Clone(o.pending[tp]), 0, r)
	o.mu.Unlock()
}

// Refuse sets aside a record that stands in a topic of Plumbline's own and that
// another program wrote.
func (o *Outbox) Refuse(tp TopicPartition, rec *Record, refusal *decode.Refusal) {
	o.role.Metrics.Refused.WithLabelValues(tp.Topic, string(refusal.Reason)).Inc()
	at := schemas.Origin{Source: tp.Topic, Topic: tp.Topic, Partition: tp.Partition, Offset: rec.Offset}
	o.Add(TopicPartition{Topic: TopicDeadLetter}, DeadLetter(rec, at, refusal))
}

// DeadLetter keeps the original bytes and says in headers where they stood and
// why they were refused.
func DeadLetter(rec *Record, origin schemas.Origin, refusal *decode.Refusal) Record {
	return Record{
		Key: rec.Key, Value: rec.Value,
		Headers: []Header{
			{HeaderReason, []byte(refusal.Reason)},
			{HeaderField, []byte(refusal.Field)},
			{HeaderDetail, []byte(refusal.Detail)},
			{HeaderSourceTopic, []byte(origin.Topic)},
			{HeaderSourcePartition, strconv.AppendInt(nil, int64(origin.Partition), 10)},
			{HeaderSourceOffset, strconv.AppendInt(nil, origin.Offset, 10)},
			{schemas.OriginHeader, origin.AppendTo(nil)},
		},
	}
}

func recordSize(r *Record) int {
	n := len(r.Key) + len(r.Value) + 32
	for i := range r.Headers {
		n += len(r.Headers[i].Key) + len(r.Headers[i].Value) + 8
	}
	return n
}
