package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/plumbline-sec/plumbline/internal/analyst"
	"github.com/plumbline-sec/plumbline/pipeline/terminal"
	"github.com/plumbline-sec/plumbline/schemas"
)

func (l look) bold(text string) string { return terminal.Paint(l.color, "1", text) }

// severity pads and colours a severity.
func (l look) severity(name string, width int) string {
	return terminal.Paint(l.color, terminal.SeverityStyle(name), terminal.Pad(terminal.Escape(name), width))
}

// shortID is enough of an id to name an alert.
const shortID = 8

const (
	toMinutes = "2006-01-02 15:04"
	toSeconds = "2006-01-02 15:04:05"
)

// printEpisodes prints a line an episode; two where the terminal is too narrow for one.
func printEpisodes(w io.Writer, episodes []analyst.Episode, l look) {
	if len(episodes) == 0 {
		return
	}
	const fixed = "id        last seen         state   severity  score  updates  "
	agents, longest, tenants := make([]string, len(episodes)), len("agent"), false
	for _, e := range episodes {
		tenants = tenants || e.TenantID != schemas.DefaultTenant
	}
	widest := 0
	for i, e := range episodes {
		agents[i] = terminal.Escape(e.AgentID)
		if tenants {
			agents[i] = terminal.Escape(e.TenantID) + "/" + agents[i]
		}
		longest = max(longest, terminal.Cells(agents[i]))
		widest = max(widest, terminal.Cells(e.Title))
	}
	oneLine := l.width == 0 || len(fixed)+longest+2+widest <= l.width
	head := fixed + terminal.Pad("agent", longest) + "  title"
	if !oneLine {
		head = strings.TrimRight(fixed, " ")
	}
	fmt.Fprintln(w, l.bold(head))
	for i, e := range episodes {
		line := fmt.Sprintf("%s  %s  %s  %s  %5.1f  %7d", terminal.Pad(terminal.Escape(e.EpisodeID[:min(shortID, len(e.EpisodeID))]), shortID),
			e.LastSeen.UTC().Format(toMinutes), terminal.Pad(terminal.Escape(e.State), 6), l.severity(e.Severity, 8), e.Score, e.Updates)
		if oneLine {
			fmt.Fprintln(w, line+"  "+terminal.Pad(agents[i], longest)+"  "+terminal.Escape(e.Title))
			continue
		}
		fmt.Fprintln(w, line)
		for n, text := range terminal.Fold(agents[i]+"  "+terminal.Escape(e.Title), l.width-4) {
			fmt.Fprintln(w, strings.Repeat(" ", 2+2*min(n, 1))+text)
		}
	}
}

// factWidth is how wide the names before facts are.
const factWidth = 12

// fact prints what something is; nothing where there is nothing to say.
func (l look) fact(w io.Writer, name, text string) {
	if text == "" {
		return
	}
	for i, line := range terminal.Fold(text, max(0, l.width-factWidth)) {
		if i > 0 {
			name = ""
		}
		fmt.Fprintln(w, l.bold(terminal.Pad(name, factWidth))+line)
	}
}

// printAlert prints a step of an episode, for who has to decide something at night;
// proof is the step whose evidence and query are shown.
func printAlert(w io.Writer, steps []analyst.Step, a, proof *schemas.Alert, l look, command func(string) string) {
	last, updates := &steps[len(steps)-1].Alert, 0
	for _, s := range steps {
		if s.Status == schemas.StatusUpdate {
			updates++
		}
	}
	state := "open since " + clockOf(a.FirstSeen) + " UTC, seen last " + clockOf(last.LastSeen)
	if last.Status == schemas.StatusClose {
		state = "closed; from " + clockOf(a.FirstSeen) + " to " + clockOf(last.LastSeen) + " UTC"
	}
	fmt.Fprintln(w, l.severity(a.Severity, 0)+"  "+l.bold(terminal.Escape(a.Title)))
	fmt.Fprintf(w, "%s, %s\n\n", state, counted(int64(updates), "update"))
	for _, line := range terminal.Fold(terminal.Escape(a.Summary), l.width) {
		fmt.Fprintln(w, line)
	}
	fmt.Fprintln(w)
	l.fact(w, "agent", whoIs(a.Agent.ID, a.Agent.Name, a.Agent.Version, a.Agent.PeerGroup, a.TenantID))
	l.fact(w, "owner", terminal.Escape(a.Agent.Owner))
	l.fact(w, "acting for", terminal.Escape(a.OnBehalfOf))
	l.fact(w, "session", terminal.Escape(a.SessionID))
	l.fact(w, "score", fmt.Sprintf("%.1f of 100 (the budget's threshold is 50), confidence %.0f %%", a.Score, 100*a.Confidence))
	l.fact(w, "silent if", terminal.Escape(a.Counterfactual))
	l.fact(w, "runbook", terminal.Escape(a.Runbook))
	l.fact(w, "tags", terminal.Escape(strings.Join(append(append(append([]string{}, a.Tags.OwaspASI...), a.Tags.ATLAS...), a.Tags.Attack...), " ")))
	printSignals(w, a.Signals, l)
	printEvidence(w, &proof.Evidence, l)
	fmt.Fprintln(w, "\n"+l.bold("Steps"))
	for _, s := range steps {
		mark := " "
		if s.AlertID == a.AlertID {
			mark = "*" // the one that is shown
		}
		fmt.Fprintf(w, "%s %s  %s  %s  %5.1f  %s\n", mark, clockOf(s.Time), terminal.Pad(terminal.Escape(s.Status), 6), l.severity(s.Severity, 8), s.Score, terminal.Escape(s.Title))
	}
	fmt.Fprintf(w, "\n%s\n", l.bold("Look further"))
	fmt.Fprintf(w, "  %s --tenant=%s -- %s\n", command("agent"), terminal.Escape(terminal.ShellWord(a.TenantID)), terminal.Escape(terminal.ShellWord(a.Agent.ID)))
	if proof.Query != "" {
		fmt.Fprintf(w, "  %s --output vertical %s\n", command("query"), terminal.Escape(terminal.ShellWord(proof.Query)))
	}
	fmt.Fprintf(w, "\nepisode %s, alert %s\n", terminal.Escape(a.EpisodeID), terminal.Escape(a.AlertID))
}

