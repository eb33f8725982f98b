package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/plumbline-sec/plumbline/internal/app"
	"github.com/plumbline-sec/plumbline/pipeline/clickhouse"
)

// migrateCmd is `plumbline migrate`.
type migrateCmd struct {
	DryRun  bool   `help:"Print the whole schema as SQL, filled in, and change nothing. Asks no server."`
	DataDir string `placeholder:"DIR" help:"Data directory of the embedded engine, in the place of data_dir."`
	Output  Output `enum:"text,json" default:"text" help:"Form of the result: text or json. SQL stays SQL."`
}

// Help is the long help.
func (c *migrateCmd) Help() string {
	return `The service migrates when it starts; this command is for those who want it done before, or by another user. Every migration is applied once and recorded in the table schema_migrations.`
}

// migration is the result of `migrate`.
type migration struct {
	Database string   `json:"database"`
	From     uint32   `json:"from"`
	To       uint32   `json:"to"`
	Steps    []string `json:"steps"`
}

// Run migrates.
func (c *migrateCmd) Run(ctx context.Context, g *Globals) error {
	cfg, err := g.LoadWithDataDir(c.DataDir)
	if err != nil {
		return err
	}
	if c.DataDir != "" && !cfg.ClickHouse.Addr.Embedded() {
		return usageError{errors.New("--data-dir is of the embedded engine, and clickhouse.addr names a server")}
	}
	if c.DryRun {
		ch, err := app.ClickHouseConfig(cfg)
		if err != nil {
			return usageError{err}
		}
		db, err := clickhouse.Open(ch)
		if err != nil {
			return err
		}
		return errors.Join(db.DryRun(g.Stdout), db.Close())
	}
	return withClickHouse(ctx, cfg, true, func(db *clickhouse.DB) error { return c.migrate(ctx, g, db) })
}

func (c *migrateCmd) migrate(ctx context.Context, g *Globals, db *clickhouse.DB) error {
	plan, err := db.Plan(ctx)
	if err != nil {
		return err
	}
	done := migration{Database: plan.Database, From: plan.Current, To: plan.Latest, Steps: []string{}}
	err = db.Migrate(ctx, func(s clickhouse.Step) {
		done.Steps = append(done.Steps, s.String())
		if c.Output == OutputText {
			fmt.Fprintf(g.Stdout, "%2d/%d  %s\n", len(done.Steps), len(plan.Steps), s)
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
	return nil
}
