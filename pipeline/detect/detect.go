// Package detect scores the canonical events of the activity topic and publishes
// alerts and windows. Kafka in, Kafka out: the warehouse may be down.
//
// Invariants:
//  1. One goroutine owns the baselines of one partition.
//  2. An offset is committed only with a checkpoint of the state at that offset,
//     and only when the alerts and windows of every event before it are
//     acknowledged.
//  3. What is published is a function of the partition's records and the config. Which
//     config judges a record is part of the state: another one takes over at a
//     checkpoint that is made for it (switch.go).
//
// It imports the detector, the ports and loop of package pipeline, and statelog,
// never another role or an adapter.
package detect

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/pipeline/failpoint"
	"github.com/plumbline-sec/plumbline/pipeline/statelog"
	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
	"github.com/plumbline-sec/plumbline/schemas/decode/registration"
	"github.com/plumbline-sec/plumbline/schemas/siem"
)

// Output is one SIEM topic.
type Output struct {
	Topic   string
	Encoder siem.Encoder
	Filter  siem.Filter // what it wants; TopicAlerts always gets all
}

// Config says how detect works.
type Config struct {
	Detector detector.Config // until Reload
	Outputs  []Output
	// CheckpointEvery is how much time passes between two checkpoints of a
	// partition: what is read again after a crash.
	CheckpointEvery time.Duration
	// WholeBelow is the size in bytes of a partition's state up to which every
	// checkpoint holds all agents. Above it a checkpoint holds one in eight of them
	// beside those that changed. Zero: 256 MiB.
	WholeBelow int64
	// FreshOnLostState lets baselines start anew where the state that belongs to the
	// committed offset is gone; else that is refused.
	FreshOnLostState bool
}

// Detect is the role.
//
// Not obvious: the baselines stay in memory over a rebalance that returns a
// partition in whose log of state nobody else has written, with what was not
// acknowledged yet. Else they are restored from that log, and what was read since
// its last checkpoint is read again: it gives the same alerts, which are
// recognised and not sent again.
type Detect struct {
	pipeline.Consumer
	cfg     Config
	verdict atomic.Pointer[verdict] // what Reload replaces
	metrics *Metrics
	news    news

	mu   sync.Mutex
	warm map[int32]*state // partitions not owned right now
}

// New returns the role; Run starts it. A config that the detector refuses is an error.
func New(role pipeline.Role, group pipeline.Group, cfg Config, m *Metrics) (*Detect, error) {
	if cfg.WholeBelow == 0 {
		cfg.WholeBelow = wholeBelow
	}
	d := &Detect{cfg: cfg, metrics: m, news: news{logger: role.Logger}, warm: make(map[int32]*state)}
	if err := d.Reload(cfg.Detector); err != nil {
		return nil, err
	}
	role.Name = "detect"
	d.Consumer = pipeline.Consumer{Role: role, Group: group, Open: d.open, Joined: d.keepWarm}
	return d, nil
}

// keepWarm forgets the states of partitions that have gone to somebody else.
func (d *Detect) keepWarm(assigned []pipeline.Assignment) {
	d.mu.Lock()
	defer d.mu.Unlock()
	maps.DeleteFunc(d.warm, func(p int32, _ *state) bool {
		return !slices.ContainsFunc(assigned, func(a pipeline.Assignment) bool { return a.Partition == p })
	})
}

