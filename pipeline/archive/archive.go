// Package archive writes activity, alerts and windows into the warehouse.
//
// Invariants:
//  1. An offset is committed only when the rows of every record before it are
//     acknowledged, or the record stands in the dead-letter topic.
//  2. A row's identity is a function of its record: inserting it again, here or by
//     another instance, leaves one row under the views.
//  3. Memory is bounded: one batch and one read ahead per partition. While the
//     warehouse is down nothing more is read; Kafka holds the rest.
//
// It imports the ports and loop of package pipeline, never another role, an adapter
// or the detector.
package archive

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/pipeline/failpoint"
	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
	"github.com/plumbline-sec/plumbline/schemas/decode/registration"
)

// Limits say when archive inserts: whichever is reached first.
type Limits struct {
	Rows  int
	Bytes int
	Age   time.Duration
}

// Archive is the role.
type Archive struct {
	pipeline.Consumer
	wh      pipeline.Warehouse
	limits  Limits
	metrics *Metrics
}

// New returns the role; Run starts it.
func New(role pipeline.Role, group pipeline.Group, wh pipeline.Warehouse, limits Limits, m *Metrics) *Archive {
	a := &Archive{wh: wh, limits: limits, metrics: m}
	role.Name = "archive"
	a.Consumer = pipeline.Consumer{Role: role, Group: group, Open: a.open}
	return a
}

func (a *Archive) open(ctx context.Context, _ pipeline.Generation, as pipeline.Assignment, logger zerolog.Logger) (pipeline.Handler, int64, error) {
	start, err := a.StartOffset(ctx, as, logger)
	if err != nil {
		return nil, 0, err
	}
	h := &handler{role: a, tp: as.TopicPartition, out: pipeline.NewOutbox(&a.Role), passed: a.Metrics.Passed.WithLabelValues(a.Name), next: start, ok: start}
	switch as.Topic {
	case pipeline.TopicActivity:
		h.table = &activityTable{
			batch:   batch[pipeline.ActivityRow]{table: "activity", store: a.wh.InsertActivity},
			decoder: decode.NewCanonical(), partition: as.Partition,
			registrations: batch[pipeline.RegistrationRow]{table: "registrations", store: a.wh.InsertRegistrations},
			registered:    registration.NewCanonical(), metrics: a.metrics,
		}
	case pipeline.TopicAlerts:
		h.table = &batch[pipeline.AlertRow]{table: "alerts", read: readAlert, store: a.wh.InsertAlerts}
	case pipeline.TopicWindows:
		h.table = &batch[pipeline.WindowRow]{table: "windows", read: readWindow, store: a.wh.InsertWindows}
	default:
		return nil, 0, fmt.Errorf("archive does not know topic %q", as.Topic)
	}
	a.metrics.insertErrors.WithLabelValues(h.table.name()) // rate() does not see the increment that makes a series
	return h, start, nil
}

// table collects the rows of one table.
type table interface {
	name() string
	rows() int
	add(rec *pipeline.Record) *decode.Refusal
	insert(ctx context.Context) error
	reset()
}

// batch is a table.
type batch[Row any] struct {
	table string
	read  func(rec *pipeline.Record, row *Row) *decode.Refusal
	store func(ctx context.Context, rows []Row) error
	held  []Row
}

func (b *batch[Row]) name() string                     { return b.table }
func (b *batch[Row]) rows() int                        { return len(b.held) }
func (b *batch[Row]) insert(ctx context.Context) error { return b.store(ctx, b.held) }

func (b *batch[Row]) add(rec *pipeline.Record) *decode.Refusal {
	var row Row
	refusal := b.read(rec, &row)
	if refusal == nil {
		b.held = append(b.held, row)
	}
	return refusal
}

func (b *batch[Row]) reset() {
	clear(b.held)
	b.held = b.held[:0]
}

// handler stores one partition of one topic.
type handler struct {
	role  *Archive
	tp    pipeline.TopicPartition
	table table
	out   *pipeline.Outbox // dead letters

	passed prometheus.Counter // records that are no events

	bytes int
	since time.Time // when the oldest row of the batch came
	next  int64
	ok    int64
}

