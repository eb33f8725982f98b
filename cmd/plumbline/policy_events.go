package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/plumbline-sec/plumbline/internal/app"
	"github.com/plumbline-sec/plumbline/internal/config"
	"github.com/plumbline-sec/plumbline/pipeline/policy"
	"github.com/plumbline-sec/plumbline/pipeline/terminal"
	"github.com/plumbline-sec/plumbline/schemas"
)

const policyEventsHelp = `Events come from ClickHouse, or from files (--input) or a topic (--topic).`

// each calls visit with the recorded events that the flags name.
func (f *eventFlags) each(ctx context.Context, g *Globals, cfg *config.Config, days string, visit func(*schemas.Activity)) (*recorded, error) {
	of := recordedFlags{eventFlags: *f}
	if f.Since+f.From == "" && len(f.Input) == 0 && f.Topic == "" {
		of.Since = days
	}
	r, err := of.check(g, cfg)
	if err != nil {
		return nil, err
	}
	r.visit = visit
	interrupted, err := r.read(ctx, func() {})
	if interrupted {
		err = fmt.Errorf("interrupted after %d events, up to %s: the rest was not read", r.events.Load(), schemas.Millis(r.latest.Load()))
	}
	return r, err
}

// policySuggestCmd is `plumbline policy suggest`.
type policySuggestCmd struct {
	eventFlags
}

// Help is the long help.
func (c *policySuggestCmd) Help() string {
	return `Prints policies that permit what the agents of each group were seen to do, and no more: tools, kinds of resources inside, places that data leave to, other agents. What the source denied is permitted to nobody. They are a beginning to be reviewed: what an attacker did is among what was seen. With default: deny they take effect; mode: observe tries them out.

` + policyEventsHelp + ` Without --since the last 30 days.

Examples:
  plumbline policy suggest --since 30d > policies/suggested.cedar && plumbline policy check policies/suggested.cedar
  plumbline policy suggest --input month.jsonl`
}

// Run suggests.
func (c *policySuggestCmd) Run(ctx context.Context, g *Globals) error {
	cfg, err := g.Load()
	if err != nil {
		return err
	}
	seen := policy.NewObserver()
	_, err = c.each(ctx, g, cfg, "30d", seen.Observe)
	if err != nil {
		return err
	}
	text := seen.Suggest()
	if _, err := policy.Parse([]policy.File{{Name: "suggested", Text: []byte(text)}}, policy.Options{DefaultDeny: true}); err != nil {
		return fmt.Errorf("what was to be suggested is not good: %w", err)
	}
	return g.printVisible(func(w io.Writer) error {
		fmt.Fprintf(w, "// Suggested by plumbline policy suggest, to be reviewed: events %d, from %s to %s.\n", seen.Events, seen.From, seen.To)
		if seen.Denied > 0 {
			fmt.Fprintf(w, "// Denied at their source, and permitted to nobody: %d.\n", seen.Denied)
		}
		if seen.Left > 0 {
			fmt.Fprintf(w, "// Of groups that there was no room for: %d.\n", seen.Left)
		}
		_, err := io.WriteString(w, text)
		return err
	})
}

// policyUnusedCmd is `plumbline policy unused`.
type policyUnusedCmd struct {
	eventFlags
	Policies []string `short:"p" placeholder:"FILE" help:"Policy files or patterns of their names, in the place of those of the config. Repeatable."`
	All      bool     `help:"List the policies that were used too."`
	Output   Output   `enum:"text,json" default:"text" help:"Form of the result: text or json."`
}

// Help is the long help.
func (c *policyUnusedCmd) Help() string {
	return `Decides on recorded events again and lists the policies that applied to none of them. A permit that nobody used is a privilege to take away; a forbid that never applied does its work, or is about something that no longer exists. Events are decided on as those of agents that are not registered, without an open episode: policies that ask for what a registration says may be used and still be listed.

` + policyEventsHelp + ` Without --since the last 90 days.

Examples:
  plumbline policy unused --config plumbline.yaml --since 90d
  plumbline policy unused --policies 'policies/*.cedar' --input quarter.jsonl --output json`
}

// policyUse is a row of the result.
type policyUse struct {
	ID        string `json:"id"`
	Place     string `json:"place"`
	Effect    string `json:"effect"` // permit or forbid
	Observe   bool   `json:"observe,omitempty"`
	Decisions int64  `json:"decisions"` // that it applied to
}

// policyUses is the result.
type policyUses struct {
	Events   int64       `json:"events"`
	Policies int         `json:"policies"`
	Unused   int         `json:"unused"`
	Hash     string      `json:"policy_hash"`
	List     []policyUse `json:"list"`
}

// Run lists.
func (c *policyUnusedCmd) Run(ctx context.Context, g *Globals) error {
	files, opt, err := g.policies(c.Policies)
	if err != nil {
		return err
	}
	set, err := policy.Load(files, opt)
	if err != nil {
		return asUsage(app.PolicyError(err))
	}
	cfg, err := g.Load()
	if err != nil {
		return err
	}
	engine := policy.NewEngine(set)
	engine.CountUses()
	var decisions []schemas.PolicyDecision
	r, err := c.each(ctx, g, cfg, "90d", func(ev *schemas.Activity) { decisions = engine.Decide(decisions[:0], ev, nil, "") })
	if err != nil {
		return err
	}
	out := policyUses{Events: r.events.Load(), Policies: set.Len(), Hash: set.Hash(), List: []policyUse{}}
	for _, p := range set.Policies() {
		use := policyUse{ID: p.ID, Place: p.Place, Effect: "permit", Observe: p.Observe, Decisions: engine.Uses(p)}
		if p.Forbids {
			use.Effect = "forbid"
		}
		if use.Decisions == 0 {
			out.Unused++
		}
		if c.All || use.Decisions == 0 {
			out.List = append(out.List, use)
		}
	}
	if c.Output == OutputJSON {
		return g.printJSON(out)
	}
	return g.printVisible(func(w io.Writer) error { return printUses(w, &out) })
}

func printUses(out io.Writer, u *policyUses) error {
	fmt.Fprintf(out, "%d of %d policies applied to none of %d events\n", u.Unused, u.Policies, u.Events)
	if len(u.List) == 0 {
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nPOLICY\tEFFECT\tDECISIONS\tPLACE")
	for _, p := range u.List {
		effect := p.Effect
		if p.Observe {
			effect += " (observe)"
		}
		fmt.Fprintln(w, strings.Join([]string{terminal.Escape(p.ID), effect, strconv.FormatInt(p.Decisions, 10), terminal.Escape(p.Place)}, "\t"))
	}
	return w.Flush()
}