func (d *Detect) open(ctx context.Context, gen pipeline.Generation, a pipeline.Assignment, logger zerolog.Logger) (pipeline.Handler, int64, error) {
	h := &handler{role: d, partition: a.Partition, decoder: decode.NewCanonical(), registrations: registration.NewCanonical(), label: strconv.Itoa(int(a.Partition)), logger: logger}
	topics := []string{pipeline.TopicAlerts, pipeline.TopicWindows}
	for _, o := range d.cfg.Outputs {
		topics = append(topics, o.Topic)
	}
	for _, name := range topics {
		t, err := d.Topic(ctx, name)
		if err != nil {
			return nil, 0, err
		}
		h.targets = append(h.targets, t)
	}
	d.mu.Lock()
	warm := d.warm[a.Partition]
	delete(d.warm, a.Partition)
	d.mu.Unlock()
	if err := h.takeOver(ctx, gen, a, warm); err != nil {
		return nil, 0, err
	}
	h.next, h.alive = h.state.next, time.Now()
	h.later()
	return h, h.next, nil
}

// state is all that detect knows of one partition.
type state struct {
	detector *detector.Detector
	verdict  *verdict // by which the detector judges
	since    int64    // the first offset that it judges by it
	// routed is the last position of every source partition, keyed by the origin
	// without offset and index. Route writes a source partition's events in order,
	// so that what is not after it was written twice.
	routed map[string]position
	next   int64       // offset after the last record that the detector has seen
	safe   int64       // offset of the last confirmed checkpoint
	known  knownAlerts // sent by an owner before us, of events at or behind safe
	// outputs has, for every partition of the alert topics, an offset before which no
	// alert stands that is not acknowledged.
	outputs map[string][]int64
	owner   *statelog.Owner
	out     *pipeline.Outbox // what it said of them and is not acknowledged yet
	handler *handler
	stats   detector.Stats
}

// Alert implements detector.Sink.
func (s *state) Alert(a *schemas.Alert) { s.handler.alert(a) }

// Window implements detector.Sink.
func (s *state) Window(w *schemas.Window) { s.handler.window(w) }

func (s *state) sent(ctx context.Context, tp pipeline.TopicPartition) (map[string]bool, error) {
	return s.handler.sent(ctx, tp)
}

// handler works on one partition during one generation.
type handler struct {
	role          *Detect
	partition     int32
	label         string
	logger        zerolog.Logger
	decoder       decode.Decoder
	registrations decode.Decoder
	state         *state
	targets       []pipeline.Topic     // alerts, windows, then the outputs
	rec           *pipeline.Record     // the record at hand
	alerted       []schemas.Millis     // append times of the events that completed alerts not yet acknowledged
	run           *statelog.Checkpoint // the one that is being written, or nil
	begun         time.Time            // when it was
	cutAt         time.Time            // when the next one is due
	alive         time.Time            // when the coordinator or a flush last said that the partition is ours
	lost          bool                 // the partition is somebody else's

	next int64
}

func (h *handler) Take(ctx context.Context, f pipeline.Fetched) error {
	if err := h.follow(ctx); err != nil {
		return err
	}
	for i := range f.Records {
		h.rec = &f.Records[i]
		if h.next = h.rec.Offset + 1; h.next > h.state.next {
			if ahead := i + detector.Lead; ahead < len(f.Records) {
				h.state.detector.Ahead(f.Records[ahead].Key)
			}
			h.record()
			h.state.next = h.next
		}
	}
	h.next = max(h.next, f.Next)
	h.state.next = max(h.state.next, h.next)
	h.export()
	return h.Tick(ctx)
}

func (h *handler) record() {
	decoder := h.decoder
	switch kind := h.rec.Header(schemas.RecordHeader); {
	case kind == nil:
	case string(kind) == schemas.RecordRegistration:
		decoder = h.registrations
	default:
		h.other(string(kind))
		return
	}
	origin := h.rec.Header(schemas.OriginHeader)
	again, err := h.state.repeated(origin)
	if err != nil {
		h.refuse(&decode.Refusal{Reason: "no_origin", Detail: err.Error()})
		return
	}
	if again {
		h.role.metrics.Repeated.Inc()
		return
	}
	in := decode.Record{Topic: pipeline.TopicActivity, Partition: h.partition, Offset: h.rec.Offset, Time: h.rec.Time, Key: h.rec.Key, Value: h.rec.Value}
	decoder.Decode(&in, h.event)
}

