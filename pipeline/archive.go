package pipeline

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"github.com/plumbline-sec/plumbline/pipeline/failpoint"
	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
)

// BatchLimits say when archive inserts: whichever is reached first.
type BatchLimits struct {
	Rows  int
	Bytes int
	Age   time.Duration
}

// Archive writes activity, alerts and windows into the warehouse.
//
// Invariants:
//  1. An offset is committed only when the rows of every record before it are
//     acknowledged, or the record stands in TopicDeadLetter.
//  2. A row's identity is a function of its record: inserting it again, here or by
//     another instance, leaves one row under the views.
//  3. Memory is bounded: one batch and one read ahead per partition. While the
//     warehouse is down nothing more is read; Kafka holds the rest.
type Archive struct {
	consumer
	wh     Warehouse
	limits BatchLimits
}

// NewArchive returns the role; Run starts it.
func NewArchive(log Log, group Group, wh Warehouse, limits BatchLimits, m *Metrics, h *Health, logger zerolog.Logger) *Archive {
	a := &Archive{wh: wh, limits: limits}
	a.consumer = consumer{role: "archive", log: log, group: group, metrics: m, health: h, logger: logger, worker: a}
	return a
}

// Run archives until ctx ends; it returns after what was read is stored and
// committed, or an error that no retry heals.
func (a *Archive) Run(ctx context.Context) error { return a.run(ctx) }

func (a *Archive) open(ctx context.Context, _ Generation, as Assignment, logger zerolog.Logger) (handler, int64, error) {
	start, err := a.startOffset(ctx, as, logger)
	if err != nil {
		return nil, 0, err
	}
	h := &archiveHandler{role: a, partition: as.Partition, topic: as.Topic, out: newOutbox(a.log, a.metrics, a.health, a.logger)}
	h.next, h.ok = start, start
	switch as.Topic {
	case TopicActivity:
		h.table = &activityTable{decoder: decode.NewCanonical(), wh: a.wh, partition: as.Partition}
	case TopicAlerts:
		h.table = &alertTable{wh: a.wh}
	case TopicWindows:
		h.table = &windowTable{wh: a.wh}
	default:
		return nil, 0, fmt.Errorf("archive does not know topic %q", as.Topic)
	}
	return h, start, nil
}

// table collects the rows of one table.
type table interface {
	name() string
	add(rec *Record) *decode.Refusal
	rows() int
	insert(ctx context.Context) error
	reset()
}

// archiveHandler stores one partition of one topic.
type archiveHandler struct {
	role      *Archive
	topic     string
	partition int32
	table     table
	out       *outbox // dead letters

	bytes int
	since time.Time // when the oldest row of the batch came
	next  int64
	ok    int64
}

