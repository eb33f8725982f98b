package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/plumbline-sec/plumbline/internal/app"
	"github.com/plumbline-sec/plumbline/internal/backtest"
	"github.com/plumbline-sec/plumbline/internal/config"
	"github.com/plumbline-sec/plumbline/internal/input"
	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/pipeline/clickhouse"
	"github.com/plumbline-sec/plumbline/pipeline/kafka"
	"github.com/plumbline-sec/plumbline/pipeline/replay"
	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
	"github.com/plumbline-sec/plumbline/schemas/decode/registration"
)

// eventFlags say where recorded events are read.
type eventFlags struct {
	formFlags
	Input   []string `short:"i" placeholder:"FILE" help:"Read these files in the place of ClickHouse, as replay does; - is standard input. Repeatable, read in order."`
	Topic   string   `placeholder:"TOPIC" help:"Read this topic in the place of ClickHouse, from its start to its present end: plumbline.activity, or a source's."`
	Since   string   `placeholder:"WHEN" help:"Only events since: 30d, 2026-03-02 or 2026-03-02T13:00:00Z. Without it and --from 30d of ClickHouse, and all of files and topics."`
	From    string   `placeholder:"WHEN" help:"The same as --since, beside --to."`
	To      string   `placeholder:"WHEN" help:"Only events before."`
	DataDir string   `placeholder:"DIR" help:"Data directory of the embedded engine or of a running service, in the place of data_dir."`
}

// recordedFlags say beside that what is counted of them.
type recordedFlags struct {
	eventFlags
	Warmup    string `placeholder:"DAYS" help:"How long baselines are learnt before alerts count, such as 14d. Without it the first quarter of the days, at most 14."`
	Incidents string `placeholder:"FILE" help:"What alerts should tell of: JSON lines as simulate --labels writes them, or of tenant, agent, from, to and name."`
}

const recordedHelp = `Events come from ClickHouse, or from files (--input) or a topic (--topic). Those of ClickHouse are read in the order of plumbline.activity, as the service judged them. What was stored before its places were (migration 0005) comes first, in the order of recorded_at; how many events that are is said.

The baselines begin empty at the first event. Nothing that is raised during the warm-up is counted, and neither are the agent-days of it. Days are those of UTC.`

// recorded is a pass over recorded events.
type recorded struct {
	flags     *recordedFlags
	g         *Globals
	cfg       *config.Config             // where events are found
	run       *backtest.Run              // nil where visit is not
	visit     func(ev *schemas.Activity) // who looks at the events where nothing is run
	con       *console
	from, to  schemas.Millis // to is 0 for no end
	warmup    time.Duration  // below zero: the default
	incidents []backtest.Incident

	events  atomic.Int64
	latest  atomic.Int64
	part    func() float64 // of what is to be read, 0 where that is not known
	refused int64
	started time.Time
	took    time.Duration
}

// check reads the flags; an error is one of usage.
func (f *recordedFlags) check(g *Globals, cfg *config.Config) (*recorded, error) {
	r := &recorded{flags: f, g: g, cfg: cfg, con: newConsole(g.Stderr), warmup: -1, part: func() float64 { return 0 }}
	fail := func(err error) (*recorded, error) { return nil, usageError{err} }
	if len(f.Input) > 0 && f.Topic != "" {
		return fail(errors.New("--input and --topic can't both be read"))
	}
	if f.Since != "" && f.From != "" {
		return fail(errors.New("--since and --from can't both be the beginning"))
	}
	if len(f.Input) == 0 && (f.As != "" || f.Source != "") {
		return fail(errors.New("--as and --source are of files: name them with --input"))
	}
	if len(f.Input) > 0 && f.DataDir != "" {
		return fail(errors.New("--data-dir is of the embedded engine or a running service, and --input names files"))
	}
	since, now := f.Since+f.From, time.Now()
	if since == "" && len(f.Input) == 0 && f.Topic == "" {
		since = "30d"
	}
	for _, b := range []struct {
		flag, text string
		at         *schemas.Millis
	}{{"--since", since, &r.from}, {"--to", f.To, &r.to}} {
		t, err := parseSince(b.text, now)
		if err != nil {
			return fail(errors.New(strings.Replace(err.Error(), "--since", b.flag, 1)))
		}
		if !t.IsZero() {
			*b.at = schemas.Millis(t.UnixMilli())
		}
	}
	if r.to != 0 && r.to <= r.from {
		return fail(fmt.Errorf("--to %s is not after the beginning, %s", r.to, r.from))
	}
	if f.Warmup != "" {
		t, err := parseSince(f.Warmup, now)
		if r.warmup = now.Sub(t); err != nil || r.warmup < 0 || strings.Contains(f.Warmup, "-") {
			return fail(fmt.Errorf("--warmup: %q is no number of days; write 14d, or 0d to count from the first event", f.Warmup))
		}
	}
	return r, r.readIncidents()
}

