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
	SQL string `arg:"" name:"sql" help:"One statement; - reads it from standard input."`
	engineDir
	Output Output `enum:"text,json,vertical" default:"text" help:"Form of the rows: text (a table), json (one object a row) or vertical (one line a value). A FORMAT clause in the statement goes first."`
}

// Help is the long help.
func (c *queryCmd) Help() string {
	return `The views are activity, alerts and windows. With the embedded ClickHouse a running service is asked; where none runs, the engine is started for the query.

On a terminal a table is wrapped to its width, and becomes vertical where it is too narrow for that; elsewhere nothing is wrapped or cut. With a FORMAT clause ClickHouse's own output goes to standard output, byte for byte.

Examples:
  plumbline query "SELECT agent_id, count() FROM activity GROUP BY 1 ORDER BY 2 DESC LIMIT 10"
  plumbline query --output json "SELECT * FROM alerts WHERE status = 'open'"
  plumbline query "SELECT * FROM windows WHERE start >= now() - INTERVAL 1 DAY FORMAT Parquet" > windows.parquet`
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
	return c.clickHouse(ctx, g, func(db *clickhouse.DB) error {
		return g.show(ctx, db, sql, c.Output, nil)
	})
}
