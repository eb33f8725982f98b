package pipeline

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
	"github.com/plumbline-sec/plumbline/schemas/siem"
)

// Output is one SIEM topic.
type Output struct {
	Topic   string
	Encoder siem.Encoder
}

// Detect scores the canonical events of TopicActivity and publishes alerts and
// windows. Kafka in, Kafka out: the warehouse may be down.
//
// Invariants:
//  1. One goroutine owns the baselines of one partition.
//  2. An offset is committed only when the alerts and windows of every event
//     before it are acknowledged.
//  3. What is published is a function of the partition's records and the config.
//
// Not obvious: the baselines live in memory. They stay over a rebalance that
// returns a partition at or before the offset that they have reached, with what
// was not acknowledged yet: a broker that was away takes neither with it. After a
// restart they start anew, which is said in the log and counted.
type Detect struct {
	consumer
	cfg     detector.Config
	outputs []Output

	mu   sync.Mutex
	warm map[int32]*detectState // partitions not owned right now
}

// NewDetect returns the role; Run starts it.
func NewDetect(log Log, group Group, cfg detector.Config, outputs []Output, m *Metrics, h *Health, logger zerolog.Logger) *Detect {
	d := &Detect{cfg: cfg, outputs: outputs, warm: make(map[int32]*detectState)}
	d.consumer = consumer{role: "detect", log: log, group: group, metrics: m, health: h, logger: logger, worker: d}
	return d
}

// Run detects until ctx ends; it returns after what was read is published and
// committed, or an error that no retry heals.
func (d *Detect) Run(ctx context.Context) error { return d.run(ctx) }

func (d *Detect) open(ctx context.Context, a Assignment) (handler, error) {
	h := &detectHandler{
		role: d, partition: a.Partition,
		decoder: decode.NewCanonical(),
		label:   label(a.Partition),
	}
	h.next, h.ok = a.Offset, a.Offset
	for _, topic := range d.topics() {
		n, err := d.partitionsOf(ctx, topic)
		if err != nil {
			return nil, err
		}
		h.targets = append(h.targets, target{topic: topic, partitions: n})
	}
	d.mu.Lock()
	state := d.warm[a.Partition]
	delete(d.warm, a.Partition)
	d.mu.Unlock()
	if state == nil || !state.reaches(a) {
		state = &detectState{routed: make(map[string]position), next: a.Offset, out: newOutbox(d.log, d.metrics, d.health, d.logger)}
		var err error
		if state.detector, err = detector.New(d.cfg, state); err != nil {
			return nil, fmt.Errorf("detector: %w", err)
		}
		if a.Committed && a.Offset > 0 {
			d.metrics.StateLost.Inc()
			d.logger.Warn().Int32("partition", a.Partition).Int64("offset", a.Offset).
				Msg("BASELINES START ANEW: the detector's state does not survive a restart in this version; " +
					"until it has learned again, agents are judged like new ones. Events and rows are not affected")
		}
	}
	state.handler = h
	h.state = state
	return h, nil
}

// topics returns what detect writes to; their order is that of target below.
func (d *Detect) topics() []string {
	ts := []string{TopicAlerts, TopicWindows}
	for _, o := range d.outputs {
		ts = append(ts, o.Topic)
	}
	return ts
}

type target struct {
	topic      string
	partitions int32
}

func (t target) of(key []byte) TopicPartition {
	return TopicPartition{Topic: t.topic, Partition: schemas.Partition(key, t.partitions)}
}

// position is where an event stands in its source partition.
type position struct {
	offset int64
	index  int32
}

func (p position) before(q position) bool {
	return p.offset < q.offset || p.offset == q.offset && p.index < q.index
}

// detectState is all that detect knows of one partition.
type detectState struct {
	detector *detector.Detector
	// routed is the last position of every source partition, keyed by the origin
	// without offset and index. Route writes a source partition's events in order,
	// so that what is not after it was written twice.
	routed  map[string]position
	next    int64   // offset after the last record that the detector has seen
	out     *outbox // what it said of them and is not acknowledged yet
	handler *detectHandler
	stats   detector.Stats
}

// reaches reports whether the state holds all that stands before an assignment's
// offset. It may be ahead of it: a commit was refused, or the outputs failed until
// the generation was over. What it has seen is then read again and skipped. Where
// nothing is committed the log may be another one, and only its beginning fits.
func (s *detectState) reaches(a Assignment) bool {
	return s.next == a.Offset || a.Committed && s.next > a.Offset
}

// Alert implements detector.Sink.
func (s *detectState) Alert(a *schemas.Alert) { s.handler.alert(a) }

// Window implements detector.Sink.
func (s *detectState) Window(w *schemas.Window) { s.handler.window(w) }

// repeated reports whether the event of this origin was handled before, and
// remembers it.
func (s *detectState) repeated(origin []byte) (bool, error) {
	o, err := schemas.ParseOrigin(origin)
	if err != nil {
		return false, err
	}
	source := origin[:bytes.LastIndexByte(origin, '/')]
	source = source[:bytes.LastIndexByte(source, '/')]
	at := position{o.Offset, o.Index}
	if last, ok := s.routed[string(source)]; ok && !last.before(at) {
		return true, nil
	}
	s.routed[string(source)] = at
	return false, nil
}

// detectHandler works on one partition during one generation.
type detectHandler struct {
	role      *Detect
	partition int32
	label     string
	decoder   decode.Decoder
	state     *detectState
	targets   []target         // alerts, windows, then the outputs
	rec       *Record          // the record at hand
	alerted   []schemas.Millis // append times of the events that completed alerts not yet acknowledged

	next int64
	ok   int64
}

