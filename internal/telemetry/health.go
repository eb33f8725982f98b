package telemetry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// checkTimeout bounds one readiness check. Probes commonly wait for a second or
// more; a dependency that takes longer is not ready.
const checkTimeout = time.Second

// Outcome is what one check said.
type Outcome struct {
	Name  string `json:"name"`
	OK    bool   `json:"ok"`
	Error string `json:"error,omitempty"`
}

// Report is the answer of /readyz and /healthz.
type Report struct {
	OK     bool      `json:"ok"`
	Checks []Outcome `json:"checks"`
}

func (r *Report) add(name string, err error) {
	o := Outcome{Name: name, OK: err == nil}
	if err != nil {
		o.Error = err.Error()
		r.OK = false
	}
	r.Checks = append(r.Checks, o)
}

// text is the report for people: one line a check.
func (r *Report) text() string {
	var b strings.Builder
	for _, c := range r.Checks {
		if c.OK {
			b.WriteString("ok    " + c.Name + "\n")
			continue
		}
		b.WriteString("FAIL  " + c.Name + ": " + strings.ReplaceAll(c.Error, "\n", "; ") + "\n")
	}
	if r.OK {
		b.WriteString("ok\n")
	} else {
		b.WriteString("not ok\n")
	}
	return b.String()
}

// check is one named condition of readiness.
type check struct {
	name    string
	ask     func(ctx context.Context) error
	running atomic.Bool
}

var errStillRunning = errors.New("the check before this one has not returned yet")

// run asks once. Where the check ignores the end of its context, run returns
// anyway and the check is left to end by itself.
func (c *check) run(ctx context.Context) error {
	if !c.running.CompareAndSwap(false, true) {
		return errStillRunning
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	answer := make(chan error, 1)
	go func() { // ends when the check returns
		defer cancel()
		err := c.ask(ctx)
		c.running.Store(false) // before the answer: whoever has it may ask again at once
		answer <- err
	}()
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		select {
		case err := <-answer:
			return err
		default:
			return fmt.Errorf("no answer within %s", checkTimeout)
		}
	}
}

// Heartbeat is how a component shows that it makes progress.
type Heartbeat struct {
	name  string
	limit time.Duration
	last  atomic.Int64 // Unix nanoseconds
	done  atomic.Bool
}

// Beat says that the component is alive.
func (h *Heartbeat) Beat() { h.last.Store(time.Now().UnixNano()) }

// Done says that the component has ended as it should: it is no longer watched.
func (h *Heartbeat) Done() { h.done.Store(true) }

func (h *Heartbeat) err() error {
	silent := time.Since(time.Unix(0, h.last.Load()))
	if silent <= h.limit {
		return nil
	}
	return fmt.Errorf("no sign of life for %s, at most %s is normal", silent.Round(time.Second), h.limit)
}

// health holds what readiness and liveness are made of.
type health struct {
	mu     sync.Mutex
	checks []*check
	beats  []*Heartbeat
	phase  phase
}

// phase is where the service stands in its life; only when it has started do its
// checks alone decide about readiness.
type phase string

const (
	starting phase = "starting"
	started  phase = "started"
	stopping phase = "stopping"
)

func (h *health) addCheck(name string, ask func(ctx context.Context) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.checks = append(h.checks, &check{name: name, ask: ask})
}

func (h *health) watch(name string, limit time.Duration) *Heartbeat {
	b := &Heartbeat{name: name, limit: limit}
	b.Beat()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.beats = append(h.beats, b)
	return b
}

func (h *health) enter(p phase) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.phase = p
}

// ready asks all checks at once.
func (h *health) ready(ctx context.Context) Report {
	h.mu.Lock()
	checks, phase := slices.Clone(h.checks), h.phase
	h.mu.Unlock()
	errs := make([]error, len(checks))
	var wg sync.WaitGroup
	for i, c := range checks {
		wg.Go(func() { errs[i] = c.run(ctx) })
	}
	wg.Wait()
	report := Report{OK: true, Checks: []Outcome{}}
	for i, c := range checks {
		report.add(c.name, errs[i])
	}
	if phase != started {
		report.add("service", errors.New(string(phase)))
	}
	return report
}

// alive looks at this process alone: what it depends on may be down, and a
// restart would not help.
func (h *health) alive() Report {
	h.mu.Lock()
	h.beats = slices.DeleteFunc(h.beats, func(b *Heartbeat) bool { return b.done.Load() })
	beats := slices.Clone(h.beats)
	h.mu.Unlock()
	report := Report{OK: true, Checks: []Outcome{}}
	for _, b := range beats {
		report.add(b.name, b.err())
	}
	return report
}
