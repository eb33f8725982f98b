// Package replay runs records of files through the very same decoder and detector as
// the service, with neither Kafka nor ClickHouse.
//
// Invariants:
//  1. The same records in the same order give the service's alerts, ids included: the
//     input is sharded as the topic would be.
//  2. Memory is bounded: a time is judged by at most so many events behind it (see
//     lookahead).
//
// It imports the detector and schemas, never a role or an adapter.
package replay

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"time"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
	"github.com/plumbline-sec/plumbline/schemas/siem"
)

// Replay is one run.
type Replay struct {
	shards   []*detector.Detector
	taken    []int64 // events of each shard: the offset of its next one
	switches []Switch
	stream   *Stream
	encoder  siem.Encoder
	filter   siem.Filter
	alerts   *bufio.Writer // nil: not wanted
	scores   *bufio.Writer // nil: not wanted

	explain   map[string]int // event ids that are asked about, and how many events had each
	explained func(*detector.Ladder)

	key     []byte
	buf     []byte
	err     error
	days    map[uint64]struct{}
	agents  map[uint64]struct{}
	summary Summary
	started time.Time
}

// Summary says what a replay saw.
type Summary struct {
	Events            int64            `json:"events"`
	Agents            int64            `json:"agents"`
	AgentDays         int64            `json:"agent_days"` // distinct pairs of agent and UTC day
	Alerts            int64            `json:"alerts"`     // episodes opened
	AlertsPerAgentDay float64          `json:"alerts_per_agent_day"`
	Late              int64            `json:"late"`    // events whose hour was over when they came
	Clamped           int64            `json:"clamped"` // events whose time lay ahead of those behind them
	DeadLetters       int64            `json:"dead_letters"`
	Reasons           map[string]int64 `json:"dead_letter_reasons,omitempty"`
	Seconds           float64          `json:"seconds"`
	EventsPerSecond   float64          `json:"events_per_second"`
}

// Config says what to replay with, and what to write.
type Config struct {
	Detector   detector.Config
	Partitions int32          // of TopicActivity
	Decoder    decode.Decoder // of the input; nil: activity events
	Encoder    siem.Encoder
	Filter     siem.Filter // which alerts are written; the summary counts all
	Alerts     io.Writer   // one encoded alert a line; nil: none
	Scores     io.Writer   // one score a line, in input order; nil: none

	// Switches say where another config takes over, as in a service that has reloaded
	// its own.
	Switches []Switch

	// Explain are ids of events of which Explained is told how their score came about, of
	// each id for the first MostExplained events.
	Explain   []string
	Explained func(*detector.Ladder)
}

// Switch is where another config judges, from that event of a partition on. Events are
// counted from 0, as TopicActivity counts them where it holds nothing else.
type Switch struct {
	Partition int32
	Offset    int64
	Detector  detector.Config
}

// MostExplained bounds the events of one id that are explained: ids are the producers' to
// choose.
const MostExplained = 10

// New returns a replay that has read nothing yet.
func New(cfg Config) (*Replay, error) {
	if cfg.Partitions < 1 {
		return nil, fmt.Errorf("replay: %d partitions", cfg.Partitions)
	}
	r := &Replay{
		switches: cfg.Switches, encoder: cfg.Encoder, filter: cfg.Filter,
		days: make(map[uint64]struct{}), agents: make(map[uint64]struct{}),
		summary: Summary{Reasons: make(map[string]int64)},
		started: time.Now(),
	}
	r.stream = NewStream(cfg.Decoder, r.event, r.refused)
	if cfg.Alerts != nil {
		r.alerts = bufio.NewWriterSize(cfg.Alerts, 1<<16)
	}
	if cfg.Scores != nil {
		r.scores = bufio.NewWriterSize(cfg.Scores, 1<<16)
	}
	if len(cfg.Explain) > 0 {
		r.explain, r.explained = make(map[string]int, len(cfg.Explain)), cfg.Explained
		for _, id := range cfg.Explain {
			r.explain[id] = 0
		}
	}
	for range cfg.Partitions {
		d, err := detector.New(cfg.Detector, r)
		if err != nil {
			return nil, fmt.Errorf("replay: %w", err)
		}
		r.shards = append(r.shards, d)
	}
	r.taken = make([]int64, cfg.Partitions)
	for _, s := range cfg.Switches {
		if s.Partition < 0 || s.Partition >= cfg.Partitions || s.Offset < 0 {
			return nil, fmt.Errorf("replay: no offset %d of partition %d, there are %d partitions", s.Offset, s.Partition, cfg.Partitions)
		}
		if _, err := detector.New(s.Detector, r); err != nil {
			return nil, fmt.Errorf("replay: %w", err)
		}
	}
	return r, nil
}

// Record replays one record; Flush comes after the last one. The value may change
// afterwards.
func (r *Replay) Record(value []byte) error {
	r.stream.Record(value)
	return r.err
}

// TooLarge counts a record that is too large for a topic.
func (r *Replay) TooLarge() { r.stream.TooLarge() }

