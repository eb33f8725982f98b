// Command plumbline tells a security team when one of its AI agents goes out of
// true. Each command is a struct in its own file and one line in cli.
//
// Exit codes: 0 good, 1 the check failed, 2 bad usage or config. Every error is
// one line that begins with "plumbline:"; the mistakes in a config are several.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/plumbline-sec/plumbline/internal/config"
	"github.com/plumbline-sec/plumbline/internal/embedded"
	"github.com/plumbline-sec/plumbline/pipeline/terminal"
)

// cli is the command line: one line per command.
type cli struct {
	Globals
	ShowVersion versionFlag `name:"version" help:"Print the version of this program."`

	Demo     demoCmd     `cmd:"" help:"A fleet with attacks in it, live, on the embedded stack; ends by itself."`
	Run      runCmd      `cmd:"" help:"Run the service."`
	Health   healthCmd   `cmd:"" help:"Ask a running service whether it does its work."`
	Replay   replayCmd   `cmd:"" help:"Run events through the detector, without Kafka and ClickHouse."`
	Backtest backtestCmd `cmd:"" help:"Say which alerts a candidate config would have raised, and which not."`
	Tune     tuneCmd     `cmd:"" help:"Say where alerts come from, what other budgets would give and what overrides would save."`
	Decode   decodeCmd   `cmd:"" help:"Show what records of a source become, field by field."`
	Send     sendCmd     `cmd:"" help:"Send JSON lines into a Kafka topic."`
	Register registerCmd `cmd:"" help:"Say who agents are: send registrations from JSON or CSV."`
	Simulate simulateCmd `cmd:"" help:"Simulate a fleet of agents, with labelled attacks, as JSON lines."`
	Query    queryCmd    `cmd:"" help:"Run SQL on ClickHouse and print the rows."`
	Alerts   alertsCmd   `cmd:"" help:"List the latest alerts, or show one."`
	Explain  explainCmd  `cmd:"" help:"Make an alert again from the stored events, prove that it is the same, and show how it came about."`
	Tail     tailCmd     `cmd:"" help:"Show alerts, or an agent's events, as they come."`
	Agent    agentCmd    `cmd:"" help:"Show an agent: who it is, what it does, its alerts."`
	Migrate  migrateCmd  `cmd:"" help:"Create or upgrade the ClickHouse schema."`
	State    stateCmd    `cmd:"" help:"Look at the detector's state in Kafka."`
	Config   configCmd   `cmd:"" help:"Check the config, test it with cases, or print what is in force."`
	Policy   policyCmd   `cmd:"" help:"Check and test what agents may do: policies in Cedar."`
	Setup    setupCmd    `cmd:"" help:"Get the embedded ClickHouse engine, once."`
	Version  versionCmd  `cmd:"" help:"Print the version of this program."`

	InternalClickhouse internalClickhouseCmd `cmd:"" hidden:"" help:"The process of the embedded ClickHouse engine; the service starts it itself."`
}

const description = `Plumbline tells a security team when one of its AI agents goes out of true.

It reads agent activity from Kafka, keeps a rolling baseline of every agent, scores each deviation, stores every event in ClickHouse, and publishes alerts to the topics that a SIEM reads. ` + embedded.About + `

Exit codes: 0 good, 1 the check failed, 2 bad usage or config.`

func main() {
	os.Exit(run(stopOnSignal(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// stopOnSignal returns a context that ends with the first signal that asks to stop;
// a second SIGTERM or Ctrl-C ends the process at once.
func stopOnSignal() context.Context {
	ctx := context.Background()
	// A terminal that goes away sends SIGHUP more than once (the shell, then the
	// kernel), so that a second one must not end what the first one drains. Under
	// nohup it stays ignored.
	if !signal.Ignored(syscall.SIGHUP) {
		ctx, _ = signal.NotifyContext(ctx, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx
}

// run runs one command and returns its exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	shown := &visible{w: stderr}
	defer shown.flush()
	stderr = shown
	if isTerminal(stdout) {
		// Elsewhere what a command writes is data, byte for byte: those that print a
		// result make it visible themselves.
		shown := &visible{w: stdout}
		defer shown.flush()
		stdout = shown
	}
	c := &cli{Globals: Globals{Stdin: stdin, Stdout: stdout, Stderr: stderr}}
	helped := false
	parser, err := kong.New(c,
		kong.Name("plumbline"), kong.Description(description), kong.Writers(stdout, stderr),
		kong.Exit(func(int) { helped = true }), // --help or --version has been printed
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
	)
	if err != nil {
		fmt.Fprintln(stderr, "plumbline: "+err.Error())
		return exitUsage
	}
	switch {
	case len(args) == 0:
		args = []string{"--help"}
	case args[0] == "help":
		args = append(slices.Clone(args[1:]), "--help")
	}
	kctx, err := parser.Parse(args)
	if helped {
		return exitGood
	}
	if err != nil {
		fmt.Fprintln(stderr, "plumbline: "+terminal.Escape(usage(err)))
		return exitUsage
	}
	kctx.BindTo(ctx, (*context.Context)(nil))
	return report(stderr, kctx.Run(&c.Globals))
}

// The exit codes.
const (
	exitGood   = 0
	exitFailed = 1
	exitUsage  = 2
)

// usageError is an error of who typed the command: exit code 2.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// errSilent fails a command that has said why already.
var errSilent = errors.New("failed")

// report prints an error and returns the exit code.
func report(stderr io.Writer, err error) int {
	var (
		mistakes *config.Error
		usage    usageError
	)
	switch {
	case err == nil:
		return exitGood
	case errors.Is(err, errSilent):
		return exitFailed
	case errors.As(err, &mistakes):
		for _, m := range mistakes.Mistakes {
			lines := strings.Split(m.Error(), "\n") // the line of the config, and where in it
			for i := range lines {
				lines[i] = terminal.Escape(lines[i])
			}
			fmt.Fprintln(stderr, "plumbline: "+strings.Join(lines, "\n"))
		}
		return exitUsage
	case errors.As(err, &usage), errors.Is(err, embedded.ErrNotIncluded):
		fmt.Fprintln(stderr, "plumbline: "+oneLine(err))
		return exitUsage
	}
	fmt.Fprintln(stderr, "plumbline: "+oneLine(err))
	return exitFailed
}

// oneLine joins the lines of an error: scripts read one line an error.
func oneLine(err error) string {
	lines := strings.Split(strings.TrimSpace(err.Error()), "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return terminal.Escape(strings.Join(lines, "; "))
}
