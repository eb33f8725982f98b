package main

import (
	"context"
	"fmt"
	"math"
	"strings"

	"github.com/plumbline-sec/plumbline/benchmarks/internal/bench"
)

// line is a query with what it took: as the load leaves the tables, and once the days
// that are over are merged.
type line struct {
	question
	loaded, merged cost
}

// table is what one table takes on disk.
type table struct {
	name                       string
	parts, rows, disk, indexes float64
}

// page is the result of a run.
type page struct {
	machine        bench.Machine
	days           int
	filled         filled
	insertCPU      float64 // seconds of the engine for the load, 0: the data were there
	mergeCPU       float64
	loaded, merged []table
	lines          []line
}

// stored says what the tables are on disk.
func (e *engine) stored(ctx context.Context) ([]table, error) {
	a, err := e.ask(ctx, `SELECT table, toFloat64(count()) AS parts, toFloat64(sum(rows)) AS stored, toFloat64(sum(bytes_on_disk)) AS disk,
    toFloat64(sum(secondary_indices_compressed_bytes)) AS indexes
FROM system.parts WHERE active AND database = 'plumbline' AND table != 'schema_migrations' GROUP BY table ORDER BY table`)
	if err != nil {
		return nil, err
	}
	var out []table
	for _, row := range a.Data {
		t := table{name: fmt.Sprint(row["table"])}
		for column, to := range map[string]*float64{"parts": &t.parts, "stored": &t.rows, "disk": &t.disk, "indexes": &t.indexes} {
			*to, _ = row[column].(float64)
		}
		out = append(out, t)
	}
	return out, nil
}

func (p *page) markdown() *bench.Page {
	b := &bench.Page{}
	b.Line("# Queries\n\n%s. Command: `%s`.\n", &p.machine, p.machine.Command)
	b.WriteString(`Every query that the documentation shows, that alerts bring and that an analyst asks first, on the embedded engine; the shortest of the rounds.
"Just loaded" is as a load in minutes leaves the tables, with several parts a day and repetitions in them; "days merged" is what the tables are an hour
after a day is over, today's parts as they are. CPU is that of the engine, which a busy machine stretches less than the clock; a query runs on all cores.
Names of agents, sessions, credentials and addresses in them are those of an event of the busiest agent, the worst case of a lookup.
`)
	if n := float64(p.filled.Events); n > 0 {
		b.Line("\n%d events of %d agents over %d days, %d of them stored twice, %d alerts, %d windows. The load took %.0f s and %.1f µs of the engine's CPU a row, the merging of the days %.1f µs more.",
			p.filled.Events, p.filled.Agents, p.days, p.filled.Repeated, p.filled.Alerts, p.filled.Windows, p.filled.Took.Seconds(), p.insertCPU/n*1e6, p.mergeCPU/n*1e6)
	}
	mib := func(bytes float64) string { return fmt.Sprintf("%.1f MiB", bytes/(1<<20)) }
	b.Table("table", "parts, just loaded", "rows", "on disk", "parts, days merged", "rows", "on disk", "of that indexes")
	for i, t := range p.loaded {
		m := p.merged[i]
		b.Row("`"+t.name+"`", t.parts, int(t.rows), mib(t.disk), m.parts, int(m.rows), mib(m.disk), mib(m.indexes))
	}
	clock, cpu := 0, 0
	b.Table("query", "rows read, just loaded", "ms", "CPU ms", "rows read, days merged", "ms", "CPU ms")
	for _, l := range p.lines {
		if l.merged.seconds > limit.Seconds() {
			clock++
		}
		if l.merged.cpu > limit.Seconds() {
			cpu++
		}
		b.Row(l.name(), l.loaded.read, ms(l.loaded.seconds), ms(l.loaded.cpu), l.merged.read, ms(l.merged.seconds), ms(l.merged.cpu))
	}
	b.Line("\nOver a second with the days merged: %d of %d by the clock, %d by the engine's CPU on one core.", clock, len(p.lines), cpu)
	return b
}

// name is where a query stands and the beginning of it.
func (q question) name() string {
	sql := strings.Join(strings.Fields(q.sql), " ")
	if len(sql) > 60 {
		sql = strings.ToValidUTF8(sql[:60], "") + "..."
	}
	title := strings.TrimSpace(q.title)
	if title != "" {
		title = ", " + title
	}
	return q.place + title + ": `" + sql + "`"
}

func ms(seconds float64) string { return fmt.Sprintf("%.0f", math.Round(seconds*1000)) }
