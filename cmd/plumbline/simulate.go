package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/plumbline-sec/plumbline/internal/simulator"
	"github.com/plumbline-sec/plumbline/schemas"
)

// simulateCmd is `plumbline simulate`.
type simulateCmd struct {
	Agents   int     `default:"100" help:"How many agents."`
	Days     int     `default:"28" help:"How many days."`
	Start    string  `default:"2026-03-02" placeholder:"DATE" help:"First instant: a date (UTC) or an RFC 3339 time."`
	Seed     uint64  `default:"1" help:"The same seed and flags give the same bytes."`
	Scenario string  `default:"benign" placeholder:"NAME" help:"benign, attacks (all kinds) or kinds with commas: burst, runaway, sweep, exfil_fast, exfil_slow, new_destination, newborn, injection, ramp."`
	Attacks  int     `placeholder:"N" help:"How many attacks. Without it one for every four agents."`
	Strength float64 `default:"1" help:"How far attacks stick out."`
	Tails    string  `enum:"nb,heavy" default:"nb" help:"Family of the counts and sizes: nb (negative binomial) or heavy (log-normal and Pareto, outages, failure storms)."`
	Tenants  int     `default:"1" help:"How many tenants share the agents."`
	Rate     float64 `default:"1" help:"Multiplies the rate of every agent."`
	Registry string  `placeholder:"FILE" help:"Write a registration of each honest agent, as JSON lines: for plumbline register, and in front of the events for replay."`
	Labels   string  `placeholder:"FILE" help:"Write what was attacked, one JSON object per attack, when the events are written."`
}

// Help is the long help.
func (c *simulateCmd) Help() string {
	return `The events go to standard output as JSON lines, in order of time, as the decoder "activity" reads them. Attacks only add events: with and without them the honest events of a seed are the same.

Examples:
  plumbline simulate --agents 50 --days 21 > honest.jsonl
  plumbline simulate --scenario attacks --labels labels.jsonl | plumbline replay --input - --alerts alerts.jsonl
  plumbline simulate --scenario newborn --registry agents.jsonl > events.jsonl; plumbline replay agents.jsonl events.jsonl --alerts alerts.jsonl
  plumbline simulate --scenario ramp,exfil_slow --seed 7 --tails heavy | gzip > slow.jsonl.gz`
}

// Run simulates.
func (c *simulateCmd) Run(ctx context.Context, g *Globals) (err error) {
	fleet, err := c.fleet()
	if err != nil {
		return usageError{err}
	}
	if c.Registry != "" {
		if err := writeRegistry(fleet, c.Registry); err != nil {
			return usageError{fmt.Errorf("--registry: %w", err)}
		}
	}
	labels := io.Discard
	if c.Labels != "" {
		// Opened first: a path that can't be written should show before the work.
		file, err := os.Create(c.Labels)
		if err != nil {
			return usageError{fmt.Errorf("--labels: %w", err)}
		}
		labels = file
		defer func() { err = errors.Join(err, file.Close()) }()
	}
	// A reader that has seen enough, such as head, ends the events and is no
	// failure; the labels of what was written still come.
	signal.Ignore(syscall.SIGPIPE)
	defer signal.Reset(syscall.SIGPIPE)

	con := newConsole(g.Stderr)
	progress := c.progress(con, fleet)
	if isTerminal(g.Stdout) {
		progress = nil // the events themselves are on the screen
	}
	err = fleet.WriteEvents(untilDone{ctx, g.Stdout}, progress)
	con.clear()
	switch {
	case errors.Is(err, syscall.EPIPE):
		err = nil
	case err != nil && ctx.Err() != nil:
		err = errors.New("interrupted")
	}
	found := fleet.Labels()
	if werr := simulator.WriteLabels(labels, found); werr != nil {
		return errors.Join(err, werr)
	}
	if err == nil && progress != nil {
		con.line(fmt.Sprintf("%d events of %d agents, %d attacks", fleet.Events(), len(fleet.Agents()), len(found)))
	}
	return err
}

func writeRegistry(fleet *simulator.Fleet, name string) (err error) {
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return fleet.WriteRegistrations(file)
}

// fleet builds the fleet that the flags describe.
func (c *simulateCmd) fleet() (*simulator.Fleet, error) {
	start, err := parseInstant(c.Start)
	if err != nil {
		return nil, fmt.Errorf("--start: %w", err)
	}
	kinds, err := simulator.ParseScenario(c.Scenario)
	if err != nil {
		return nil, err
	}
	for _, f := range []struct {
		name string
		ok   bool
	}{
		{"--agents", c.Agents > 0},
		{"--days", c.Days > 0},
		{"--tenants", c.Tenants > 0},
		{"--rate", c.Rate > 0},
		{"--strength", c.Strength > 0},
		{"--attacks", c.Attacks >= 0},
	} {
		if !f.ok {
			return nil, fmt.Errorf("%s must be above 0", f.name)
		}
	}
	if c.Attacks > 0 && len(kinds) == 0 {
		return nil, fmt.Errorf("--attacks %d of no kind: write --scenario attacks, or the kinds", c.Attacks)
	}
	return simulator.New(simulator.Options{
		Agents: c.Agents, Days: c.Days, Start: start, Seed: c.Seed, Kinds: kinds, Count: c.Attacks,
		Strength: c.Strength, Tails: simulator.Tails(c.Tails), Tenants: c.Tenants, Rate: c.Rate,
	})
}

// progress says now and then how far the fleet's time has come.
func (c *simulateCmd) progress(con *console, fleet *simulator.Fleet) func(schemas.Millis) {
	from, to := fleet.Span()
	last := time.Now()
	return func(at schemas.Millis) {
		if time.Since(last) < con.every() {
			return
		}
		last = time.Now()
		con.progress(fmt.Sprintf("simulated up to %s, %d events, %.0f %%",
			at.Time().Format(time.DateOnly), fleet.Events(), 100*float64(at-from)/float64(to-from)))
	}
}

// parseInstant reads a date or an RFC 3339 time.
func parseInstant(s string) (time.Time, error) {
	if t, err := time.Parse(time.DateOnly, s); err == nil {
		return t, nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, fmt.Errorf("%q is neither a date like 2026-03-02 nor a time like 2026-03-02T08:00:00Z", s)
	}
	return t.UTC(), nil
}

// untilDone fails writes once the context is done.
type untilDone struct {
	ctx context.Context
	w   io.Writer
}

func (u untilDone) Write(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.w.Write(p)
}
