package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/plumbline-sec/plumbline/internal/backtest"
	"github.com/plumbline-sec/plumbline/internal/config"
	"github.com/plumbline-sec/plumbline/pipeline/terminal"
	"github.com/plumbline-sec/plumbline/schemas"
)

// backtestCmd is `plumbline backtest`.
type backtestCmd struct {
	Candidate string `required:"" placeholder:"FILE" help:"The config that is to be judged; --config is the one that it is compared with."`
	recordedFlags
	Output string `enum:"text,json,html" default:"text" help:"Form of the result: text, json, or html, a page that needs nothing else."`
}

// Help is the long help.
func (c *backtestCmd) Help() string {
	return `Runs recorded events through two detectors side by side, one with the config in force (--config) and one with the candidate, and says which alerts the candidate keeps, loses and gains. An alert is an episode; it is kept where the other config has one of the same agent at that time. With --incidents it names the incidents that an alert told of before and none would tell of any more.

` + recordedHelp + `

Ctrl-C ends the pass, and what was read until then is compared. Exit codes: 0 no incident is lost, 1 one is (or the pass failed or was ended), 2 bad usage or config.

Examples:
  plumbline backtest --config plumbline.yaml --candidate stricter.yaml --since 30d
  plumbline backtest --candidate stricter.yaml --input month.jsonl --incidents labels.jsonl
  plumbline backtest --candidate stricter.yaml --topic plumbline.activity --output html > backtest.html`
}

// backtestResult is the result of `backtest`.
type backtestResult struct {
	Config    string `json:"config"` // empty: the defaults
	Candidate string `json:"candidate"`
	*backtest.Result
	Changes         []config.Change `json:"changes"`
	Refused         int64           `json:"dead_letters"`
	Seconds         float64         `json:"seconds"`
	EventsPerSecond float64         `json:"events_per_second"`
}

// Run compares.
func (c *backtestCmd) Run(ctx context.Context, g *Globals) error {
	from, err := g.Load()
	if err != nil {
		return err
	}
	to, err := (&Globals{ConfigFile: c.Candidate}).Load()
	if err != nil {
		return err
	}
	r, err := c.check(g, from)
	if err != nil {
		return err
	}
	sides := []backtest.Side{side(from), side(to)}
	interrupted, err := r.pass(ctx, sides)
	if err != nil {
		return err
	}
	result := &backtestResult{
		Config: g.ConfigFile, Candidate: c.Candidate, Changes: append([]config.Change{}, config.Diff(from, to)...),
		Result: r.run.Compare(sides, r.warmup, r.incidents), Refused: r.refused, Seconds: r.took.Seconds(),
	}
	result.Interrupted = interrupted
	result.EventsPerSecond = float64(result.Events) / result.Seconds
	switch c.Output {
	case "json":
		err = g.printJSON(result)
	case "html":
		err = writePage(g.Stdout, result)
	default:
		err = g.printVisible(func(w io.Writer) error { return result.text(w) })
	}
	if err == nil && interrupted {
		err = fmt.Errorf("interrupted after %d events, up to %s: the rest was not compared", result.Events, result.To)
	}
	if err == nil && result.Incidents != nil && len(result.Incidents.Lost) > 0 {
		err = errSilent
	}
	return err
}

// text writes the result for people.
func (r *backtestResult) text(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "old\t%s\nnew\t%s\n", terminal.Escape(cmp.Or(r.Config, "the default config")), terminal.Escape(r.Candidate))
	fmt.Fprintf(w, "events\t%d from %s to %s\n", r.Events, r.From, r.To)
	if r.Interrupted {
		fmt.Fprintf(w, "interrupted\twhat follows is of the events up to there\n")
	}
	if r.Refused > 0 {
		fmt.Fprintf(w, "dead letters\t%d\n", r.Refused)
	}
	fmt.Fprintf(w, "counted\t%s\n", r.Counted())
	if i := r.Incidents; i != nil {
		fmt.Fprintf(w, "incidents\t%d: %d told of by both, %d LOST, %d gained, %d by neither\n", i.Counted, i.Both, len(i.Lost), len(i.Gained), len(i.Neither))
	}
	fmt.Fprintf(w, "alerts\t%d kept, %d lost, %d gained\n", r.Kept, r.Lost, r.Gained)
	fmt.Fprintf(w, "\nCONFIG\tHASH\tALERTS\tPER AGENT-DAY\tBUDGET\tCRITICAL\tHIGH\tMEDIUM\tLOW\n")
	for _, s := range r.Sides() {
		fmt.Fprintf(w, "%s\t%s\t%d\t%.4f\t%g", terminal.Escape(s.Name), s.ConfigHash, s.Episodes, s.PerAgentDay, s.Budget)
		for _, n := range s.Counts {
			fmt.Fprintf(w, "\t%d", n)
		}
		fmt.Fprintln(w)
	}
	if i := r.Incidents; i != nil {
		r.incidents(w, i)
	}
	if len(r.Changes) > 0 {
		fmt.Fprintf(w, "\nWhat differs\n")
		for _, change := range r.Changes {
			fmt.Fprintf(w, "  %s\n", changeText(change))
		}
	}
	for _, t := range []struct {
		name string
		rows []backtest.Count
	}{{"SIGNAL", r.Signals}, {"AGENT", r.Agents}, {"DAY", r.changedDays()}} {
		if len(t.rows) == 0 {
			continue
		}
		if len(t.rows) == backtest.MostAgents && t.name == "AGENT" {
			fmt.Fprintf(w, "\nThe %d agents of which most was lost or gained", len(t.rows))
		}
		fmt.Fprintf(w, "\n%s\tOLD\tNEW\tLOST\tGAINED\n", t.name)
		for _, row := range t.rows {
			fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\n", terminal.Escape(agentName(row.Tenant, row.Name)), row.Old, row.New, row.Lost, row.Gained)
		}
	}
	listEpisodes(w, "Lost, the worst first"+listed(r.TopLost, r.Lost), r.TopLost)
	listEpisodes(w, "Gained, the worst first"+listed(r.TopGained, r.Gained), r.TopGained)
	return w.Flush()
}

