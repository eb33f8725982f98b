// Package rebuild makes alerts again from the events in the warehouse, in the order in
// which the detector saw them, and says whether they come out the same.
//
// Invariants:
//  1. An alert is proven only by the same bytes of canonical JSON as were stored.
//  2. What is not proven has a reason, or several.
//  3. Memory is that of the partition's detector and of some thousand events.
package rebuild

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/internal/analyst"
	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/pipeline/clickhouse"
	"github.com/plumbline-sec/plumbline/pipeline/route"
	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/siem"
)

// Store is where the events are.
type Store interface {
	LogSpan(ctx context.Context, partition int32) (clickhouse.LogSpan, error)
	LoggedEvents(ctx context.Context, partition int32, from, before int64, each func(*pipeline.ActivityRow) error) error
	LoggedRegistrations(ctx context.Context, partition int32, before int64, each func(*pipeline.ActivityRow) error) error
	ConfigHashes(ctx context.Context, until schemas.Millis) ([]string, error)
}

// Result is what became of one alert.
type Result struct {
	AlertID        string           `json:"alert_id"`
	EpisodeID      string           `json:"episode_id"`
	Status         string           `json:"status"`
	Severity       string           `json:"severity"`
	Summary        string           `json:"summary"`
	Counterfactual string           `json:"counterfactual"` // what would have been silent
	Partition      int32            `json:"log_partition"`
	Offset         int64            `json:"log_offset"` // of the event at which it was raised
	Events         int64            `json:"events"`     // that were read up to there
	Proven         bool             `json:"proven"`     // it came out again, bit for bit
	Reasons        []string         `json:"reasons,omitempty"`
	Differences    []Difference     `json:"differences,omitempty"`
	Ladder         *detector.Ladder `json:"ladder"` // of the event that completed it; null: none did
}

// Difference is a field of an alert that came out otherwise.
type Difference struct {
	Field   string `json:"field"`
	Stored  string `json:"stored"`
	Rebuilt string `json:"rebuilt"`
}

// Options say how alerts are made again.
type Options struct {
	Detector detector.Config
	// Progress is told how far the reading of a partition has come; may be nil.
	Progress func(partition int32, at, end int64)
}

// Alerts makes alerts again; the results are in their order.
func Alerts(ctx context.Context, db Store, alerts []analyst.Step, opt Options) ([]Result, error) {
	results := make([]Result, len(alerts))
	byPartition := make(map[int32][]int)
	for i := range alerts {
		a := &alerts[i]
		results[i] = Result{
			AlertID: a.AlertID, EpisodeID: a.EpisodeID, Status: a.Status, Severity: a.Severity, Summary: a.Summary, Counterfactual: a.Counterfactual,
			Partition: a.Log.Partition, Offset: a.Log.Offset,
		}
		if a.Log.Offset < 0 {
			results[i].Reasons = []string{"it was stored before the warehouse kept the order of the log (migration 0005), so that nothing says in which order the events before it came"}
			continue
		}
		byPartition[a.Log.Partition] = append(byPartition[a.Log.Partition], i)
	}
	for _, p := range slices.Sorted(maps.Keys(byPartition)) {
		r := run{db: db, opt: opt, partition: p, alerts: alerts, results: results, which: byPartition[p]}
		if err := r.do(ctx); err != nil {
			return nil, err
		}
	}
	return results, nil
}

// run is the reading of one partition.
type run struct {
	db        Store
	opt       Options
	partition int32
	alerts    []analyst.Step
	results   []Result
	which     []int // alerts of this partition

	detector *detector.Detector
	span     clickhouse.LogSpan
	counted  clickhouse.Counted
	events   int64
	next     int64          // offset behind the last event
	logged   schemas.Millis // when that was appended
	gap      gap

	at      int64                       // offset of the event at hand
	places  map[int64]bool              // offsets at which alerts were raised
	raised  map[int64][]*schemas.Alert  // what came out there
	byID    map[string]int              // alerts that are asked about
	proofs  map[string][]int            // by the event that completed them
	ladders map[string]*detector.Ladder // by that event's id, the last one
	rebuilt map[string]string           // canonical JSON of those that came out again
	err     error
}

// gap is what is missing between events.
type gap struct {
	offsets       int64
	from, to      int64 // the first one
	after, before schemas.Millis
}

// readAtOnce is how many offsets one statement asks for: the engine sorts them in memory.
const readAtOnce = 100_000