func (h *archiveHandler) take(ctx context.Context, f Fetched) error {
	for i := range f.Records {
		rec := &f.Records[i]
		if refusal := h.table.add(rec); refusal != nil {
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
func (h *archiveHandler) refuse(rec *Record, refusal *decode.Refusal) {
	if h.topic == TopicActivity {
		return // detect reads the same record, counts it and sets it aside
	}
	h.role.metrics.Refused.WithLabelValues(h.topic, string(refusal.Reason)).Inc()
	at := schemas.Origin{Source: h.topic, Topic: h.topic, Partition: h.partition, Offset: rec.Offset}
	h.out.add(TopicPartition{Topic: TopicDeadLetter}, deadLetter(rec, at, refusal))
}

// flush inserts until the warehouse has acknowledged, or ctx ends. The rows stay
// here until then.
func (h *archiveHandler) flush(ctx context.Context) error {
	if err := h.out.flush(ctx); err != nil {
		return err
	}
	if h.table.rows() == 0 {
		h.acknowledged()
		return nil
	}
	m, name := h.role.metrics, h.table.name()
	what := "insert into " + name + " of partition " + label(h.partition)
	retry := newBackoff()
	for h.table.rows() > 0 {
		start := time.Now()
		failpoint.Hit(failpoint.ArchiveInsert)
		err := h.table.insert(ctx)
		if err == nil {
			failpoint.Hit(failpoint.ArchiveDone)
			m.InsertedRows.WithLabelValues(name).Add(float64(h.table.rows()))
			m.InsertRows.WithLabelValues(name).Observe(float64(h.table.rows()))
			m.InsertSeconds.WithLabelValues(name).Observe(time.Since(start).Seconds())
			h.table.reset()
			break
		}
		if ctx.Err() != nil {
			return fmt.Errorf("insert into %s: %w", name, err)
		}
		m.InsertErrors.WithLabelValues(name).Inc()
		h.role.health.failing(what, err)
		if retry.worthSaying() {
			h.role.logger.Warn().Err(err).Str("table", name).Int("rows", h.table.rows()).
				Msg("insert failed; the rows are kept and inserted again, detection goes on")
		}
		retry.wait(ctx)
	}
	h.role.health.working(what)
	h.acknowledged()
	return nil
}

// acknowledged notes that nothing is held any more.
func (h *archiveHandler) acknowledged() {
	h.bytes, h.since = 0, time.Time{}
	h.ok = h.next
}

func (h *archiveHandler) done() int64 { return h.ok }

func (h *archiveHandler) due() time.Time {
	if h.table.rows() == 0 {
		return time.Time{}
	}
	return h.since.Add(h.role.limits.Age)
}

func (h *archiveHandler) tick(ctx context.Context) error   { return h.flush(ctx) }
func (h *archiveHandler) finish(ctx context.Context) error { return h.flush(ctx) }
func (h *archiveHandler) close()                           {}

// rowVersion rises when the same source record becomes another row: of two rows
// with one origin the views show the newer decoding, whoever wrote last.
const rowVersion = 1

type activityTable struct {
	wh        Warehouse
	decoder   decode.Decoder
	partition int32
	batch     []ActivityRow
	strings   []string            // slab of the rows' resources and invalid fields
	attrs     []schemas.Attribute // slab of the rows' attributes
}

func (t *activityTable) name() string { return "activity" }
func (t *activityTable) rows() int    { return len(t.batch) }

func (t *activityTable) add(rec *Record) (refused *decode.Refusal) {
	origin, err := schemas.ParseOrigin(header(rec, schemas.OriginHeader))
	if err != nil {
		return &decode.Refusal{Reason: "no_origin", Detail: err.Error()}
	}
	in := decode.Record{Topic: TopicActivity, Partition: t.partition, Offset: rec.Offset, Time: rec.Time, Key: rec.Key, Value: rec.Value}
	t.decoder.Decode(&in, func(_ int32, ev *schemas.Activity, refusal *decode.Refusal) {
		if refusal != nil {
			refused = refusal
			return
		}
		row := ActivityRow{Event: *ev, Origin: origin, Version: rowVersion}
		row.Event.Resources = t.keep(ev.Resources)
		row.Event.Flags.FieldsInvalid = t.keep(ev.Flags.FieldsInvalid)
		start := len(t.attrs)
		t.attrs = append(t.attrs, ev.Attributes...)
		row.Event.Attributes = t.attrs[start:len(t.attrs):len(t.attrs)]
		t.batch = append(t.batch, row)
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

func (t *activityTable) insert(ctx context.Context) error { return t.wh.InsertActivity(ctx, t.batch) }

func (t *activityTable) reset() {
	clear(t.batch)
	clear(t.strings)
	clear(t.attrs)
	t.batch, t.strings, t.attrs = t.batch[:0], t.strings[:0], t.attrs[:0]
}

type alertTable struct {
	wh    Warehouse
	batch []AlertRow
}

func (t *alertTable) name() string { return "alerts" }
func (t *alertTable) rows() int    { return len(t.batch) }

func (t *alertTable) add(rec *Record) *decode.Refusal {
	row := AlertRow{JSON: rec.Value, RecordedAt: rec.Time}
	if err := json.Unmarshal(rec.Value, &row.Alert); err != nil {
		return &decode.Refusal{Reason: decode.ReasonNotJSON, Detail: err.Error()}
	}
	if row.Alert.AlertID == "" {
		return &decode.Refusal{Reason: "no_alert_id", Field: "alert_id"}
	}
	t.batch = append(t.batch, row)
	return nil
}

func (t *alertTable) insert(ctx context.Context) error { return t.wh.InsertAlerts(ctx, t.batch) }

func (t *alertTable) reset() {
	clear(t.batch)
	t.batch = t.batch[:0]
}

type windowTable struct {
	wh    Warehouse
	batch []WindowRow
}

func (t *windowTable) name() string { return "windows" }
func (t *windowTable) rows() int    { return len(t.batch) }

func (t *windowTable) add(rec *Record) *decode.Refusal {
	row := WindowRow{RecordedAt: rec.Time}
	if err := json.Unmarshal(rec.Value, &row.Window); err != nil {
		return &decode.Refusal{Reason: decode.ReasonNotJSON, Detail: err.Error()}
	}
	if row.Window.AgentID == "" || row.Window.Seconds <= 0 {
		return &decode.Refusal{Reason: decode.ReasonNoAgentID, Field: "agent_id", Detail: "a window needs an agent_id and its seconds"}
	}
	t.batch = append(t.batch, row)
	return nil
}

func (t *windowTable) insert(ctx context.Context) error { return t.wh.InsertWindows(ctx, t.batch) }

func (t *windowTable) reset() {
	clear(t.batch)
	t.batch = t.batch[:0]
}
