package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/plumbline-sec/plumbline/internal/app"
	"github.com/plumbline-sec/plumbline/internal/config"
	"github.com/plumbline-sec/plumbline/internal/embedded"
	"github.com/plumbline-sec/plumbline/internal/embedded/claim"
	"github.com/plumbline-sec/plumbline/pipeline/kafka"
	"github.com/plumbline-sec/plumbline/pipeline/terminal"
)

// runCmd is `plumbline run`.
type runCmd struct {
	Roles   []string `placeholder:"ROLE,..." help:"What this instance does: route, detect, archive, decide. Default: all but decide."`
	DataDir string   `placeholder:"DIR" help:"Directory of the embedded stack, in the place of data_dir."`
	Watch   bool     `negatable:"" default:"true" help:"Reload the config when its file changes (the default)."`
}

// Help is the long help.
func (c *runCmd) Help() string {
	return embedded.About + ` SIGTERM and Ctrl-C drain, commit and end with exit code 0; a second one ends at once. SIGHUP reloads the config, as a change of its file and plumbline config reload do; on a terminal, where it says that the terminal is closed, it drains.

Examples:
  plumbline run
  plumbline run --config /etc/plumbline.yaml --roles route,detect
  plumbline run --config /etc/plumbline.yaml --roles decide`
}

// Run runs the service until it is told to stop.
func (c *runCmd) Run(ctx context.Context, g *Globals) error {
	cfg, err := g.LoadWithDataDir(c.DataDir)
	if err != nil {
		return err
	}
	logger, err := g.Logger(cfg)
	if err != nil {
		return err
	}
	privateFiles()
	service, err := app.New(cfg, app.Options{
		Roles: c.Roles, Version: Version(),
		Source: app.Source{
			File: g.ConfigFile, Watch: c.Watch, Hangup: hangups(),
			Load: func() (*config.Config, error) { return g.LoadWithDataDir(c.DataDir) },
		},
		Ready: func(at app.Addresses) { c.welcome(g, cfg, at) },
	}, logger)
	if err != nil {
		return usageError{err}
	}
	err = service.Run(ctx)
	if ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled)) {
		logger.Info().Msg("stopped: what is acknowledged is committed, the rest is read again at the next start")
		return nil
	}
	return setupError(err)
}

// hangups are the SIGHUPs that ask for a reload: those of a process that has no terminal
// which could be closed. Under nohup they stay ignored.
func hangups() <-chan os.Signal {
	if signal.Ignored(syscall.SIGHUP) || hasTerminal() {
		return nil
	}
	signal.Reset(syscall.SIGHUP) // what main does with it
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGHUP)
	return c
}

// hasTerminal reports whether this process has a controlling terminal.
func hasTerminal() bool {
	tty, err := os.OpenFile("/dev/tty", os.O_RDONLY|syscall.O_NOCTTY, 0)
	if err != nil {
		return false
	}
	_ = tty.Close()
	return true
}

// privateFiles has every file that this process and its children make be their
// owner's alone: the embedded Kafka and ClickHouse would let everybody read events.
// Commands that write files for others to read don't call it.
func privateFiles() { syscall.Umask(0o077) }

// welcome tells a person at a terminal what to do next.
func (c *runCmd) welcome(g *Globals, cfg *config.Config, at app.Addresses) {
	if isTerminal(g.Stderr) {
		fmt.Fprint(g.Stderr, c.banner(g, cfg, at))
	}
}

// banner has commands that work as they are pasted, in whatever directory.
func (c *runCmd) banner(g *Globals, cfg *config.Config, at app.Addresses) string {
	exe := program()
	// Where ports are taken as they come, only data_dir says which they are.
	named := c.DataDir != "" || strings.HasSuffix(cfg.Embedded.KafkaListen, ":0") || strings.HasSuffix(cfg.Embedded.ClickHouseListen, ":0")
	command := func(name string, embedded bool, args string) string {
		line := exe + " " + name
		if g.ConfigFile != "" {
			line += " --config " + terminal.ShellWord(absolute(g.ConfigFile))
		}
		if named && embedded {
			line += " --data-dir " + terminal.ShellWord(absolute(cfg.DataDir))
		}
		return terminal.Escape(line + args)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n  Plumbline is ready. In another terminal:\n")
	fmt.Fprintf(&b, "    events in, one JSON object a line  %s\n", command("send", cfg.Kafka.Brokers.Embedded(), " events.jsonl"))
	if len(at.ClickHouse) > 0 {
		warehouse := cfg.ClickHouse.Addr.Embedded()
		fmt.Fprintf(&b, "    what it found                      %s\n", command("alerts", warehouse, ""))
		fmt.Fprintf(&b, "    who an agent is, and what it does  %s\n", command("agent", warehouse, " AGENT_ID"))
	}
	if at.Admin != "" {
		fmt.Fprintf(&b, "    whether it does its work           curl http://%s/readyz\n", at.Admin)
	}
	fmt.Fprintf(&b, "  Kafka: %s", strings.Join(at.Kafka, ","))
	if len(at.ClickHouse) > 0 {
		fmt.Fprintf(&b, ", ClickHouse: %s", strings.Join(at.ClickHouse, ","))
	}
	fmt.Fprintf(&b, ". Ctrl-C drains and stops.\n\n")
	return b.String()
}

// program is how this program is called from any directory.
func program() string {
	exe, err := os.Executable()
	if err != nil {
		return "plumbline"
	}
	if found, err := exec.LookPath("plumbline"); err == nil {
		a, errA := os.Stat(found)
		b, errB := os.Stat(exe)
		if errA == nil && errB == nil && os.SameFile(a, b) {
			return "plumbline"
		}
	}
	return terminal.ShellWord(exe)
}

func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// setupError marks what the operator must change before the service can start:
// it exits with 2, as a wrong config does.
func setupError(err error) error {
	var (
		port   *claim.PortError
		held   *claim.HeldError
		topics *kafka.TopicsError
	)
	switch {
	case errors.As(err, &port), errors.As(err, &held), errors.As(err, &topics), embedded.IsSetup(err):
		return usageError{err}
	}
	return err
}
