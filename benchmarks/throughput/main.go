package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/plumbline-sec/plumbline/benchmarks/internal/bench"
	"github.com/plumbline-sec/plumbline/internal/simulator"
)

func main() {
	bench.Main("throughput", func(ctx context.Context, args []string, stdout, stderr io.Writer) error {
		if ok, err := runChild(args); ok {
			return err
		}
		o, err := parse(args, stderr)
		if err != nil {
			return err
		}
		return run(ctx, o, stdout, stderr)
	})
}

// options are the command line.
type options struct {
	args   []string
	quick  bool
	only   []string
	out    string
	keep   string
	rounds int
}

// benches are the measurements, in the order in which they run.
var benches = []struct {
	name string
	run  func(*runner, context.Context) error
}{
	{"decode", (*runner).decode},
	{"forms", (*runner).forms},
	{"route", (*runner).route},
	{"detect", (*runner).detect},
	{"archive", (*runner).archive},
	{"siem", (*runner).siem},
	{"policy", (*runner).policy},
	{"endtoend", (*runner).endToEnd},
	{"latency", (*runner).latency},
}

func names() []string {
	var out []string
	for _, b := range benches {
		out = append(out, b.name)
	}
	return out
}

func parse(args []string, stderr io.Writer) (options, error) {
	o := options{args: args}
	flags := bench.Flags("throughput", stderr)
	flags.BoolVar(&o.quick, "quick", false, "small and imprecise, in about a minute; without a million agents")
	only := flags.String("only", "", "what to measure, with commas: "+strings.Join(names(), ", "))
	flags.StringVar(&o.out, "out", "", "directory for throughput.md and throughput.json (default: the page on standard output)")
	flags.StringVar(&o.keep, "profiles", "", "directory for the CPU profiles themselves (default: they are not kept)")
	flags.IntVar(&o.rounds, "rounds", 0, "rounds of every stage (default 7, with --quick 3)")
	err := bench.Parse(flags, args, "--only takes "+strings.Join(names(), ", ")+", --rounds is at least 1", func() bool {
		if *only != "" {
			o.only = strings.Split(*only, ",")
		}
		unknown := func(name string) bool { return !slices.Contains(names(), name) }
		return !slices.ContainsFunc(o.only, unknown) && o.rounds >= 0
	})
	if o.rounds == 0 {
		o.rounds = 7
		if o.quick {
			o.rounds = 3
		}
	}
	return o, err
}

// scale says how much is measured.
type scale struct {
	corpus       int // events of decode, route and archive
	fleets       []fleetSize
	siemAgents   int
	policyEvents int // of a round
	endToEnd     int // events
	profile      time.Duration
	latency      time.Duration
	latencyWarm  int
	latencyRoles []string
}

const (
	allRoles   = "route,detect,archive"
	withoutSQL = "route,detect"
)

// awake leaves out the agents that sleep at night or act once a day: a million must
// all be known after some minutes of measuring. At a tenth of the ordinary rate an
// hour of theirs is short enough to be measured as a whole.
var awake = simulator.Mix{Steady: .6, Bursty: .4}

var (
	fullScale = scale{
		corpus: 300_000,
		fleets: []fleetSize{
			{agents: 10_000, warm: 2_500_000, rate: 1, events: 1_500_000},
			{agents: 100_000, warm: 4_000_000, rate: 1, events: 4_000_000},
			{agents: 1_000_000, warm: 6_000_000, rate: .1, events: 2_500_000, mix: awake},
		},
		siemAgents: 400, policyEvents: 50_000, endToEnd: 1_500_000, profile: 12 * time.Second,
		latency: 15 * time.Second, latencyWarm: 500_000, latencyRoles: []string{allRoles, withoutSQL},
	}
	quickScale = scale{
		corpus: 60_000,
		fleets: []fleetSize{
			{agents: 10_000, warm: 250_000, rate: 1, events: 210_000},
			{agents: 100_000, warm: 300_000, rate: .2, events: 210_000},
		},
		siemAgents: 100, policyEvents: 20_000, endToEnd: 120_000, profile: 2 * time.Second,
		latency: 3 * time.Second, latencyWarm: 60_000, latencyRoles: []string{allRoles},
	}
)

// runner is one run of this program.
type runner struct {
	scale    scale
	rounds   int
	exe      string // this program
	root     string // of the repository
	tmp      string
	keep     string // where profiles stay
	progress func(format string, args ...any)
	page     *page
}

// run measures and writes the page. What could not be measured is in the page too,
// and makes the exit code 1.
func run(ctx context.Context, o options, stdout, stderr io.Writer) (err error) {
	begin := time.Now()
	b := &runner{scale: fullScale, rounds: o.rounds, progress: bench.Progress("throughput", stderr)}
	if o.quick {
		b.scale = quickScale
	}
	if b.exe, err = os.Executable(); err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	if b.root, err = bench.Root(ctx); err != nil {
		return err
	}
	if b.tmp, err = os.MkdirTemp("", "plumbline-throughput-"); err != nil {
		return fmt.Errorf("temporary directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.tmp)) }()
	if b.keep = cmp.Or(o.keep, b.tmp); o.keep != "" {
		if err := os.MkdirAll(o.keep, 0o750); err != nil {
			return fmt.Errorf("profiles: %w", err)
		}
	}
	b.page = &page{Machine: bench.ThisMachine(ctx, "go run ./benchmarks/throughput", o.args), Quick: o.quick, Only: o.only}
	var failed []error
	for _, x := range benches {
		if len(o.only) > 0 && !slices.Contains(o.only, x.name) {
			continue
		}
		if err := x.run(b, ctx); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			err = fmt.Errorf("%s: %w", x.name, err)
			b.progress("%v", err)
			b.page.Failures = append(b.page.Failures, err.Error())
			failed = append(failed, err)
		}
	}
	b.page.Machine.LoadAfter = bench.Load()
	b.page.Seconds = time.Since(begin).Seconds()
	b.page.judge()
	return errors.Join(append(failed, b.page.markdown().Publish(o.out, "throughput", b.page, stdout))...)
}