func (r *Replay) refused(reason decode.Reason) {
	r.summary.DeadLetters++
	r.summary.Reasons[string(reason)]++
}

func (r *Replay) event(ev *schemas.Activity, arrived schemas.Millis) {
	r.key = schemas.AppendKey(r.key[:0], ev.TenantID, ev.AgentID)
	r.count(min(ev.Time, arrived))
	p := schemas.Partition(r.key, int32(len(r.shards)))
	d := r.shards[p]
	for i := range r.switches {
		if s := &r.switches[i]; s.Partition == p && s.Offset == r.taken[p] {
			r.fail(d.Reconfigure(s.Detector))
		}
	}
	r.taken[p]++
	d.Arrived(arrived)
	v := r.process(d, ev)
	if v.Late {
		r.summary.Late++
	}
	if v.Clamped {
		r.summary.Clamped++
	}
	if r.scores != nil {
		r.score(ev, &v)
	}
}

// process scores an event, and says how where it is asked about.
func (r *Replay) process(d *detector.Detector, ev *schemas.Activity) detector.Verdict {
	if r.explain == nil {
		return d.Process(ev)
	}
	n, asked := r.explain[ev.EventID]
	if !asked {
		return d.Process(ev)
	}
	r.explain[ev.EventID] = n + 1
	if n >= MostExplained {
		return d.Process(ev)
	}
	v, ladder := d.ProcessExplained(ev)
	r.explained(ladder)
	return v
}

// EventsOf returns how many events there were of an id that was asked about.
func (r *Replay) EventsOf(id string) int { return r.explain[id] }

const dayMillis = 24 * 3600 * 1000

func (r *Replay) count(t schemas.Millis) {
	r.summary.Events++
	h := fnv.New64a()
	_, _ = h.Write(r.key)
	agent := h.Sum64()
	var day [8]byte
	binary.LittleEndian.PutUint64(day[:], uint64(t/dayMillis))
	_, _ = h.Write(day[:])
	r.agents[agent] = struct{}{}
	r.days[h.Sum64()] = struct{}{}
}

// scoreLine is one line of the scores file.
type scoreLine struct {
	EventID   string         `json:"event_id"`
	AgentID   string         `json:"agent_id"`
	SessionID string         `json:"session_id"`
	Time      schemas.Millis `json:"time"`
	Surprise  float64        `json:"surprise"`
	Score     float64        `json:"score"`
	Signals   []scoreSignal  `json:"signals"`
}

type scoreSignal struct {
	Name     string  `json:"name"`
	Observed float64 `json:"observed"`
	Expected float64 `json:"expected"`
	P        float64 `json:"p"`
}

func (r *Replay) score(ev *schemas.Activity, v *detector.Verdict) {
	out := scoreLine{
		EventID: ev.EventID, AgentID: ev.AgentID, SessionID: ev.SessionID, Time: ev.Time,
		Surprise: round(v.Surprise), Score: round(v.Score), Signals: make([]scoreSignal, 0, len(v.Signals)),
	}
	for i := range v.Signals {
		s := &v.Signals[i]
		out.Signals = append(out.Signals, scoreSignal{s.Name, s.Observed, s.Expected, s.P})
	}
	b, err := json.Marshal(out)
	if err != nil {
		r.fail(fmt.Errorf("replay: score of event %q: %w", ev.EventID, err))
		return
	}
	_, _ = r.scores.Write(b)
	r.fail(r.scores.WriteByte('\n'))
}

func round(x float64) float64 { return math.Round(x*1e6) / 1e6 }

// Alert implements detector.Sink.
func (r *Replay) Alert(a *schemas.Alert) {
	if a.Status == schemas.StatusOpen {
		r.summary.Alerts++
	}
	if r.alerts == nil || !r.filter.Match(a) {
		return
	}
	b, err := r.encoder.Append(r.buf[:0], a)
	if err != nil {
		r.fail(fmt.Errorf("replay: encode alert %s: %w", a.AlertID, err))
		return
	}
	r.buf = b
	_, _ = r.alerts.Write(b)
	r.fail(r.alerts.WriteByte('\n'))
}

// Window implements detector.Sink; a replay has no use for windows.
func (r *Replay) Window(*schemas.Window) {}

func (r *Replay) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

// Flush takes the events that are still held, and writes their alerts and scores.
func (r *Replay) Flush() error {
	r.stream.Flush()
	for _, w := range []*bufio.Writer{r.alerts, r.scores} {
		if w != nil {
			if err := w.Flush(); err != nil {
				return fmt.Errorf("replay: write: %w", err)
			}
		}
	}
	return nil
}

// Summary returns what was seen so far.
func (r *Replay) Summary() Summary {
	s := r.summary
	s.Agents, s.AgentDays = int64(len(r.agents)), int64(len(r.days))
	if s.AgentDays > 0 {
		s.AlertsPerAgentDay = float64(s.Alerts) / float64(s.AgentDays)
	}
	s.Seconds = time.Since(r.started).Seconds()
	if s.Seconds > 0 {
		s.EventsPerSecond = float64(s.Events) / s.Seconds
	}
	return s
}