func (h *handler) event(_ int32, ev *schemas.Activity, refusal *decode.Refusal) {
	if refusal != nil {
		h.refuse(refusal)
		return
	}
	// The broker's own time of the canonical record: no producer has a say in it.
	h.state.detector.Arrived(h.rec.Time)
	h.state.detector.Process(ev)
}

// other takes a record that is no event. A kind that this release does not know is of a
// later one: it is passed over.
func (h *handler) other(kind string) {
	if kind != schemas.RecordTick {
		h.role.Metrics.Passed.WithLabelValues(h.role.Name).Inc()
		return
	}
	tick, err := schemas.ParseTick(h.rec.Value)
	if err != nil {
		h.refuse(&decode.Refusal{Reason: "no_origin", Detail: err.Error()})
		return
	}
	h.state.detector.Arrived(h.rec.Time)
	h.state.detector.Tick(tick.At)
}

// refuse sets aside a record that route did not write: with the right ACL there
// is none.
func (h *handler) refuse(refusal *decode.Refusal) {
	h.state.out.Refuse(pipeline.TopicPartition{Topic: pipeline.TopicActivity, Partition: h.partition}, h.rec, refusal)
}

func (h *handler) alert(a *schemas.Alert) {
	h.role.metrics.Alerts.WithLabelValues(a.Status, a.Severity).Inc()
	h.alerted = append(h.alerted, h.rec.Time)
	if a.Status == schemas.StatusOpen && !h.state.known.has(pipeline.TopicAlerts, a.AlertID) {
		h.role.news.opened(a, time.Now())
	}
	key := schemas.AppendKey(nil, a.TenantID, a.Agent.ID)
	headers := []pipeline.Header{{Key: pipeline.HeaderAlertID, Value: []byte(a.AlertID)}, {Key: pipeline.HeaderSource, Value: pipeline.Place{Partition: h.partition, Offset: h.rec.Offset}.AppendTo(nil)}}

	h.publish(0, key, headers, a, siem.JSON)
	for i := range h.role.cfg.Outputs {
		if o := &h.role.cfg.Outputs[i]; o.Filter.Match(a) {
			h.publish(2+i, key, headers, a, o.Encoder)
		}
	}
}

func (h *handler) publish(to int, key []byte, headers []pipeline.Header, a *schemas.Alert, enc siem.Encoder) {
	if h.state.known.has(h.targets[to].Name, a.AlertID) {
		h.role.metrics.Suppressed.Inc()
		return
	}
	value, err := enc.Append(nil, a)
	if err != nil {
		// The other forms still go out, and the canonical one carries everything.
		h.role.Logger.Error().Err(err).Str("alert_id", a.AlertID).Str("format", enc.Name()).Msg("alert could not be encoded in this form")
		return
	}
	h.state.out.Add(h.targets[to].Of(key), pipeline.Record{Key: key, Value: value, Headers: headers})
}

func (h *handler) window(w *schemas.Window) {
	h.role.metrics.Windows.Inc()
	key := schemas.AppendKey(nil, w.TenantID, w.AgentID)
	value, err := json.Marshal(w)
	if err != nil {
		h.role.Logger.Error().Err(err).Str("agent_id", w.AgentID).Msg("window could not be encoded")
		return
	}
	h.state.out.Add(h.targets[1].Of(key), pipeline.Record{Key: key, Value: value})
}

func (h *handler) flush(ctx context.Context) error {
	if !h.state.out.Empty() {
		start := time.Now()
		if err := h.stillMine(ctx, start); err != nil {
			return err
		}
		if err := h.state.out.Flush(ctx); err != nil {
			return err
		}
		failpoint.Hit(failpoint.DetectSent)
		now := time.Now()
		h.role.metrics.FlushSeconds.Observe(now.Sub(start).Seconds())
		for _, at := range h.alerted {
			h.role.metrics.AlertLatency.Observe(max(0, now.Sub(at.Time()).Seconds()))
		}
		h.alerted = h.alerted[:0]
	}
	return nil
}