func (r *recorded) readIncidents() error {
	if r.flags.Incidents == "" {
		return nil
	}
	file, err := os.Open(r.flags.Incidents)
	if err != nil {
		return usageError{fmt.Errorf("--incidents: %w", err)}
	}
	defer file.Close() //nolint:errcheck // it was only read
	if r.incidents, err = backtest.ReadIncidents(r.flags.Incidents, file); err != nil {
		return usageError{fmt.Errorf("--incidents: %w", err)}
	}
	return nil
}

// side is a config as one of a pass.
func side(cfg *config.Config) backtest.Side {
	return backtest.Side{Detector: app.DetectorConfig(cfg, Version()), Partitions: cfg.Kafka.Partitions}
}

var errTooMany = fmt.Errorf("a config raises over %d alerts here: shorten the range, or look at its budget", backtest.MaxEpisodes)

// pass reads all events through sides. interrupted says that somebody ended it before.
func (r *recorded) pass(ctx context.Context, sides []backtest.Side) (interrupted bool, err error) {
	if r.run, err = backtest.New(sides); err != nil {
		return false, usageError{err}
	}
	interrupted, err = r.read(ctx, r.run.Finish)
	if r.run.TooMany() {
		return false, errTooMany
	}
	return interrupted, err
}

// read reads all events; then it calls done.
func (r *recorded) read(ctx context.Context, done func()) (interrupted bool, err error) {
	r.started = time.Now()
	stop := r.con.during(r.progress)
	switch {
	case len(r.flags.Input) > 0:
		err = r.files(ctx)
	case r.flags.Topic != "":
		err = r.topic(ctx)
	default:
		err = r.clickHouse(ctx)
	}
	done()
	stop()
	r.took = time.Since(r.started)
	n := r.events.Load()
	if n > 0 {
		r.con.line(fmt.Sprintf("%d events in %.1f s (%.0f/s)", n, r.took.Seconds(), float64(n)/r.took.Seconds()))
	}
	switch {
	case err != nil && ctx.Err() != nil && n > 0:
		return true, nil
	case err == nil && n == 0:
		return false, errors.New("there is no event in that range: widen it with --since, or name other events with --input or --topic")
	}
	return false, err
}

// add takes an event of the pass.
func (r *recorded) add(ev *schemas.Activity, arrived schemas.Millis, size int) {
	if ev.Registration == nil && ev.Time < r.from || r.to != 0 && ev.Time >= r.to {
		return // what was said of an agent before counts
	}
	if r.visit != nil {
		r.visit(ev)
	} else {
		r.run.Add(ev, arrived, size)
	}
	r.events.Add(1)
	r.latest.Store(int64(min(ev.Time, arrived)))
}

func (r *recorded) progress() string {
	n, took := r.events.Load(), time.Since(r.started)
	if n == 0 {
		return "waiting for the first event"
	}
	text := fmt.Sprintf("%d events, up to %s, %.0f/s", n, schemas.Millis(r.latest.Load()).Time().Format(time.DateTime), float64(n)/took.Seconds())
	if part := r.part(); part > 0 && part <= 1 {
		left := time.Duration(float64(took) * (1 - part) / part)
		text += fmt.Sprintf(", %.0f %%, %s left", 100*part, left.Round(time.Second))
	}
	return text
}

func (r *recorded) files(ctx context.Context) error {
	form, err := r.flags.form(r.cfg)
	if err != nil {
		return err
	}
	in, err := openInputs(r.flags.Input, r.g.Stdin)
	if err != nil {
		return usageError{err}
	}
	if in.total > 0 {
		r.part = func() float64 { return float64(in.read.Load()) / float64(in.total) }
	}
	t := newTally(form, r.con.line)
	t.next = "see with plumbline decode what they become; --as names another form, --source one of the config"
	size := 0
	stream := replay.NewStream(t, func(ev *schemas.Activity, arrived schemas.Millis) { r.add(ev, arrived, size) }, func(decode.Reason) { r.refused++ })
	for _, file := range in.names {
		err := in.one(ctx, file, form.options, t, func(rec input.Record) error {
			if rec.TooLong {
				stream.TooLarge()
				return nil
			}
			size = len(rec.Data) // of another one than is handed on; in the mean it is right
			stream.Record(rec.Data)
			return r.tooMany()
		})
		if err != nil {
			stream.Flush()
			return err
		}
	}
	stream.Flush()
	return nil
}

// tooMany ends a pass of which nothing could be said.
func (r *recorded) tooMany() error {
	if r.run != nil && r.run.TooMany() {
		return errTooMany
	}
	return nil
}

