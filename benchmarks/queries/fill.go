package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/internal/simulator"
	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/pipeline/clickhouse"
	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/siem"
)

const (
	batchRows = 50_000 // archive's default
	// repeatEvery is how many batches lie between those that are stored twice: a
	// twentieth of the rows, far more than crashes cause.
	repeatEvery = 20
	partitions  = 4
	// eventsAgentDay is what an agent of the default fleet does in a day.
	eventsAgentDay = 255
)

// filling says what to store.
type filling struct {
	rows int // events, each counted once
	days int
	end  time.Time // about when the last event happens
	seed uint64
}

// filled says what was stored.
type filled struct {
	Events   int
	Repeated int
	Alerts   int
	Windows  int
	Agents   int
	Took     time.Duration
}

// filler turns events into rows as route, detect and archive do.
type filler struct {
	fleet   *simulator.Fleet
	shards  []*detector.Detector
	offsets []int64
	until   schemas.Millis
	key     []byte
	out     filled
	err     error

	batch
}

// batch is what is inserted at once.
type batch struct {
	activity []pipeline.ActivityRow
	alerts   []pipeline.AlertRow
	windows  []pipeline.WindowRow
}

func newFiller(f filling) (*filler, error) {
	start := f.end.Add(-time.Duration(f.days) * 24 * time.Hour)
	fleet, err := simulator.New(simulator.Options{
		Agents: max(20, f.rows/f.days/eventsAgentDay), Days: f.days + 1, Start: start, Seed: f.seed,
		Kinds: simulator.Kinds(), Count: max(9, f.rows/f.days/eventsAgentDay/20),
	})
	if err != nil {
		return nil, fmt.Errorf("fill: %w", err)
	}
	x := &filler{fleet: fleet, offsets: make([]int64, partitions), until: schemas.Millis(f.end.UnixMilli())}
	for range partitions {
		d, err := detector.New(detector.DefaultConfig(), x)
		if err != nil {
			return nil, fmt.Errorf("fill: %w", err)
		}
		x.shards = append(x.shards, d)
	}
	x.out.Agents = len(fleet.Agents())
	return x, nil
}

// fill stores the rows. Batches are made while others are inserted.
func fill(ctx context.Context, db *clickhouse.DB, f filling, progress func(stored int)) (filled, error) {
	x, err := newFiller(f)
	if err != nil {
		return filled{}, err
	}
	begin := time.Now()
	ctx, stop := context.WithCancel(ctx)
	batches, produced := make(chan batch, 1), make(chan error, 1)
	go func() { // ends with the fleet, or when the inserts have ended
		defer close(batches)
		produced <- x.produce(ctx, batches)
	}()
	err = x.insert(ctx, db, batches, progress)
	stop()
	if err := errors.Join(err, <-produced); err != nil {
		return filled{}, fmt.Errorf("fill: %w", err)
	}
	x.out.Took = time.Since(begin)
	return x.out, nil
}

func (x *filler) produce(ctx context.Context, to chan<- batch) error {
	var ev schemas.Activity
	for x.err == nil && x.fleet.Next(&ev) && ev.Time <= x.until {
		x.add(&ev)
		if len(x.activity) < batchRows {
			continue
		}
		if err := x.hand(ctx, to); err != nil {
			return err
		}
	}
	if x.err != nil {
		return x.err
	}
	return x.hand(ctx, to)
}

func (x *filler) hand(ctx context.Context, to chan<- batch) error {
	b := x.batch
	x.batch = batch{activity: make([]pipeline.ActivityRow, 0, batchRows)}
	select {
	case to <- b:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// add scores an event and keeps it as a row. The fleet uses its slices again.
func (x *filler) add(ev *schemas.Activity) {
	x.key = schemas.AppendKey(x.key[:0], ev.TenantID, ev.AgentID)
	p := schemas.Partition(x.key, partitions)
	ev.RecordedAt = ev.Time + 40
	x.shards[p].Arrived(ev.RecordedAt)
	x.shards[p].Process(ev)
	row := pipeline.ActivityRow{
		Event: *ev, Version: 1,
		Origin: schemas.Origin{Source: "default", Incarnation: 1, Topic: "agent-activity", Partition: p, Offset: x.offsets[p]},
		Log:    pipeline.Place{Partition: p, Offset: x.offsets[p]}, LogTime: ev.RecordedAt,
	}
	row.Event.Resources, row.Event.Attributes = slices.Clone(ev.Resources), slices.Clone(ev.Attributes)
	x.offsets[p]++
	x.activity = append(x.activity, row)
}

// Alert implements detector.Sink.
func (x *filler) Alert(a *schemas.Alert) {
	b, err := siem.JSON.Append(nil, a)
	if err != nil {
		x.err = fmt.Errorf("encode an alert: %w", err)
	}
	x.alerts = append(x.alerts, pipeline.AlertRow{Alert: *a, JSON: b, RecordedAt: a.Time + 100})
}

// Window implements detector.Sink.
func (x *filler) Window(w *schemas.Window) {
	x.windows = append(x.windows, pipeline.WindowRow{Window: *w, RecordedAt: min(w.Start+schemas.Millis(w.Seconds)*1000+120_000, x.until)})
}

func (x *filler) insert(ctx context.Context, db *clickhouse.DB, from <-chan batch, progress func(int)) error {
	n := 0
	for b := range from {
		times := 1
		if n++; n%repeatEvery == 0 {
			times = 2
			x.out.Repeated += len(b.activity)
		}
		for range times {
			if err := db.InsertActivity(ctx, b.activity); err != nil {
				return err
			}
			if err := db.InsertAlerts(ctx, b.alerts); err != nil {
				return err
			}
			if err := db.InsertWindows(ctx, b.windows); err != nil {
				return err
			}
		}
		x.out.Events += len(b.activity)
		x.out.Alerts += len(b.alerts)
		x.out.Windows += len(b.windows)
		if progress != nil {
			progress(x.out.Events)
		}
	}
	return nil
}
