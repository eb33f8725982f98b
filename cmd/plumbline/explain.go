package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/internal/analyst"
	"github.com/plumbline-sec/plumbline/internal/app"
	"github.com/plumbline-sec/plumbline/internal/rebuild"
	"github.com/plumbline-sec/plumbline/pipeline/clickhouse"
	"github.com/plumbline-sec/plumbline/pipeline/terminal"
)

// explainCmd is `plumbline explain`.
type explainCmd struct {
	IDs []string `arg:"" name:"id" help:"The id of an alert, or of an episode, of which each step is explained; how it begins is enough."`
	engineDir
	Output Output `enum:"text,json" default:"text" help:"Form of the result: text, or json (an object an alert)."`
}

// Help is the long help.
func (c *explainCmd) Help() string {
	return `Reads the events of the alert's partition from ClickHouse, in the order in which the detector saw them, from the first one on, and runs them through the detector with this config. What comes out is compared with the stored alert, byte for byte. All events of the partition are read, since the agent's peers matter too; progress is shown where that takes long.

Give the config of the service with --config. Exit code 0: proven equal; 1: it differs or can't be proven, and why.

Examples:
  plumbline explain 5b34a7d9
  plumbline explain 5b34a7d9 --config plumbline.yaml --output json`
}

// Run explains.
func (c *explainCmd) Run(ctx context.Context, g *Globals) error {
	for _, id := range c.IDs {
		if !alertID.MatchString(id) {
			return usageError{fmt.Errorf("%q is no alert's id, nor how one begins: those are at least 4 of the digits 0-9 and a-f; `plumbline alerts` lists them", id)}
		}
	}
	service, err := g.Service(c.DataDir)
	if err != nil {
		return err
	}
	return service.clickHouse(ctx, false, func(db *clickhouse.DB) error {
		var alerts []analyst.Step
		for _, id := range c.IDs {
			steps, err := named(ctx, db, id)
			if err != nil {
				return err
			}
			alerts = append(alerts, steps...)
		}
		con := newConsole(g.Stderr)
		next := time.Now().Add(time.Second)
		results, err := rebuild.Alerts(ctx, db, alerts, rebuild.Options{
			Detector: app.DetectorConfig(service.cfg, Version()),
			Progress: func(partition int32, at, end int64) {
				if now := time.Now(); now.After(next) {
					next = now.Add(con.every())
					con.progress(fmt.Sprintf("partition %d: %d of %d events read", partition, at, end))
				}
			},
		})
		con.clear()
		if err != nil {
			return err
		}
		for i := range results {
			if err := c.print(g, &results[i]); err != nil {
				return err
			}
		}
		if slices.ContainsFunc(results, func(r rebuild.Result) bool { return !r.Proven }) {
			return errSilent
		}
		return nil
	})
}

// named returns the alerts that an id names: one, or the steps of one episode.
func named(ctx context.Context, db *clickhouse.DB, id string) ([]analyst.Step, error) {
	steps, err := analyst.Stored(ctx, db, id)
	if err != nil {
		return nil, err
	}
	var names []string
	for i := range steps {
		name := steps[i].AlertID
		if strings.HasPrefix(steps[i].EpisodeID, strings.ToLower(id)) {
			name = steps[i].EpisodeID
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	switch {
	case len(names) == 0:
		return nil, fmt.Errorf("there is no alert %s: `plumbline alerts` lists them", id)
	case len(names) > 1:
		return nil, usageError{fmt.Errorf("%d alerts and episodes have an id that begins with %s: write more of it: %s", len(names), id, strings.Join(names[:min(len(names), 8)], ", "))}
	}
	return steps, nil
}

func (c *explainCmd) print(g *Globals, r *rebuild.Result) error {
	if c.Output == OutputJSON {
		return g.printJSON(struct {
			*rebuild.Result
			Steps []detector.LadderStep `json:"steps"`
		}{r, detector.LadderSteps()})
	}
	look := g.look()
	look.width = cmp.Or(look.width, 80)
	return g.printVisible(func(w io.Writer) error {
		p := ladderPrinter{w: w, look: look, steps: detector.LadderSteps()}
		verdict := "Proven equal, bit for bit"
		if !r.Proven {
			verdict = "Not proven"
		}
		p.line(look.bold(verdict) + ": alert " + terminal.Escape(r.AlertID))
		p.text(fmt.Sprintf("%s of episode %s, severity %s. %s", r.Status, r.EpisodeID, r.Severity, r.Summary))
		if r.Events > 0 {
			p.text(fmt.Sprintf("made again from %d events, up to offset %d of partition %d of plumbline.activity", r.Events, r.Offset, r.Partition))
		}
		for _, reason := range r.Reasons {
			look.fact(w, "because", terminal.Escape(reason))
		}
		for _, d := range r.Differences {
			look.fact(w, "differs", terminal.Escape(d.Field+": stored "+terminal.Cut(d.Stored, mostShown)+", made again "+terminal.Cut(d.Rebuilt, mostShown)))
		}
		look.fact(w, "silent if", terminal.Escape(r.Counterfactual))
		p.line("")
		if r.Ladder == nil {
			p.text("No single event completed this alert: it is the end of an episode, a silence or a flood of names.")
			p.line("")
			return p.err
		}
		p.print(r.Ladder)
		return p.err
	})
}

// mostShown bounds a value that differs, in columns.
const mostShown = 200
