package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/plumbline-sec/plumbline/benchmarks/internal/bench"
)

func main() { bench.Main("faults", run) }

var errRed = errors.New("not every case holds")

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	var o options
	flags := bench.Flags("faults", stderr)
	only := flags.String("only", "", "run the cases whose name contains one of these words, separated by commas")
	flags.IntVar(&o.kills, "kills", 20, "kill -9 restarts of the case that loops")
	flags.IntVar(&o.agents, "agents", 30, "agents of the fleet")
	flags.IntVar(&o.days, "days", 20, "days of its history")
	flags.StringVar(&o.kafkaHome, "kafka", "", "directory of a Kafka to use in place of the embedded broker: see pipeline/kafka/kafkatest")
	out := flags.String("out", "", "directory for faults.md and faults.json (default: the page on standard output)")
	keep := flags.Bool("keep", false, "keep the directory with logs and data")
	if err := bench.Parse(flags, args, "--kills, --agents and --days are at least 1", func() bool { return min(o.kills, o.agents, o.days) >= 1 }); err != nil {
		return err
	}
	if o.kafkaHome != "" {
		if err := bench.Jars("--kafka", o.kafkaHome, "pipeline/kafka/kafkatest/fetch.sh"); err != nil {
			return err //nolint:wrapcheck // it says all
		}
	}
	o.say = bench.Progress("faults", stderr)
	dir, err := os.MkdirTemp("", "plumbline-faults-")
	if err != nil {
		return fmt.Errorf("directory: %w", err)
	}
	if *keep {
		o.say("everything is in %s", dir)
	} else {
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	h, err := newHarness(ctx, dir, o)
	if err != nil {
		return err
	}
	defer h.close() //nolint:contextcheck // also when ctx has ended
	var results []result
	for _, c := range cases(o) {
		if *only != "" && c.name != undisturbed && !slices.ContainsFunc(strings.Split(*only, ","), func(s string) bool { return strings.Contains(c.name, s) }) {
			continue
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		start := time.Now()
		r := h.run(ctx, c)
		r.Seconds = time.Since(start).Seconds()
		o.say("%-52s %5.1f s  %s", c.name, r.Seconds, r.verdict())
		results = append(results, r)
	}
	name := "faults"
	if o.kafkaHome != "" {
		name += "-kafka"
	}
	if err := h.markdown(ctx, args, results).Publish(*out, name, results, stdout); err != nil {
		return err
	}
	if slices.ContainsFunc(results, func(r result) bool { return len(r.Faults) > 0 }) {
		return errRed
	}
	return nil
}

// markdown is the page. Its table is what is printed too.
func (h *harness) markdown(ctx context.Context, args []string, results []result) *bench.Page {
	on := "the embedded broker"
	if h.o.kafkaHome != "" {
		on = "Apache Kafka"
	}
	m := bench.ThisMachine(ctx, "go run ./benchmarks/faults", args)
	p := &bench.Page{}
	p.Line("# Faults\n\n%s, on %s. Command: `%s`. %d events of %d agents in each case.", &m, on, m.Command, len(h.lines), h.o.agents)
	p.Table("case", "sent", "stored", "alerts", "twice in the topic", "state", "starts", "peak MiB", "seconds", "verdict")
	for _, r := range results {
		p.Row(r.Name, r.Sent, r.Stored, r.Alerts, r.Doubled, "`"+r.State+"`", r.Starts, r.PeakMiB, math.Round(r.Seconds), r.verdict())
	}
	p.WriteString("\nStored counts rows and distinct event ids under the view `activity`, alerts the distinct ids of the topic `plumbline.alerts`; " +
		"both must equal what was sent and what `plumbline replay` says. State is the fingerprint of all baselines (`plumbline state show`). " +
		"Where records were taken away for good, what stays is compared with a replay of what is left, and the logs must speak of as many; peak is the largest resident set of an instance.\n")
	return p
}
