package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"github.com/plumbline-sec/plumbline/benchmarks/internal/bench"
	"github.com/plumbline-sec/plumbline/benchmarks/internal/stack"

	"github.com/plumbline-sec/plumbline/internal/embedded/chdb"
)

type options struct {
	kills        int
	agents, days int
	kafkaHome    string
	say          func(format string, args ...any)
}

// harness is what all cases share: the binary, the events, the engine, and what
// must come out.
type harness struct {
	o      options
	dir    string
	binary string
	engine *chdb.Server
	lines  [][]byte
	ids    map[string]bool // of the events
	alerts map[string]bool // ids that replay gives
	state  string          // of the undisturbed run
	n      int             // of cases so far
}

const partitions = 2

func newHarness(ctx context.Context, dir string, o options) (*harness, error) {
	h := &harness{o: o, dir: dir, binary: filepath.Join(dir, "plumbline")}
	o.say("building the program with its failpoints")
	err := stack.Build(ctx, h.binary, "-tags", "failpoints")
	if err != nil {
		return nil, err
	}
	o.say("starting the engine, and simulating a fleet of %d agents over %d days", o.agents, o.days)
	if h.engine, err = stack.StartEngine(ctx, h.binary, filepath.Join(dir, "clickhouse")); err != nil {
		return nil, err
	}
	if err := h.simulate(ctx); err != nil {
		h.close() //nolint:contextcheck // also when ctx has ended
		return nil, err
	}
	return h, nil
}

func (h *harness) close() { _ = stack.StopEngine(h.engine) } // its data are thrown away

// simulate makes the events, and asks replay for the alerts.
func (h *harness) simulate(ctx context.Context) error {
	events := filepath.Join(h.dir, "events.jsonl")
	out, err := os.Create(events)
	if err != nil {
		return fmt.Errorf("events: %w", err)
	}
	cmd := exec.CommandContext(ctx, h.binary, "simulate", "--agents", strconv.Itoa(h.o.agents), "--days", strconv.Itoa(h.o.days), "--seed", "11") //nolint:gosec // our own
	cmd.Stdout = out
	if err := errors.Join(cmd.Run(), out.Close()); err != nil {
		return fmt.Errorf("simulate: %w", err)
	}
	h.ids = make(map[string]bool)
	err = bench.EachLine(events, func(line []byte) error {
		var ev struct {
			ID string `json:"event_id"`
		}
		if err := json.Unmarshal(line, &ev); err != nil {
			return err
		}
		h.ids[ev.ID] = true
		h.lines = append(h.lines, append([]byte(nil), line...))
		return nil
	})
	if err != nil {
		return fmt.Errorf("events: %w", err)
	}
	if h.alerts, err = h.replay(ctx, events); err != nil {
		return err
	}
	if len(h.alerts) < 20 {
		return fmt.Errorf("only %d alerts: too few to prove anything", len(h.alerts))
	}
	h.o.say("%d events, %d alerts expected", len(h.lines), len(h.alerts))
	return nil
}

// replay returns the ids of the alerts that these events give, and leaves the alerts in
// events.alerts.
func (h *harness) replay(ctx context.Context, events string, more ...string) (map[string]bool, error) {
	cfg := filepath.Join(h.dir, "replay.yaml")
	if err := os.WriteFile(cfg, []byte(common), 0o600); err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	alerts := events + ".alerts"
	args := append([]string{"replay", "--config", cfg, "--input", events, "--alerts", alerts}, more...)
	if msg, err := exec.CommandContext(ctx, h.binary, args...).CombinedOutput(); err != nil { //nolint:gosec // our own
		return nil, fmt.Errorf("replay: %w: %s", err, msg)
	}
	ids := make(map[string]bool)
	err := bench.EachLine(alerts, func(line []byte) error {
		var a struct {
			ID string `json:"alert_id"`
		}
		if err := json.Unmarshal(line, &a); err != nil {
			return fmt.Errorf("%w in %q", err, line)
		}
		ids[a.ID] = true
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("alerts: %w", err)
	}
	return ids, nil
}

// common is the part of the config that decides about alerts.
const common = `detector: {alerts_per_agent_day: 0.3, quiet_time: 1h, checkpoint_every: 1s}
kafka: {partitions: 2}
`
