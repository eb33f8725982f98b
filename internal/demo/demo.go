// Package demo shows the product at work: the real service on the embedded stack,
// a simulated fleet with attacks among it, the alerts as they come, and what was
// found in the end.
//
// Invariants:
//  1. The service of a demo is the service: same wiring, same code paths.
//  2. The detector knows nothing of the labels; only the closing summary compares.
//  3. A demo ends by itself, and leaves its data for queries.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/rs/zerolog"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/internal/app"
	"github.com/plumbline-sec/plumbline/internal/config"
	"github.com/plumbline-sec/plumbline/internal/embedded/claim"
	"github.com/plumbline-sec/plumbline/internal/simulator"
	"github.com/plumbline-sec/plumbline/pipeline/kafka"
	"github.com/plumbline-sec/plumbline/schemas"
)

// Options describe a demo.
type Options struct {
	DataDir  string
	Agents   int
	History  int           // days that are loaded quickly
	Live     int           // days that are played
	Duration time.Duration // of the live part
	Seed     uint64
	Version  string
	Program  string // how a shell calls this program

	Out      io.Writer
	Terminal bool // rewrite a status line, and use colour
	Color    bool
	Width    int
	Quiet    bool // print nothing but the result
}

// marker tells a demo's directory from one that holds real data.
const marker = ".plumbline-demo"

// Run runs a demo to its end.
func Run(ctx context.Context, o Options) (*Summary, error) {
	if err := prepare(o.DataDir); err != nil {
		return nil, err
	}
	logFile, err := claim.Create(filepath.Join(o.DataDir, "service.log"))
	if err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	defer func() { _ = logFile.Close() }() // a log that is cut short harms nobody
	fleet, err := newFleet(o, time.Now())
	if err != nil {
		return nil, err
	}
	cfg := config.Default()
	cfg.DataDir = o.DataDir
	cfg.Embedded.KafkaListen, cfg.Embedded.ClickHouseListen = "127.0.0.1:0", "127.0.0.1:0"
	cfg.Admin.Listen = config.NoListen
	cfg.Archive.MaxAge = config.Duration(500 * time.Millisecond)
	cfg.Detector.Identity = map[string]string{schemas.CheckUnregisteredAgent: detector.IdentityAlert}

	d := &demo{opt: o, cfg: cfg, fleet: fleet, screen: newScreen(o), began: time.Now()}
	d.screen.title(o, fleet)
	return d.run(ctx, zerolog.New(logFile).With().Timestamp().Logger())
}

// demo is one demo while it runs.
type demo struct {
	opt    Options
	cfg    *config.Config
	fleet  *simulator.Fleet
	screen *screen
	began  time.Time

	service *app.App
	client  *kafka.Client
	feed    feed
	watch   *watch
}

// prepare makes an empty directory, in the place of an earlier demo's.
func prepare(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return fmt.Errorf("demo: %w", err)
	case len(entries) > 0:
		if _, err := os.Stat(filepath.Join(dir, marker)); err != nil {
			return fmt.Errorf("demo: %s holds something that is not a demo's; name another directory with --data-dir", dir)
		}
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("demo: remove the data of an earlier demo: %w", err)
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	f, err := claim.Create(filepath.Join(dir, marker))
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	_, err = f.WriteString("The data of a demo: the next one in this directory removes it.\n")
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	return nil
}

// strength is how far attacks stick out, against those that quality is measured
// with: a demo shows what an alert is, the yardstick how good the detector is.
const strength = 3

// newFleet is a fleet whose time ends about now: no event lies in the future.
func newFleet(o Options, now time.Time) (*simulator.Fleet, error) {
	var kinds []simulator.Kind
	for _, k := range simulator.Kinds() {
		if k != simulator.KindRamp { // a ramp takes weeks
			kinds = append(kinds, k)
		}
	}
	days := o.History + o.Live
	start := now.UTC().Truncate(time.Hour).Add(-time.Duration(days) * 24 * time.Hour)
	fleet, err := simulator.New(simulator.Options{
		Agents: o.Agents, Days: days, Start: start, Seed: o.Seed,
		Kinds: kinds, Count: len(kinds), Strength: strength, Settled: true, Window: time.Duration(o.Live) * 24 * time.Hour,
	})
	if err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	return fleet, nil
}

// run starts the service, plays the fleet, waits until everything is stored, stops
// the service and sums up.
func (d *demo) run(ctx context.Context, logger zerolog.Logger) (*Summary, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ready := make(chan app.Addresses, 1)
	service, err := app.New(d.cfg, app.Options{Version: d.opt.Version, Ready: func(a app.Addresses) { ready <- a }}, logger)
	if err != nil {
		return nil, err
	}
	d.service = service
	serviceCtx, stopService := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { // ends with stopService
		err := service.Run(serviceCtx)
		if err != nil {
			cancel() // what waits for the service need not wait any longer
		}
		ended <- err
	}()
	d.screen.stage("starting the embedded Kafka and ClickHouse")
	summary, err := d.play(ctx, ready)
	stopService()
	if serviceErr := <-ended; serviceErr != nil && !errors.Is(serviceErr, context.Canceled) {
		return nil, serviceErr
	}
	d.screen.done()
	return summary, err
}

func (d *demo) play(ctx context.Context, ready <-chan app.Addresses) (*Summary, error) {
	var at app.Addresses
	select {
	case at = <-ready:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	var err error
	d.client, err = kafka.New(kafka.Config{Brokers: at.Kafka}, zerolog.Nop())
	if err != nil {
		return nil, err
	}
	defer func() { _ = d.client.Close() }() // nothing is in flight any more
	store, err := openStore(d.cfg, at.ClickHouse)
	if err != nil {
		return nil, err
	}
	defer store.close()

	d.watch = newWatch(d.client, d.screen)
	watching, stopWatching := context.WithCancel(ctx)
	defer stopWatching()
	watched := make(chan struct{})
	go func() { defer close(watched); d.watch.run(watching) }()

	if err := d.register(ctx); err != nil {
		return nil, err
	}
	if err := d.send(ctx); err != nil {
		return nil, err
	}
	stored, err := d.settle(ctx, store)
	if err != nil {
		return nil, err
	}
	stopWatching()
	<-watched
	s := d.sumUp(stored)
	return s, nil
}

// settle waits until every event that was sent is stored, and every alert.
func (d *demo) settle(ctx context.Context, store *store) (int64, error) {
	d.screen.stage("waiting until everything is stored")
	deadline := time.Now().Add(time.Minute)
	for {
		events, alerts, err := store.counts(ctx)
		if err != nil {
			return 0, err
		}
		if events >= d.feed.sent && alerts >= d.watch.count() || time.Now().After(deadline) {
			return events, nil
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

const dayMillis = 24 * 3600 * 1000

// liveFrom is the event time at which the live part begins.
func (d *demo) liveFrom() schemas.Millis {
	from, _ := d.fleet.Span()
	return from + schemas.Millis(d.opt.History)*dayMillis
}
