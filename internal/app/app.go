// Package app wires the service: it is the only place where adapters meet.
//
// Invariants:
//  1. New is inert; Run starts everything and returns only when everything it
//     started has stopped.
//  2. What was started is stopped in reverse order, also when a later step fails.
//  3. Detection never waits for ClickHouse: only archive does. That holds for an
//     engine that does not start on its data and for a schema that somebody broke.
//  4. Readiness says what does not work now, with the reason; no role waits for it.
package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/plumbline-sec/plumbline/internal/config"
	"github.com/plumbline-sec/plumbline/internal/embedded"
	"github.com/plumbline-sec/plumbline/internal/telemetry"
	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/pipeline/archive"
	"github.com/plumbline-sec/plumbline/pipeline/decide"
	"github.com/plumbline-sec/plumbline/pipeline/detect"
	"github.com/plumbline-sec/plumbline/pipeline/route"
)

// The roles that a service may have.
const (
	RoleRoute   = "route"
	RoleDetect  = "detect"
	RoleArchive = "archive"
	RoleDecide  = "decide"
)

// Roles lists them all.
func Roles() []string { return append(defaultRoles(), RoleDecide) }

// defaultRoles are those of a service that is not told which: decide listens for others, and
// wants policies.
func defaultRoles() []string { return []string{RoleRoute, RoleDetect, RoleArchive} }

// Options are what the command line adds to the config.
type Options struct {
	Roles   []string // empty: route, detect and archive
	Version string
	Source  Source // of the config
	// Ready, if set, is called once when every role works.
	Ready func(Addresses)
}

// Addresses say where a running service can be reached.
type Addresses struct {
	Kafka      []string
	ClickHouse []string
	Admin      string
	Decide     string // empty: it does not decide
}

// App is one service.
type App struct {
	cfg     *config.Config
	opts    Options
	logger  zerolog.Logger
	reg     *prometheus.Registry
	metrics metrics
	reload  *reloader

	// stops undo what was started, last first.
	stops []func(context.Context)
}

// metrics are those of all roles: a service shows them whichever it has.
type metrics struct {
	*pipeline.Metrics
	route   *route.Metrics
	detect  *detect.Metrics
	archive *archive.Metrics
	decide  *decide.Metrics
}

func newMetrics(reg prometheus.Registerer) metrics {
	return metrics{pipeline.NewMetrics(reg), route.NewMetrics(reg), detect.NewMetrics(reg), archive.NewMetrics(reg), decide.NewMetrics(reg)}
}