func (r *run) do(ctx context.Context) (err error) {
	if r.span, err = r.db.LogSpan(ctx, r.partition); err != nil {
		return err
	}
	if r.detector, err = detector.New(r.opt.Detector, r); err != nil {
		return err
	}
	r.places, r.raised, r.byID = make(map[int64]bool), make(map[int64][]*schemas.Alert), make(map[string]int)
	r.proofs, r.ladders, r.rebuilt = make(map[string][]int), make(map[string]*detector.Ladder), make(map[string]string)
	end := int64(0)
	for _, i := range r.which {
		a := &r.alerts[i]
		r.places[a.Log.Offset], r.byID[a.AlertID] = true, i
		if done := a.Evidence.CompletedBy; done != nil && a.Status != schemas.StatusClose {
			r.proofs[done.EventID] = append(r.proofs[done.EventID], i)
		}
		end = max(end, a.Log.Offset+1)
	}
	r.next = r.span.First
	if r.span.Rows > 0 {
		// Events are kept for a time, registrations for good.
		if err := r.db.LoggedRegistrations(ctx, r.partition, r.span.First, func(row *pipeline.ActivityRow) error {
			r.detector.Arrived(row.LogTime)
			r.detector.Process(&row.Event)
			return r.err
		}); err != nil {
			return err
		}
		for from := r.span.First; from < end && from <= r.span.Last; from += readAtOnce {
			if r.opt.Progress != nil {
				r.opt.Progress(r.partition, from-r.span.First, end-r.span.First)
			}
			if err := r.db.LoggedEvents(ctx, r.partition, from, min(from+readAtOnce, end), r.event); err != nil {
				return err
			}
		}
	}
	r.suppose(end, math.MaxInt64)
	return r.judge(ctx)
}

// suppose takes ticks for the records that have no stored event, up to an offset and a time:
// ticks are not stored, but come once an hour. Where that is wrong, nothing is proven.
func (r *run) suppose(end int64, before schemas.Millis) {
	n := end - r.next
	if n <= 0 || r.events == 0 {
		return
	}
	const hour = schemas.Millis(route.TickEvery / time.Millisecond)
	first := schemas.Millis(route.NextTick(r.logged.Time()).UnixMilli())
	fit := n // how many turns there were
	if before != math.MaxInt64 {
		fit = int64((before-first)/hour) + 1
		if before < first {
			fit = 0
		}
	}
	if n > 2*fit+2 {
		return // something else is missing
	}
	first += hour * schemas.Millis(max(0, fit-n))
	for i := range min(n, fit) {
		r.at = end - min(n, fit) + i
		r.detector.Arrived(first)
		r.detector.Tick(first)
		first += hour
	}
}

func (r *run) event(row *pipeline.ActivityRow) error {
	r.suppose(row.Log.Offset, row.LogTime)
	if r.at = row.Log.Offset; r.at > r.next {
		if r.gap.offsets == 0 {
			r.gap.from, r.gap.to, r.gap.before = r.next, r.at-1, row.LogTime
		}
		r.gap.offsets += r.at - r.next
	}
	if r.gap.offsets == 0 {
		r.gap.after = row.LogTime
	}
	r.next, r.logged = r.at+1, row.LogTime
	if !r.counted.First(row) {
		return nil
	}
	r.events++
	r.detector.Arrived(row.LogTime)
	if _, asked := r.proofs[row.Event.EventID]; asked || r.places[r.at] {
		_, l := r.detector.ProcessExplained(&row.Event)
		r.ladders[row.Event.EventID] = l
		for _, i := range r.which {
			if a := &r.alerts[i]; l.Alert != nil && l.Alert.AlertID == a.AlertID || r.results[i].Ladder == nil && a.Log.Offset == r.at && r.completes(i, l) {
				r.results[i].Ladder = l
			}
		}
	} else {
		r.detector.Process(&row.Event)
	}
	if r.places[r.at] {
		for _, i := range r.which {
			if r.alerts[i].Log.Offset == r.at {
				r.results[i].Events = r.events
			}
		}
	}
	return r.err
}

// completes reports whether the event of the ladder is the one that completed an alert.
func (r *run) completes(i int, l *detector.Ladder) bool {
	return slices.Contains(r.proofs[l.EventID], i)
}

// Alert implements detector.Sink.
func (r *run) Alert(a *schemas.Alert) {
	if r.places[r.at] {
		r.raised[r.at] = append(r.raised[r.at], a)
	}
	if i, asked := r.byID[a.AlertID]; asked {
		r.results[i].Events = r.events
		b, err := siem.JSON.Append(nil, a)
		r.err = errors.Join(r.err, err)
		r.rebuilt[a.AlertID] = string(b)
	}
}

// Window implements detector.Sink.
func (r *run) Window(*schemas.Window) {}

