package decide

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/net/netutil"

	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/pipeline/policy"
	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
)

// Config says what is decided with, and how callers are answered.
type Config struct {
	Policies      *policy.Set
	Registrations []Source
	// Permit is the answer where nothing can be decided; otherwise it is denied.
	Permit bool
	// StaleAfter is how long a partition may not be read until nothing is decided any more.
	StaleAfter time.Duration
	// RiskFor is how long an episode counts of which nothing is heard.
	RiskFor time.Duration
	// Token is what callers show; empty: nobody is asked for one.
	Token string
	// LogTopic gets the decisions; empty: nobody does.
	LogTopic string
}

// Bounds of the server.
const (
	maxConnections = 4096
	maxEngines     = 16
	stopFor        = 5 * time.Second
)

// Decide is the role.
type Decide struct {
	pipeline.Role
	cfg      Config
	metrics  *Metrics
	registry *registry
	follower *follower
	problem  atomic.Pointer[string] // why nothing can be decided; "": it can
	policies atomic.Pointer[policy.Set]
	workers  chan *worker
	log      *decisionLog
	now      func() time.Time // of events
}

// worker decides on one question at a time.
type worker struct {
	policies  *policy.Set // of the engine
	engine    *policy.Engine
	reader    reader
	decisions []schemas.PolicyDecision
}

// New returns the role; Run starts it.
func New(role pipeline.Role, cfg Config, m *Metrics) (*Decide, error) {
	if cfg.Policies == nil {
		return nil, ErrNoPolicies
	}
	role.Name = "decide"
	d := &Decide{
		Role: role, cfg: cfg, metrics: m, registry: newRegistry(), now: time.Now,
		workers: make(chan *worker, min(runtime.GOMAXPROCS(0), maxEngines)),
	}
	d.follower = &follower{Log: role.Log, begun: make(map[string]bool), parts: make(map[pipeline.TopicPartition]*progress), lag: d.lagOf}
	d.log = newDecisionLog(d)
	d.policies.Store(cfg.Policies)
	starting := "starting"
	d.problem.Store(&starting)
	for range cap(d.workers) {
		d.workers <- d.newWorker()
	}
	return d, nil
}

// ErrNoPolicies says that there is nothing to decide by.
var ErrNoPolicies = errors.New("no policies: name them in policy.files")

// Reload has the questions that come from now on decided by other policies.
func (d *Decide) Reload(set *policy.Set) { d.policies.Store(set) }

func (d *Decide) newWorker() *worker {
	set := d.policies.Load()
	return &worker{policies: set, engine: policy.NewEngine(set), reader: reader{decode.NewActivity()}}
}

// Run answers on the listener until ctx ends; then it lets requests end, writes down what was
// decided, and returns nil. It closes the listener. wrap stands in front of the handler.
func (d *Decide) Run(ctx context.Context, ln net.Listener, wrap func(http.Handler) http.Handler) error {
	reading, stop := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	for _, s := range d.cfg.Registrations {
		wg.Go(func() { d.follow(reading, s.Topic, func() (take, error) { return d.registrations(s) }) })
	}
	wg.Go(func() {
		d.follow(reading, pipeline.TopicAlerts, func() (take, error) { return d.alerts, nil })
	})
	wg.Go(func() { d.look(reading) })
	wg.Go(func() { d.log.run(reading) })

	server := &http.Server{
		Handler: wrap(d.Handler()), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: log.New(connectionLog{d.Logger}, "", 0),
	}
	served := make(chan error, 1)
	wg.Go(func() { served <- server.Serve(netutil.LimitListener(ln, maxConnections)) }) // ends with the server
	select {
	case err := <-served:
		return fmt.Errorf("%s: serve: %w", d.Name, err)
	case <-ctx.Done():
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopFor)
	defer cancel()
	if err := server.Shutdown(bounded); err != nil {
		d.Logger.Warn().Err(err).Msg("requests were cut off at the stop")
		_ = server.Close() // the listener is closed already
	}
	return nil
}

