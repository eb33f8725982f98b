package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		os.Exit(1) //nolint:forbidigo,gocritic // this is a command; the directory is removed by run
	}
}

var errRed = errors.New("not every case holds")

func run(ctx context.Context) (err error) {
	var o options
	only := flag.String("only", "", "run the cases whose name contains one of these words, separated by commas")
	flag.IntVar(&o.kills, "kills", 20, "kill -9 restarts of the case that loops")
	flag.IntVar(&o.agents, "agents", 30, "agents of the fleet")
	flag.IntVar(&o.days, "days", 20, "days of its history")
	flag.StringVar(&o.kafkaHome, "kafka", "", "directory of a Kafka to use in place of the embedded broker: see pipeline/kafka/kafkatest")
	out := flag.String("out", "", "directory to write the table into, as faults.md")
	keep := flag.Bool("keep", false, "keep the directory with logs and data")
	flag.Parse()

	dir, err := os.MkdirTemp("", "plumbline-faults-")
	if err != nil {
		return fmt.Errorf("directory: %w", err)
	}
	if *keep {
		fmt.Fprintln(os.Stderr, "everything is in", dir)
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
		fmt.Fprintf(os.Stderr, "%-52s ", c.name)
		start := time.Now()
		r := h.run(ctx, c)
		r.Seconds = time.Since(start).Seconds()
		fmt.Fprintf(os.Stderr, "%5.1f s  %s\n", r.Seconds, r.verdict())
		results = append(results, r)
	}
	if err := table(os.Stdout, results); err != nil {
		return err
	}
	if *out != "" {
		if err := write(ctx, *out, h, results); err != nil {
			return err
		}
	}
	if slices.ContainsFunc(results, func(r result) bool { return len(r.Faults) > 0 }) {
		return errRed
	}
	return nil
}

func table(w *os.File, results []result) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "CASE\tSENT\tSTORED\tALERTS\tTWICE IN TOPIC\tSTATE\tSTARTS\tPEAK MIB\tVERDICT")
	for _, r := range results {
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%s\t%d\t%d\t%s\n", r.Name, r.Sent, r.Stored, r.Alerts, r.Doubled, r.State, r.Starts, r.PeakMiB, r.verdict())
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

// write puts the table and its data beside the other results.
func write(ctx context.Context, dir string, h *harness, results []result) error {
	var b strings.Builder
	b.WriteString("# Faults\n\n" + h.origin(ctx) + "\n\n" +
		"| case | sent | stored | alerts | twice in the topic | state | starts | peak MiB | seconds | verdict |\n|---|---|---|---|---|---|---|---|---|---|\n")
	for _, r := range results {
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d | `%s` | %d | %d | %.0f | %s |\n", r.Name, r.Sent, r.Stored, r.Alerts, r.Doubled, r.State, r.Starts, r.PeakMiB, r.Seconds, r.verdict())
	}
	b.WriteString("\nStored counts rows and distinct event ids under the view `activity`, alerts the distinct ids of the topic `plumbline.alerts`; " +
		"both must equal what was sent and what `plumbline replay` says. State is the fingerprint of all baselines (`plumbline state show`). " +
		"Where records were taken away for good, what stays is compared with a replay of what is left, and the logs must speak of as many; peak is the largest resident set of an instance.\n")
	if err := os.WriteFile(filepath.Join(dir, h.name("faults")+".md"), []byte(b.String()), 0o644); err != nil { //nolint:gosec // pages of the repository
		return fmt.Errorf("write results: %w", err)
	}
	data, err := json.MarshalIndent(results, "", "  ")
	if err != nil {
		return fmt.Errorf("results: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, h.name("faults")+".json"), append(data, '\n'), 0o644); err != nil { //nolint:gosec // pages of the repository
		return fmt.Errorf("write results: %w", err)
	}
	return nil
}