// whoIs names an agent with what is said of it.
func whoIs(id, name, version, peers, tenant string) string {
	text := terminal.Escape(id)
	if called := strings.TrimSpace(name + " " + version); called != "" {
		text += " (" + terminal.Escape(called) + ")"
	}
	return text + ", peer group " + terminal.Escape(peers) + ", tenant " + terminal.Escape(tenant)
}

// counted is a number of things.
func counted(n int64, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return strconv.FormatInt(n, 10) + " " + thing + "s"
}

func clockOf(m schemas.Millis) string { return m.Time().UTC().Format(toSeconds) }

func printSignals(w io.Writer, signals []schemas.AlertSignal, l look) {
	fmt.Fprintln(w, "\n"+l.bold(terminal.Pad("Signals", 24)+terminal.Pad("observed", 12)+terminal.Pad("expected", 12)+"normal range"))
	for _, s := range signals {
		amount := func(v float64) string {
			if s.Unit == "bytes" {
				return bytesText(int64(v))
			}
			return strconv.FormatFloat(v, 'g', 4, 64)
		}
		window := "one event"
		if s.WindowSeconds > 0 {
			window = (time.Duration(s.WindowSeconds) * time.Second).String()
			window = strings.TrimSuffix(strings.TrimSuffix(window, "0s"), "0m")
		}
		within := ""
		if s.High > s.Low {
			within = amount(s.Low) + " to " + amount(s.High) + ", "
		}
		fmt.Fprintln(w, "  "+terminal.Pad(terminal.Escape(s.Name), 22)+terminal.Pad(amount(s.Observed), 12)+terminal.Pad(amount(s.Expected), 12)+within+window)
		for _, first := range s.FirstSeen {
			fmt.Fprintln(w, "    first seen: "+terminal.Escape(first))
		}
	}
}

func printEvidence(w io.Writer, e *schemas.Evidence, l look) {
	fmt.Fprintf(w, "\n%s\n", l.bold("Evidence ("+counted(e.EventCount, "event")+" so far)"))
	if len(e.Places) > 0 {
		fmt.Fprintln(w, "  "+terminal.Pad("calls", 7)+terminal.Pad("sent", 12)+terminal.Pad("received", 12)+"to and from")
		for _, p := range e.Places {
			fmt.Fprintln(w, "  "+terminal.Pad(strconv.FormatUint(p.Events, 10), 7)+terminal.Pad(bytesText(int64(p.BytesSent)), 12)+terminal.Pad(bytesText(int64(p.BytesReceived)), 12)+terminal.Escape(p.Resource))
		}
	}
	indented := l
	indented.width = max(0, l.width-2)
	list := func(name string, values []string) {
		if len(values) == 0 {
			return
		}
		for i, line := range terminal.Fold(name+": "+terminal.Escape(strings.Join(values, ", ")), indented.width) {
			fmt.Fprintln(w, strings.Repeat(" ", 2+2*min(i, 1))+line)
		}
	}
	list("tools", e.Tools)
	if len(e.Places) == 0 {
		list("resources", e.Resources)
	}
	list("event ids", e.EventIDs)
}
