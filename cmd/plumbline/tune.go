package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/plumbline-sec/plumbline/internal/app"
	"github.com/plumbline-sec/plumbline/internal/backtest"
	"github.com/plumbline-sec/plumbline/internal/config"
	"github.com/plumbline-sec/plumbline/pipeline/terminal"
)

// tuneCmd is `plumbline tune`.
type tuneCmd struct {
	recordedFlags
	Budgets []float64 `default:"0.003,0.01,0.03,0.1,0.3" placeholder:"N" help:"Alerts per agent-day to try (${default})."`
	Output  Output    `enum:"text,json" default:"text" help:"Form of the result: text or json."`
}

// Help is the long help.
func (c *tuneCmd) Help() string {
	return `Says which agents and signals raise the most alerts with the config in force, what other budgets would give, and what overrides would save. One pass runs the config and a detector for each budget side by side, so that the numbers of a budget are not estimates. Those of an override are: the alerts of the pass that it would not have raised. What is left shares the budget anew; plumbline backtest shows that, with the override in a candidate.

` + recordedHelp + `

With --incidents it also says how many incidents each budget tells of, and which an override would lose. Overrides that cost no severe alert (high or critical) and no incident stand first.

Examples:
  plumbline tune --config plumbline.yaml --since 30d
  plumbline tune --input month.jsonl --incidents labels.jsonl --output json`
}

// maxBudgets bounds the detectors of a pass.
const maxBudgets = 16

// Run tunes.
func (c *tuneCmd) Run(ctx context.Context, g *Globals) error {
	cfg, err := g.Load()
	if err != nil {
		return err
	}
	r, err := c.check(g, cfg)
	if err != nil {
		return err
	}
	if len(c.Budgets) > maxBudgets {
		return usageError{fmt.Errorf("--budgets: %d are too many for one pass: write at most %d", len(c.Budgets), maxBudgets)}
	}
	sides := []backtest.Side{side(cfg)}
	for _, budget := range c.Budgets {
		if budget == cfg.Detector.AlertsPerAgentDay {
			continue // it is the first side
		}
		other := *cfg
		other.Detector.AlertsPerAgentDay = budget
		if err := other.Validate(app.Forms()); err != nil {
			return usageError{fmt.Errorf("--budgets: %g is no budget; write numbers over 0 and under 10", budget)}
		}
		sides = append(sides, side(&other))
	}
	interrupted, err := r.pass(ctx, sides)
	if err != nil {
		return err
	}
	out := r.run.Tune(sides, r.warmup, r.incidents)
	out.Interrupted = interrupted
	for i := range out.Overrides {
		out.Overrides[i].YAML = overrideYAML(&out.Overrides[i])
	}
	out.Overrides = slices.DeleteFunc(out.Overrides, func(o backtest.Override) bool { return o.YAML == "" })
	if c.Output == OutputJSON {
		err = g.printJSON(out)
	} else {
		err = g.printVisible(func(w io.Writer) error { return printTuning(w, out, r) })
	}
	if err == nil && interrupted {
		err = fmt.Errorf("interrupted after %d events, up to %s: the rest was not read", out.Events, out.To)
	}
	return err
}

// overrideYAML is an override as an element of detector.overrides, or of detector.signals where
// it is of all agents: empty where a name can't be written so that it matches itself alone.
func overrideYAML(o *backtest.Override) string {
	if o.Agent == "" && o.PeerGroup == "" {
		return o.Signal + ": {off: true}"
	}
	parts := []string{"tenant: " + yamlText(o.Tenant)}
	if o.PeerGroup != "" {
		parts = append(parts, "peer_group: "+yamlText(o.PeerGroup))
	}
	if o.Agent != "" {
		parts = append(parts, "agent: "+yamlText(o.Agent))
	}
	if o.Signal != "" {
		parts = append(parts, "signals: {"+yamlText(o.Signal)+": {off: true}}")
	} else {
		parts = append(parts, "alerts_per_agent_day: "+strconv.FormatFloat(o.Budget, 'g', -1, 64))
	}
	text := "- {" + strings.Join(parts, ", ") + "}"
	cfg, err := config.Parse("override", []byte("detector:\n  overrides:\n    "+text+"\n"), app.Forms())
	if err != nil {
		return ""
	}
	read := cfg.Detector.Overrides[0]
	if read.Tenant != o.Tenant || read.PeerGroup != o.PeerGroup || read.Agent != o.Agent || strings.HasSuffix(o.Agent+o.PeerGroup, "*") {
		return ""
	}
	return text
}