// New checks the options; it starts nothing.
func New(cfg *config.Config, opts Options, logger zerolog.Logger) (*App, error) {
	if len(opts.Roles) == 0 {
		opts.Roles = defaultRoles()
	}
	for _, r := range opts.Roles {
		if !slices.Contains(Roles(), r) {
			return nil, fmt.Errorf("unknown role %q: the roles are %s", r, strings.Join(Roles(), ", "))
		}
	}
	if slices.Contains(opts.Roles, RoleDecide) && len(cfg.Policy.Files) == 0 {
		return nil, errors.New("the role decide has no policies to decide by: name them in policy.files")
	}
	reg := telemetry.NewRegistry()
	a := &App{cfg: cfg, opts: opts, logger: logger, reg: reg, metrics: newMetrics(reg)}
	a.reload = newReloader(cfg, opts.Source, opts.Version, reg, logger.With().Str("component", "config").Logger())
	if a.embedded() {
		if err := embedded.Included(); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// embedded reports whether a part of the embedded stack is to be started.
func (a *App) embedded() bool {
	return a.cfg.Kafka.Brokers.Embedded() || (a.has(RoleArchive) && a.cfg.ClickHouse.Addr.Embedded())
}

func (a *App) has(role string) bool { return slices.Contains(a.opts.Roles, role) }

// onStop registers how to undo a step, and returns it for who wants to do so
// earlier: it happens once. Steps log their own failures: a stop goes on to the end.
func (a *App) onStop(what string, stop func(context.Context) error) (undo func(context.Context)) {
	var once sync.Once
	undo = func(ctx context.Context) {
		once.Do(func() {
			ctx, cancel := context.WithTimeout(ctx, stopTimeout)
			defer cancel()
			if err := stop(ctx); err != nil {
				a.logger.Warn().Err(err).Msg("stopping " + what)
			}
		})
	}
	a.stops = append(a.stops, undo)
	return undo
}

func (a *App) stop(ctx context.Context) {
	for _, s := range slices.Backward(a.stops) {
		s(ctx)
	}
	a.stops = nil
}

// Run runs the service until ctx ends; then it drains, commits and returns nil.
// It returns an error when something fails that no retry heals.
func (a *App) Run(ctx context.Context) error {
	defer a.stop(context.WithoutCancel(ctx))
	admin, err := a.startAdmin()
	if err != nil {
		return err
	}
	if a.embedded() {
		if err := os.MkdirAll(a.cfg.DataDir, 0o750); err != nil {
			return fmt.Errorf("data_dir: %w", err)
		}
		a.watchDisk(ctx, admin)
	}
	a.watchRefused(ctx)
	addr := Addresses{Admin: admin.Addr()}
	client, err := a.startKafka(ctx, &addr)
	if err != nil {
		return err
	}
	wh, err := a.startClickHouse(ctx, &addr)
	if err != nil {
		return err
	}
	if wh != nil {
		wh.addChecks(admin)
	}
	roles, err := a.roles(client, wh, &addr)
	if err != nil {
		return err
	}
	for _, r := range roles {
		admin.AddCheck(r.name, func(context.Context) error { return r.health.Ready() })
		defer watch(ctx, admin, r)()
	}
	a.followConfig(ctx, admin)
	admin.SetStarted()
	defer context.AfterFunc(ctx, admin.Drain)()
	return a.work(ctx, roles, addr)
}

// followConfig has the config reloaded when somebody asks for it, until the stop.
func (a *App) followConfig(ctx context.Context, admin *telemetry.Admin) {
	admin.OnReload(a.reload.answer)
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var done sync.WaitGroup
	done.Go(func() { a.reload.watch(ctx) })
	// The disk that the file is on may not answer.
	a.onStop("the look at the config", patient(func() error { cancel(); done.Wait(); return nil }))
}

// Read returns how many records a role has read since the start.
func (a *App) Read(role string) int64 {
	var total float64
	a.counters("plumbline_records_total", func(labels map[string]string, n float64) {
		if labels["role"] == role {
			total += n
		}
	})
	return int64(total)
}

// counters calls each with the labels and the value of every counter of a name.
func (a *App) counters(name string, each func(labels map[string]string, n float64)) {
	families, err := a.reg.Gather()
	if err != nil {
		return
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			labels := make(map[string]string)
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			each(labels, m.GetCounter().GetValue())
		}
	}
}

// watch makes liveness follow a role: it beats as long as no partition is stuck.
func watch(ctx context.Context, admin *telemetry.Admin, r role) (stop func()) {
	heart := admin.Watch(r.name, 30*time.Second)
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var done sync.WaitGroup
	done.Go(func() {
		ticker := time.NewTicker(2 * time.Second)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				heart.Done()
				return
			case <-ticker.C:
				if r.health.Alive() == nil {
					heart.Beat()
				}
			}
		}
	})
	return func() { cancel(); done.Wait() }
}

// health is what a role knows about itself.
type health interface {
	Ready() error // nil while it does its work
	Alive() error // nil where a restart would mend nothing
}

// role is one role, ready to run.
type role struct {
	name   string
	health health
	run    func(context.Context) error
	leave  func(context.Context) // its consumer group
}

// work runs the roles until ctx ends or one of them fails.
func (a *App) work(ctx context.Context, roles []role, addr Addresses) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		errs []error
	)
	for _, r := range roles {
		wg.Go(func() {
			// At once, and not when the last role has ended: others may take over, and a
			// broker that does not answer is waited for by all of them together.
			defer r.leave(context.WithoutCancel(ctx))
			if err := r.run(ctx); err != nil {
				mu.Lock()
				errs = append(errs, err)
				mu.Unlock()
				cancel() // the others drain: a service that does half its work looks healthy and is not
			}
		})
	}
	wg.Go(func() { a.announce(ctx, roles, addr) })
	wg.Wait()
	return errors.Join(errs...)
}

// announce says once that every role works.
func (a *App) announce(ctx context.Context, roles []role, addr Addresses) {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if slices.ContainsFunc(roles, func(r role) bool { return r.health.Ready() != nil }) {
			continue
		}
		line := a.logger.Info().Strs("roles", a.opts.Roles).Strs("kafka", addr.Kafka).Strs("clickhouse", addr.ClickHouse)
		if addr.Decide != "" {
			line.Str("decide", addr.Decide)
		}
		line.Str("admin", addr.Admin).Str("version", a.opts.Version).Msg("plumbline is ready")
		if a.opts.Ready != nil {
			a.opts.Ready(addr)
		}
		return
	}
}
