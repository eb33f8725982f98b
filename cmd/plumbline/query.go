package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/plumbline-sec/plumbline/pipeline/clickhouse"
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
	service, err := g.Service(c.DataDir)
	if err != nil {
		return err
	}
	format := clickhouse.FormatText
	if c.Output == OutputJSON {
		format = clickhouse.FormatJSON
	}
	return service.clickHouse(ctx, false, func(db *clickhouse.DB) error {
		return g.printVisible(func(w io.Writer) error { return db.Query(ctx, sql, format, w, g.Stderr) })
	})
}
