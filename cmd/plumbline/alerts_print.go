package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/plumbline-sec/plumbline/internal/analyst"
	"github.com/plumbline-sec/plumbline/schemas"
)

// paint colours text that is harmless already.
func (l look) paint(style, text string) string {
	if !l.color || style == "" {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}

func (l look) bold(text string) string { return l.paint("1", text) }

// severity pads and colours a severity.
func (l look) severity(name string, width int) string {
	text := padded(escaped(name), width)
	switch name {
	case schemas.SeverityCritical:
		return l.paint("1;37;41", text)
	case schemas.SeverityHigh:
		return l.paint("31", text)
	case schemas.SeverityMedium:
		return l.paint("33", text)
	}
	return text
}

func padded(text string, n int) string {
	return text + strings.Repeat(" ", max(0, n-utf8.RuneCountInString(text)))
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
		agents[i] = escaped(e.AgentID)
		if tenants {
			agents[i] = escaped(e.TenantID) + "/" + agents[i]
		}
		longest = max(longest, utf8.RuneCountInString(agents[i]))
		widest = max(widest, utf8.RuneCountInString(e.Title))
	}
	oneLine := l.width == 0 || len(fixed)+longest+2+widest <= l.width
	head := fixed + padded("agent", longest) + "  title"
	if !oneLine {
		head = strings.TrimRight(fixed, " ")
	}
	fmt.Fprintln(w, l.bold(head))
	for i, e := range episodes {
		line := fmt.Sprintf("%s  %s  %s  %s  %5.1f  %7d", padded(escaped(e.EpisodeID[:min(shortID, len(e.EpisodeID))]), shortID),
			e.LastSeen.UTC().Format(toMinutes), padded(escaped(e.State), 6), l.severity(e.Severity, 8), e.Score, e.Updates)
		if oneLine {
			fmt.Fprintln(w, line+"  "+padded(agents[i], longest)+"  "+escaped(e.Title))
			continue
		}
		fmt.Fprintln(w, line)
		for n, text := range folded(agents[i]+"  "+escaped(e.Title), l.width-4) {
			fmt.Fprintln(w, strings.Repeat(" ", 2+2*min(n, 1))+text)
		}
	}
}

// folded breaks text at its spaces into lines of a width; without one it stays whole.
func folded(text string, width int) []string {
	var lines []string
	for width > 0 && utf8.RuneCountInString(text) > width {
		cut, runes := 0, 0
		for i, r := range text {
			if runes > width {
				break
			}
			if r == ' ' {
				cut = i
			}
			runes++
		}
		if cut == 0 {
			break // one word: it stays whole, so that it can be copied
		}
		lines = append(lines, strings.TrimRight(text[:cut], " "))
		text = strings.TrimLeft(text[cut:], " ")
	}
	return append(lines, text)
}

// factWidth is how wide the names before facts are.
const factWidth = 12

// fact prints what something is; nothing where there is nothing to say.
func (l look) fact(w io.Writer, name, text string) {
	if text == "" {
		return
	}
	for i, line := range folded(text, max(0, l.width-factWidth)) {
		if i > 0 {
			name = ""
		}
		fmt.Fprintln(w, l.bold(padded(name, factWidth))+line)
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
	fmt.Fprintln(w, l.severity(a.Severity, 0)+"  "+l.bold(escaped(a.Title)))
	fmt.Fprintf(w, "%s, %s\n\n", state, counted(int64(updates), "update"))
	for _, line := range folded(escaped(a.Summary), l.width) {
		fmt.Fprintln(w, line)
	}
	fmt.Fprintln(w)
	l.fact(w, "agent", whoIs(a.Agent.ID, a.Agent.Name, a.Agent.Version, a.Agent.PeerGroup, a.TenantID))
	l.fact(w, "owner", escaped(a.Agent.Owner))
	l.fact(w, "acting for", escaped(a.OnBehalfOf))
	l.fact(w, "session", escaped(a.SessionID))
	l.fact(w, "score", fmt.Sprintf("%.1f of 100 (the budget's threshold is 50), confidence %.0f %%", a.Score, 100*a.Confidence))
	l.fact(w, "silent if", escaped(a.Counterfactual))
	l.fact(w, "runbook", escaped(a.Runbook))
	l.fact(w, "tags", escaped(strings.Join(append(append(append([]string{}, a.Tags.OwaspASI...), a.Tags.ATLAS...), a.Tags.Attack...), " ")))
	printSignals(w, a.Signals, l)
	printEvidence(w, &proof.Evidence, l)
	fmt.Fprintln(w, "\n"+l.bold("Steps"))
	for _, s := range steps {
		mark := " "
		if s.AlertID == a.AlertID {
			mark = "*" // the one that is shown
		}
		fmt.Fprintf(w, "%s %s  %s  %s  %5.1f  %s\n", mark, clockOf(s.Time), padded(escaped(s.Status), 6), l.severity(s.Severity, 8), s.Score, escaped(s.Title))
	}
	fmt.Fprintf(w, "\n%s\n", l.bold("Look further"))
	fmt.Fprintf(w, "  %s --tenant=%s -- %s\n", command("agent"), escaped(shellWord(a.TenantID)), escaped(shellWord(a.Agent.ID)))
	if proof.Query != "" {
		fmt.Fprintf(w, "  %s --output vertical %s\n", command("query"), escaped(shellWord(proof.Query)))
	}
	fmt.Fprintf(w, "\nepisode %s, alert %s\n", escaped(a.EpisodeID), escaped(a.AlertID))
}

// whoIs names an agent with what is said of it.
func whoIs(id, name, version, peers, tenant string) string {
	text := escaped(id)
	if called := strings.TrimSpace(name + " " + version); called != "" {
		text += " (" + escaped(called) + ")"
	}
	return text + ", peer group " + escaped(peers) + ", tenant " + escaped(tenant)
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
	fmt.Fprintln(w, "\n"+l.bold(padded("Signals", 24)+padded("observed", 12)+padded("expected", 12)+"normal range"))
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
		fmt.Fprintln(w, "  "+padded(escaped(s.Name), 22)+padded(amount(s.Observed), 12)+padded(amount(s.Expected), 12)+within+window)
		for _, first := range s.FirstSeen {
			fmt.Fprintln(w, "    first seen: "+escaped(first))
		}
	}
}

func printEvidence(w io.Writer, e *schemas.Evidence, l look) {
	fmt.Fprintf(w, "\n%s\n", l.bold("Evidence ("+counted(e.EventCount, "event")+" so far)"))
	if len(e.Places) > 0 {
		fmt.Fprintln(w, "  "+padded("calls", 7)+padded("sent", 12)+padded("received", 12)+"to and from")
		for _, p := range e.Places {
			fmt.Fprintln(w, "  "+padded(strconv.FormatUint(p.Events, 10), 7)+padded(bytesText(int64(p.BytesSent)), 12)+padded(bytesText(int64(p.BytesReceived)), 12)+escaped(p.Resource))
		}
	}
	indented := l
	indented.width = max(0, l.width-2)
	list := func(name string, values []string) {
		if len(values) == 0 {
			return
		}
		for i, line := range folded(name+": "+escaped(strings.Join(values, ", ")), indented.width) {
			fmt.Fprintln(w, strings.Repeat(" ", 2+2*min(i, 1))+line)
		}
	}
	list("tools", e.Tools)
	if len(e.Places) == 0 {
		list("resources", e.Resources)
	}
	list("event ids", e.EventIDs)
}
