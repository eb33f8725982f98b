// Command state measures what checkpoints cost at a size: how long one takes and
// how much it writes, how long it holds up detection at a time, and how long a
// restart takes to restore. It runs the detect role over the embedded broker, which
// is part of this process and shares its cores.
//
//	go run ./benchmarks/state --agents 1000000 --out benchmarks/results
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"time"

	"github.com/plumbline-sec/plumbline/benchmarks/internal/bench"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/rs/zerolog"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/internal/embedded/broker"
	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/pipeline/detect"
	"github.com/plumbline-sec/plumbline/pipeline/kafka"
	"github.com/plumbline-sec/plumbline/pipeline/statelog"
	"github.com/plumbline-sec/plumbline/schemas"
)

func main() { bench.Main("state", run) }

var input = pipeline.TopicPartition{Topic: pipeline.TopicActivity}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	flags := bench.Flags("state", stderr)
	agents := flags.Int("agents", 1_000_000, "agents of the partition")
	visits := flags.Int("visits", 3, "hours in which each of them was seen before anything is measured")
	rate := flags.Int("rate", 50_000, "events a second while checkpoints are measured")
	seconds := flags.Int("seconds", 60, "how long that is")
	every := flags.Duration("every", 10*time.Second, "between checkpoints")
	out := flags.String("out", "", "directory to write state.md into")
	err = bench.Parse(flags, args, "--agents, --visits, --rate and --seconds are at least 1", func() bool {
		return min(*agents, *visits, *rate, *seconds) >= 1
	})
	if err != nil {
		return err
	}
	say := bench.Progress("state", stderr)

	dir, err := os.MkdirTemp("", "plumbline-state-")
	if err != nil {
		return fmt.Errorf("directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b, err := broker.Start(broker.Config{DataDir: dir, Listen: "127.0.0.1:0", Logger: zerolog.Nop()})
	if err != nil {
		return err
	}
	defer b.Stop() //nolint:errcheck // its data are thrown away
	client, err := kafka.New(kafka.Config{Brokers: []string{b.Addr()}}, zerolog.Nop())
	if err != nil {
		return err
	}
	defer client.Close() //nolint:errcheck // everything is acknowledged
	var topics []kafka.TopicSpec
	for _, t := range []string{pipeline.TopicActivity, pipeline.TopicAlerts, pipeline.TopicWindows, pipeline.TopicBaselines, pipeline.TopicDeadLetter} {
		topics = append(topics, kafka.TopicSpec{Name: t})
	}
	if err := client.EnsureTopics(ctx, topics); err != nil {
		return err
	}

	m := &machine{client: client, agents: *agents, every: *every}
	say("%d agents, %d events each", *agents, *visits)
	first := m.start(ctx)
	for v := range *visits {
		if err := m.load(ctx, v, *agents, 0); err != nil {
			return err
		}
	}
	if err := first.caughtUp(ctx, m.sent); err != nil {
		return err
	}
	before := first.read()
	say("%d events a second for %d s", *rate, *seconds)
	half := *rate * *seconds / 2
	if err := m.load(ctx, *visits, half, *rate); err != nil {
		return err
	}
	stricter := detector.DefaultConfig()
	stricter.AlertsPerAgentDay /= 2
	if err := first.reload(stricter); err != nil {
		return err
	}
	if err := m.load(ctx, *visits + half / *agents + 1, half, *rate); err != nil {
		return err
	}
	if err := first.caughtUp(ctx, m.sent); err != nil {
		return err
	}
	loaded := first.read()
	if err := first.stop(); err != nil {
		return err
	}
	state, err := statelog.Read(ctx, client, 0)
	if err != nil {
		return err
	}
	size, chunks := state.Bytes(), state.End-state.Start
	state = nil //nolint:wastedassign // gigabytes, before memory is measured
	runtime.GC()

	say("restart")
	started := time.Now()
	second := m.start(ctx)
	if err := second.restored(ctx); err != nil {
		return err
	}
	took := time.Since(started)
	runtime.GC()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	if err := second.stop(); err != nil {
		return err
	}
	n := float64(loaded.checkpoints - before.checkpoints)
	origin := bench.ThisMachine(ctx, "go run ./benchmarks/state", args)
	page := &bench.Page{}
	page.Line("# Detector state at %d agents\n\n%s, embedded broker in the same process. Command: `%s`.", *agents, &origin, origin.Command)
	page.Table("", "")
	row := func(what, format string, args ...any) { page.Row(what, fmt.Sprintf(format, args...)) }
	row("state of the partition", "%.0f MiB, %.0f bytes an agent", float64(size)/(1<<20), float64(size)/float64(*agents))
	row("load while measured", "%d events/s, a checkpoint every %s", *rate, *every)
	row("checkpoints", "%.0f, %.1f s each from cut to confirmation, %.0f MiB each", n, (loaded.seconds-before.seconds)/n, (loaded.bytes-before.bytes)/n/(1<<20))
	row("longest pause of detection by a checkpoint", "under %.0f ms", 1000*bench.Bound(before.pauses, loaded.pauses, 1))
	row("pause of detection by another config", "%.1f s", loaded.switching)
	row("log read to restore", "%d records", chunks)
	row("restart to detection, joining the group included", "%.1f s", took.Seconds())
	row("heap after it", "%.0f bytes an agent", float64(mem.HeapAlloc)/float64(*agents))
	return page.Publish(*out, "state", nil, stdout)
}

// machine feeds the partition.
type machine struct {
	client *kafka.Client
	agents int
	every  time.Duration
	sent   int64
	buf    []byte
}

// load appends n events, of one agent after the other, in the given hour and those
// after it; rate 0: as fast as it goes.
func (m *machine) load(ctx context.Context, hour, n, rate int) error {
	const batch = 5000
	start := time.Now()
	begin := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC).Add(time.Duration(hour) * time.Hour)
	for i := 0; i < n; {
		records := make([]pipeline.Record, 0, batch)
		m.buf = make([]byte, 0, batch*512)
		for ; i < n && len(records) < batch; i++ {
			// An hour's events are spread over it.
			at := schemas.Millis(begin.Add(time.Duration(i/m.agents)*time.Hour + time.Duration(i%m.agents)*time.Hour/time.Duration(m.agents)).UnixMilli())
			agent := "agent-" + strconv.Itoa(i*7919%m.agents)
			ev := schemas.Activity{
				EventID: strconv.FormatInt(m.sent+int64(len(records)), 36), Time: at, RecordedAt: at, TenantID: schemas.DefaultTenant, AgentID: agent,
				PeerGroup: "group-" + strconv.Itoa(i%20), SessionID: "s-" + strconv.Itoa(i%1000), Action: "tool_call", Tool: "tool-" + strconv.Itoa(i%7),
				Access: schemas.AccessRead, Resources: []string{"file:" + agent + "/" + strconv.Itoa(hour%5), "db:shared-" + strconv.Itoa(i%40)},
				BytesSent: uint64(100 + i%900), BytesReceived: uint64(1000 + i%5000), Outcome: schemas.OutcomeSuccess,
			}
			cut := func(f func([]byte) []byte) []byte {
				from := len(m.buf)
				m.buf = f(m.buf)
				return m.buf[from:len(m.buf):len(m.buf)]
			}
			origin := schemas.Origin{Source: "bench", Incarnation: 1, Topic: "bench", Offset: m.sent + int64(len(records))}
			records = append(records, pipeline.Record{
				Key:     cut(func(b []byte) []byte { return schemas.AppendKey(b, ev.TenantID, ev.AgentID) }),
				Value:   cut(func(b []byte) []byte { return schemas.AppendActivity(b, &ev) }),
				Headers: []pipeline.Header{{Key: schemas.OriginHeader, Value: cut(origin.AppendTo)}},
			})
		}
		if err := m.client.Produce(ctx, input, records); err != nil {
			return err
		}
		m.sent += int64(len(records))
		if rate > 0 {
			if wait := time.Until(start.Add(time.Duration(i) * time.Second / time.Duration(rate))); wait > 0 {
				time.Sleep(wait)
			}
		}
	}
	return nil
}

