package pipeline

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/rs/zerolog"

	"github.com/plumbline-sec/plumbline/pipeline/failpoint"
	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
)

// Source is one input of route.
type Source struct {
	Name        string
	Topic       string
	Incarnation uint32
	// NewDecoder returns a decoder of the source's form, for one goroutine.
	NewDecoder func() (decode.Decoder, error)
}

// Route reads every source, and writes canonical events keyed by agent.
//
// Invariants:
//  1. When an event is in TopicActivity, all earlier events of its source
//     partition for the same activity partition already are.
//  2. An offset is committed only when every event before it is acknowledged in
//     TopicActivity or in TopicDeadLetter.
//  3. A canonical record is a function of the source record alone.
type Route struct {
	consumer
	sources map[string]Source // by topic
}

// NewRoute returns the role; Run starts it.
func NewRoute(log Log, group Group, sources []Source, m *Metrics, h *Health, logger zerolog.Logger) *Route {
	r := &Route{sources: make(map[string]Source, len(sources))}
	for _, s := range sources {
		r.sources[s.Topic] = s
	}
	r.consumer = consumer{role: "route", log: log, group: group, metrics: m, health: h, logger: logger, worker: r}
	return r
}

// Run routes until ctx ends; it returns after what was read is acknowledged and
// committed, or an error that no retry heals.
func (r *Route) Run(ctx context.Context) error { return r.run(ctx) }

func (r *Route) open(ctx context.Context, _ Generation, a Assignment, logger zerolog.Logger) (handler, int64, error) {
	src, ok := r.sources[a.Topic]
	if !ok {
		return nil, 0, fmt.Errorf("no source reads topic %q", a.Topic)
	}
	start, err := r.startOffset(ctx, a, logger)
	if err != nil {
		return nil, 0, err
	}
	n, err := r.partitionsOf(ctx, TopicActivity)
	if err != nil {
		return nil, 0, err
	}
	decoder, err := src.NewDecoder()
	if err != nil {
		return nil, 0, fmt.Errorf("source %s: %w", src.Name, err)
	}
	return &routeHandler{
		src: src, partition: a.Partition, partitions: n, next: start,
		decoder: decoder,
		metrics: r.metrics,
		out:     newOutbox(r.log, r.metrics, r.health, r.logger),
		events:  r.metrics.Events.WithLabelValues(src.Name),
		skipped: r.metrics.Skipped.WithLabelValues(src.Name),
	}, start, nil
}

// routeHandler routes one partition of one source.
type routeHandler struct {
	src        Source
	partition  int32
	partitions int32 // of TopicActivity
	decoder    decode.Decoder
	metrics    *Metrics
	out        *outbox
	events     interface{ Add(float64) }
	skipped    interface{ Add(float64) }

	next int64 // offset after the last record handled
	ok   int64 // offset up to which everything is acknowledged
}

func (h *routeHandler) take(ctx context.Context, f Fetched) error {
	// The canonical records share one arena per batch. It is not reused: after an
	// interrupted flush the outbox still refers to it.
	size := 0
	for i := range f.Records {
		size += len(f.Records[i].Value) + len(f.Records[i].Value)/2 + 192
	}
	w := routeWriter{h: h, arena: make([]byte, 0, size)}
	for i := range f.Records {
		rec := &f.Records[i]
		w.rec = rec
		in := decode.Record{
			Topic: h.src.Topic, Partition: h.partition, Offset: rec.Offset, Time: rec.Time,
			Key: rec.Key, Value: rec.Value, Headers: w.headers(),
		}
		h.decoder.Decode(&in, w.emit)
		w.deadLetter()
		if s, ok := h.decoder.(decode.Skipper); ok {
			if n := s.Skipped(); n > 0 {
				h.skipped.Add(float64(n))
			}
		}
		h.next = rec.Offset + 1
	}
	h.next = max(h.next, f.Next)
	h.events.Add(float64(w.events))
	return h.flush(ctx)
}

func (h *routeHandler) flush(ctx context.Context) error {
	failpoint.Hit(failpoint.RouteWrite)
	if err := h.out.flush(ctx); err != nil {
		return err
	}
	failpoint.Hit(failpoint.RouteWritten)
	h.ok = h.next
	return nil
}

func (h *routeHandler) done() int64                      { return h.ok }
func (h *routeHandler) due() time.Time                   { return time.Time{} }
func (h *routeHandler) tick(context.Context) error       { return nil }
func (h *routeHandler) finish(ctx context.Context) error { return h.flush(ctx) }
func (h *routeHandler) close()                           {}

// routeWriter turns the events of one batch into records.
type routeWriter struct {
	h      *routeHandler
	rec    *Record
	arena  []byte
	events int
	in     []decode.Header // of rec

	first   decode.Refusal // of rec
	place   schemas.Origin // of that refusal
	refused int            // events of rec
}

// headers are those of the record, as decoders know them.
func (w *routeWriter) headers() []decode.Header {
	w.in = w.in[:0]
	for _, h := range w.rec.Headers {
		w.in = append(w.in, decode.Header{Key: h.Key, Value: h.Value})
	}
	return w.in
}

func (w *routeWriter) emit(index int32, ev *schemas.Activity, refusal *decode.Refusal) {
	origin := schemas.Origin{
		Source: w.h.src.Name, Incarnation: w.h.src.Incarnation,
		Topic: w.h.src.Topic, Partition: w.h.partition, Offset: w.rec.Offset, Index: index,
	}
	if refusal != nil {
		w.h.metrics.Refused.WithLabelValues(w.h.src.Name, string(refusal.Reason)).Inc()
		if w.refused++; w.refused == 1 {
			w.first, w.place = *refusal, origin
		}
		return
	}
	w.events++
	countFlags(w.h.metrics, &ev.Flags)
	key := w.cut(func(b []byte) []byte { return schemas.AppendKey(b, ev.TenantID, ev.AgentID) })
	value := w.cut(func(b []byte) []byte { return schemas.AppendActivity(b, ev) })
	from := w.cut(origin.AppendTo)
	w.h.out.add(
		TopicPartition{Topic: TopicActivity, Partition: schemas.Partition(key, w.h.partitions)},
		Record{Key: key, Value: value, Headers: []Header{{Key: schemas.OriginHeader, Value: from}}},
	)
}

// deadLetter sets a record aside, once however many of its events were refused: a
// record of 10 MiB with thousands of bad events must not become as many copies.
func (w *routeWriter) deadLetter() {
	if w.refused == 0 {
		return
	}
	letter := deadLetter(w.rec, w.place, &w.first)
	if w.refused > 1 {
		letter.Headers = append(letter.Headers, Header{HeaderRefused, strconv.AppendInt(nil, int64(w.refused), 10)})
	}
	w.h.out.add(TopicPartition{Topic: TopicDeadLetter}, letter)
	w.refused = 0
}

// cut appends to the arena and returns what was appended. Growing the arena
// leaves earlier cuts on the old memory, which stays valid.
func (w *routeWriter) cut(appendTo func([]byte) []byte) []byte {
	start := len(w.arena)
	w.arena = appendTo(w.arena)
	return w.arena[start:len(w.arena):len(w.arena)]
}

// deadLetter keeps the original bytes and says in headers where they stood and
// why they were refused.
func deadLetter(rec *Record, origin schemas.Origin, refusal *decode.Refusal) Record {
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

func countFlags(m *Metrics, f *schemas.Flags) {
	for name := range f.Each {
		m.Flagged.WithLabelValues(name).Inc()
	}
}
