package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/detector/score"
	"github.com/plumbline-sec/plumbline/detector/signal"
	"github.com/plumbline-sec/plumbline/pipeline/replay"
	"github.com/plumbline-sec/plumbline/pipeline/terminal"
	"github.com/plumbline-sec/plumbline/schemas"
)

// explain prints how the score of an event came about.
func (c *replayCmd) explain(g *Globals, l *detector.Ladder) error {
	if c.Output == OutputJSON {
		return g.printJSON(struct {
			*detector.Ladder
			Steps []detector.LadderStep `json:"steps"`
		}{l, detector.LadderSteps()})
	}
	look := g.look()
	look.width = cmp.Or(look.width, 80)
	return g.printVisible(func(w io.Writer) error {
		p := ladderPrinter{w: w, look: look, steps: detector.LadderSteps()}
		p.print(l)
		return p.err
	})
}

// missing says which events were asked about and were not there, and of which there were
// too many.
func (c *replayCmd) missing(g *Globals, run *replay.Replay) error {
	var gone []string
	for _, id := range c.Explain {
		switch n := run.EventsOf(id); {
		case n == 0:
			gone = append(gone, strconv.Quote(id))
		case n > replay.MostExplained:
			fmt.Fprintf(g.Stderr, "plumbline: --explain: %d events have the id %s; the first %d are explained\n", n, terminal.Escape(strconv.Quote(id)), replay.MostExplained)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	return errors.New("--explain: no event has the id " + strings.Join(gone, ", ") +
		"; check that --input holds its day, that it was no dead letter, and that the id is that of the event: event_id in --scores, in evidence of an alert, in ClickHouse (an event that brings none gets one from the place of its record, another in another file)")
}

// ladderPrinter prints a Ladder for who wants to know why: what each step means is said the
// first time that it is taken.
type ladderPrinter struct {
	w     io.Writer
	look  look
	steps []detector.LadderStep
	err   error
}

func (p *ladderPrinter) line(text string) {
	if _, err := fmt.Fprintln(p.w, text); p.err == nil {
		p.err = err
	}
}

// text prints text of several lines.
func (p *ladderPrinter) text(text string) {
	for _, line := range terminal.Fold(terminal.Escape(text), p.look.width) {
		p.line(line)
	}
}

// step prints a step, and what it means where it is the first of its name.
func (p *ladderPrinter) step(name, value string) {
	p.look.fact(p.w, name, terminal.Escape(value))
	i := slices.IndexFunc(p.steps, func(s detector.LadderStep) bool { return s.Name == name })
	if i < 0 {
		return
	}
	p.look.fact(p.w, "", "| "+p.steps[i].Means+" ("+p.steps[i].Source+")")
	p.steps = slices.Delete(p.steps, i, i+1)
}

func (p *ladderPrinter) print(l *detector.Ladder) {
	became := "no alert"
	if l.Alert != nil {
		became = "alert " + told(l.Alert)
	}
	if l.Severity != "" {
		became = "severity " + l.Severity + ", " + became
	}
	p.line(p.look.bold(fmt.Sprintf("Score %.1f of 100 (50 is the threshold); %s", l.Score, became)))
	p.text("event " + l.EventID + " of " + l.Time.Time().Format("2006-01-02 15:04:05.000") + " UTC" + oddities(l))
	age := counted(int64(l.ActiveDays), "active day")
	if l.Young {
		age += ", still in its first days"
	}
	p.text("agent " + l.AgentID + ", peer group " + l.PeerGroup + ", tenant " + l.TenantID + "; " + age)
	p.line("A decade is a factor of ten: 3 decades of evidence are one in a thousand.")
	for i := range l.Signals {
		p.signal(i+1, &l.Signals[i], l)
	}
	p.silent(l.Silent)
	p.together(l)
	p.line("")
}

// oddities is how the event itself was taken.
func oddities(l *detector.Ladder) string {
	out := ""
	if l.Duplicate {
		out += "; it came before, so it is not counted again"
	}
	if l.Late {
		out += "; late: its hour was over"
	}
	if l.Clamped {
		out += "; its time lay ahead of its arrival, and is taken for that"
	}
	return out
}

func (p *ladderPrinter) signal(number int, r *detector.Rung, l *detector.Ladder) {
	p.line("")
	p.line(p.look.bold(strconv.Itoa(number) + ". " + terminal.Escape(r.Name)))
	p.step(detector.StepCounted, amount(r.Observed, r.Unit)+" "+during(r))
	p.step(detector.StepExpected, amount(r.Expected, r.Unit)+", "+whose(r))
	p.look.fact(p.w, "in words", terminal.Escape("it "+r.Text))
	p.step(detector.StepTail, fmt.Sprintf("%.2f decades, %s. Formula: %s (%s)", r.X, oneIn(r.X), r.Model, r.Source))
	if r.Believed {
		p.step(detector.StepCalibrated, rate(r.Lambda)+": the model is believed as it is, "+perDay(r.TestsPerDay))
	} else {
		p.step(detector.StepCalibrated, fmt.Sprintf("%s. By the model alone %.3g (%s). %s", rate(r.Lambda), r.Nominal, perDay(r.TestsPerDay), behind(&r.Exposure, l)))
	}
	p.step(detector.StepShare, fmt.Sprintf("%.2g %% of the budget: %.2f decades less %.2f for its part leave %.2f",
		100*r.Share, -math.Log10(r.Lambda), -math.Log10(r.Share), r.Evidence))
}

func (p *ladderPrinter) silent(silent []detector.SilentSignal) {
	var reasons []string
	by := make(map[string][]string)
	for _, s := range silent {
		if by[s.Because] == nil {
			reasons = append(reasons, s.Because)
		}
		by[s.Because] = append(by[s.Because], s.Name)
	}
	p.line("")
	p.line(p.look.bold("Silent"))
	for _, because := range reasons {
		p.text(because + ": " + strings.Join(by[because], ", "))
	}
}

func (p *ladderPrinter) together(l *detector.Ladder) {
	p.line("")
	p.line(p.look.bold("Together"))
	if f := l.Fusion; f != nil {
		p.step(detector.StepFused, fmt.Sprintf("%.2f decades, of %s", f.Evidence, f.Led))
		p.step(detector.StepWorth, fmt.Sprintf("%s, %.2f decades. %s", rate(f.Lambda), f.Surprise, behind(&f.Exposure, l)))
		steered := "nothing is taken"
		if f.Steered > 0 {
			steered = fmt.Sprintf("%.2f decades are taken: more episodes were opened of late than the budget pays for", f.Steered)
		}
		p.step(detector.StepSteered, steered)
	}
	p.step(detector.StepSurprise, fmt.Sprintf("%.2f decades: expected of a normal agent %s", l.Surprise, signal.Every(math.Pow(10, l.Surprise))))
	p.step(detector.StepScore, fmt.Sprintf("50 + 10 x (%.2f - %.2f), within 0 and 100: %.1f; the budget is %.4g alerts an agent-day",
		l.Surprise, l.Threshold, l.Score, l.Budget))
	if l.Severity == "" {
		p.step(detector.StepSeverity, "none: the budget is not crossed")
	} else {
		p.step(detector.StepSeverity, l.Severity+": "+strings.Join(l.Grounds, "; "))
	}
	if l.Alert == nil {
		p.step(detector.StepAlert, "no alert, because "+l.NoAlert)
		return
	}
	a := l.Alert
	p.step(detector.StepAlert, fmt.Sprintf("%s (reason: %s), %s of episode %s of %s. %s", told(a), a.Reason, a.AlertID, a.EpisodeID, a.AgentID, a.Summary))
}

func told(a *detector.LadderAlert) string {
	if a.Status == schemas.StatusOpen {
		return "opened"
	}
	return "updated"
}

// amount is a value with its unit; of bytes also as people say it.
func amount(v float64, unit string) string {
	number := strconv.FormatFloat(v, 'g', 4, 64)
	if v == math.Trunc(v) || v >= 1000 {
		number = signal.Count(v)
	}
	if v == 1 {
		unit = strings.TrimSuffix(unit, "s")
	}
	if unit == "bytes" && v >= 1024 {
		return number + " bytes (" + signal.Bytes(v) + ")"
	}
	return strings.TrimSpace(number + " " + unit)
}

// during says what an observed value is of.
func during(r *detector.Rung) string {
	switch {
	case r.WindowSeconds == 0:
		return "in this call"
	case r.WindowSeconds <= 3600:
		return "in the hour since " + r.WindowStart.Time().Format("15:04") + " UTC"
	}
	return "in the last " + counted(r.WindowSeconds/3600, "hour") + ", recent ones weigh more"
}

// whose says whose history stands behind an expectation.
func whose(r *detector.Rung) string {
	own := signal.Count(r.Samples)
	switch r.Baseline {
	case schemas.BaselinePeers:
		return "by its peers' history: it has hardly any (" + own + " observations)"
	case schemas.BaselineAssumed:
		return "assumed: neither it nor a peer has a history yet"
	}
	return "by its own history (" + own + " observations), corrected by its peers'"
}

// oneIn is a tail's probability as people say it.
func oneIn(decades float64) string {
	switch n := math.Pow(10, decades); {
	case n < 10:
		return fmt.Sprintf("1 in %.1f", n)
	case n < 1e7:
		return "1 in " + signal.Count(n)
	}
	return fmt.Sprintf("1 in 10^%.1f", decades)
}

// rate is how often something is expected of an agent.
func rate(lambda float64) string {
	return fmt.Sprintf("%.3g an agent-day, %s", lambda, signal.Every(1/lambda))
}

func perDay(tests float64) string {
	if tests == 1 {
		return "1 test a day"
	}
	return signal.Count(tests) + " tests a day"
}

// behind is what was watched of such agents.
func behind(e *score.Exposure, l *detector.Ladder) string {
	return fmt.Sprintf("Behind it: in peer group %s %.3g agent-days with %s, in its tenant %.3g with %s",
		l.PeerGroup, e.GroupDays, seen(e.GroupSeen), e.FleetDays, seen(e.FleetSeen))
}

func seen(n float64) string {
	switch {
	case n == 0:
		return "none such"
	case n < 0.1:
		return strconv.FormatFloat(n, 'g', 1, 64) + " such"
	}
	return strconv.FormatFloat(n, 'f', 1, 64) + " such"
}
