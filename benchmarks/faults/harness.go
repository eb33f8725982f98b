package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"github.com/plumbline-sec/plumbline/pipeline/embedded/chdb"
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
	lib, err := chdb.Path("")
	if err != nil {
		return nil, fmt.Errorf("%w (run make setup)", err)
	}
	say("starting the engine, and simulating a fleet of %d agents over %d days", o.agents, o.days)
	h.engine, err = chdb.Start(ctx, chdb.Config{
		DataDir: filepath.Join(dir, "clickhouse"), Listen: "127.0.0.1:0", Lib: lib,
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

func (h *harness) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_ = h.engine.Stop(ctx) // its data are thrown away
}

// killEngine kills the engine's process; its server starts another.
func (h *harness) killEngine() error {
	if err := syscall.Kill(h.engine.Pid(), syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill the engine: %w", err)
	}
	return nil
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
	commit, _ := exec.CommandContext(ctx, "git", "rev-parse", "--short", "HEAD").Output()
	cpu := "unknown CPU"
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for l := range strings.Lines(string(b)) {
			if name, ok := strings.CutPrefix(l, "model name"); ok {
				cpu = strings.TrimSpace(strings.TrimLeft(name, "\t :"))
				break
			}
		}
	}
	broker, command := "the embedded broker", "make faults"
	if h.o.kafkaHome != "" {
		broker, command = "Apache Kafka", "make faults-kafka"
	}
	return fmt.Sprintf("Commit %s, %s, on %s. Command: `%s ARGS='--out benchmarks/results'`. %d events of %d agents in each case.",
		strings.TrimSpace(string(commit)), cpu, broker, command, len(h.lines), h.o.agents)
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
	cfg := filepath.Join(h.dir, "replay.yaml")
	if err := os.WriteFile(cfg, []byte(common), 0o600); err != nil {
		return fmt.Errorf("config: %w", err)
	}
	alerts := filepath.Join(h.dir, "alerts.jsonl")
	if msg, err := exec.CommandContext(ctx, h.binary, "replay", "--config", cfg, "--input", events, "--alerts", alerts).CombinedOutput(); err != nil { //nolint:gosec // our own
		return fmt.Errorf("replay: %w: %s", err, msg)
	}
	h.alerts = make(map[string]bool)
	err = eachLine(alerts, func(line []byte) error {
		var a struct {
			ID string `json:"alert_id"`
		}
		if err := json.Unmarshal(line, &a); err != nil {
			return err
		}
		h.alerts[a.ID] = true
		return nil
	})
	if err != nil {
		return fmt.Errorf("alerts: %w", err)
	}
	if len(h.alerts) < 20 {
		return fmt.Errorf("only %d alerts: too few to prove anything", len(h.alerts))
	}
	say("%d events, %d alerts expected", len(h.lines), len(h.alerts))
	return nil
}

func eachLine(path string, f func([]byte) error) error {
	in, err := os.Open(path)
	if err != nil {
		return err //nolint:wrapcheck // the caller says which
	}
	defer in.Close() //nolint:errcheck // it was read
	s := bufio.NewScanner(in)
	s.Buffer(nil, 16<<20)
	for s.Scan() {
		if err := f(s.Bytes()); err != nil {
			return err
		}
	}
	return s.Err() //nolint:wrapcheck // the caller says which
}

// common is the part of the config that decides about alerts.
const common = `detector: {alerts_per_agent_day: 0.3, quiet_time: 1h, checkpoint_every: 1s}
kafka: {partitions: 2}
`
