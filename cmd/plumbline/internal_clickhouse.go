package main

import (
	"context"

	"github.com/rs/zerolog"

	"github.com/plumbline-sec/plumbline/internal/embedded"
)

// internalClickhouseCmd is the child process of the embedded engine, which
// runs it with these flags.
type internalClickhouseCmd struct {
	DataDir string `required:"" placeholder:"DIR" help:"Data directory of the engine."`
	Lib     string `required:"" placeholder:"FILE" help:"The engine, libchdb."`
}

// Run serves until its parent goes away.
func (c *internalClickhouseCmd) Run(ctx context.Context, g *Globals) error {
	return embedded.ServeClickHouse(ctx, embedded.ChildConfig{
		DataDir: c.DataDir, Lib: c.Lib, Stdin: g.Stdin,
		Logger: zerolog.New(g.Stderr).With().Timestamp().Logger(),
	})
}