func (h *handler) Take(ctx context.Context, f pipeline.Fetched) error {
	for i := range f.Records {
		rec := &f.Records[i]
		if kind := rec.Header(schemas.RecordHeader); kind != nil && string(kind) != schemas.RecordRegistration {
			h.passed.Inc()
		} else if refusal := h.table.add(rec); refusal != nil {
			h.refuse(rec, refusal)
		}
		h.next = rec.Offset + 1
		h.bytes += len(rec.Value)
		if h.since.IsZero() {
			h.since = time.Now()
		}
		if h.table.rows() >= h.role.limits.Rows || h.bytes >= h.role.limits.Bytes {
			if err := h.flush(ctx); err != nil {
				return err
			}
		}
	}
	h.next = max(h.next, f.Next)
	if h.table.rows() == 0 || time.Since(h.since) >= h.role.limits.Age {
		return h.flush(ctx)
	}
	return nil
}

// refuse sets aside a record that is no row: another program wrote it.
func (h *handler) refuse(rec *pipeline.Record, refusal *decode.Refusal) {
	if h.tp.Topic == pipeline.TopicActivity {
		return // detect reads the same record, counts it and sets it aside
	}
	h.out.Refuse(h.tp, rec, refusal)
}

// flush inserts until the warehouse has acknowledged, or ctx ends. The rows stay
// here until then.
func (h *handler) flush(ctx context.Context) error {
	if err := h.out.Flush(ctx); err != nil {
		return err
	}
	if h.table.rows() == 0 {
		h.acknowledged()
		return nil
	}
	m, name, rows := h.role.metrics, h.table.name(), h.table.rows()
	retry := pipeline.Retry{
		What: "insert into " + name + " of partition " + strconv.Itoa(int(h.tp.Partition)),
		Msg:  "insert failed; the rows are kept and inserted again, detection goes on", Health: h.role.Health,
		Logger: h.role.Logger.With().Str("table", name).Int("rows", rows).Logger(),
		Count:  func() { m.insertErrors.WithLabelValues(name).Inc() },
	}
	var start time.Time
	var err error // of the last try
	if retry.Until(ctx, func() error {
		start = time.Now()
		failpoint.Hit(failpoint.ArchiveInsert)
		err = h.table.insert(ctx)
		return err
	}) != nil {
		return fmt.Errorf("insert into %s: %w", name, err)
	}
	failpoint.Hit(failpoint.ArchiveDone)
	m.insertedRows.WithLabelValues(name).Add(float64(rows))
	m.insertRows.WithLabelValues(name).Observe(float64(rows))
	m.insertSeconds.WithLabelValues(name).Observe(time.Since(start).Seconds())
	h.table.reset()
	h.acknowledged()
	return nil
}

// acknowledged notes that nothing is held any more.
func (h *handler) acknowledged() {
	h.bytes, h.since = 0, time.Time{}
	h.ok = h.next
}

func (h *handler) Done() int64 { return h.ok }

func (h *handler) Due() time.Time {
	if h.table.rows() == 0 {
		return time.Time{}
	}
	return h.since.Add(h.role.limits.Age)
}

func (h *handler) Tick(ctx context.Context) error   { return h.flush(ctx) }
func (h *handler) Finish(ctx context.Context) error { return h.flush(ctx) }
func (h *handler) Close()                           {}

// rowVersion rises when the same source record becomes another row: of two rows
// with one origin the views show the newer decoding, whoever wrote last.
const rowVersion = 1

type activityTable struct {
	batch[pipeline.ActivityRow]
	registrations batch[pipeline.RegistrationRow]
	metrics       *Metrics
	decoder       decode.Decoder
	registered    decode.Decoder // of registrations
	partition     int32
	strings       []string            // slab of the rows' resources and invalid fields
	attrs         []schemas.Attribute // slab of the rows' attributes
}