// Counted says what is counted.
func (r *backtestResult) Counted() string {
	return countedText(r.AgentDays, r.WarmupDays, r.CountedFrom)
}

func countedText(agentDays, warmupDays int, from string) string {
	if warmupDays == 0 {
		return fmt.Sprintf("%d agent-days, from the first day on: the baselines were still empty", agentDays)
	}
	return fmt.Sprintf("%d agent-days, from %s on; the %d days before warmed the baselines up, which began empty", agentDays, from, warmupDays)
}

// sideRow is a config in the result.
type sideRow struct {
	Name string
	backtest.Totals
	Counts []int // by severity, the worst first
}

// severities are the worst first.
var severities = []string{schemas.SeverityCritical, schemas.SeverityHigh, schemas.SeverityMedium, schemas.SeverityLow}

// Sides are the two configs.
func (r *backtestResult) Sides() []sideRow {
	rows := []sideRow{{Name: "old", Totals: r.Old}, {Name: "new", Totals: r.New}}
	for i := range rows {
		for _, s := range severities {
			rows[i].Counts = append(rows[i].Counts, rows[i].Severities[s])
		}
	}
	return rows
}

func (r *backtestResult) changedDays() []backtest.Count {
	var out []backtest.Count
	for _, d := range r.Days {
		if d.Lost+d.Gained > 0 {
			out = append(out, d)
		}
	}
	return out
}

// agentName is an agent, with its tenant where that is not the default.
func agentName(tenant, agent string) string {
	if tenant == "" || tenant == schemas.DefaultTenant {
		return agent
	}
	return tenant + "/" + agent
}

// shownIncidents is how many of a kind are named.
const shownIncidents = 50

func (r *backtestResult) incidents(w io.Writer, i *backtest.Incidents) {
	if len(i.Lost)+len(i.Gained)+len(i.Neither)+i.Outside > 0 {
		fmt.Fprintf(w, "\nIncidents\n")
	}
	if i.Outside > 0 {
		fmt.Fprintf(w, "  %d more lie outside of the days that are counted\n", i.Outside)
	}
	for _, kind := range []struct {
		name string
		of   []backtest.Incident
	}{{"LOST", i.Lost}, {"gained", i.Gained}, {"neither", i.Neither}} {
		for n, incident := range kind.of {
			if n == shownIncidents {
				fmt.Fprintf(w, "  and %d more\n", len(kind.of)-n)
				break
			}
			fmt.Fprintf(w, "  %-7s  %s of %s, %s to %s\n", kind.name, terminal.Escape(incident.Name), terminal.Escape(agentName(incident.Tenant, incident.Agent)), minute(incident.From), minute(incident.To))
		}
	}
}

// minute is a time for people.
func minute(t schemas.Millis) string { return t.Time().Format("2006-01-02 15:04") }

// listed says how many of all are shown, where that is not all.
func listed(shown []*backtest.Episode, all int) string {
	if len(shown) == all {
		return ""
	}
	return fmt.Sprintf(" (%d of %d)", len(shown), all)
}

func listEpisodes(w io.Writer, title string, episodes []*backtest.Episode) {
	if len(episodes) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s\n", title)
	for _, e := range episodes {
		fmt.Fprintf(w, "  %s  %s, score %.0f, %s: %s\n", minute(e.Opened), e.Severity, e.Score, terminal.Escape(agentName(e.Tenant, e.Agent)), terminal.Escape(e.Summary))
	}
}
