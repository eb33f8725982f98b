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
	"time"

	"github.com/rs/zerolog"

	"github.com/plumbline-sec/plumbline/benchmarks/origin"
	"github.com/plumbline-sec/plumbline/internal/embedded/chdb"
)

type options struct {
	kills        int
	agents, days int
	kafkaHome    string
}

// harness is what all cases share: the binary, the events, the engine, and what
// must come out.
type harness struct {
	o      options
	dir    string
	binary string
	lib    string // the engine's
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
	say("building the program with its failpoints")
	if out, err := exec.CommandContext(ctx, "go", "build", "-tags", "failpoints", "-o", h.binary, "./cmd/plumbline").CombinedOutput(); err != nil { //nolint:gosec // our own
		return nil, fmt.Errorf("build: %w\n%s", err, out)
	}
	var err error
	if h.lib, err = chdb.Path(""); err != nil {
		return nil, fmt.Errorf("%w (run make setup)", err)
	}
	say("starting the engine, and simulating a fleet of %d agents over %d days", o.agents, o.days)
	h.engine, err = chdb.Start(ctx, chdb.Config{
		DataDir: filepath.Join(dir, "clickhouse"), Listen: "127.0.0.1:0", Lib: h.lib,
		Argv: []string{h.binary, chdb.Command}, Logger: zerolog.Nop(),
	})
	if err != nil {
		return nil, err
	}
	if err := h.simulate(ctx); err != nil {
		h.close() //nolint:contextcheck // also when ctx has ended
		return nil, err
	}
	return h, nil
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

func (h *harness) close() { stopEngine(h.engine) }

func stopEngine(e *chdb.Server) {
	if e == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_ = e.Stop(ctx) // its data are thrown away
}

// name is a file name that says which broker it was.
func (h *harness) name(base string) string {
	if h.o.kafkaHome != "" {
		return base + "-kafka"
	}
	return base
}

// origin says where the figures come from.
func (h *harness) origin(ctx context.Context) string {
	broker, command := "the embedded broker", "make faults"
	if h.o.kafkaHome != "" {
		broker, command = "Apache Kafka", "make faults-kafka"
	}
	return fmt.Sprintf("%s, on %s. Command: `%s ARGS='--out benchmarks/results'`. %d events of %d agents in each case.",
		origin.Line(ctx), broker, command, len(h.lines), h.o.agents)
}

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
	err = eachLine(events, func(line []byte) error {
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
	say("%d events, %d alerts expected", len(h.lines), len(h.alerts))
	return nil
}

// replay returns the ids of the alerts that these events give.
func (h *harness) replay(ctx context.Context, events string) (map[string]bool, error) {
	cfg := filepath.Join(h.dir, "replay.yaml")
	if err := os.WriteFile(cfg, []byte(common), 0o600); err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	alerts := events + ".alerts"
	if msg, err := exec.CommandContext(ctx, h.binary, "replay", "--config", cfg, "--input", events, "--alerts", alerts).CombinedOutput(); err != nil { //nolint:gosec // our own
		return nil, fmt.Errorf("replay: %w: %s", err, msg)
	}
	ids := make(map[string]bool)
	err := eachLine(alerts, func(line []byte) error {
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