// judge compares, and finds reasons for what differs.
func (r *run) judge(ctx context.Context) error {
	for _, i := range r.which {
		a, res := &r.alerts[i], &r.results[i]
		if res.Ladder == nil && len(r.proofs) > 0 && a.Evidence.CompletedBy != nil && a.Status != schemas.StatusClose {
			res.Ladder = r.ladders[a.Evidence.CompletedBy.EventID] // which waited before it was told of
		}
		rebuilt, came := r.rebuilt[a.AlertID]
		if came && rebuilt == a.Published {
			res.Proven = true
			continue
		}
		if !came {
			if j := slices.IndexFunc(r.raised[a.Log.Offset], func(b *schemas.Alert) bool { return b.Agent.ID == a.Agent.ID && b.TenantID == a.TenantID }); j >= 0 {
				b, err := siem.JSON.Append(nil, r.raised[a.Log.Offset][j])
				if err != nil {
					return err
				}
				rebuilt = string(b)
			}
		}
		var err error
		if res.Differences, err = differences(a.Published, rebuilt); err != nil {
			return err
		}
		if res.Reasons, err = r.reasons(ctx, a, rebuilt != ""); err != nil {
			return err
		}
	}
	return nil
}

// reasons are why an alert did not come out again.
func (r *run) reasons(ctx context.Context, a *analyst.Step, came bool) ([]string, error) {
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if ours, its := r.opt.Detector.Hash, a.Detector.ConfigHash; ours != its {
		say("the config differs: the alert was raised with config_hash %s, this one has %s; name the other one with --config", its, ours)
	}
	if ours, its := r.opt.Detector.Version, a.Detector.Version; ours != its {
		say("the version differs: the alert was raised by %s, this is %s", its, ours)
	}
	switch {
	case r.span.Rows == 0:
		say("no event of partition %d of plumbline.activity is stored with its place", r.partition)
	case r.span.First > 0:
		say("the beginning is not there: events are stored from offset %d of partition %d on; what came before was removed by the retention, or stored before migration 0005", r.span.First, r.partition)
	}
	if g := r.gap; g.offsets > 0 {
		say("%d offsets of the log have no stored event, the first of them %d to %d (appended between %s and %s): a day that was removed, or records that are no events",
			g.offsets, g.from, g.to, clock(g.after), clock(g.before))
	}
	if r.span.Rows > 0 && r.next <= a.Log.Offset {
		say("the event at which it was raised, offset %d, is not stored; the last one before it is %d: archive may not have come that far yet, or that is a tick, which is not stored", a.Log.Offset, r.next-1)
	}
	hashes, err := r.db.ConfigHashes(ctx, a.Time)
	if err != nil {
		return nil, err
	}
	if others := slices.DeleteFunc(hashes, func(h string) bool { return h == a.Detector.ConfigHash }); len(others) > 0 {
		say("the baselines were learnt with other configs too: config_hash %v", others)
	}
	if len(out) == 0 {
		say("the stored events, in the order of the log, come to something else: one of them was changed after it was stored, or the baselines began anew in between (detector.on_lost_state, more partitions)")
	}
	if !came {
		say("no alert about this agent comes out at offset %d", a.Log.Offset)
	}
	return out, nil
}

func clock(m schemas.Millis) string { return m.Time().UTC().Format("2006-01-02 15:04:05") }

// mostDifferences bounds those that are told.
const mostDifferences = 20

// differences are the fields in which two alerts differ.
func differences(stored, rebuilt string) ([]Difference, error) {
	if rebuilt == "" {
		return nil, nil
	}
	var a, b any
	if err := json.Unmarshal([]byte(stored), &a); err != nil {
		return nil, fmt.Errorf("read the stored alert: %w", err)
	}
	if err := json.Unmarshal([]byte(rebuilt), &b); err != nil {
		return nil, fmt.Errorf("read the rebuilt alert: %w", err)
	}
	var out []Difference
	compare("", a, b, &out)
	if len(out) == 0 {
		out = []Difference{{"(bytes)", stored, rebuilt}}
	}
	return out[:min(len(out), mostDifferences)], nil
}

func compare(path string, a, b any, out *[]Difference) {
	under := func(name string) string {
		if path == "" {
			return name
		}
		return path + "." + name
	}
	switch x := a.(type) {
	case map[string]any:
		if y, ok := b.(map[string]any); ok {
			all := maps.Clone(x)
			maps.Copy(all, y)
			for _, name := range slices.Sorted(maps.Keys(all)) {
				compare(under(name), x[name], y[name], out)
			}
			return
		}
	case []any:
		if y, ok := b.([]any); ok && len(x) == len(y) {
			for i := range x {
				compare(path+"["+strconv.Itoa(i)+"]", x[i], y[i], out)
			}
			return
		}
	}
	s, _ := json.Marshal(a)
	t, _ := json.Marshal(b)
	if string(s) != string(t) {
		*out = append(*out, Difference{path, string(s), string(t)})
	}
}