func (t *activityTable) add(rec *pipeline.Record) (refused *decode.Refusal) {
	origin, err := schemas.ParseOrigin(rec.Header(schemas.OriginHeader))
	if err != nil {
		return &decode.Refusal{Reason: "no_origin", Detail: err.Error()}
	}
	in := decode.Record{Topic: pipeline.TopicActivity, Partition: t.partition, Offset: rec.Offset, Time: rec.Time, Key: rec.Key, Value: rec.Value}
	decoder := t.decoder
	if rec.Header(schemas.RecordHeader) != nil {
		decoder = t.registered
	}
	decoder.Decode(&in, func(_ int32, ev *schemas.Activity, refusal *decode.Refusal) {
		if refusal != nil {
			refused = refusal
			return
		}
		if ev.Registration != nil {
			t.registrations.held = append(t.registrations.held, pipeline.RegistrationRow{
				Registration: ev.Registration, RecordedAt: ev.RecordedAt, Origin: origin, Log: pipeline.Place{Partition: t.partition, Offset: rec.Offset}, LogTime: rec.Time,
			})
			return
		}
		row := pipeline.ActivityRow{Event: *ev, Origin: origin, Log: pipeline.Place{Partition: t.partition, Offset: rec.Offset}, LogTime: rec.Time, Version: rowVersion}
		row.Event.Resources = t.keep(ev.Resources)
		row.Event.Flags.FieldsInvalid = t.keep(ev.Flags.FieldsInvalid)
		start := len(t.attrs)
		t.attrs = append(t.attrs, ev.Attributes...)
		row.Event.Attributes = t.attrs[start:len(t.attrs):len(t.attrs)]
		t.held = append(t.held, row)
	})
	return refused
}

// keep copies list, which the decoder reuses; the strings themselves share
// memory with the fetched record, which is not reused.
func (t *activityTable) keep(list []string) []string {
	start := len(t.strings)
	t.strings = append(t.strings, list...)
	return t.strings[start:len(t.strings):len(t.strings)]
}

func (t *activityTable) rows() int { return t.batch.rows() + t.registrations.rows() }

// insert stores registrations and events; where that fails in between, both are stored again.
func (t *activityTable) insert(ctx context.Context) error {
	if n := t.registrations.rows(); n > 0 {
		if err := t.registrations.insert(ctx); err != nil {
			return err
		}
		t.metrics.insertedRows.WithLabelValues(t.registrations.name()).Add(float64(n))
		t.registrations.reset()
	}
	return t.batch.insert(ctx)
}

func (t *activityTable) reset() {
	t.batch.reset()
	clear(t.strings)
	clear(t.attrs)
	t.strings, t.attrs = t.strings[:0], t.attrs[:0]
}

func readAlert(rec *pipeline.Record, row *pipeline.AlertRow) *decode.Refusal {
	row.JSON, row.RecordedAt = rec.Value, rec.Time
	row.Log, _ = pipeline.ParsePlace(rec.Header(pipeline.HeaderSource))
	if err := json.Unmarshal(rec.Value, &row.Alert); err != nil {
		return &decode.Refusal{Reason: decode.ReasonNotJSON, Detail: err.Error()}
	}
	if row.Alert.AlertID == "" {
		return &decode.Refusal{Reason: "no_alert_id", Field: "alert_id"}
	}
	return nil
}

func readWindow(rec *pipeline.Record, row *pipeline.WindowRow) *decode.Refusal {
	row.RecordedAt = rec.Time
	if err := json.Unmarshal(rec.Value, &row.Window); err != nil {
		return &decode.Refusal{Reason: decode.ReasonNotJSON, Detail: err.Error()}
	}
	if row.Window.AgentID == "" || row.Window.Seconds <= 0 {
		return &decode.Refusal{Reason: decode.ReasonNoAgentID, Field: "agent_id", Detail: "a window needs an agent_id and its seconds"}
	}
	return nil
}

// Metrics are what the role counts.
type Metrics struct {
	insertedRows  *prometheus.CounterVec   // table
	insertErrors  *prometheus.CounterVec   // table
	insertRows    *prometheus.HistogramVec // table
	insertSeconds *prometheus.HistogramVec // table
}

// NewMetrics registers the role's metrics.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	r := pipeline.Registrar{Registerer: reg}
	return &Metrics{
		insertedRows:  r.Counter("inserted_rows_total", "Rows acknowledged by ClickHouse.", "table"),
		insertErrors:  r.Counter("insert_errors_total", "Failed inserts; each is retried.", "table"),
		insertRows:    r.Histogram("insert_rows", "Rows per insert.", pipeline.Sizes, "table"),
		insertSeconds: r.Histogram("insert_seconds", "Time until ClickHouse acknowledged an insert.", pipeline.Latencies, "table"),
	}
}
