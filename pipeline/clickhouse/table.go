package clickhouse

import (
	"bufio"
	"slices"
	"strconv"
	"strings"

	"github.com/plumbline-sec/plumbline/pipeline/terminal"
)

const (
	// alignRows and alignBytes are how much is looked at to align the columns; the rows
	// after that are written as they come.
	alignRows  = 1000
	alignBytes = 8 << 20
	// columnGap stands between two columns.
	columnGap = 2
	// leastWrapped is how narrow a column may become by wrapping. Where a terminal
	// is too narrow for that, a row is written one line a value.
	leastWrapped = 16
	// mostLines is how many lines a wrapped value may take.
	mostLines = 24
)

// tablePrinter writes
//
//	agent_id  events
//	--------  ------
//	a-1           12
type tablePrinter struct {
	w      *bufio.Writer
	width  int // of the terminal; 0: none
	right  []bool
	whole  []bool // never wrapped: numbers and times
	widths []int
	held   [][]string // heading first, until the widths are known
	bytes  int        // seen in rows
	known  bool
	tall   *verticalPrinter // in the place of a table that does not fit
}

func (p *tablePrinter) columns(cols []resultColumn) {
	head := make([]string, len(cols))
	for i := range cols {
		head[i] = terminal.Escape(cols[i].name)
		p.right = append(p.right, cols[i].rightAligned())
		p.whole = append(p.whole, cols[i].rightAligned() || cols[i].isTime())
	}
	p.widths = make([]int, len(cols))
	if len(cols) > 0 {
		p.held = append(p.held, head)
	}
}

func (p *tablePrinter) row(cols []resultColumn) error {
	most := whole
	if p.width > 0 {
		most = maxText
	}
	line := make([]string, len(cols))
	for i := range cols {
		line[i] = string(appendText(nil, cols[i].value, cols[i].typ, false, most))
		p.bytes += len(line[i])
	}
	if p.known {
		return p.print(line)
	}
	p.held = append(p.held, line)
	if len(p.held) > alignRows || p.bytes > alignBytes {
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
			p.widths[i] = max(p.widths[i], terminal.Cells(cell))
		}
	}
	if p.width > 0 && len(p.held) > 0 && !fit(p.widths, p.whole, p.width) {
		p.tall = &verticalPrinter{w: p.w}
		p.tall.named(p.held[0])
		p.held = p.held[1:]
	}
	for n, line := range p.held {
		if err := p.print(line); err != nil {
			return err
		}
		if n == 0 && p.tall == nil {
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

// fit narrows the widest columns until a row fits into width, and reports whether
// that leaves them wide enough to be read.
func fit(widths []int, whole []bool, width int) bool {
	left, sorted := width-columnGap*(len(widths)-1), []int(nil)
	for i, w := range widths {
		if whole[i] {
			left -= w
		} else {
			sorted = append(sorted, w)
		}
	}
	slices.Sort(sorted)
	for i, w := range sorted {
		share := left / (len(sorted) - i)
		if w <= share {
			left -= w
			continue
		}
		for j := range widths {
			if !whole[j] {
				widths[j] = min(widths[j], max(share, 0))
			}
		}
		return share >= leastWrapped
	}
	return left >= 0
}

func (p *tablePrinter) print(line []string) error {
	if p.tall != nil {
		return p.tall.values(line)
	}
	columns, height := make([][]string, len(line)), 1
	for i, cell := range line {
		columns[i] = []string{cell}
		if p.width > 0 && terminal.Cells(cell) > p.widths[i] && !p.whole[i] {
			columns[i] = terminal.Wrap(cell, p.widths[i], mostLines)
		}
		height = max(height, len(columns[i]))
	}
	for n := range height {
		var b strings.Builder
		for i, lines := range columns {
			cell := ""
			if n < len(lines) {
				cell = lines[n]
			}
			if i > 0 {
				b.WriteString(strings.Repeat(" ", columnGap))
			}
			pad := strings.Repeat(" ", max(0, p.widths[i]-terminal.Cells(cell)))
			if p.right[i] {
				b.WriteString(pad + cell)
			} else {
				b.WriteString(cell + pad)
			}
		}
		if _, err := p.w.WriteString(strings.TrimRight(b.String(), " ") + "\n"); err != nil {
			return err
		}
	}
	return nil
}

// verticalPrinter writes, as ClickHouse's format Vertical does,
//
//	Row 1:
//	──────
//	agent_id: a-1
//	events:   12
type verticalPrinter struct {
	w     *bufio.Writer
	names []string // padded to the same width
	n     int
}

func (p *verticalPrinter) columns(cols []resultColumn) {
	head := make([]string, len(cols))
	for i := range cols {
		head[i] = terminal.Escape(cols[i].name)
	}
	p.named(head)
}

func (p *verticalPrinter) named(head []string) {
	widest := 0
	for _, name := range head {
		widest = max(widest, terminal.Cells(name))
	}
	for _, name := range head {
		p.names = append(p.names, name+":"+strings.Repeat(" ", widest-terminal.Cells(name)+1))
	}
}

func (p *verticalPrinter) row(cols []resultColumn) error {
	line := make([]string, len(cols))
	for i := range cols {
		line[i] = string(appendText(nil, cols[i].value, cols[i].typ, false, whole))
	}
	return p.values(line)
}

func (p *verticalPrinter) values(line []string) error {
	p.n++
	var b strings.Builder
	if p.n > 1 {
		b.WriteByte('\n')
	}
	title := "Row " + strconv.Itoa(p.n) + ":"
	b.WriteString(title + "\n" + strings.Repeat("─", len(title)) + "\n")
	for i, value := range line {
		b.WriteString(strings.TrimRight(p.names[i]+value, " ") + "\n")
	}
	_, err := p.w.WriteString(b.String())
	return err
}

func (p *verticalPrinter) end() error { return nil }
