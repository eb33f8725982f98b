package siem

import (
	"math"

	"github.com/plumbline-sec/plumbline/schemas"
)

// JSON is the alert itself, as it stands in plumbline.alerts.
var JSON Encoder = jsonForm{}

type jsonForm struct{}

func (jsonForm) Name() string { return "json" }

func (jsonForm) Append(dst []byte, a *schemas.Alert) ([]byte, error) {
	return bounded(dst, func(w *writer) { w.alert(a) })
}

func (w *writer) alert(a *schemas.Alert) {
	w.buf = append(w.buf, '{')
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
	w.text("title", a.Title)
	w.text("summary", a.Summary)
	w.array("signals", func() {
		for i := range a.Signals[:min(len(a.Signals), maxSignals)] {
			w.object("", func() { w.signal(&a.Signals[i]) })
		}
	})
	w.object("evidence", func() {
		w.list("event_ids", a.Evidence.EventIDs, schemas.MaxEvidence)
		w.list("resources", a.Evidence.Resources, schemas.MaxEvidence)
		w.list("tools", a.Evidence.Tools, schemas.MaxEvidence)
		w.integer("event_count", a.Evidence.EventCount)
		if len(a.Evidence.Places) > 0 {
			w.array("places", func() {
				for _, p := range a.Evidence.Places[:min(len(a.Evidence.Places), schemas.MaxEvidence)] {
					w.object("", func() { w.place(p) })
				}
			})
		}
	})
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
	})
	w.buf = append(w.buf, '}')
}

func (w *writer) place(p schemas.Place) {
	w.text("resource", p.Resource)
	w.integer("events", int64(min(p.Events, math.MaxInt64)))
	w.integer("bytes_sent", int64(min(p.BytesSent, math.MaxInt64)))
	w.integer("bytes_received", int64(min(p.BytesReceived, math.MaxInt64)))
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
	if len(s.FirstSeen) > 0 {
		w.list("first_seen", s.FirstSeen, schemas.MaxEvidence)
	}
}
