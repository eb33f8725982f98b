// Package scenario runs behaviour that is written down: events in, alerts or silence
// expected. The detector's own spec (detector/testdata) and the cases of
// `plumbline config test` are such texts.
//
// Invariants:
//  1. A case is a function of its text and the config: it knows no clock.
//  2. What is wrong with the text is a Mistake, what the detector does not do as
//     expected a Failure; both name file and line.
//
// It imports the detector, what reads policies and schemas, and no I/O.
//
// A file is a text of steps; '#' begins a comment. The clock begins on Monday
// 2024-06-03 00:00 UTC. Words of a step are separated by blanks; a value with
// blanks, or with escapes, stands in double quotes as in Go.
//
//	case NAME              a case begins: it has a detector of its own, which has seen the steps before
//	                       the first case, and no other. Without it the file is one case
//	at 3d4h5m              set the clock: since the beginning, never backwards in a run
//	peers 12 in crm        name a group of agents for `history`: peer-1 .. peer-12
//	history 14d PER AGENT  ordinary traffic of the named agents from the clock on, and the
//	                       clock after it: PER calls every hour, spread evenly, alternating
//	                       between two tools, twice each, five files and (each 8th call) one destination
//	origins 10.1           from here on the agents of `history` have addresses, 10.1.N.x, and credentials, key-NAME
//	event KEY=VALUE ...    one event: agent, group, session, tool, access, resource (repeatable),
//	                       sent, received, tokens, duration, cost (an attribute), outcome, invalid (a field, repeatable), id, target, behalf, name, tenant, version, credential, type (of it), ip, expires (the clock at
//	                       which the credential does), back (a duration before the clock)
//	register KEY=VALUE ... who an agent is: agent, tenant, status, owner, contact, criticality, group, version (repeatable),
//	                       credential (ID or ID:DAYS, repeatable), grant (a pattern of tools, repeatable), until (the clock at which it ends), back
//	repeat N every 1s KEY=VALUE ...   N events, the clock moving; %d in a value is the number
//	quiet 7h               the clock moves, and an event of another agent moves the watermark
//	expect silence         no alert since the last expect; with KEY=VALUE none like it
//	expect alert KEY=VALUE ...  the next alert not yet expected has: status, agent, tenant, group, severity, lead
//	                       (its first signal), signal (repeatable), title, summary, counterfactual,
//	                       query, first_seen, resource (of the evidence), suppressed, kind, owner; texts by what they contain;
//	                       severity and score also at least and at most: severity>=medium, score<=70
//	expect some KEY=VALUE ...   an alert not yet expected has; those before it are passed over
//	expect updates 3..5    that many alerts with status update come next
//	expect only            no further alert than those expected
//	expect score 60..100   of the last event
//	expect surprise below 1    of the last event; or above
//	expect duplicate | late    of the last event
//	expect stats duplicates=1 late=0 open=0 agents=2
//	config max_agents=3 max_tenants=2 budget=0.01   before the first step; metric=NAME:FIELD:TAKE:UNIT, identity=CHECK:MODE,
//	                       policy=TEXT (Cedar, repeatable), default=deny
//	override KEY=VALUE ...     before the first step: tenant, group, agent (patterns), budget, quiet,
//	                       off (a signal), least (SIGNAL:VALUE), identity (CHECK:MODE)
package scenario

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/schemas"
)

// Mistake is a step that can't be taken: the text is at fault.
type Mistake struct {
	File    string
	Line    int
	Problem string
}

func (m *Mistake) Error() string { return fmt.Sprintf("%s:%d: %s", m.File, m.Line, m.Problem) }

// Failure is an expectation that did not hold.
type Failure struct {
	File    string
	Line    int
	Problem string         // what was expected, and what came
	Alert   *schemas.Alert // that came, where one did
}

func (f *Failure) Error() string {
	out := fmt.Sprintf("%s:%d: %s", f.File, f.Line, f.Problem)
	if f.Alert != nil {
		out += "; the alert: " + f.Alert.Summary
	}
	return out
}

