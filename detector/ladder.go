package detector

import (
	"cmp"
	"slices"
	"strings"

	"github.com/plumbline-sec/plumbline/detector/score"
	"github.com/plumbline-sec/plumbline/detector/signal"
	"github.com/plumbline-sec/plumbline/schemas"
)

// Ladder is how the score of one event came about, step by step: what was counted, what
// was expected, how rare that is by the model, how often it really happens, what all
// signals come to together, the score, and the alert or why there is none. Its numbers are
// those that the verdict was made of, not rounded.
type Ladder struct {
	EventID    string         `json:"event_id"`
	TenantID   string         `json:"tenant_id"`
	AgentID    string         `json:"agent_id"`
	PeerGroup  string         `json:"peer_group"`
	Time       schemas.Millis `json:"time"`        // as far as it is believed
	ActiveDays int            `json:"active_days"` // of the agent, this one included
	Young      bool           `json:"young"`       // the agent is in its first days
	Duplicate  bool           `json:"duplicate"`
	Late       bool           `json:"late"`
	Clamped    bool           `json:"clamped"`

	Signals []Rung         `json:"signals"` // that have something to say, strongest first
	Silent  []SilentSignal `json:"silent"`  // all others
	Fusion  *Fusion        `json:"fusion"`  // null: no signal has anything to say

	Budget    float64 `json:"alerts_per_agent_day"` // of this agent
	Threshold float64 `json:"threshold"`            // the surprise at which an alert begins, decades
	Surprise  float64 `json:"surprise"`             // decades
	Score     float64 `json:"score"`                // 0 to 100, 50 is the threshold

	Severity string       `json:"severity"` // empty: the budget is not crossed
	Grounds  []string     `json:"severity_grounds,omitempty"`
	Alert    *LadderAlert `json:"alert"`    // that the event opened or updated
	NoAlert  string       `json:"no_alert"` // why there is none
}

// Rung is what one signal says of the event.
type Rung struct {
	Name          string         `json:"name"`
	Unit          string         `json:"unit"` // of Observed and Expected
	Observed      float64        `json:"observed"`
	WindowStart   schemas.Millis `json:"window_start"`
	WindowSeconds int64          `json:"window_seconds"` // 0: the event alone
	Expected      float64        `json:"expected"`
	Samples       float64        `json:"baseline_samples"` // observations of the agent itself behind Expected
	Baseline      string         `json:"baseline"`         // whose history it is: schemas.BaselineAgent, ...
	Text          string         `json:"text"`             // as an alert says it
	FirstSeen     []string       `json:"first_seen,omitempty"`

	Model       string  `json:"model"`
	Source      string  `json:"source"`      // the file of the formula
	X           float64 `json:"x"`           // evidence, decades: -log10 of the tail's probability
	TestsPerDay float64 `json:"tests_a_day"` // for which the model stands
	Nominal     float64 `json:"nominal"`     // exceedances per agent-day by the model alone
	Believed    bool    `json:"believed"`    // the model is: it is not calibrated

	Lambda   float64        `json:"lambda"` // calibrated exceedances per agent-day
	Exposure score.Exposure `json:"exposure"`
	Share    float64        `json:"share"`    // of the alert budget, 0 to 1
	Evidence float64        `json:"evidence"` // -log10(Lambda/Share), decades
}

// SilentSignal is a signal that has nothing to say of the event.
type SilentSignal struct {
	Name    string `json:"name"`
	Because string `json:"because"`
}

// Fusion is what the signals come to together.
type Fusion struct {
	Led      string         `json:"led"`      // the strongest signal
	Evidence float64        `json:"evidence"` // its, decades
	Lambda   float64        `json:"lambda"`   // calibrated exceedances per agent-day
	Exposure score.Exposure `json:"exposure"`
	Surprise float64        `json:"surprise"` // -log10 of Lambda
	Steered  float64        `json:"steered"`  // decades that were taken off it, for alerts over the budget
}

