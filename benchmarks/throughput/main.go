package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/plumbline-sec/plumbline/internal/simulator"
)

func main() {
	if ok, err := runChild(os.Args[1:]); ok {
		if err != nil {
			fmt.Fprintln(os.Stderr, "throughput: "+err.Error())
			os.Exit(1) //nolint:forbidigo // this is the program
		}
		return
	}
	o, err := parse(os.Args[1:], os.Stderr)
	if err != nil {
		os.Exit(2) //nolint:forbidigo // this is the program; flag has said what is wrong
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err = run(ctx, o, os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "throughput: "+err.Error())
		os.Exit(1) //nolint:forbidigo // this is the program
	}
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
	run  func(*bench, context.Context) error
}{
	{"decode", (*bench).decode},
	{"forms", (*bench).forms},
	{"route", (*bench).route},
	{"detect", (*bench).detect},
	{"archive", (*bench).archive},
	{"siem", (*bench).siem},
	{"endtoend", (*bench).endToEnd},
	{"latency", (*bench).latency},
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
	flags := flag.NewFlagSet("throughput", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.BoolVar(&o.quick, "quick", false, "small and imprecise, in about a minute; without a million agents")
	only := flags.String("only", "", "what to measure, with commas: "+strings.Join(names(), ", "))
	flags.StringVar(&o.out, "out", "", "directory for throughput.md and throughput.json (default: the page on standard output)")
	flags.StringVar(&o.keep, "profiles", "", "directory for the CPU profiles themselves (default: they are not kept)")
	flags.IntVar(&o.rounds, "rounds", 0, "rounds of every stage (default 7, with --quick 3)")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if *only != "" {
		o.only = strings.Split(*only, ",")
	}
	for _, name := range o.only {
		if !slices.Contains(names(), name) {
			err := fmt.Errorf("throughput: --only %s: there are %s", name, strings.Join(names(), ", "))
			fmt.Fprintln(stderr, err)
			return o, err
		}
	}
	if flags.NArg() > 0 || o.rounds < 0 {
		err := errors.New("throughput: --rounds is at least 1 and there are no arguments")
		fmt.Fprintln(stderr, err)
		return o, err
	}
	if o.rounds == 0 {
		o.rounds = 7
		if o.quick {
			o.rounds = 3
		}
	}
	return o, nil
}

// scale says how much is measured.
type scale struct {
	corpus       int // events of decode, route and archive
	fleets       []fleetSize
	siemAgents   int
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
		siemAgents: 400, endToEnd: 1_500_000, profile: 12 * time.Second,
		latency: 15 * time.Second, latencyWarm: 500_000, latencyRoles: []string{allRoles, withoutSQL},
	}
	quickScale = scale{
		corpus: 60_000,
		fleets: []fleetSize{
			{agents: 10_000, warm: 250_000, rate: 1, events: 210_000},
			{agents: 100_000, warm: 300_000, rate: .2, events: 210_000},
		},
		siemAgents: 100, endToEnd: 120_000, profile: 2 * time.Second,
		latency: 3 * time.Second, latencyWarm: 60_000, latencyRoles: []string{allRoles},
	}
)

// bench is one run of this program.
type bench struct {
	scale  scale
	rounds int
	exe    string // this program
	root   string // of the repository
	tmp    string
	keep   string // where profiles stay
	stderr io.Writer
	begin  time.Time
	page   *page
}

func (b *bench) progress(format string, args ...any) {
	fmt.Fprintf(b.stderr, "throughput: %4.0fs  %s\n", time.Since(b.begin).Seconds(), fmt.Sprintf(format, args...))
}

// run measures and writes the page. What could not be measured is in the page too,
// and makes the exit code 1.
func run(ctx context.Context, o options, stdout, stderr io.Writer) (err error) {
	b := &bench{scale: fullScale, rounds: o.rounds, stderr: stderr, begin: time.Now()}
	if o.quick {
		b.scale = quickScale
	}
	if b.exe, err = os.Executable(); err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	if b.root, err = moduleRoot(ctx); err != nil {
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
	b.page = &page{Machine: thisMachine(ctx, b.root, o.args), Quick: o.quick, Only: o.only}
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
	b.page.Machine.LoadAfter = load()
	b.page.Seconds = time.Since(b.begin).Seconds()
	b.page.judge()
	return errors.Join(append(failed, b.page.write(o.out, stdout))...)
}

// moduleRoot finds the repository: the service is built there.
func moduleRoot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("find the repository: %w", err)
	}
	mod := strings.TrimSpace(string(out))
	if mod == "" || mod == os.DevNull {
		return "", errors.New("run it in the repository: it builds and starts the service")
	}
	return filepath.Dir(mod), nil
}