// yamlText is a text in double quotes.
func yamlText(s string) string {
	b, err := json.Marshal(strings.ReplaceAll(s, "${", "$${"))
	if err != nil {
		return ""
	}
	return string(b)
}

// printTuning writes the result for people.
func printTuning(out io.Writer, t *backtest.Tuning, r *recorded) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "events\t%d from %s to %s\n", t.Events, t.From, t.To)
	if t.Interrupted {
		fmt.Fprintf(w, "interrupted\twhat follows is of the events up to there\n")
	}
	if r.refused > 0 {
		fmt.Fprintf(w, "dead letters\t%d\n", r.refused)
	}
	fmt.Fprintf(w, "counted\t%s\n", countedText(t.AgentDays, t.WarmupDays, t.CountedFrom))
	incidents := ""
	if r.incidents != nil {
		incidents = fmt.Sprintf("\tINCIDENTS OF %d", t.Incidents)
	}
	fmt.Fprintf(w, "\nBUDGET\tALERTS\tPER AGENT-DAY\tCRITICAL\tHIGH\tMEDIUM\tLOW%s\n", incidents)
	for _, p := range t.Curve {
		fmt.Fprintf(w, "%g", p.Budget)
		if p.Budget == t.Present.Budget {
			fmt.Fprint(w, " now")
		}
		fmt.Fprintf(w, "\t%d\t%.4f", p.Episodes, p.PerAgentDay)
		for _, s := range severities {
			fmt.Fprintf(w, "\t%d", p.Severities[s])
		}
		if incidents != "" {
			fmt.Fprintf(w, "\t%d", p.Incidents)
		}
		fmt.Fprintln(w)
	}
	for _, table := range []struct {
		name string
		rows []backtest.Noisy
	}{{"SIGNAL", t.Signals}, {"AGENT", t.Agents}} {
		if len(table.rows) == 0 {
			continue
		}
		if len(table.rows) == backtest.MostAgents {
			fmt.Fprintf(w, "\nThe %d with the most alerts", len(table.rows))
		}
		fmt.Fprintf(w, "\n%s\tALERTS\tSHARE\tAGENT-DAYS\n", table.name)
		for _, n := range table.rows {
			fmt.Fprintf(w, "%s\t%d\t%.1f %%\t%d\n", terminal.Escape(agentName(n.Tenant, n.Name)), n.Alerts, 100*n.Share, n.AgentDays)
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return printOverrides(out, t)
}

// printOverrides writes them as they stand in a config.
func printOverrides(w io.Writer, t *backtest.Tuning) error {
	if len(t.Overrides) == 0 {
		_, err := fmt.Fprintln(w, "\nNo override would save two alerts.")
		return err
	}
	fmt.Fprintln(w, "\nOverrides and what each would save, of the alerts above. Paste those that you want, then look at them with plumbline backtest --candidate.\nWhat would lose a severe alert or an incident is commented out.\ndetector:")
	for _, section := range []struct {
		key string
		of  func(*backtest.Override) bool
	}{
		{"overrides", func(o *backtest.Override) bool { return o.Agent+o.PeerGroup != "" }},
		{"signals", func(o *backtest.Override) bool { return o.Agent+o.PeerGroup == "" }},
	} {
		head := "  " + section.key + ":\n"
		for i := range t.Overrides {
			o := &t.Overrides[i]
			if !section.of(o) {
				continue
			}
			off := ""
			if o.Severe+len(o.Incidents) > 0 {
				off = "# "
			}
			if head != "" && off != "" { // the harmless ones stand first: here is none
				head = "  # " + section.key + ":\n"
			}
			fmt.Fprintf(w, "%s    # %s\n    %s%s\n", head, costs(o, t.Present.Episodes), off, terminal.Escape(o.YAML))
			head = ""
		}
	}
	return nil
}

// costs says what an override saves and loses.
func costs(o *backtest.Override, all int) string {
	text := fmt.Sprintf("saves %d of %d alerts", o.Saved, all)
	if o.Severe > 0 {
		text += fmt.Sprintf(", %d of them HIGH OR CRITICAL", o.Severe)
	}
	if len(o.Incidents) > 0 {
		noun := "INCIDENTS"
		if len(o.Incidents) == 1 {
			noun = "INCIDENT"
		}
		text += fmt.Sprintf(", LOSES %d %s: %s of %s", len(o.Incidents), noun, terminal.Escape(o.Incidents[0].Name), terminal.Escape(agentName(o.Incidents[0].Tenant, o.Incidents[0].Agent)))
		if len(o.Incidents) > 1 {
			text += " and others"
		}
	}
	return text
}
