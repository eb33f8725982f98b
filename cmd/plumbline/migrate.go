package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/plumbline-sec/plumbline/internal/app"
	"github.com/plumbline-sec/plumbline/internal/config"
	"github.com/plumbline-sec/plumbline/pipeline/clickhouse"
)

// migrateCmd is `plumbline migrate`.
type migrateCmd struct {
	DryRun      bool `xor:"print" help:"Print what would be done, as SQL, and change nothing."`
	PrintSchema bool `xor:"print" help:"Print the whole schema as SQL, filled in. Asks no server."`
	engineDir
	Output Output `enum:"text,json" default:"text" help:"Form of the result: text or json. SQL stays SQL."`
}

// Help is the long help.
func (c *migrateCmd) Help() string {
	return `The service migrates when it starts; this command is for those who want it done before, or by another user. Every migration is applied once and recorded in the table schema_migrations. Then what is there is compared with what the migrations make: a table, view, column, index or setting that is gone is put back. What can't be put back without a decision about rows (another type, another ORDER BY) is named, nothing is done, and the exit code is 1.`
}

// migration is the result of `migrate`.
type migration struct {
	Database string   `json:"database"`
	From     uint32   `json:"from"`
	To       uint32   `json:"to"`
	Steps    []string `json:"steps"`
	Notes    []string `json:"notes,omitempty"` // what is left to be done
}

// Run migrates.
func (c *migrateCmd) Run(ctx context.Context, g *Globals) error {
	service, err := g.Service(c.DataDir)
	if err != nil {
		return err
	}
	cfg := service.cfg
	if c.PrintSchema {
		return c.printSchema(cfg, g)
	}
	if c.DryRun && cfg.ClickHouse.Addr.Embedded() && !service.engineListens(ctx) {
		if _, err := os.Stat(filepath.Join(cfg.DataDir, app.ClickHouseDir)); errors.Is(err, fs.ErrNotExist) {
			return c.printSchema(cfg, g) // there is nothing yet: all of it would be made
		}
	}
	return service.clickHouse(ctx, true, func(db *clickhouse.DB) error {
		if c.DryRun {
			return c.dryRun(ctx, g, db)
		}
		return c.migrate(ctx, g, db)
	})
}

func (c *migrateCmd) printSchema(cfg *config.Config, g *Globals) error {
	ch, err := app.ClickHouseConfig(cfg)
	if err != nil {
		return usageError{err}
	}
	db, err := clickhouse.Open(ch)
	if err != nil {
		return err
	}
	return errors.Join(db.PrintSchema(g.Stdout), db.Close())
}

func (c *migrateCmd) dryRun(ctx context.Context, g *Globals, db *clickhouse.DB) error {
	plan, err := db.Plan(ctx)
	if err != nil {
		return err
	}
	if len(plan.Steps) == 0 {
		fmt.Fprintf(g.Stdout, "-- database %s is up to date (version %d): nothing would be done\n", plan.Database, plan.Latest)
		return nil
	}
	fmt.Fprintf(g.Stdout, "-- database %s is at version %d of %d; `plumbline migrate` would do this:\n", plan.Database, plan.Current, plan.Latest)
	for _, s := range plan.Steps {
		fmt.Fprintf(g.Stdout, "\n-- ---- %s\n\n%s;\n", s, strings.Join(s.SQL, ";\n\n"))
	}
	return nil
}

func (c *migrateCmd) migrate(ctx context.Context, g *Globals, db *clickhouse.DB) error {
	plan, err := db.Plan(ctx)
	if err != nil {
		return err
	}
	done := migration{Database: plan.Database, From: plan.Current, To: plan.Latest, Steps: []string{}}
	err = db.Migrate(ctx, func(s clickhouse.Step) {
		done.Steps = append(done.Steps, s.String())
		if s.Note != "" {
			done.Notes = append(done.Notes, s.Note)
		}
		if c.Output == OutputText {
			fmt.Fprintf(g.Stdout, "%2d/%d  %s\n", len(done.Steps), max(len(plan.Steps), len(done.Steps)), s)
		}
	})
	if err != nil {
		return err
	}
	if c.Output == OutputJSON {
		return g.printJSON(done)
	}
	if len(done.Steps) == 0 {
		fmt.Fprintf(g.Stdout, "database %s is up to date (version %d)\n", plan.Database, plan.Latest)
		return nil
	}
	fmt.Fprintf(g.Stdout, "database %s is at version %d\n", plan.Database, plan.Latest)
	for _, note := range done.Notes {
		fmt.Fprintf(g.Stdout, "note: %s\n", note)
	}
	return nil
}
