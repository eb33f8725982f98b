package demo

import (
	"slices"
	"time"

	"github.com/plumbline-sec/plumbline/internal/simulator"
	"github.com/plumbline-sec/plumbline/schemas"
)

// Summary is what a demo found.
type Summary struct {
	EventsSent          int64   `json:"events_sent"`
	EventsStored        int64   `json:"events_stored"`
	AgentDays           int64   `json:"agent_days"`
	Alerts              int64   `json:"alerts"` // episodes opened
	Attacks             int     `json:"attacks"`
	AttacksFound        int     `json:"attacks_found"`
	FalseAlerts         int     `json:"false_alerts"`
	ExpectedFalseAlerts float64 `json:"expected_false_alerts"`
	Seconds             float64 `json:"seconds"`
	DataDir             string  `json:"data_dir"`

	Found []Finding `json:"findings"`
}

// Finding is one attack and what became of it.
type Finding struct {
	Kind    simulator.Kind `json:"kind"`
	AgentID string         `json:"agent_id"`
	Start   schemas.Millis `json:"start"`
	Events  int            `json:"events"`
	Found   bool           `json:"found"`
	// Of the alert that found it: how long after the attack's first event, in
	// event time, and what it said.
	AfterSeconds float64 `json:"after_seconds,omitempty"`
	Summary      string  `json:"summary,omitempty"`
	// The worst that its alerts got to.
	Severity string `json:"severity,omitempty"`
}

// severities, mildest first.
var severities = []string{schemas.SeverityLow, schemas.SeverityMedium, schemas.SeverityHigh, schemas.SeverityCritical}

// aftermath is how long after its last event an alert still belongs to an attack:
// a window closes, a long average catches up.
const aftermath = 24 * time.Hour

// sumUp holds the alerts against the labels. An attack is found by an alert on
// its agent while it lasts; an episode that opens on an agent that is not under
// attack is a false alert.
func (d *demo) sumUp(stored int64) *Summary {
	labels, alerts := d.fleet.Labels(), d.watch.all()
	s := &Summary{
		EventsSent: d.feed.sent, EventsStored: stored, AgentDays: int64(len(d.feed.agentDays)),
		Attacks:             len(labels),
		ExpectedFalseAlerts: float64(len(d.feed.agentDays)) * d.cfg.Detector.AlertsPerAgentDay,
		Seconds:             time.Since(d.began).Seconds(), DataDir: d.opt.DataDir,
	}
	for i := range labels {
		l := &labels[i]
		f := Finding{Kind: l.Kind, AgentID: l.AgentID, Start: l.Start, Events: l.Events}
		for j := range alerts {
			a := &alerts[j]
			if a.Status == schemas.StatusClose || !during(l, a) {
				continue
			}
			if !f.Found {
				f.Found = true
				f.AfterSeconds, f.Summary = float64(a.Time-l.Start)/1000, a.Summary
				s.AttacksFound++
			}
			if slices.Index(severities, a.Severity) > slices.Index(severities, f.Severity) {
				f.Severity = a.Severity
			}
		}
		s.Found = append(s.Found, f)
	}
	for i := range alerts {
		if alerts[i].Status != schemas.StatusOpen {
			continue
		}
		s.Alerts++
		if label(labels, &alerts[i]) == nil {
			s.FalseAlerts++
		}
	}
	return s
}

// label returns the attack that an alert belongs to.
func label(labels []simulator.Label, a *schemas.Alert) *simulator.Label {
	for i := range labels {
		if during(&labels[i], a) {
			return &labels[i]
		}
	}
	return nil
}

func during(l *simulator.Label, a *schemas.Alert) bool {
	return l.AgentID == a.Agent.ID && l.TenantID == a.TenantID &&
		a.Time >= l.Start && a.Time <= l.End+schemas.Millis(aftermath.Milliseconds())
}
