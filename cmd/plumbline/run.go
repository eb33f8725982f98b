package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/plumbline-sec/plumbline/internal/app"
	"github.com/plumbline-sec/plumbline/pipeline/embedded/broker/datadir"
	"github.com/plumbline-sec/plumbline/pipeline/embedded/chdb"
	"github.com/plumbline-sec/plumbline/pipeline/embedded/claim"
	"github.com/plumbline-sec/plumbline/pipeline/kafka"
)

// runCmd is `plumbline run`.
type runCmd struct {
	Roles   []string `placeholder:"ROLE,..." help:"What this instance does: route, detect, archive. Default: all of them."`
	DataDir string   `placeholder:"DIR" help:"Directory of the embedded stack, in the place of data_dir."`
}

// Help is the long help.
func (c *runCmd) Help() string {
	return `Without a config, Kafka and ClickHouse are embedded, listen on loopback and keep their data in ./plumbline-data. SIGTERM, SIGHUP and Ctrl-C drain, commit and end with exit code 0; a second SIGTERM or Ctrl-C ends at once.

Examples:
  plumbline run
  plumbline run --config /etc/plumbline.yaml --roles route,detect`
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
		Ready: func(at app.Addresses) { c.welcome(g, at) },
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

// privateFiles has every file that this process and its children make be their
// owner's alone: the embedded Kafka and ClickHouse would let everybody read events.
// Commands that write files for others to read don't call it.
func privateFiles() { syscall.Umask(0o077) }

// welcome tells a person at a terminal what to do next.
func (c *runCmd) welcome(g *Globals, at app.Addresses) {
	if !isTerminal(g.Stderr) {
		return
	}
	fmt.Fprintf(g.Stderr, `
  Plumbline is ready. In another terminal:
    plumbline send events.jsonl                                      events in, one JSON object a line
    plumbline query "SELECT time, severity, summary FROM alerts"     what it found
    curl http://%s/metrics                               what it counts
  Kafka listens on %s, ClickHouse on %s. Ctrl-C drains and stops.

`, at.Admin, strings.Join(at.Kafka, ","), strings.Join(at.ClickHouse, ","))
}

// setupError marks what the operator must change before the service can start:
// it exits with 2, as a wrong config does.
func setupError(err error) error {
	var (
		port   *claim.PortError
		held   *claim.HeldError
		topics *kafka.TopicsError
		file   *datadir.FileError
	)
	switch {
	case errors.As(err, &port), errors.As(err, &held), errors.As(err, &topics), errors.As(err, &file),
		errors.Is(err, chdb.ErrMissing), errors.Is(err, chdb.ErrUnsupported):
		return usageError{err}
	}
	return err
}