// rowBytes is about what an event of ClickHouse holds in memory.
const rowBytes = 512

func (r *recorded) clickHouse(ctx context.Context) error {
	return engineDir{DataDir: r.flags.DataDir}.clickHouse(ctx, r.g, func(db *clickhouse.DB) error {
		to := r.to
		if to == 0 {
			to = schemas.Millis(time.Now().UnixMilli()) + schemas.MaxClockAhead
		}
		events, err := db.ReadActivity(ctx, r.from, to)
		if err != nil {
			return err
		}
		if events.Unplaced > 0 {
			r.con.line(fmt.Sprintf("plumbline: about %d of %d events were stored before their places in plumbline.activity were (migration 0005): they are read first, in the order of recorded_at", events.Unplaced, events.Events))
		}
		if events.Events > 0 {
			r.part = func() float64 { return float64(r.events.Load()) / float64(events.Events) }
		}
		return events.Each(ctx, func(row *pipeline.ActivityRow, arrived schemas.Millis) error {
			r.add(&row.Event, arrived, rowBytes)
			return r.tooMany()
		})
	})
}

// partition is one of a topic, and what of it is at hand.
type partition struct {
	pipeline.TopicPartition
	next, end int64
	records   []pipeline.Record
}

// fill fetches until there is a record, or the end that the partition had.
func (p *partition) fill(ctx context.Context, client *kafka.Client) error {
	for len(p.records) == 0 && p.next < p.end {
		f, err := client.Fetch(ctx, p.TopicPartition, p.next)
		if err != nil {
			return err
		}
		p.records, p.next = f.Records, f.Next
		for n := len(p.records); n > 0 && p.records[n-1].Offset >= p.end; n-- {
			p.records = p.records[:n-1]
		}
	}
	return ctx.Err()
}

// other takes a record of the activity topic that is no event.
func (r *recorded) other(rec *pipeline.Record, partition, partitions int32) {
	if string(rec.Header(schemas.RecordHeader)) != schemas.RecordTick {
		return
	}
	tick, err := schemas.ParseTick(rec.Value)
	if err == nil && tick.At >= r.from && (r.to == 0 || tick.At < r.to) {
		r.run.Tick(tick.At, rec.Time, partition, partitions)
	}
}

func (r *recorded) topic(ctx context.Context) error {
	service, err := r.g.Service(r.flags.DataDir)
	if err != nil {
		return err
	}
	client, err := service.client(ctx)
	if err != nil {
		return err
	}
	defer client.Close() //nolint:errcheck // nothing was written
	n, err := partitionsOf(ctx, client, r.flags.Topic)
	if err != nil {
		return err
	}
	var decoder decode.Decoder = decode.NewCanonical()
	if r.flags.Topic != pipeline.TopicActivity {
		form, err := formOf(r.cfg, r.flags.Topic)
		if err != nil {
			return usageError{err}
		}
		decoder = form.Decoder
	}
	registrations := registration.NewCanonical()
	parts := make([]partition, n)
	total, read := int64(0), atomic.Int64{}
	for i := range parts {
		p := &parts[i]
		p.TopicPartition = pipeline.TopicPartition{Topic: r.flags.Topic, Partition: int32(i)}
		if p.next, p.end, err = client.Bounds(ctx, p.TopicPartition); err != nil {
			return err
		}
		total += p.end - p.next
	}
	if total > 0 {
		r.part = func() float64 { return float64(read.Load()) / float64(total) }
	}
	for {
		var first *partition // the one whose next record was appended the earliest
		for i := range parts {
			p := &parts[i]
			if err := p.fill(ctx, client); err != nil {
				return err
			}
			if len(p.records) > 0 && (first == nil || p.records[0].Time < first.records[0].Time) {
				first = p
			}
		}
		if first == nil {
			return nil
		}
		rec := &first.records[0]
		first.records = first.records[1:]
		read.Add(1)
		decoder := decoder
		if kind := rec.Header(schemas.RecordHeader); r.flags.Topic == pipeline.TopicActivity && kind != nil {
			if string(kind) != schemas.RecordRegistration {
				r.other(rec, first.Partition, n)
				continue
			}
			decoder = registrations
		}
		in := decode.Record{Topic: r.flags.Topic, Partition: first.Partition, Offset: rec.Offset, Time: rec.Time, Key: rec.Key, Value: rec.Value}
		decoder.Decode(&in, func(_ int32, ev *schemas.Activity, refusal *decode.Refusal) {
			if refusal != nil {
				r.refused++
				return
			}
			r.add(ev, rec.Time, len(rec.Value))
		})
		if err := r.tooMany(); err != nil {
			return err
		}
	}
}
