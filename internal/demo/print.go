package demo

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/plumbline-sec/plumbline/pipeline/terminal"
)

// Print writes the summary for people.
func (s *Summary) Print(o Options) {
	p := newScreen(o)
	w := o.Out
	verdict := func(ok bool, text string) string {
		if ok {
			return terminal.Paint(p.color, green, text)
		}
		return terminal.Paint(p.color, red, text)
	}
	fmt.Fprintf(w, "%s after %.0f s\n\n", terminal.Paint(p.color, bold, "Summary"), s.Seconds)
	fmt.Fprintf(w, "  events        %s sent, %s\n", thousands(s.EventsSent), verdict(s.EventsStored == s.EventsSent, thousands(s.EventsStored)+" stored"))
	fmt.Fprintf(w, "  agent-days    %s\n", thousands(s.AgentDays))
	fmt.Fprintf(w, "  attacks       %s of %d found\n", verdict(s.AttacksFound == s.Attacks, strconv.Itoa(s.AttacksFound)), s.Attacks)
	fmt.Fprintf(w, "  alerts        %d episodes, %s; the budget expects %.1f\n\n", s.Alerts,
		verdict(float64(s.FalseAlerts) <= max(2, 2*s.ExpectedFalseAlerts), fmt.Sprintf("%d of them false", s.FalseAlerts)), s.ExpectedFalseAlerts)
	s.printFindings(w, p)
	s.printNext(w, p, o.Program)
}

func (s *Summary) printFindings(w io.Writer, p *screen) {
	fmt.Fprintf(w, "  %s\n", terminal.Paint(p.color, dim, terminal.Pad("attack", 16)+terminal.Pad("agent", 24)+terminal.Pad("found after", 14)+"worst severity"))
	for _, f := range s.Found {
		found, severity := terminal.Paint(p.color, red, terminal.Pad("missed", 14)), ""
		if f.Found {
			found, severity = terminal.Pad(age(f.AfterSeconds), 14), p.severity(f.Severity)
		}
		fmt.Fprintf(w, "  %s%s%s%s\n", terminal.Pad(strings.ReplaceAll(string(f.Kind), "_", " "), 16), terminal.Pad(terminal.Cut(terminal.Escape(f.AgentID), 23), 24), found, severity)
	}
	fmt.Fprintln(w)
}

// printNext ends with what to look at; the lines work as they are pasted.
func (s *Summary) printNext(w io.Writer, p *screen, program string) {
	fmt.Fprintf(w, "%s The data stays in %s.\n\n", terminal.Paint(p.color, bold, "Look at it yourself."), terminal.Escape(s.DataDir))
	for _, q := range s.Queries(program) {
		fmt.Fprintf(w, "  %s\n  %s\n\n", terminal.Paint(p.color, dim, q.What), terminal.Escape(q.Command))
	}
}

// Query is a command to look further with.
type Query struct {
	What, Command string
	SQL           string // of a command that asks it
}

// Queries returns commands that work as they are pasted, after the demo has ended.
func (s *Summary) Queries(program string) []Query {
	agent := "" // the simulator's names need no quoting
	for _, f := range s.Found {
		if f.Found && f.Kind == "exfil_fast" || agent == "" {
			agent = f.AgentID
		}
	}
	with := " --data-dir " + terminal.ShellWord(s.DataDir)
	ask := func(what, sql string) Query {
		return Query{what, program + " query" + with + ` "` + sql + `"`, sql}
	}
	return []Query{
		{What: "the alerts", Command: program + " alerts" + with},
		{What: "who an attacked agent is, and what it does", Command: program + " agent" + with + " " + terminal.ShellWord(agent)},
		ask("what it did, hour by hour", "SELECT start, events, bytes_sent, new_resources, new_destinations, round(score) AS score FROM windows WHERE agent_id = '"+agent+"' ORDER BY start DESC LIMIT 12"),
		ask("who sends the most, and where to", "SELECT agent_id, arrayJoin(resources) AS destination, formatReadableSize(sum(bytes_sent)) AS sent FROM activity WHERE access = 'send' GROUP BY ALL ORDER BY sum(bytes_sent) DESC LIMIT 10"),
	}
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
