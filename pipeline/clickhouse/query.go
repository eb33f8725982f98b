package clickhouse

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"reflect"
	"strings"
	"time"
)

// Values of Query's format.
const (
	FormatText = "text" // an aligned table for terminals
	FormatJSON = "json" // one JSON object a row
)

// Query runs one statement and writes its rows to out. How many there were and how
// long it took goes to notes, where that is not nil.
//
// Nothing that stands in a row reaches a terminal as a control character.
func (db *DB) Query(ctx context.Context, sql, format string, out, notes io.Writer) error {
	if format != FormatText && format != FormatJSON {
		return fmt.Errorf("query: format is %q: use text or json", format)
	}
	parts := statements(sql)
	if len(parts) != 1 {
		return fmt.Errorf("query: %d statements given: give one", len(parts))
	}
	start := time.Now()
	rows, err := db.conn.Query(ctx, parts[0])
	if err != nil {
		return db.explain("query", err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err has it
	types := rows.ColumnTypes()
	cols := make([]resultColumn, len(types))
	dest := make([]any, len(types))
	for i, t := range types {
		v := reflect.New(t.ScanType())
		cols[i] = resultColumn{name: t.Name(), typ: t.DatabaseTypeName(), value: v.Elem()}
		dest[i] = v.Interface()
	}
	w := bufio.NewWriterSize(out, 64<<10)
	var p printer
	if format == FormatText {
		p = &tablePrinter{w: w}
	} else {
		p = &jsonPrinter{w: w}
	}
	p.columns(cols)
	n := 0
	for len(cols) > 0 && rows.Next() {
		for i := range cols {
			cols[i].value.SetZero()
		}
		if err := rows.Scan(dest...); err != nil {
			return db.explain("query", err)
		}
		if err := p.row(cols); err != nil {
			return fmt.Errorf("query: write the result: %w", err)
		}
		n++
	}
	if err := p.end(); err != nil {
		return fmt.Errorf("query: write the result: %w", err)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("query: write the result: %w", err)
	}
	if err := rows.Err(); err != nil {
		return db.explain("query", err)
	}
	if notes != nil {
		fmt.Fprintln(notes, summary(n, len(cols) > 0 || reads(parts[0]), time.Since(start)))
	}
	return nil
}

// reads reports whether a statement gives rows; over HTTP a result without rows has
// no columns either.
func reads(sql string) bool {
	word, _, _ := strings.Cut(strings.TrimLeft(sql, "( \n\t"), " ")
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
	t := strings.TrimPrefix(strings.TrimPrefix(c.typ, "LowCardinality("), "Nullable(")
	for _, prefix := range []string{"Int", "UInt", "Float", "BFloat", "Decimal"} {
		if strings.HasPrefix(t, prefix) {
			return true
		}
	}
	return false
}

// A printer writes rows in one format.
type printer interface {
	columns(cols []resultColumn)
	row(cols []resultColumn) error
	end() error
}

const (
	// maxCell is how many terminal columns a value may take in a table.
	maxCell = 60
	// alignRows is how many rows are looked at to align the columns; those after
	// them are written as they come.
	alignRows = 1000
)

// tablePrinter writes
//
//	agent_id  events
//	--------  ------
//	a-1           12
type tablePrinter struct {
	w      *bufio.Writer
	right  []bool
	widths []int
	held   [][]string // heading first, until the widths are known
	known  bool
}

func (p *tablePrinter) columns(cols []resultColumn) {
	head := make([]string, len(cols))
	for i := range cols {
		head[i] = cut(string(appendEscaped(nil, cols[i].name)), maxCell)
		p.right = append(p.right, cols[i].rightAligned())
	}
	p.widths = make([]int, len(cols))
	if len(cols) > 0 {
		p.held = append(p.held, head)
	}
}

func (p *tablePrinter) row(cols []resultColumn) error {
	line := make([]string, len(cols))
	for i := range cols {
		line[i] = cut(string(appendText(nil, cols[i].value, cols[i].typ, false)), maxCell)
	}
	if p.known {
		return p.print(line)
	}
	p.held = append(p.held, line)
	if len(p.held) > alignRows {
		return p.end()
	}
	return nil
}

func (p *tablePrinter) end() error {
	if p.known {
		return nil
	}
	p.known = true
	for _, line := range p.held {
		for i, cell := range line {
			p.widths[i] = max(p.widths[i], cells(cell))
		}
	}
	for n, line := range p.held {
		if err := p.print(line); err != nil {
			return err
		}
		if n == 0 {
			rule := make([]string, len(line))
			for i := range rule {
				rule[i] = strings.Repeat("-", p.widths[i])
			}
			if err := p.print(rule); err != nil {
				return err
			}
		}
	}
	p.held = nil
	return nil
}

func (p *tablePrinter) print(line []string) error {
	var b strings.Builder
	for i, cell := range line {
		if i > 0 {
			b.WriteString("  ")
		}
		pad := strings.Repeat(" ", max(0, p.widths[i]-cells(cell)))
		if p.right[i] {
			b.WriteString(pad + cell)
		} else {
			b.WriteString(cell + pad)
		}
	}
	_, err := p.w.WriteString(strings.TrimRight(b.String(), " ") + "\n")
	return err
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