// doubtAfter is the silence after which a process asks whether a partition is still
// its own before it sends alerts: it may have been stopped for longer than its
// session, while another one took over.
const doubtAfter = 5 * time.Second

// stillMine has the coordinator accept a commit of the last checkpoint's offset
// where the last sign of life is long ago. That leaves what was on its way already.
func (h *handler) stillMine(ctx context.Context, now time.Time) error {
	// Round takes the monotonic reading off: it stands still while a machine sleeps.
	silent := now.Round(0).Sub(h.alive.Round(0))
	if h.alive = now; silent < doubtAfter {
		return nil
	}
	err := h.state.owner.Accepted(ctx, h.state.safe)
	h.lost = h.lost || errors.Is(err, pipeline.ErrFenced)
	return err
}

func (h *handler) export() {
	m, s, last := h.role.metrics, h.state.detector.Stats(), &h.state.stats
	m.Agents.WithLabelValues(h.label).Set(float64(s.Agents))
	m.Tenants.WithLabelValues(h.label).Set(float64(s.Tenants))
	m.StateBytes.WithLabelValues(h.label).Set(float64(s.StateBytes))
	m.OpenEpisodes.WithLabelValues(h.label).Set(float64(s.OpenEpisodes))
	m.Watermark.WithLabelValues(h.label).Set(float64(s.Watermark) / 1000)
	m.Evicted.WithLabelValues(h.label).Add(float64(s.Evicted - last.Evicted))
	m.Late.WithLabelValues(h.label).Add(float64(s.Late - last.Late))
	m.Clamped.WithLabelValues(h.label).Add(float64(s.Clamped - last.Clamped))
	m.Healed.WithLabelValues(h.label).Add(float64(s.Healed - last.Healed))
	if s.Healed > last.Healed {
		h.logger.Warn().Msg("the clock of this partition was ahead of the broker's: it was set back, with what had been put off until then")
	}
	m.Registered.WithLabelValues(h.label).Set(float64(s.Registrations))
	m.Unregistered.WithLabelValues(h.label).Add(float64(s.RegistrationsRefused - last.RegistrationsRefused))
	if s.RegistrationsRefused > 0 && last.RegistrationsRefused == 0 {
		h.logger.Error().Int("registrations", s.Registrations).Msg("THE REGISTRY OF THIS PARTITION IS FULL: further agents count as unregistered, and nobody is told of agents that are; " +
			"add partitions (plumbline state split), or register fewer agents")
	}
	m.Outdated.WithLabelValues(h.label).Add(float64(s.RegistrationsOutdated - last.RegistrationsOutdated))
	if s.Observed != last.Observed {
		for i, check := range detector.IdentityChecks() {
			m.Observed.WithLabelValues(h.label, check).Add(float64(s.Observed[i] - last.Observed[i]))
		}
	}
	m.Duplicates.WithLabelValues(h.label).Add(float64(s.Duplicates - last.Duplicates))
	*last = s
}

// Done: checkpoints commit by themselves.
func (h *handler) Done() int64 { return 0 }

// Close keeps the state for the case that the partition comes back.
func (h *handler) Close() {
	h.abandon()
	m := h.role.metrics
	for _, gauge := range []*prometheus.GaugeVec{m.Agents, m.Tenants, m.StateBytes, m.OpenEpisodes, m.Watermark, m.CheckpointOffset, m.Registered} {
		gauge.DeleteLabelValues(h.label) // somebody else may report them from now on
	}
	m.ModelRatio.DeletePartialMatch(prometheus.Labels{"partition": h.label})
	if h.lost {
		return
	}
	h.role.mu.Lock()
	defer h.role.mu.Unlock()
	h.role.warm[h.partition] = h.state
}
