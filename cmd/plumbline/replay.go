package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/internal/app"
	"github.com/plumbline-sec/plumbline/internal/config"
	"github.com/plumbline-sec/plumbline/internal/input"
	"github.com/plumbline-sec/plumbline/pipeline/detect"
	"github.com/plumbline-sec/plumbline/pipeline/replay"
	"github.com/plumbline-sec/plumbline/schemas/siem"
)

// replayCmd is `plumbline replay`.
type replayCmd struct {
	formFlags
	inputFlag
	Files        []string `arg:"" optional:"" name:"file" help:"JSON lines, or records of another form with --as, also packed with gzip or zstd; - is standard input."`
	Alerts       string   `placeholder:"FILE" help:"Write the alerts here, one a line; - is standard output."`
	AlertsFormat string   `placeholder:"FORM" help:"Form of the alerts: json (the default), ocsf (ocsf-1.7, ocsf-1.6, ocsf-1.5), ecs, splunk, asim, cef, leef."`
	AlertsFor    string   `placeholder:"TOPIC" help:"Write what the output of this topic in the config gets: its format, its filters, its syslog header."`
	Scores       string   `placeholder:"FILE" help:"Write a score per event here, one a line; - is standard output."`
	SwitchAt     []string `sep:"none" placeholder:"PARTITION:OFFSET=FILE" help:"From that event of a partition on, counted from 0, judge by the detector section of another config, as a service that has reloaded its own. Repeatable."`
	Explain      []string `sep:"none" placeholder:"EVENT_ID" help:"Print for the event of that id how its score came about, whether it raised an alert or not. Repeatable."`
	Output       Output   `enum:"text,json" default:"text" help:"Form of the summary: text or json."`
}

// Help is the long help.
func (c *replayCmd) Help() string {
	return `Runs events through the very same detector as the service, with neither Kafka nor ClickHouse: to see what a change of the config would do before it ships. The same input and config give the same alerts, byte for byte, and the alert ids of the service.

` + inputHelp + ` Single records that are no events are counted as dead letters, and the exit code is 0.

Examples:
  plumbline replay --input last-month.jsonl --alerts alerts.jsonl
  plumbline replay --config stricter.yaml --input last-month.jsonl --output json
  plumbline replay --config siem.yaml --input last-month.jsonl --alerts - --alerts-for siem.cef
  plumbline replay --input last-month.jsonl --explain ce5f5a7fa0f438f1
  plumbline replay --config old.yaml --switch-at 0:81234=new.yaml --input last-month.jsonl
  plumbline replay --as cloudtrail --input log-1.json.gz --input log-2.json.gz`
}

// Run replays.
func (c *replayCmd) Run(ctx context.Context, g *Globals) (err error) {
	files, err := c.or(c.Files)
	if err != nil {
		return err
	}
	cfg, err := g.Load()
	if err != nil {
		return err
	}
	to, err := c.output(cfg)
	if err != nil {
		return usageError{err}
	}
	if err := c.oneOutput(); err != nil {
		return usageError{err}
	}
	if err := c.distinct(files); err != nil {
		return usageError{err}
	}
	switches, err := c.switches(cfg)
	if err != nil {
		return err
	}
	form, err := c.form(cfg)
	if err != nil {
		return err
	}
	in, err := openInputs(files, g.Stdin)
	if err != nil {
		return usageError{err}
	}
	t := newTally(form, newConsole(g.Stderr).line)
	t.next = "see with plumbline decode what they become; --as names another form, --source one of the config"
	alerts, closeAlerts, err := g.create(c.Alerts)
	if err != nil {
		return usageError{fmt.Errorf("--alerts: %w", err)}
	}
	defer func() { err = errors.Join(err, closeAlerts()) }()
	scores, closeScores, err := g.create(c.Scores)
	if err != nil {
		return usageError{fmt.Errorf("--scores: %w", err)}
	}
	defer func() { err = errors.Join(err, closeScores()) }()

	var explainErr error
	run, err := replay.New(replay.Config{
		Detector: app.DetectorConfig(cfg, Version()), Partitions: cfg.Kafka.Partitions, Switches: switches,
		Decoder: t, Encoder: to.Encoder, Filter: to.Filter, Alerts: alerts, Scores: scores,
		Explain: c.Explain, Explained: func(l *detector.Ladder) { explainErr = errors.Join(explainErr, c.explain(g, l)) },
	})
	if err != nil {
		return usageError{err}
	}
	for _, file := range in.names {
		err = in.one(ctx, file, form.options, t, func(rec input.Record) error {
			if rec.TooLong {
				run.TooLarge()
				return nil
			}
			return run.Record(rec.Data)
		})
		// What stood before an error was taken: its alerts count.
		if err = errors.Join(err, run.Flush()); err != nil {
			break
		}
	}
	if sum := run.Summary(); err == nil || sum.Events > 0 || sum.DeadLetters > 0 {
		err = errors.Join(err, c.print(g, sum))
	}
	return errors.Join(err, explainErr, c.missing(g, run))
}

