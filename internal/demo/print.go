package demo

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// Print writes the summary for people.
func (s *Summary) Print(o Options) {
	p := newScreen(o)
	w := o.Out
	verdict := func(ok bool, text string) string {
		if ok {
			return p.paint(green, text)
		}
		return p.paint(red, text)
	}
	fmt.Fprintf(w, "%s after %.0f s\n\n", p.paint(bold, "Summary"), s.Seconds)
	fmt.Fprintf(w, "  events        %s sent, %s\n", thousands(s.EventsSent), verdict(s.EventsStored == s.EventsSent, thousands(s.EventsStored)+" stored"))
	fmt.Fprintf(w, "  agent-days    %s\n", thousands(s.AgentDays))
	fmt.Fprintf(w, "  attacks       %s of %d found\n", verdict(s.AttacksFound == s.Attacks, strconv.Itoa(s.AttacksFound)), s.Attacks)
	fmt.Fprintf(w, "  alerts        %d episodes, %s; the budget expects %.1f\n\n", s.Alerts,
		verdict(float64(s.FalseAlerts) <= max(2, 2*s.ExpectedFalseAlerts), fmt.Sprintf("%d of them false", s.FalseAlerts)), s.ExpectedFalseAlerts)
	s.printFindings(w, p)
	s.printNext(w, p, o.Program)
}

func (s *Summary) printFindings(w io.Writer, p *screen) {
	fmt.Fprintf(w, "  %s\n", p.paint(dim, pad("attack", 16)+pad("agent", 24)+pad("found after", 14)+"worst severity"))
	for _, f := range s.Found {
		found, severity := p.paint(red, pad("missed", 14)), ""
		if f.Found {
			found, severity = pad(age(f.AfterSeconds), 14), p.severity(f.Severity)
		}
		fmt.Fprintf(w, "  %s%s%s%s\n", pad(strings.ReplaceAll(string(f.Kind), "_", " "), 16), pad(clean(cut(f.AgentID, 23)), 24), found, severity)
	}
	fmt.Fprintln(w)
}

// printNext ends with what to look at; the lines work as they are pasted.
func (s *Summary) printNext(w io.Writer, p *screen, program string) {
	fmt.Fprintf(w, "%s The data stays in %s.\n\n", p.paint(bold, "Look at it yourself."), clean(s.DataDir))
	for _, q := range s.Queries(program) {
		fmt.Fprintf(w, "  %s\n  %s\n\n", p.paint(dim, q.What), clean(q.Command))
	}
}

// Query is a command to look further with.
type Query struct {
	What, Command string
	SQL           string // of a command that asks it
}

// Queries returns commands that work as they are pasted, after the demo has ended.
func (s *Summary) Queries(program string) []Query {
	agent := ""
	for _, f := range s.Found {
		if f.Found && f.Kind == "exfil_fast" || agent == "" {
			agent = f.AgentID
		}
	}
	with := " --data-dir " + shell(s.DataDir)
	ask := func(what, sql string) Query {
		return Query{what, program + " query" + with + ` "` + sql + `"`, sql}
	}
	return []Query{
		{What: "the alerts", Command: program + " alerts" + with},
		{What: "who an attacked agent is, and what it does", Command: program + " agent" + with + " " + shell(agent)},
		ask("what it did, hour by hour", "SELECT start, events, bytes_sent, new_resources, new_destinations, round(score) AS score FROM windows WHERE agent_id = '"+sqlString(agent)+"' ORDER BY start DESC LIMIT 12"),
		ask("who sends the most, and where to", "SELECT agent_id, arrayJoin(resources) AS destination, formatReadableSize(sum(bytes_sent)) AS sent FROM activity WHERE access = 'send' GROUP BY ALL ORDER BY sum(bytes_sent) DESC LIMIT 10"),
	}
}

func sqlString(text string) string {
	return strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text)
}

// shell quotes a path where a shell would take it apart.
func shell(path string) string {
	if strings.ContainsAny(path, " \t\n'\"\\$`&;|<>()*?[]#~!{}") {
		return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
	}
	return path
}

func age(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d < time.Second:
		return "at once"
	case d < time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	}
	return fmt.Sprintf("%.1f h", d.Hours())
}