// LadderAlert is the alert that an event opened or updated.
type LadderAlert struct {
	AlertID   string `json:"alert_id"`
	EpisodeID string `json:"episode_id"`
	AgentID   string `json:"agent_id"` // whose episode it is
	Status    string `json:"status"`
	Reason    string `json:"reason"`
	Summary   string `json:"summary"`
}

// fusedRung is what the signals come to together: evidence of the strongest, the calibrated
// exceedances per agent-day, the surprise that they are.
type fusedRung struct{ evidence, lambda, surprise float64 }

// witness is a sink that remembers the alert that an event completes.
type witness struct {
	Sink
	alert *schemas.Alert
}

// Alert implements Sink. What has ended or was silent is told of beside the event.
func (w *witness) Alert(al *schemas.Alert) {
	if al.Status != schemas.StatusClose && al.Evidence.CompletedBy != nil {
		w.alert = al
	}
	w.Sink.Alert(al)
}

// ProcessExplained is Process, and says how the score came about. It takes about as long as
// an event that raises an alert; verdict, alerts and state are those of Process.
func (d *Detector) ProcessExplained(ev *schemas.Activity) (Verdict, *Ladder) {
	l, w := &Ladder{}, &witness{Sink: d.sink}
	d.ladder, d.sink = l, w
	v := d.Process(ev)
	d.ladder, d.sink = nil, w.Sink
	l.Clamped = v.Clamped // told of a repeated event at the very end
	return v, l
}

// climb writes the ladder of an event that was judged and is not learnt yet.
func (d *Detector) climb(a *agent, ev *schemas.Activity, at schemas.Millis, v *Verdict) {
	l, c, p := d.ladder, &d.ctx, a.policy
	pair, class := a.group.pair(a.tenant), classOf(c.Young)
	*l = Ladder{
		EventID: text(ev.EventID), TenantID: text(ev.TenantID), AgentID: text(ev.AgentID), PeerGroup: a.group.name, Time: at,
		ActiveDays: int(a.profile.Days), Young: c.Young, Duplicate: v.Duplicate, Late: v.Late, Signals: make([]Rung, 0, len(d.ranked)),
		Budget: p.budget.Alerts, Threshold: p.budget.Threshold(), Surprise: v.Surprise, Score: v.Score,
	}
	if len(d.ranked) > 0 {
		if done := d.completedBy(ev, at); done != nil {
			c.Target = done.Target
		}
		c.BeforeName = a.trail.tool(c.Before)
		l.Fusion = &Fusion{
			Led: d.names[d.ranked[0].index], Evidence: d.fused.evidence, Lambda: d.fused.lambda,
			Exposure: pair.FusedExposure(class, d.fused.evidence), Surprise: d.fused.surprise, Steered: d.fused.surprise - v.Surprise,
		}
	}
	for _, r := range d.ranked {
		l.Signals = append(l.Signals, d.rung(r, p, pair, class))
	}
	l.Silent = d.silentSignals(p)
	if crossed := len(d.ranked) > 0 && p.budget.Crossed(v.Surprise); crossed {
		l.Severity, l.Grounds = severities[d.grounds.severity], d.grounds.words()
	}
	w, ok := d.sink.(*witness)
	if ok && w.alert != nil {
		al := w.alert
		l.Alert = &LadderAlert{al.AlertID, al.EpisodeID, al.Agent.ID, al.Status, al.Episode.Reason, al.Summary}
		return
	}
	l.NoAlert = d.noAlert(a, l)
}

