package clickhouse

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"

	driver "github.com/ClickHouse/clickhouse-go/v2"
	chdriver "github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// Values of Display.Format.
const (
	FormatText     = "text"     // an aligned table
	FormatJSON     = "json"     // one JSON object a row
	FormatVertical = "vertical" // one line a value
)

// Display says where the rows of a statement go, and how they look.
type Display struct {
	Format string
	// Width is that of the terminal that shows a table, in columns: what is wider is
	// wrapped. Zero: there is none, and every row stays one line, whole.
	Width int
	Rows  io.Writer
	// Raw takes what a statement with a FORMAT clause gives, byte for byte: the
	// engine makes the format then. Nil: Rows.
	Raw   io.Writer
	Notes io.Writer // how many rows there were and how long it took; may be nil
	// Parameters fill {name:Type} in the statement: values as they are, however they
	// are written on the wire.
	Parameters map[string]string
}

// Query runs one statement and writes its rows to out. How many there were and how
// long it took goes to notes, where that is not nil.
func (db *DB) Query(ctx context.Context, sql, format string, out, notes io.Writer) error {
	return db.Show(ctx, sql, Display{Format: format, Rows: out, Notes: notes})
}

// Show runs one statement and writes its rows as d says.
//
// Nothing that stands in a row reaches a terminal as a control character, but for
// Raw, which is the caller's.
func (db *DB) Show(ctx context.Context, sql string, d Display) error {
	w := bufio.NewWriterSize(d.Rows, 64<<10)
	var p printer
	switch d.Format {
	case FormatText:
		p = &tablePrinter{w: w, width: d.Width}
	case FormatJSON:
		p = &jsonPrinter{w: w}
	case FormatVertical:
		p = &verticalPrinter{w: w}
	default:
		return fmt.Errorf("query: format is %q: use text, json or vertical", d.Format)
	}
	parts := statements(sql)
	if len(parts) != 1 {
		return fmt.Errorf("query: %d statements given: give one", len(parts))
	}
	sql = parts[0]
	if len(d.Parameters) > 0 {
		ctx = driver.Context(ctx, driver.WithParameters(escapeParameters(d.Parameters)))
	}
	start := time.Now()
	if rest, format := cutFormat(sql); format != "" {
		return db.raw(ctx, rest, format, start, d)
	}
	rows, err := db.conn.Query(ctx, sql)
	if err != nil {
		return db.explain("query", err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err has it
	n, columns, err := db.print(rows, p)
	if err == nil {
		err = w.Flush()
	}
	if err != nil {
		if _, known := errors.AsType[*Error](err); known {
			return err
		}
		return fmt.Errorf("query: write the result: %w", err)
	}
	if err := rows.Err(); err != nil {
		return db.explain("query", err)
	}
	if d.Notes != nil {
		fmt.Fprintln(d.Notes, summary(n, columns > 0 || reads(sql), time.Since(start)))
	}
	return nil
}

// escapeParameters writes values as ClickHouse reads parameters: as a column of
// TabSeparated, in which a backslash begins an escape and a tab ends the value.
func escapeParameters(values map[string]string) driver.Parameters {
	out := make(driver.Parameters, len(values))
	escape := strings.NewReplacer("\\", "\\\\", "\t", "\\t", "\n", "\\n", "\r", "\\r", "\x00", "\\0")
	for name, value := range values {
		out[name] = escape.Replace(value)
	}
	return out
}

// print reads all rows and prints them. An error is an *Error, or one of writing.
func (db *DB) print(rows chdriver.Rows, p printer) (n, columns int, err error) {
	types := rows.ColumnTypes()
	cols := make([]resultColumn, len(types))
	dest := make([]any, len(types))
	for i, t := range types {
		v := reflect.New(t.ScanType())
		cols[i] = resultColumn{name: t.Name(), typ: t.DatabaseTypeName(), value: v.Elem()}
		dest[i] = v.Interface()
	}
	p.columns(cols)
	for len(cols) > 0 && rows.Next() {
		for i := range cols {
			cols[i].value.SetZero()
		}
		if err := rows.Scan(dest...); err != nil {
			return n, len(cols), db.explain("query", err)
		}
		if err := p.row(cols); err != nil {
			return n, len(cols), err
		}
		n++
	}
	return n, len(cols), p.end()
}

// reads reports whether a statement gives rows; over HTTP a result without rows has
// no columns either.
func reads(sql string) bool {
	word := strings.TrimLeft(sql, "( \r\n\t")
	if end := strings.IndexFunc(word, func(r rune) bool { return !unicode.IsLetter(r) }); end >= 0 {
		word = word[:end]
	}
	switch strings.ToUpper(word) {
	case "SELECT", "WITH", "FROM", "SHOW", "DESCRIBE", "DESC", "EXISTS", "EXPLAIN", "VALUES":
		return true
	}
	return false
}

func summary(rows int, result bool, took time.Duration) string {
	took = took.Round(time.Millisecond)
	switch {
	case !result:
		return fmt.Sprintf("done in %s", took)
	case rows == 1:
		return fmt.Sprintf("1 row in %s", took)
	}
	return fmt.Sprintf("%d rows in %s", rows, took)
}

// resultColumn is a column of a result, and its value in the present row.
type resultColumn struct {
	name, typ string
	value     reflect.Value
}

// rightAligned reports whether the column holds numbers.
func (c *resultColumn) rightAligned() bool {
	return c.is("Int", "UInt", "Float", "BFloat", "Decimal")
}

// isTime reports whether the column holds dates or times.
func (c *resultColumn) isTime() bool { return c.is("Date") }

func (c *resultColumn) is(prefixes ...string) bool {
	t := strings.TrimPrefix(strings.TrimPrefix(c.typ, "LowCardinality("), "Nullable(")
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(t, p) })
}

// A printer writes rows in one format.
type printer interface {
	columns(cols []resultColumn)
	row(cols []resultColumn) error
	end() error
}

type jsonPrinter struct {
	w     *bufio.Writer
	names [][]byte // "name": with what stands before it
	buf   []byte
}

func (p *jsonPrinter) columns(cols []resultColumn) {
	for i := range cols {
		name := []byte{','}
		if i == 0 {
			name[0] = '{'
		}
		p.names = append(p.names, append(appendJSONString(name, cols[i].name), ':'))
	}
}

func (p *jsonPrinter) row(cols []resultColumn) error {
	p.buf = p.buf[:0]
	for i := range cols {
		p.buf = append(p.buf, p.names[i]...)
		p.buf = appendJSON(p.buf, cols[i].value, cols[i].typ)
	}
	p.buf = append(p.buf, '}', '\n')
	_, err := p.w.Write(p.buf)
	return err
}

func (p *jsonPrinter) end() error { return nil }