// owner is the detect role at work.
type owner struct {
	m       *detect.Metrics
	machine *machine
	stop    func() error
	reload  func(detector.Config) error
}

func (m *machine) start(ctx context.Context) *owner {
	ctx, cancel := context.WithCancel(ctx)
	o := &owner{m: detect.NewMetrics(prometheus.NewRegistry()), machine: m}
	ended, made := make(chan error, 1), make(chan *detect.Detect, 1)
	o.reload = func(cfg detector.Config) error { return (<-made).Reload(cfg) }
	go func() {
		group, err := m.client.Group(kafka.GroupConfig{ID: pipeline.GroupDetect, Topics: []string{pipeline.TopicActivity}})
		if err == nil {
			role := pipeline.Role{
				Log: m.client, Metrics: pipeline.NewMetrics(prometheus.NewRegistry()), Health: pipeline.NewHealth(),
				Logger: zerolog.New(os.Stderr).Level(zerolog.WarnLevel),
			}
			cfg := detect.Config{Detector: detector.DefaultConfig(), CheckpointEvery: m.every}
			var d *detect.Detect
			if d, err = detect.New(role, group, cfg, o.m); err == nil {
				made <- d
				err = d.Run(ctx)
			}
			err = errors.Join(err, group.Close())
		}
		ended <- err
	}()
	o.stop = func() error { cancel(); return <-ended }
	return o
}

// caughtUp waits until a checkpoint holds everything.
func (o *owner) caughtUp(ctx context.Context, sent int64) error {
	return o.until(ctx, func() bool {
		return value(o.m.CheckpointOffset.WithLabelValues("0")).GetGauge().GetValue() >= float64(sent)
	})
}

func (o *owner) restored(ctx context.Context) error {
	return o.until(ctx, func() bool { return o.read().restores > 0 })
}

func (o *owner) until(ctx context.Context, done func() bool) error {
	for deadline := time.Now().Add(15 * time.Minute); !done(); time.Sleep(20 * time.Millisecond) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if time.Now().After(deadline) {
			return errors.New("gave up after 15 minutes")
		}
	}
	return nil
}

// figures are what the role has counted so far.
type figures struct {
	checkpoints uint64
	seconds     float64
	bytes       float64
	pauses      *dto.Histogram
	restores    uint64
	restoring   float64
	switching   float64
}

func (o *owner) read() figures {
	seconds := value(o.m.CheckpointSeconds.(prometheus.Metric)).GetHistogram()
	restore := value(o.m.RestoreSeconds.(prometheus.Metric)).GetHistogram()
	return figures{
		checkpoints: seconds.GetSampleCount(), seconds: seconds.GetSampleSum(),
		bytes:    value(o.m.CheckpointBytes.(prometheus.Metric)).GetHistogram().GetSampleSum(),
		pauses:   value(o.m.CheckpointPause.(prometheus.Metric)).GetHistogram(),
		restores: restore.GetSampleCount(), restoring: restore.GetSampleSum(),
		switching: value(o.m.SwitchSeconds.(prometheus.Metric)).GetHistogram().GetSampleSum(),
	}
}

func value(m prometheus.Metric) *dto.Metric {
	out := &dto.Metric{}
	if err := m.Write(out); err != nil {
		panic(fmt.Sprintf("read a metric of our own: %v", err))
	}
	return out
}