// Case is one case of a file.
type Case struct {
	File  string
	Line  int    // where it begins
	Name  string // empty: the file is one case
	steps []step
}

type step struct {
	line  int
	words []string
}

// Read takes a file apart. An error is a *Mistake.
func Read(file, text string) ([]Case, error) {
	var (
		before []step
		cases  []Case
		names  = make(map[string]bool)
	)
	for i, line := range strings.Split(text, "\n") {
		words, err := split(strings.TrimSuffix(line, "\r"))
		wrong := func(problem string) error { return &Mistake{file, i + 1, problem} }
		switch {
		case err != nil:
			return nil, wrong("quote: " + err.Error())
		case len(words) == 0:
		case words[0] == "case":
			name := strings.Join(words[1:], " ")
			if name == "" || names[name] {
				return nil, wrong("a case needs a name of its own")
			}
			names[name] = true
			cases = append(cases, Case{File: file, Line: i + 1, Name: name, steps: slices.Clip(before)})
		case len(cases) > 0:
			last := &cases[len(cases)-1]
			last.steps = append(last.steps, step{i + 1, words})
		default:
			before = append(before, step{i + 1, words})
		}
	}
	if len(cases) == 0 {
		cases = []Case{{File: file, Line: 1, steps: before}}
	}
	return cases, nil
}

// Expects reports whether the case expects anything: one that does not can't fail.
func (c *Case) Expects() bool {
	return slices.ContainsFunc(c.steps, func(s step) bool { return s.words[0] == "expect" })
}

// Options say how cases are run.
type Options struct {
	Detector detector.Config
	// Tunes lets the text change the config.
	Tunes bool
}

// Result is what a case has come to, as far as it ran.
type Result struct {
	Detector *detector.Detector // nil: no step was taken
	Config   detector.Config
	Alerts   []*schemas.Alert
}

// Run runs a case. An error is a *Failure, a *Mistake, or that of ctx.
func (c *Case) Run(ctx context.Context, opt Options) (res Result, err error) {
	s := &scenario{ctx: ctx, file: c.File, cfg: opt.Detector, tunes: opt.Tunes, clock: begin}
	defer func() {
		if r := recover(); r != nil {
			stop, ok := r.(stopped)
			if !ok {
				panic(r)
			}
			err = stop.error
		}
		res = Result{s.d, s.cfg, s.sink.alerts}
	}()
	for _, step := range c.steps {
		s.line = step.line
		s.step(step.words[0], step.words[1:])
	}
	return res, nil
}

// begin is Monday 2024-06-03 00:00 UTC.
const begin schemas.Millis = 1_717_372_800_000

const hourMS = 3_600_000

// scenario is a case that runs.
type scenario struct {
	ctx   context.Context
	file  string
	line  int
	cfg   detector.Config
	tunes bool
	d     *detector.Detector
	deny  bool // where no policy permits
	// policies are those of the case itself.
	policies string

	sink  recorder
	clock schemas.Millis
	group string
	names []string
	seq   int
	// origins begins the addresses of agents with a history; empty: they have none.
	origins string
	next    int // alert to be expected next
	last    detector.Verdict
}

// recorder is a sink that keeps the alerts.
type recorder struct{ alerts []*schemas.Alert }

func (r *recorder) Alert(a *schemas.Alert) { r.alerts = append(r.alerts, a) }
func (r *recorder) Window(*schemas.Window) {}

// stopped ends a run from whatever depth of a step.
type stopped struct{ error }

// wrong ends the run: the text is at fault.
func (s *scenario) wrong(format string, args ...any) {
	panic(stopped{&Mistake{s.file, s.line, fmt.Sprintf(format, args...)}})
}

// fail ends the run: the detector did something else.
func (s *scenario) fail(a *schemas.Alert, format string, args ...any) {
	panic(stopped{&Failure{s.file, s.line, fmt.Sprintf(format, args...), a}})
}
