// Package route reads every source, and writes canonical events keyed by agent.
//
// Invariants:
//  1. When an event is in the activity topic, all earlier events of its source
//     partition for the same activity partition already are.
//  2. An offset is committed only when every event before it is acknowledged there
//     or in the dead-letter topic.
//  3. A canonical record is a function of the source record alone.
//
// It imports the ports and loop of package pipeline, never another role, an adapter
// or the detector.
package route

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/pipeline/failpoint"
	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
)

// Source is one input of route.
type Source struct {
	Name        string
	Topic       string
	Incarnation uint32
	// DeadLetterValues: the dead letters of the source hold its records, and not only
	// where they are and why.
	DeadLetterValues bool
	// NewDecoder returns a decoder of the source's form, for one goroutine.
	NewDecoder func() (decode.Decoder, error)
}

// Route is the role.
type Route struct {
	pipeline.Consumer
	Ticks   Ticks                          // set before Run
	sources map[string]Source              // by topic
	first   string                         // topic of the first one
	held    atomic.Pointer[map[int32]bool] // partitions of that
	metrics *Metrics
	told    sync.Map // shapes of sources that the log has told of
}

// New returns the role, which writes no ticks; Run starts it. There is at least one source.
func New(role pipeline.Role, group pipeline.Group, sources []Source, m *Metrics) *Route {
	r := &Route{sources: make(map[string]Source, len(sources)), first: sources[0].Topic, metrics: m}
	for _, s := range sources {
		r.sources[s.Topic] = s
	}
	role.Name = "route"
	r.Consumer = pipeline.Consumer{Role: role, Group: group, Open: r.open, Joined: r.joined}
	return r
}

func (r *Route) open(ctx context.Context, _ pipeline.Generation, a pipeline.Assignment, logger zerolog.Logger) (pipeline.Handler, int64, error) {
	src, ok := r.sources[a.Topic]
	if !ok {
		return nil, 0, fmt.Errorf("no source reads topic %q", a.Topic)
	}
	start, err := r.StartOffset(ctx, a, logger)
	if err != nil {
		return nil, 0, err
	}
	to, err := r.Topic(ctx, pipeline.TopicActivity)
	if err != nil {
		return nil, 0, err
	}
	decoder, err := src.NewDecoder()
	if err != nil {
		return nil, 0, fmt.Errorf("source %s: %w", src.Name, err)
	}
	return &handler{
		role: r, src: src, partition: a.Partition, to: to, next: start,
		decoder: decoder, out: pipeline.NewOutbox(&r.Role),
		events: r.metrics.events.WithLabelValues(src.Name), skipped: make(map[string]prometheus.Counter), logger: logger,
	}, start, nil
}

// handler routes one partition of one source.
type handler struct {
	role      *Route
	src       Source
	partition int32
	to        pipeline.Topic
	decoder   decode.Decoder
	out       *pipeline.Outbox
	events    prometheus.Counter
	skipped   map[string]prometheus.Counter // by shape
	logger    zerolog.Logger

	next int64 // offset after the last record handled
	ok   int64 // offset up to which everything is acknowledged
}

func (h *handler) Take(ctx context.Context, f pipeline.Fetched) error {
	// The canonical records share one arena per batch. It is not reused: after an
	// interrupted flush the outbox still refers to it.
	size := 0
	for i := range f.Records {
		size += len(f.Records[i].Value) + len(f.Records[i].Value)/2 + 192
	}
	w := writer{h: h, arena: make([]byte, 0, size)}
	for i := range f.Records {
		rec := &f.Records[i]
		w.rec = rec
		in := decode.Record{
			Topic: h.src.Topic, Partition: h.partition, Offset: rec.Offset, Time: rec.Time,
			Key: rec.Key, Value: rec.Value, Headers: w.headers(),
		}
		h.decoder.Decode(&in, w.emit)
		w.deadLetter()
		decode.Passed(h.decoder, h.passed)
		h.next = rec.Offset + 1
	}
	h.next = max(h.next, f.Next)
	h.events.Add(float64(w.events))
	return h.flush(ctx)
}

// passed counts entries that are no events. The log tells of a shape when it is first
// seen, so that what is lost shows on the first day.
func (h *handler) passed(s decode.Shape, n int, sample string) {
	c := h.skipped[s.Name]
	if c == nil {
		c = h.role.metrics.skipped.WithLabelValues(h.src.Name, s.Name)
		h.skipped[s.Name] = c
		if _, told := h.role.told.LoadOrStore([2]string{h.src.Name, s.Name}, true); !told {
			h.logger.Info().Str("source", h.src.Name).Str("shape", s.Name).Str("sample", sample).Str("needs", s.Needs).
				Msg("entries of this shape are passed over; plumbline_skipped_entries_total counts them")
		}
	}
	c.Add(float64(n))
}