// switches reads what --switch-at names. Everything but the detector section and the policies stays that
// of the config: a reload changes nothing else.
func (c *replayCmd) switches(cfg *config.Config) ([]replay.Switch, error) {
	var out []replay.Switch
	for _, text := range c.SwitchAt {
		place, file, _ := strings.Cut(text, "=")
		partition, offset, _ := strings.Cut(place, ":")
		p, errP := strconv.ParseInt(partition, 10, 32)
		at, errAt := strconv.ParseInt(offset, 10, 64)
		if errP != nil || errAt != nil || file == "" {
			return nil, usageError{fmt.Errorf("--switch-at: %q is not PARTITION:OFFSET=FILE, as in 0:81234=new.yaml", text)}
		}
		next, err := (&Globals{ConfigFile: file}).Load()
		if err != nil {
			return nil, err
		}
		then := *cfg
		then.Detector, then.Policy = next.Detector, next.Policy
		out = append(out, replay.Switch{Partition: int32(p), Offset: at, Detector: app.DetectorConfig(&then, Version())})
	}
	return out, nil
}

// oneOutput refuses two things on standard output.
func (c *replayCmd) oneOutput() error {
	var names []string
	for _, out := range []struct {
		name string
		here bool
	}{{"--alerts", c.Alerts == "-"}, {"--scores", c.Scores == "-"}, {"--explain", len(c.Explain) > 0}} {
		if out.here {
			names = append(names, out.name)
		}
	}
	if len(names) > 1 {
		return errors.New(strings.Join(names, " and ") + " can't both go to standard output")
	}
	if slices.Contains(c.Explain, "") {
		return errors.New("--explain: an event id is wanted: event_id of its record, of --scores, or of an alert's evidence")
	}
	return nil
}

// output says in which form alerts are written, and which.
func (c *replayCmd) output(cfg *config.Config) (detect.Output, error) {
	switch {
	case c.AlertsFor != "" && c.AlertsFormat != "":
		return detect.Output{}, errors.New("--alerts-for and --alerts-format can't both name the form")
	case c.AlertsFor != "":
		outputs, err := app.Outputs(cfg)
		if err != nil {
			return detect.Output{}, err
		}
		i := slices.IndexFunc(outputs, func(o detect.Output) bool { return o.Topic == c.AlertsFor })
		if i < 0 {
			topics := make([]string, len(outputs))
			for i, o := range outputs {
				topics[i] = o.Topic
			}
			return detect.Output{}, fmt.Errorf("--alerts-for: the config has no output %q; it has %s", c.AlertsFor, cmp.Or(strings.Join(topics, ", "), "none"))
		}
		return outputs[i], nil
	}
	name := cmp.Or(c.AlertsFormat, siem.JSON.Name())
	enc, ok := siem.Lookup(name)
	if !ok {
		return detect.Output{}, fmt.Errorf("--alerts-format: there is no form %q; the forms are %s", name, strings.Join(app.Forms().Formats, ", "))
	}
	return detect.Output{Encoder: enc}, nil
}

// distinct refuses to write over what is to be read, or twice to the same file.
func (c *replayCmd) distinct(inputs []string) error {
	type file struct{ flag, name string }
	var taken []file
	for _, name := range inputs {
		taken = append(taken, file{"--input", name})
	}
	for _, out := range []file{{"--alerts", c.Alerts}, {"--scores", c.Scores}} {
		if out.name == "" || out.name == "-" {
			continue
		}
		for _, t := range taken {
			if t.name != "-" && sameFile(t.name, out.name) {
				return fmt.Errorf("%s: %s is the file of %s", out.flag, out.name, t.flag)
			}
		}
		taken = append(taken, out)
	}
	return nil
}

func sameFile(a, b string) bool {
	x, errA := os.Stat(a)
	y, errB := os.Stat(b)
	if errA == nil && errB == nil {
		return x.Mode().IsRegular() && os.SameFile(x, y) // /dev/null takes both
	}
	return filepath.Clean(a) == filepath.Clean(b)
}

// create opens a file for writing; no name is no writer, "-" standard output.
func (g *Globals) create(name string) (w io.Writer, closeFile func() error, err error) {
	switch name {
	case "":
		return nil, func() error { return nil }, nil
	case "-":
		return g.Stdout, func() error { return nil }, nil
	}
	f, err := os.Create(name)
	if err != nil {
		return nil, nil, err
	}
	return f, f.Close, nil
}

// print prints the summary; beside anything else on standard output it goes to standard
// error.
func (c *replayCmd) print(g *Globals, s replay.Summary) error {
	out := g.Stdout
	if c.Alerts == "-" || c.Scores == "-" || len(c.Explain) > 0 {
		out = g.Stderr
	}
	if c.Output == OutputJSON {
		return (&Globals{Stdout: out}).printJSON(s)
	}
	w := bufio.NewWriter(out)
	fmt.Fprintf(w, "events          %d in %.1f s (%.0f/s)\n", s.Events, s.Seconds, s.EventsPerSecond)
	fmt.Fprintf(w, "agents          %d over %d agent-days\n", s.Agents, s.AgentDays)
	fmt.Fprintf(w, "alerts          %d (%.4f per agent-day)\n", s.Alerts, s.AlertsPerAgentDay)
	if s.Late > 0 {
		fmt.Fprintf(w, "late            %d events came when their hour was over\n", s.Late)
	}
	if s.Clamped > 0 {
		fmt.Fprintf(w, "clamped         %d events had a time ahead of what follows them: held for the latest that those had reached\n", s.Clamped)
	}
	fmt.Fprintf(w, "dead letters    %d\n", s.DeadLetters)
	reasons := make([]string, 0, len(s.Reasons))
	for r := range s.Reasons {
		reasons = append(reasons, r)
	}
	slices.Sort(reasons)
	for _, r := range reasons {
		fmt.Fprintf(w, "  %-20s %d\n", r, s.Reasons[r])
	}
	return w.Flush()
}