func (h *detectHandler) take(ctx context.Context, f Fetched) error {
	for i := range f.Records {
		h.rec = &f.Records[i]
		if h.next = h.rec.Offset + 1; h.next > h.state.next {
			h.record()
			h.state.next = h.next
		}
	}
	h.next = max(h.next, f.Next)
	h.state.next = max(h.state.next, h.next)
	h.export()
	return h.flush(ctx)
}

func (h *detectHandler) record() {
	origin := header(h.rec, schemas.OriginHeader)
	again, err := h.state.repeated(origin)
	if err != nil {
		h.refuse(&decode.Refusal{Reason: "no_origin", Detail: err.Error()})
		return
	}
	if again {
		h.role.metrics.Repeated.Inc()
		return
	}
	in := decode.Record{Topic: TopicActivity, Partition: h.partition, Offset: h.rec.Offset, Time: h.rec.Time, Key: h.rec.Key, Value: h.rec.Value}
	h.decoder.Decode(&in, h.event)
}

func (h *detectHandler) event(_ int32, ev *schemas.Activity, refusal *decode.Refusal) {
	if refusal != nil {
		h.refuse(refusal)
		return
	}
	h.state.detector.Process(ev)
}

// refuse sets aside a record that route did not write: with the right ACL there
// is none.
func (h *detectHandler) refuse(refusal *decode.Refusal) {
	h.role.metrics.Refused.WithLabelValues(TopicActivity, string(refusal.Reason)).Inc()
	at := schemas.Origin{Source: TopicActivity, Topic: TopicActivity, Partition: h.partition, Offset: h.rec.Offset}
	h.state.out.add(TopicPartition{Topic: TopicDeadLetter}, deadLetter(h.rec, at, refusal))
}

func (h *detectHandler) alert(a *schemas.Alert) {
	h.role.metrics.Alerts.WithLabelValues(a.Status, a.Severity).Inc()
	h.alerted = append(h.alerted, h.rec.Time)
	key := schemas.AppendKey(nil, a.TenantID, a.Agent.ID)
	source := strconv.AppendInt(nil, int64(h.partition), 10)
	source = append(source, '/')
	source = strconv.AppendInt(source, h.rec.Offset, 10)
	headers := []Header{{HeaderAlertID, []byte(a.AlertID)}, {HeaderSource, source}}

	h.publish(0, key, headers, a, siem.JSON)
	for i, o := range h.role.outputs {
		h.publish(2+i, key, headers, a, o.Encoder)
	}
}

func (h *detectHandler) publish(to int, key []byte, headers []Header, a *schemas.Alert, enc siem.Encoder) {
	value, err := enc.Append(nil, a)
	if err != nil {
		// The other forms still go out, and the canonical one carries everything.
		h.role.logger.Error().Err(err).Str("alert_id", a.AlertID).Str("format", enc.Name()).Msg("alert could not be encoded in this form")
		return
	}
	h.state.out.add(h.targets[to].of(key), Record{Key: key, Value: value, Headers: headers})
}

func (h *detectHandler) window(w *schemas.Window) {
	h.role.metrics.Windows.Inc()
	key := schemas.AppendKey(nil, w.TenantID, w.AgentID)
	value, err := json.Marshal(w)
	if err != nil {
		h.role.logger.Error().Err(err).Str("agent_id", w.AgentID).Msg("window could not be encoded")
		return
	}
	h.state.out.add(h.targets[1].of(key), Record{Key: key, Value: value})
}

func (h *detectHandler) flush(ctx context.Context) error {
	if !h.state.out.empty() {
		start := time.Now()
		if err := h.state.out.flush(ctx); err != nil {
			return err
		}
		now := time.Now()
		h.role.metrics.FlushSeconds.Observe(now.Sub(start).Seconds())
		for _, at := range h.alerted {
			h.role.metrics.AlertLatency.Observe(max(0, now.Sub(at.Time()).Seconds()))
		}
		h.alerted = h.alerted[:0]
	}
	h.ok = h.next
	return nil
}

func (h *detectHandler) export() {
	m, s, last := h.role.metrics, h.state.detector.Stats(), &h.state.stats
	m.Agents.WithLabelValues(h.label).Set(float64(s.Agents))
	m.StateBytes.WithLabelValues(h.label).Set(float64(s.StateBytes))
	m.OpenEpisodes.WithLabelValues(h.label).Set(float64(s.OpenEpisodes))
	m.Watermark.WithLabelValues(h.label).Set(float64(s.Watermark) / 1000)
	m.Evicted.WithLabelValues(h.label).Add(float64(s.Evicted - last.Evicted))
	m.Late.WithLabelValues(h.label).Add(float64(s.Late - last.Late))
	m.Duplicates.WithLabelValues(h.label).Add(float64(s.Duplicates - last.Duplicates))
	*last = s
}

func (h *detectHandler) done() int64 { return h.ok }

// due asks for a flush of what an earlier generation left.
func (h *detectHandler) due() time.Time {
	if h.state.out.empty() {
		return time.Time{}
	}
	return time.Unix(0, 0)
}

// close keeps the state for the case that the partition comes back.
func (h *detectHandler) close() {
	m := h.role.metrics
	for _, gauge := range []*prometheus.GaugeVec{m.Agents, m.StateBytes, m.OpenEpisodes, m.Watermark} {
		gauge.DeleteLabelValues(h.label) // somebody else may report them from now on
	}
	h.role.mu.Lock()
	defer h.role.mu.Unlock()
	h.role.warm[h.partition] = h.state
}

func header(r *Record, key string) []byte {
	for i := range r.Headers {
		if r.Headers[i].Key == key {
			return r.Headers[i].Value
		}
	}
	return nil
}
