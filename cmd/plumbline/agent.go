package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/plumbline-sec/plumbline/internal/analyst"
	"github.com/plumbline-sec/plumbline/internal/config"
	"github.com/plumbline-sec/plumbline/pipeline/clickhouse"
	"github.com/plumbline-sec/plumbline/pipeline/terminal"
	"github.com/plumbline-sec/plumbline/schemas"
)

// agentCmd is `plumbline agent`.
type agentCmd struct {
	ID     string `arg:"" help:"The agent: agent_id."`
	Tenant string `placeholder:"ID" help:"Its tenant, where several have an agent of this name."`
	Since  string `placeholder:"WHEN" help:"Only activity since: 24h, 7d, 2026-03-14 or 2026-03-14T13:00:00Z. Without it all that is kept."`
	engineDir
	Output Output `enum:"text,json" default:"text" help:"Form of the result: text or json (one object)."`
}

// Help is the long help.
func (c *agentCmd) Help() string {
	return `Who it is, on whose authority and with which credentials it acts, from where, when, with which tools, where its bytes go, and its alerts. Times are UTC, and those of the events.

Examples:
  plumbline agent invoice-bot-07
  plumbline agent invoice-bot-07 --since 7d --output json`
}

// agentAlerts is how many episodes of an agent are shown.
const agentAlerts = 20

// Run shows an agent.
func (c *agentCmd) Run(ctx context.Context, g *Globals) error {
	since, err := parseSince(c.Since, time.Now())
	if err != nil {
		return usageError{err}
	}
	return c.clickHouse(ctx, g, func(db *clickhouse.DB) error {
		who, err := c.find(ctx, db)
		if err != nil {
			return err
		}
		if c.Output == OutputJSON {
			return c.json(ctx, g, db, who, since)
		}
		return g.printVisible(func(w io.Writer) error { return c.text(ctx, w, db, who, since, g.look(), g.again(c.DataDir)) })
	})
}

// find returns the one agent that is meant.
func (c *agentCmd) find(ctx context.Context, db *clickhouse.DB) (*analyst.Who, error) {
	found, err := analyst.Find(ctx, db, c.Tenant, c.ID)
	if err != nil {
		return nil, err
	}
	switch len(found) {
	case 1:
		return &found[0], nil
	case 0:
		names, err := analyst.Names(ctx, db)
		if err != nil {
			return nil, err
		}
		hint := ""
		if c.Tenant != "" {
			hint = " in tenant " + c.Tenant
		} else if near := config.Closest(c.ID, names); near != "" {
			hint = "; the nearest name is " + near
		}
		return nil, fmt.Errorf("there are no events of agent %s%s", c.ID, hint)
	}
	tenants := make([]string, len(found))
	for i, w := range found {
		tenants[i] = w.TenantID
	}
	return nil, usageError{fmt.Errorf("%d tenants have an agent %s: name one with --tenant: %s", len(found), c.ID, strings.Join(tenants, ", "))}
}

func (c *agentCmd) filter(who *analyst.Who, since time.Time) analyst.Filter {
	return analyst.Filter{Tenant: who.TenantID, Agent: c.ID, Since: since, Limit: agentAlerts}
}

// json prints all answers as one object.
func (c *agentCmd) json(ctx context.Context, g *Globals, db *clickhouse.DB, who *analyst.Who, since time.Time) error {
	out := struct {
		AgentID string `json:"agent_id"`
		*analyst.Who
		Activity map[string][]json.RawMessage `json:"activity"`
		Alerts   []analyst.Episode            `json:"alerts"`
	}{AgentID: c.ID, Who: who, Activity: make(map[string][]json.RawMessage)}
	for _, s := range analyst.Sections() {
		rows, err := s.Rows(ctx, db, who.TenantID, c.ID, since)
		if err != nil {
			return err
		}
		out.Activity[s.Name] = rows
	}
	var err error
	if out.Alerts, err = analyst.Episodes(ctx, db, c.filter(who, since)); err != nil {
		return err
	}
	return g.printJSON(out)
}

// registeredAs is a registration in a line.
func registeredAs(canonical string) string {
	var r struct {
		Time                                      time.Time
		Status, Criticality, Environment, Purpose string
	}
	if err := json.Unmarshal([]byte(canonical), &r); err != nil {
		return canonical
	}
	parts := []string{cmp.Or(r.Status, schemas.StatusActive), "said on " + r.Time.UTC().Format(time.DateOnly)}
	if r.Criticality != "" {
		parts = append(parts, "criticality "+r.Criticality)
	}
	parts = append(parts, r.Environment, r.Purpose)
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), ", ")
}

// text prints all answers for people, the alerts first.
func (c *agentCmd) text(ctx context.Context, w io.Writer, db *clickhouse.DB, who *analyst.Who, since time.Time, l look, command func(string) string) error {
	owner := terminal.Escape(who.Owner)
	switch {
	case owner == "":
		owner = "not said by a registration or its events (attribute owner)"
	case who.Contact != "":
		owner += ", " + terminal.Escape(who.Contact)
	}
	l.fact(w, "agent", whoIs(c.ID, who.AgentName, who.AgentVersion, who.PeerGroup, who.TenantID))
	l.fact(w, "owner", owner)
	if who.Registration != "" {
		l.fact(w, "registered", terminal.Escape(registeredAs(who.Registration)))
	}
	l.fact(w, "seen", fmt.Sprintf("%s to %s UTC, active on %s", who.FirstSeen.UTC().Format(toMinutes), who.LastSeen.UTC().Format(toMinutes), counted(who.Days, "day")))
	l.fact(w, "events", fmt.Sprintf("%d in %s; %d failed, %d denied", who.Events, counted(who.Sessions, "session"), who.Failures, who.Denied))
	l.fact(w, "bytes", bytesText(int64(who.BytesSent))+" sent, "+bytesText(int64(who.BytesReceived))+" received")

	episodes, err := analyst.Episodes(ctx, db, c.filter(who, since))
	if err != nil {
		return err
	}
	fmt.Fprintln(w, "\n"+l.bold("Alerts"))
	var list bytes.Buffer
	inner := l
	inner.width = max(0, l.width-2)
	printEpisodes(&list, episodes, inner)
	indent(w, list.String())
	for _, s := range analyst.Sections() {
		var rows bytes.Buffer
		d := clickhouse.Display{Format: clickhouse.FormatText, Width: inner.width, Rows: &rows}
		if err := s.Show(ctx, db, who.TenantID, c.ID, since, d); err != nil {
			return err
		}
		fmt.Fprintln(w, "\n"+l.bold(s.Title))
		if strings.Count(rows.String(), "\n") <= 2 { // the heading alone
			rows.Reset()
		}
		indent(w, rows.String())
	}
	if len(episodes) > 0 {
		fmt.Fprintf(w, "\n`%s ID` shows an alert.\n", command("alerts"))
	}
	return nil
}

// indent prints text under its heading.
func indent(w io.Writer, text string) {
	if text == "" {
		text = "none\n"
	}
	for line := range strings.Lines(text) {
		fmt.Fprint(w, "  "+line)
	}
}
