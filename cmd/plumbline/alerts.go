package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/plumbline-sec/plumbline/internal/analyst"
	"github.com/plumbline-sec/plumbline/pipeline/clickhouse"
	"github.com/plumbline-sec/plumbline/pipeline/terminal"
	"github.com/plumbline-sec/plumbline/schemas"
)

// alertsCmd is `plumbline alerts`.
type alertsCmd struct {
	ID       string `arg:"" optional:"" help:"Show this alert: the id of an episode or of one of its steps, or how it begins."`
	Since    string `placeholder:"WHEN" help:"Only what was seen since: 24h, 7d, 2026-03-14 or 2026-03-14T13:00:00Z."`
	Severity string `enum:",low,medium,high,critical" default:"" placeholder:"LEVEL" help:"Only what was at least that bad: low, medium, high, critical."`
	Agent    string `placeholder:"ID" help:"Only those of this agent."`
	Tenant   string `placeholder:"ID" help:"Only those of this tenant."`
	Status   string `enum:"all,open,closed" default:"all" placeholder:"STATE" help:"Only those that are open or closed."`
	Limit    int    `default:"20" placeholder:"N" help:"At most so many (${default})."`
	engineDir
	Output Output `enum:"text,json,vertical" default:"text" help:"Form of the result: text, json (one object an episode; with ID the steps as they were published) or vertical."`
}

// Help is the long help.
func (c *alertsCmd) Help() string {
	return `An episode is one row, as bad as it was at its worst: those that are open first, of each the latest first. Times are UTC, and those of the events.

Examples:
  plumbline alerts --since 24h --severity high
  plumbline alerts 5b34a7d9
  plumbline alerts --agent invoice-bot-07 --output json`
}

// Run lists alerts, or shows one.
func (c *alertsCmd) Run(ctx context.Context, g *Globals) error {
	since, err := parseSince(c.Since, time.Now())
	if err != nil {
		return usageError{err}
	}
	if c.Limit < 1 || c.Limit > 100_000 {
		return usageError{fmt.Errorf("--limit: %d is not between 1 and 100000", c.Limit)}
	}
	if c.ID != "" && !alertID.MatchString(c.ID) {
		return usageError{fmt.Errorf("%q is no alert's id, nor how one begins: those are at least 4 of the digits 0-9 and a-f; `plumbline alerts` lists them", c.ID)}
	}
	f := analyst.Filter{Tenant: c.Tenant, Agent: c.Agent, Severity: c.Severity, Since: since, Limit: c.Limit}
	if c.Status != "all" {
		f.State = c.Status
	}
	return c.clickHouse(ctx, g, func(db *clickhouse.DB) error {
		switch {
		case c.ID != "":
			return c.one(ctx, g, db)
		case c.Output != OutputText:
			return g.printVisible(func(w io.Writer) error {
				return analyst.ShowEpisodes(ctx, db, f, clickhouse.Display{Format: string(c.Output), Rows: w})
			})
		}
		episodes, err := analyst.Episodes(ctx, db, f)
		if err != nil {
			return err
		}
		printEpisodes(g.Stdout, episodes, g.look())
		fmt.Fprintln(g.Stderr, c.ending(episodes, g.again(c.DataDir)))
		return nil
	})
}

// ending says what the list leaves out, and what to do next.
func (c *alertsCmd) ending(episodes []analyst.Episode, command func(string) string) string {
	switch n := len(episodes); n {
	case 0:
		return "no alerts"
	case c.Limit:
		return fmt.Sprintf("the first %d, there may be more (--limit); `%s ID` shows one", n, command("alerts"))
	}
	return fmt.Sprintf("%d in all; `%s ID` shows one", len(episodes), command("alerts"))
}

// one shows one alert.
func (c *alertsCmd) one(ctx context.Context, g *Globals, db *clickhouse.DB) error {
	steps, err := analyst.Steps(ctx, db, c.ID)
	if err != nil {
		return err
	}
	if len(steps) == 0 {
		return fmt.Errorf("there is no alert %s: `plumbline alerts` lists them", c.ID)
	}
	var episodes []string
	for _, s := range steps {
		if len(episodes) == 0 || episodes[len(episodes)-1] != s.EpisodeID {
			episodes = append(episodes, s.EpisodeID)
		}
	}
	if len(episodes) > 1 {
		return usageError{fmt.Errorf("%d episodes have an id that begins with %s: write more of it: %s", len(episodes), c.ID, strings.Join(episodes[:min(len(episodes), 8)], ", "))}
	}
	switch c.Output {
	case OutputJSON:
		return g.printVisible(func(w io.Writer) error {
			for _, s := range steps {
				if _, err := fmt.Fprintln(w, s.Published); err != nil {
					return fmt.Errorf("print the alerts: %w", err)
				}
			}
			return nil
		})
	case OutputVertical:
		return g.printVisible(func(w io.Writer) error {
			return analyst.ShowSteps(ctx, db, c.ID, clickhouse.Display{Format: clickhouse.FormatVertical, Rows: w})
		})
	case OutputText:
	}
	shown, proof := chosen(steps, strings.ToLower(c.ID))
	printAlert(g.Stdout, steps, shown, proof, g.look(), g.again(c.DataDir))
	return nil
}

// chosen is the step that the id names, with its own evidence, or else the worst, as
// the list has it, with all evidence of the episode.
func chosen(steps []analyst.Step, id string) (worst, proof *schemas.Alert) {
	worst, proof = &steps[0].Alert, &steps[0].Alert
	for i := range steps {
		s := &steps[i].Alert
		if strings.HasPrefix(s.AlertID, id) && !strings.HasPrefix(s.EpisodeID, id) {
			return s, s
		}
		if s.Evidence.EventCount > proof.Evidence.EventCount {
			proof = s
		}
		if cmp.Or(
			cmp.Compare(analyst.Rank(s.Severity), analyst.Rank(worst.Severity)),
			cmp.Compare(closing(worst), closing(s)),
			cmp.Compare(worst.ExpectedPerAgentDay, s.ExpectedPerAgentDay),
		) > 0 {
			worst = s
		}
	}
	return worst, proof
}

// closing is 1 for the step that ends an episode: it says less than those before it.
func closing(a *schemas.Alert) int {
	if a.Status == schemas.StatusClose {
		return 1
	}
	return 0
}

// alertID is what ids begin with.
var alertID = regexp.MustCompile(`^[0-9a-fA-F]{4,64}$`)

// parseSince reads an age or a time.
func parseSince(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseFloat(days, 64); err == nil && n >= 0 && n <= 36500 {
			return now.Add(-time.Duration(n * 24 * float64(time.Hour))), nil
		}
	}
	if age, err := time.ParseDuration(text); err == nil && age >= 0 {
		return now.Add(-age), nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, errors.New("--since: " + strconv.Quote(text) + " is no age (24h, 7d) and no time (2026-03-14, 2026-03-14T13:00:00Z)")
}

// look is how text may look where it goes.
type look struct {
	width int // of the terminal; 0: there is none
	color bool
}

func (g *Globals) look() look {
	if !isTerminal(g.Stdout) {
		return look{}
	}
	return look{width: columns(), color: os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
}

// again returns how a command is called that asks the same service, from the same
// shell.
func (g *Globals) again(dataDir string) func(command string) string {
	flags := ""
	if g.ConfigFile != "" {
		flags += " --config " + terminal.ShellWord(g.ConfigFile)
	}
	if dataDir != "" {
		flags += " --data-dir " + terminal.ShellWord(dataDir)
	}
	return func(command string) string {
		return terminal.Escape(terminal.ShellWord(os.Args[0]) + " " + command + flags)
	}
}
