package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/plumbline-sec/plumbline/benchmarks/internal/bench"
	"github.com/plumbline-sec/plumbline/benchmarks/internal/stack"
)

func main() {
	bench.Main("queries", run)
}

// limit is what no documented query may take.
const limit = time.Second

type options struct {
	rows, days, rounds int
	data, out          string
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	var o options
	flags := bench.Flags("queries", stderr)
	flags.IntVar(&o.rows, "rows", 10_000_000, "events to store")
	flags.IntVar(&o.days, "days", 30, "days over which they are spread, at most 80")
	flags.IntVar(&o.rounds, "rounds", 5, "how often each query is asked; the shortest time counts")
	flags.StringVar(&o.data, "data", "", "directory of the engine's data; kept, and used again where it has events (default: a temporary one)")
	flags.StringVar(&o.out, "out", "", "directory for queries.md (default: standard output)")
	err = bench.Parse(flags, args, "--rows and --rounds are at least 1, --days 1 to 80", func() bool {
		return o.rows >= 1 && o.days >= 1 && o.days <= 80 && o.rounds >= 1
	})
	if err != nil {
		return err
	}
	progress := bench.Progress("queries", stderr)
	tmp, err := os.MkdirTemp("", "plumbline-queries-")
	if err != nil {
		return fmt.Errorf("temporary directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	progress("building the program, whose child the engine is")
	binary := filepath.Join(tmp, "plumbline")
	if err := stack.Build(ctx, binary); err != nil {
		return err
	}
	server, err := stack.StartEngine(ctx, binary, cmp.Or(o.data, filepath.Join(tmp, "clickhouse")))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stack.StopEngine(server)) }() //nolint:contextcheck // also when ctx has ended
	e, err := openEngine(ctx, server.Addr())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.db.Close()) }()
	p := &page{machine: bench.ThisMachine(ctx, "go run ./benchmarks/queries", args), days: o.days}
	if err := e.load(ctx, o, p, progress); err != nil {
		return err
	}
	if err := e.compare(ctx, o, p, progress); err != nil {
		return err
	}
	return p.markdown().Publish(o.out, "queries", nil, stdout)
}

// load stores the events, unless there are some.
func (e *engine) load(ctx context.Context, o options, p *page, progress func(string, ...any)) error {
	there, err := e.number(ctx, "SELECT count() FROM activity_rows")
	if err != nil || there > 0 {
		return err
	}
	p.insertCPU, err = e.spent(ctx, func() (err error) {
		p.filled, err = fill(ctx, e.db, filling{rows: o.rows, days: o.days, end: time.Now(), seed: 1}, func(n int) {
			if n%1_000_000 < batchRows {
				progress("%d events stored", n)
			}
		})
		return err
	})
	return err
}

// compare measures every question as the load leaves the tables, and with the days
// merged.
func (e *engine) compare(ctx context.Context, o options, p *page, progress func(string, ...any)) error {
	questions, err := e.questions(ctx, ".")
	if err != nil {
		return err
	}
	p.lines = make([]line, len(questions))
	ask := func(keep func(*line, cost)) error {
		for i, q := range questions {
			c, err := e.measure(ctx, q, o.rounds)
			if err != nil {
				return err
			}
			p.lines[i].question = q
			keep(&p.lines[i], c)
		}
		return nil
	}
	progress("%d queries as the load leaves the tables", len(questions))
	if p.loaded, err = e.stored(ctx); err != nil {
		return err
	}
	if err := ask(func(l *line, c cost) { l.loaded = c }); err != nil {
		return err
	}
	progress("merging the days")
	if p.mergeCPU, err = e.spent(ctx, func() error { return e.mergeDays(ctx) }); err != nil {
		return err
	}
	if p.merged, err = e.stored(ctx); err != nil {
		return err
	}
	progress("%d queries with the days merged", len(questions))
	if err := ask(func(l *line, c cost) { l.merged = c }); err != nil {
		return err
	}
	slices.SortStableFunc(p.lines, func(a, b line) int { return cmp.Compare(b.merged.cpu, a.merged.cpu) })
	return nil
}
