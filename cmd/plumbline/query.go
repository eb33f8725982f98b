package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/plumbline-sec/plumbline/internal/app"
	"github.com/plumbline-sec/plumbline/internal/config"
	"github.com/plumbline-sec/plumbline/pipeline/clickhouse"
	"github.com/plumbline-sec/plumbline/pipeline/embedded/chdb"
)

// queryCmd is `plumbline query`.
type queryCmd struct {
	SQL     string `arg:"" name:"sql" help:"One statement; - reads it from standard input."`
	DataDir string `placeholder:"DIR" help:"Data directory of the embedded engine, in the place of data_dir."`
	Output  Output `enum:"text,json" default:"text" help:"Form of the rows: text (a table) or json (one object a row)."`
}

// Help is the long help.
func (c *queryCmd) Help() string {
	return `The views are activity, alerts and windows. With the embedded ClickHouse a running service is asked; where none runs, the engine is started for the query.

Examples:
  plumbline query "SELECT agent_id, count() FROM activity GROUP BY 1 ORDER BY 2 DESC LIMIT 10"
  plumbline query --output json "SELECT * FROM alerts WHERE status = 'open'"`
}

// maxSQL bounds a statement from standard input.
const maxSQL = 1 << 20

// Run queries.
func (c *queryCmd) Run(ctx context.Context, g *Globals) error {
	sql := c.SQL
	if sql == "-" {
		b, err := io.ReadAll(io.LimitReader(g.Stdin, maxSQL+1))
		if err != nil {
			return fmt.Errorf("read the statement: %w", err)
		}
		if len(b) > maxSQL {
			return usageError{fmt.Errorf("the statement has more than %d bytes", maxSQL)}
		}
		sql = string(b)
	}
	if strings.TrimSpace(sql) == "" {
		return usageError{errors.New("the statement is empty")}
	}
	cfg, err := g.LoadWithDataDir(c.DataDir)
	if err != nil {
		return err
	}
	if c.DataDir != "" && !cfg.ClickHouse.Addr.Embedded() {
		return usageError{errors.New("--data-dir is of the embedded engine, and clickhouse.addr names a server")}
	}
	format := clickhouse.FormatText
	if c.Output == OutputJSON {
		format = clickhouse.FormatJSON
	}
	return withClickHouse(ctx, cfg, false, func(db *clickhouse.DB) error {
		return g.printVisible(func(w io.Writer) error { return db.Query(ctx, sql, format, w, g.Stderr) })
	})
}

// withClickHouse calls do with the configured ClickHouse. Where that is embedded
// and no service runs it, the engine runs for as long as do does; create says
// whether its directory may be made.
func withClickHouse(ctx context.Context, cfg *config.Config, create bool, do func(*clickhouse.DB) error) (err error) {
	ch, err := app.ClickHouseConfig(cfg)
	if err != nil {
		return usageError{err}
	}
	if cfg.ClickHouse.Addr.Embedded() {
		addr, stop, err := embeddedEngine(ctx, cfg, create)
		if err != nil {
			return err
		}
		defer stop()
		ch.Addrs = []string{addr}
	}
	db, err := clickhouse.Open(ch)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return do(db)
}

// embeddedEngine returns where the embedded engine answers, and what ends it where
// it was started here.
func embeddedEngine(ctx context.Context, cfg *config.Config, create bool) (addr string, stop func(), err error) {
	dir := filepath.Join(cfg.DataDir, app.ClickHouseDir)
	if addr, ok := chdb.RunningAddr(dir); ok {
		return addr, func() {}, nil
	}
	if _, err := os.Stat(dir); err != nil && !create {
		return "", nil, fmt.Errorf("no embedded ClickHouse has run in %s yet: start the service with `plumbline run`, or name its data directory with --data-dir", cfg.DataDir)
	}
	lib, err := chdb.Path("")
	if err != nil {
		return "", nil, setupError(err)
	}
	privateFiles()
	// A free port: the configured one may belong to another service.
	server, err := chdb.Start(ctx, chdb.Config{DataDir: dir, Listen: "127.0.0.1:0", Lib: lib, Logger: zerolog.Nop()})
	if err != nil {
		return "", nil, setupError(err)
	}
	return server.Addr(), func() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		_ = server.Stop(last) // it ends by force when its time is over
	}, nil
}
