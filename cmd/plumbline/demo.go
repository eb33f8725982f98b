package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plumbline-sec/plumbline/internal/demo"
	"github.com/plumbline-sec/plumbline/internal/embedded"
)

// demoCmd is `plumbline demo`.
type demoCmd struct {
	Duration time.Duration `default:"60s" placeholder:"TIME" help:"How long the live part takes (${default})."`
	Agents   int           `default:"80" placeholder:"N" help:"How many agents (${default})."`
	Seed     uint64        `default:"1" placeholder:"N" help:"Another seed is another fleet (${default})."`
	DataDir  string        `default:"./plumbline-demo" placeholder:"DIR" help:"Where the demo keeps its data; that of an earlier demo is removed (${default})."`
	Output   Output        `enum:"text,json" default:"text" help:"text for people, json for the summary alone."`
}

// Help is the long help.
func (c *demoCmd) Help() string {
	return `Two weeks of a simulated fleet's history quickly, then two days of it live, with eight kinds of attack among the honest agents. The service is the real one, on the embedded Kafka and ClickHouse; it knows nothing of who is attacked. It ends by itself, with what was found, what was missed and what was a false alert. The attacks stick out three times as far as those that make quality measures detection with, and go against agents with habits to break with: who make a call at least every two hours, and for whom a sweep or a new destination is no everyday matter.`
}

// The fleet's time in a demo.
const (
	demoHistoryDays = 14
	demoLiveDays    = 2
)

// Run runs the demo. It fails where an event was not stored.
func (c *demoCmd) Run(ctx context.Context, g *Globals) error {
	if c.Duration < time.Second || c.Duration > time.Hour {
		return usageError{fmt.Errorf("--duration: %s is not between 1s and 1h", c.Duration)}
	}
	if c.Agents < 32 || c.Agents > 2000 {
		return usageError{fmt.Errorf("--agents: %d is not between 32 and 2000: fewer leave no honest majority among eight attacks", c.Agents)}
	}
	if err := embedded.Included(); err != nil {
		return err
	}
	terminal := isTerminal(g.Stdout)
	o := demo.Options{
		DataDir: c.DataDir, Agents: c.Agents, History: demoHistoryDays, Live: demoLiveDays,
		Duration: c.Duration, Seed: c.Seed, Version: Version(), Program: shellWord(os.Args[0]),
		Out: g.Stdout, Terminal: terminal, Color: terminal && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb",
		Width: columns(), Quiet: c.Output == OutputJSON,
	}
	privateFiles()
	summary, err := demo.Run(ctx, o)
	if err != nil {
		return setupError(err)
	}
	if c.Output == OutputJSON {
		if err := g.printJSON(summary); err != nil {
			return err
		}
	} else {
		summary.Print(o)
	}
	if summary.EventsStored != summary.EventsSent {
		return fmt.Errorf("%d events were sent and %d are stored; see %s/service.log", summary.EventsSent, summary.EventsStored, c.DataDir)
	}
	return nil
}

// columns is how wide the terminal is: 80 where nobody knows.
func columns() int {
	if size, err := unix.IoctlGetWinsize(int(os.Stdout.Fd()), unix.TIOCGWINSZ); err == nil && size.Col > 0 {
		return int(size.Col)
	}
	if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && n > 0 {
		return n
	}
	return 80
}