func (d *Detector) rung(r rankedSignal, p *policy, pair score.Pair, class score.Maturity) Rung {
	info, det := &d.infos[r.index], d.signals[r.index].Explain(&d.ctx)
	for i := range det.FirstSeen {
		det.FirstSeen[i] = text(det.FirstSeen[i])
	}
	return Rung{
		Name: info.Name, Unit: info.Unit, Observed: det.Observed, WindowStart: det.Start, WindowSeconds: det.Seconds,
		Expected: det.Expected, Samples: det.Samples, Baseline: cmp.Or(det.Baseline, schemas.BaselineAgent),
		Text: text(det.Text), FirstSeen: det.FirstSeen,
		Model: info.Model, Source: "detector/signal/" + info.File, X: r.x, TestsPerDay: info.TestsPerDay,
		Nominal: score.Nominal(r.x, info.TestsPerDay), Believed: info.Uncalibrated,
		Lambda: r.lambda, Exposure: pair.SignalExposure(r.index, class, r.x), Share: p.fuse.Share(r.index), Evidence: r.evidence,
	}
}

// silentSignals are those that were not ranked, by asking them once more.
func (d *Detector) silentSignals(p *policy) []SilentSignal {
	var out []SilentSignal
	for i, s := range d.signals {
		if slices.ContainsFunc(d.ranked, func(r rankedSignal) bool { return r.index == i }) {
			continue
		}
		because := "off"
		if p.fuse.On(i) {
			switch x := s.Score(&d.ctx); {
			case i == d.silence || i == d.floods:
				because = "not of single events"
			case x <= 0:
				because = "nothing unusual"
			case !p.reachesMinimum(i, s.Observe(&d.ctx).Observed):
				because = strings.TrimSpace("under at_least, " + signal.Count(p.minimum[i]) + " " + d.infos[i].Unit)
			default:
				because = "too weak to count"
			}
		}
		out = append(out, SilentSignal{d.names[i], because})
	}
	return out
}

// noAlert says why an event raised none.
func (d *Detector) noAlert(a *agent, l *Ladder) string {
	owner := a
	if a.episode == nil && a.folded() {
		owner = a.tenant.swarm
	}
	e, where := owner.episode, ""
	if e != nil {
		where = "episode " + e.id + " of " + signal.Quote(owner.shown()) + ", open since " + e.first.String()
	}
	if l.Severity != "" {
		return "it is more of the same in " + where + ": crossing " + signal.Count(float64(e.crossings)) + ", counted as suppressed in the next alert of it"
	}
	why := "nothing that it did or moved is unusual for this agent"
	if l.Fusion != nil {
		pays := "once in " + signal.Count(1/l.Budget) + " days"
		if l.Budget > 1 {
			pays = signal.Count(l.Budget) + " times a day"
		}
		why = "its score is under 50: the budget pays for what a normal agent does " + pays + ". " + often(l.Surprise, l.Young)
	}
	if e != nil && !l.Duplicate {
		why = strings.TrimSuffix(why, ".") + "; it counts in the totals of " + where
	}
	return why
}

// grounds are what a severity was made of.
type grounds struct {
	base, severity int // by the score alone; what it came to
	leaving, bulk  bool
	toolOnly       bool // nothing crosses but what a new tool brings
	assumed        bool // it is held against nobody's history
	families       int  // that cross by themselves
}

// words are the steps from the score to the severity.
func (g grounds) words() []string {
	var out []string
	switch g.base {
	case 0:
		out = append(out, "low by its score, which is under "+signal.Count(mediumScore))
	case 1:
		out = append(out, "medium by its score: "+signal.Count(mediumScore)+" or more")
	default:
		out = append(out, "high by its score: "+signal.Count(highScore)+" or more")
	}
	s := g.base
	if g.leaving {
		s++
		out = append(out, "one up: data leave, by their size or to a site outside that is new")
	}
	if g.bulk {
		s++
		out = append(out, "one up: they are many, at least "+signal.Bytes(bulkBytes)+" and "+signal.Count(bulkTimes)+" times what is usual")
	}
	switch {
	case s <= g.severity:
	case g.toolOnly:
		out = append(out, "at most medium: nothing crosses but what a new tool brings")
	case g.assumed:
		out = append(out, "at most medium: neither it nor a peer has a history to hold it against")
	case g.families < 2:
		out = append(out, "at most high: critical takes two kinds of deviation that cross by themselves")
	default:
		out = append(out, "critical is the most there is")
	}
	return out
}
