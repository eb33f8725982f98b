package siem

import (
	"math"

	"github.com/plumbline-sec/plumbline/schemas"
)

// JSON is the alert itself, as it stands in plumbline.alerts.
var JSON Encoder = &jsonForm{"json", (*writer).alert}

func (w *writer) alert(a *schemas.Alert) {
	w.id("alert_id", a.AlertID)
	w.id("episode_id", a.EpisodeID)
	w.text("status", a.Status)
	w.text("kind", a.Kind)
	w.id("tenant_id", a.TenantID)
	w.object("agent", func() {
		w.id("id", a.Agent.ID)
		w.some("name", a.Agent.Name)
		w.some("version", a.Agent.Version)
		w.text("peer_group", a.Agent.PeerGroup)
		w.some("owner", a.Agent.Owner)
		w.some("contact", a.Agent.Contact)
		w.some("criticality", a.Agent.Criticality)
	})
	w.some("session_id", a.SessionID)
	w.some("on_behalf_of", a.OnBehalfOf)
	w.time("time", a.Time)
	w.time("first_seen", a.FirstSeen)
	w.time("last_seen", a.LastSeen)
	w.text("severity", a.Severity)
	w.float("score", a.Score)
	w.float("expected_per_agent_day", a.ExpectedPerAgentDay)
	w.float("confidence", a.Confidence)
	w.object("episode", func() { w.episode(&a.Episode) })
	w.text("title", a.Title)
	w.text("summary", a.Summary)
	w.signals(a.Signals)
	w.object("evidence", func() { w.evidence(&a.Evidence) })
	w.object("tags", func() {
		w.list("owasp_asi", a.Tags.OwaspASI, maxTags)
		w.list("atlas", a.Tags.ATLAS, maxTags)
		w.list("attack", a.Tags.Attack, maxTags)
	})
	w.some("counterfactual", a.Counterfactual)
	w.some("query", a.Query)
	w.some("runbook", a.Runbook)
	w.integer("suppressed", int64(a.Suppressed))
	w.object("detector", func() {
		w.text("version", a.Detector.Version)
		w.text("config_hash", a.Detector.ConfigHash)
		w.some("policy_hash", a.Detector.PolicyHash)
	})
}

func (w *writer) episode(e *schemas.Episode) {
	w.text("reason", e.Reason)
	w.text("severity", e.Severity)
	w.float("score", e.Score)
	w.integer("risk", int64(e.Risk))
	w.integer("risk_added", int64(e.RiskAdded))
	w.integer("alerts", int64(e.Alerts))
}

func (w *writer) evidence(e *schemas.Evidence) {
	w.list("event_ids", e.EventIDs, schemas.MaxEvidence)
	w.list("resources", e.Resources, schemas.MaxEvidence)
	w.list("tools", e.Tools, schemas.MaxEvidence)
	w.integer("event_count", e.EventCount)
	if c := e.CompletedBy; c != nil {
		w.object("completed_by", func() { w.completedBy(c) })
	}
	w.decision(e.Decision)
	w.sums(e)
}

// decision is what policies said of the event; nil: nothing.
func (w *writer) decision(d *schemas.Decision) {
	if d == nil {
		return
	}
	w.object("decision", func() {
		w.text("action", d.Action)
		w.text("resource", d.Resource)
		w.list("policies", d.Policies, schemas.MaxEvidence)
		if len(d.Failed) > 0 {
			w.list("failed", d.Failed, schemas.MaxEvidence)
		}
		w.array("seen", func() {
			for _, s := range d.Seen[:min(len(d.Seen), schemas.MaxSeen)] {
				w.object("", func() {
					w.text("name", s.Name)
					w.text("value", s.Value)
				})
			}
		})
	})
}

func (w *writer) completedBy(c *schemas.CompletedBy) {
	w.text("event_id", c.EventID)
	w.time("time", c.Time)
	w.some("tool", c.Tool)
	w.some("access", c.Access)
	w.some("outcome", c.Outcome)
	w.some("target", c.Target)
	w.some("target_agent_id", c.TargetAgentID)
	if len(c.Resources) > 0 {
		w.list("resources", c.Resources, schemas.MaxEvidence)
	}
	w.count("bytes_sent", c.BytesSent)
	w.count("bytes_received", c.BytesReceived)
}

// sums are what the episode has come to, and of that what by place.
func (w *writer) sums(e *schemas.Evidence) {
	if t := e.Totals; t != nil {
		w.object("totals", func() {
			w.time("since", t.Since)
			w.count("events", t.Events)
			w.count("bytes_sent", t.BytesSent)
			w.count("bytes_received", t.BytesReceived)
			w.count("sessions", t.Sessions)
			w.count("new_tools", t.NewTools)
			w.count("new_resources", t.NewResources)
			w.count("new_destinations", t.NewDestinations)
		})
	}
	if len(e.Places) > 0 {
		w.array("places", func() {
			for _, p := range e.Places[:min(len(e.Places), schemas.MaxEvidence)] {
				w.object("", func() { w.place(p) })
			}
		})
	}
}

// count writes a number of things or bytes; no SIEM takes more than a signed integer.
func (w *writer) count(name string, n uint64) { w.integer(name, int64(min(n, math.MaxInt64))) }

func (w *writer) place(p schemas.Place) {
	w.text("resource", p.Resource)
	w.some("event_id", p.EventID)
	w.count("events", p.Events)
	w.count("bytes_sent", p.BytesSent)
	w.count("bytes_received", p.BytesReceived)
}

func (w *writer) signals(all []schemas.AlertSignal) {
	w.array("signals", func() {
		for i := range all[:min(len(all), maxSignals)] {
			w.object("", func() { w.signal(&all[i]) })
		}
	})
}

func (w *writer) signal(s *schemas.AlertSignal) {
	w.text("name", s.Name)
	w.float("observed", s.Observed)
	w.float("expected", s.Expected)
	w.float("low", s.Low)
	w.float("high", s.High)
	w.text("unit", s.Unit)
	w.float("p", s.P)
	w.time("window_start", s.WindowStart)
	w.integer("window_seconds", s.WindowSeconds)
	w.float("baseline_samples", s.BaselineSamples)
	w.text("baseline", s.Baseline)
	if len(s.FirstSeen) > 0 {
		w.list("first_seen", s.FirstSeen, schemas.MaxEvidence)
	}
	w.some("led_by", s.LedBy)
}
