package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	driver "github.com/ClickHouse/clickhouse-go/v2"
)

// formatClause is a FORMAT clause where ClickHouse takes one: at the end, but for
// settings. What stands before it tells it from a column or table of that name.
var formatClause = regexp.MustCompile(`(?is)(\S+)\s+FORMAT\s+([a-z]\w*)(\s+SETTINGS\s.*)?$`)

// notFormat are words that stand where a format's name would, behind a column that is
// called format; notBefore those before a table or alias that is.
var (
	notFormat = words("ASC", "DESC", "SETTINGS", "NULLS", "LIMIT", "UNION", "FINAL")
	notBefore = words("FROM", "JOIN", "AS", "TABLE", "INTO", "BY", "SELECT", "WHERE", "AND", "OR", "ON")
)

func words(list ...string) map[string]bool {
	out := make(map[string]bool, len(list))
	for _, w := range list {
		out[w] = true
	}
	return out
}

// cutFormat takes the FORMAT clause off a statement that gives rows and returns its
// format, or "" where there is none.
func cutFormat(sql string) (rest, format string) {
	if !reads(sql) {
		return sql, ""
	}
	masked := []byte(sql) // what is quoted is neither a clause nor a keyword
	for i := 0; i < len(sql); i++ {
		if c := sql[i]; c == '\'' || c == '"' || c == '`' {
			end := quotedEnd(sql, i)
			for j := i + 1; j < end-1; j++ {
				masked[j] = 'x'
			}
			i = end - 1
		}
	}
	m := formatClause.FindSubmatchIndex(masked)
	if m == nil {
		return sql, ""
	}
	before, format := strings.ToUpper(sql[m[2]:m[3]]), sql[m[4]:m[5]]
	if notFormat[strings.ToUpper(format)] || notBefore[before] || strings.HasSuffix(before, ",") {
		return sql, ""
	}
	rest = sql[:m[3]]
	if m[6] >= 0 {
		rest += sql[m[6]:m[7]]
	}
	return rest, format
}

// raw runs a statement whose rows the engine writes in a format of its own.
func (db *DB) raw(ctx context.Context, sql, format string, start time.Time, d Display) error {
	out := d.Raw
	if out == nil {
		out = d.Rows
	}
	stream, err := db.conn.QueryFormat(ctx, format, sql)
	if errors.Is(err, driver.ErrFormatNativeUnsupported) {
		return fmt.Errorf("query: FORMAT %s is made by ClickHouse over HTTP alone: leave it out and use --output, or set clickhouse.protocol to http", format)
	}
	if err != nil {
		return db.explain("query", err)
	}
	defer stream.Close() //nolint:errcheck // it was read to its end, or failed
	to := &writeErrors{w: out}
	if _, err = io.Copy(to, stream); to.err != nil {
		return fmt.Errorf("query: write the result: %w", to.err)
	}
	if err != nil {
		return db.explain("query", err)
	}
	if d.Notes != nil {
		fmt.Fprintln(d.Notes, summary(0, false, time.Since(start)))
	}
	return nil
}

// writeErrors tells errors of writing from those of reading.
type writeErrors struct {
	w   io.Writer
	err error
}

func (w *writeErrors) Write(p []byte) (int, error) {
	n, err := w.w.Write(p)
	if err != nil {
		w.err = err
	}
	return n, err
}