func (h *handler) flush(ctx context.Context) error {
	failpoint.Hit(failpoint.RouteWrite)
	if err := h.out.Flush(ctx); err != nil {
		return err
	}
	failpoint.Hit(failpoint.RouteWritten)
	h.ok = h.next
	return nil
}

func (h *handler) Done() int64                      { return h.ok }
func (h *handler) Due() time.Time                   { return time.Time{} }
func (h *handler) Tick(context.Context) error       { return nil }
func (h *handler) Finish(ctx context.Context) error { return h.flush(ctx) }
func (h *handler) Close()                           {}

// writer turns the events of one batch into records.
type writer struct {
	h      *handler
	rec    *pipeline.Record
	arena  []byte
	events int
	in     []decode.Header // of rec

	first   decode.Refusal // of rec
	place   schemas.Origin // of that refusal
	refused int            // events of rec
}

// headers are those of the record, as decoders know them.
func (w *writer) headers() []decode.Header {
	w.in = w.in[:0]
	for _, h := range w.rec.Headers {
		w.in = append(w.in, decode.Header{Key: h.Key, Value: h.Value})
	}
	return w.in
}

func (w *writer) emit(index int32, ev *schemas.Activity, refusal *decode.Refusal) {
	origin := schemas.Origin{
		Source: w.h.src.Name, Incarnation: w.h.src.Incarnation,
		Topic: w.h.src.Topic, Partition: w.h.partition, Offset: w.rec.Offset, Index: index,
	}
	if refusal != nil {
		w.h.role.Metrics.Refused.WithLabelValues(w.h.src.Name, string(refusal.Reason)).Inc()
		if w.refused++; w.refused == 1 {
			w.first, w.place = *refusal, origin
		}
		return
	}
	w.events++
	w.h.role.metrics.count(&ev.Flags)
	key := w.cut(func(b []byte) []byte { return schemas.AppendKey(b, ev.TenantID, ev.AgentID) })
	rec := pipeline.Record{Key: key, Headers: []pipeline.Header{{Key: schemas.OriginHeader, Value: w.cut(origin.AppendTo)}}}
	if ev.Registration != nil {
		rec.Value = w.cut(func(b []byte) []byte { return schemas.AppendRegistration(b, ev.Registration) })
		rec.Headers = append(rec.Headers, pipeline.Header{Key: schemas.RecordHeader, Value: []byte(schemas.RecordRegistration)})
	} else {
		rec.Value = w.cut(func(b []byte) []byte { return schemas.AppendActivity(b, ev) })
	}
	w.h.out.Add(w.h.to.Of(key), rec)
}

// deadLetter sets a record aside, once however many of its events were refused: a
// record of 10 MiB with thousands of bad events must not become as many copies.
func (w *writer) deadLetter() {
	if w.refused == 0 {
		return
	}
	letter := pipeline.DeadLetter(w.rec, w.place, &w.first)
	if !w.h.src.DeadLetterValues {
		letter.Value = nil
		letter.Headers = append(letter.Headers, pipeline.Header{Key: pipeline.HeaderCut, Value: strconv.AppendInt(nil, int64(len(w.rec.Value)), 10)})
	}
	if w.refused > 1 {
		letter.Headers = append(letter.Headers, pipeline.Header{Key: pipeline.HeaderRefused, Value: strconv.AppendInt(nil, int64(w.refused), 10)})
	}
	w.h.out.Add(pipeline.TopicPartition{Topic: pipeline.TopicDeadLetter}, letter)
	w.refused = 0
}

// cut appends to the arena and returns what was appended. Growing the arena
// leaves earlier cuts on the old memory, which stays valid.
func (w *writer) cut(appendTo func([]byte) []byte) []byte {
	start := len(w.arena)
	w.arena = appendTo(w.arena)
	return w.arena[start:len(w.arena):len(w.arena)]
}

// Metrics are what the role counts.
type Metrics struct {
	events  *prometheus.CounterVec // source
	skipped *prometheus.CounterVec // source, shape
	flagged *prometheus.CounterVec // flag

	ticks    prometheus.Counter
	withheld *prometheus.CounterVec // reason
}

// NewMetrics registers the role's metrics.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	r := pipeline.Registrar{Registerer: reg}
	return &Metrics{
		events:  r.Counter("events_total", "Events routed.", "source"),
		skipped: r.Counter("skipped_entries_total", "Entries of a source's records that are no agent activity, such as the spans of a web server, by what they look like.", "source", "shape"),
		flagged: r.Counter("flagged_events_total", "Events kept with something cut, replaced or clamped.", "flag"),

		ticks:    r.Counter("ticks_total", "Ticks written, by which clocks go on in partitions without events.").WithLabelValues(),
		withheld: r.Counter("withheld_ticks_total", "Ticks not written yet, each time: sources held records that were not routed (waiting), or Kafka refused (failed).", "reason"),
	}
}

func (m *Metrics) count(f *schemas.Flags) {
	for name := range f.Each {
		m.flagged.WithLabelValues(name).Inc()
	}
}