// connectionLog takes what is wrong with connections, such as certificates.
type connectionLog struct{ zerolog.Logger }

func (l connectionLog) Write(b []byte) (int, error) {
	l.Debug().Str("reason", strings.TrimSpace(string(b))).Msg("a connection failed")
	return len(b), nil
}

// answer is what is said to a question.
type answer struct {
	permit   bool
	problem  string // why it was not decided; "": it was
	status   int    // of HTTP that the problem is worth, in a list of answers
	event    schemas.Activity
	risk     string
	known    bool // the agent is registered
	denied   []string
	decided  []string // policies that permit
	observed []string
	failed   []string
}

var errBusy = errors.New("no worker became free")

// ask decides on an event as agents would send it. An error is the caller's mistake, or errBusy.
func (d *Decide) ask(ctx context.Context, event []byte) (*answer, error) {
	var w *worker
	select {
	case w = <-d.workers:
	default:
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		select {
		case w = <-d.workers:
		case <-ctx.Done():
			return nil, errBusy
		}
	}
	defer func() { d.workers <- w }()
	if w.policies != d.policies.Load() {
		w = d.newWorker()
	}
	now := d.now()
	a := &answer{}
	err := w.reader.read(event, schemas.Millis(now.UnixMilli()), func(ev *schemas.Activity) {
		a.event = *ev
		a.event.Resources, a.event.Attributes = append([]string(nil), ev.Resources...), nil
		if !d.decide(w, a, now) {
			w = d.newWorker() // the state of the other is unknown
		}
	})
	if err != nil {
		return nil, err
	}
	return a, nil
}

// decide fills the answer in. It reports false where the engine broke.
func (d *Decide) decide(w *worker, a *answer, now time.Time) (whole bool) {
	if problem := *d.problem.Load(); problem != "" {
		d.undecided(a, problem)
		return true
	}
	reg, risk, problem := d.registry.of(a.event.TenantID, a.event.AgentID, now.Add(-d.cfg.RiskFor))
	if problem != "" {
		d.undecided(a, problem)
		return true
	}
	defer func() {
		if r := recover(); r != nil {
			d.Logger.Error().Interface("panic", r).Bytes("stack", debug.Stack()).Msg("a decision failed")
			d.undecided(a, "the decision failed")
		}
	}()
	if reg != nil && int64(reg.Time) > now.UnixMilli() {
		reg = nil // it says nothing of what happens before it was said
	}
	a.risk, a.known = risk, reg != nil
	w.decisions = w.engine.Decide(w.decisions[:0], &a.event, reg, risk)
	a.permit = true
	for i := range w.decisions {
		v := w.decisions[i].PolicyVerdict
		to := &a.decided
		switch {
		case v.Denied:
			a.permit, to = false, &a.denied
		case v.Observed:
			to = &a.observed
		}
		for _, p := range v.Policies {
			*to = once(*to, p.ID)
		}
		for _, id := range v.Failed {
			a.failed = once(a.failed, id)
		}
	}
	if a.permit && len(a.failed) > 0 {
		d.undecided(a, "a policy can't be evaluated")
	}
	return true
}

func (d *Decide) undecided(a *answer, problem string) {
	a.permit, a.problem, a.status = d.cfg.Permit, problem, http.StatusServiceUnavailable
}

// once appends an id that is not in the list yet.
func once(list []string, id string) []string {
	if slices.Contains(list, id) {
		return list
	}
	return append(list, id)
}

// result is the label of the metric.
func (a *answer) result() string {
	switch {
	case a.problem == "" && a.permit:
		return resultPermit
	case a.problem == "":
		return resultDeny
	case a.permit:
		return resultErrorPermit
	}
	return resultErrorDeny
}

// reason is a line for people.
func (a *answer) reason() string {
	switch {
	case a.problem != "":
		return a.problem
	case a.permit && len(a.decided)+len(a.observed) == 0:
		return "no policy says anything: policy.default"
	case a.permit:
		return "permitted"
	case len(a.denied) == 0:
		return "no policy permits it: policy.default"
	}
	return "denied by policy"
}
