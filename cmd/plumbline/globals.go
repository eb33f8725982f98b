package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/rs/zerolog"

	"github.com/plumbline-sec/plumbline/internal/app"
	"github.com/plumbline-sec/plumbline/internal/config"
	"github.com/plumbline-sec/plumbline/internal/telemetry"
	"github.com/plumbline-sec/plumbline/pipeline/clickhouse"
)

// Globals are the flags that every command has, and what a command may touch.
type Globals struct {
	ConfigFile string `name:"config" short:"c" placeholder:"FILE" help:"Config file (YAML). Without it everything has its default."`

	Stdin  io.Reader `kong:"-"`
	Stdout io.Writer `kong:"-"`
	Stderr io.Writer `kong:"-"`
}

// Output is how a command prints its result.
type Output string

// Values of Output.
const (
	OutputText     Output = "text"
	OutputJSON     Output = "json"
	OutputVertical Output = "vertical"
)

// show runs a statement and prints its rows.
func (g *Globals) show(ctx context.Context, db *clickhouse.DB, sql string, output Output, parameters map[string]string) error {
	rows := &visible{w: g.Stdout}
	defer rows.flush()
	d := clickhouse.Display{Format: string(output), Rows: rows, Raw: g.Stdout, Notes: g.Stderr, Parameters: parameters}
	if isTerminal(g.Stdout) {
		d.Width = columns()
		strict := &visible{w: g.Stdout, strict: true} // the engine's formats leave ESC as it is
		defer strict.flush()
		d.Raw = strict
	}
	return db.Show(ctx, sql, d)
}

// Load reads the config; an error is one of usage.
func (g *Globals) Load() (*config.Config, error) {
	cfg, err := config.Load(g.ConfigFile, app.Forms())
	var mistakes *config.Error
	if err != nil && !errors.As(err, &mistakes) {
		err = usageError{err}
	}
	return cfg, err
}

// LoadWithDataDir reads the config and puts dir, where it is given, in the place
// of data_dir.
func (g *Globals) LoadWithDataDir(dir string) (*config.Config, error) {
	cfg, err := g.Load()
	if err != nil || dir == "" {
		return cfg, err
	}
	cfg.DataDir = dir
	return cfg, cfg.Validate(app.Forms())
}

// Logger returns the logger of the config, on standard error.
func (g *Globals) Logger(cfg *config.Config) (zerolog.Logger, error) {
	out := g.Stderr
	if v, ok := out.(*visible); ok && cfg.Log.Format == config.LogConsole {
		out = v.w // which quotes by itself, and has to see whether it is a terminal
	}
	logger, err := telemetry.NewLogger(cfg.Log, out)
	if err != nil {
		return logger, usageError{err}
	}
	return logger, nil
}

// printJSON prints v on one line.
func (g *Globals) printJSON(v any) error {
	return g.printVisible(func(w io.Writer) error {
		if err := json.NewEncoder(w).Encode(v); err != nil {
			return fmt.Errorf("print the result: %w", err)
		}
		return nil
	})
}

// printVisible calls print with standard output for a result that others chose parts of.
func (g *Globals) printVisible(print func(w io.Writer) error) error {
	v := &visible{w: g.Stdout}
	defer v.flush()
	return print(v)
}

// isTerminal reports whether a person looks at w.
func isTerminal(w io.Writer) bool {
	if v, ok := w.(*visible); ok {
		w = v.w
	}
	return telemetry.IsTerminal(w)
}
