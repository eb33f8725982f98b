package siem

import (
	"strconv"

	"github.com/plumbline-sec/plumbline/schemas"
)

// Splunk is an event in the envelope of the HTTP Event Collector, as Splunk Connect
// for Kafka passes it on with splunk.hec.json.event.formatted=true. The event has
// the fields of the CIM data model Alerts and those of risk-based alerting; the
// rest is in event.plumbline. `fields` are indexed: text only.
var Splunk Encoder = splunkForm{}

type splunkForm struct{}

func (splunkForm) Name() string { return "splunk" }

func (splunkForm) Append(dst []byte, a *schemas.Alert) ([]byte, error) {
	return bounded(dst, func(w *writer) {
		w.buf = append(w.buf, '{')
		w.float("time", float64(a.Time)/1000)
		w.text("host", "plumbline")
		w.text("source", "plumbline")
		w.text("sourcetype", "plumbline:alert")
		w.object("event", func() { w.splunkEvent(a) })
		w.object("fields", func() {
			w.id("agent_id", a.Agent.ID)
			w.id("tenant_id", a.TenantID)
			w.id("episode_id", a.EpisodeID)
			w.text("peer_group", a.Agent.PeerGroup)
			w.text("status", a.Status)
		})
		w.buf = append(w.buf, '}')
	})
}

func (w *writer) splunkEvent(a *schemas.Alert) {
	_, risk := severityOf(a.Severity)
	w.text("app", "plumbline")
	w.id("id", a.AlertID)
	w.text("type", "alert")
	w.text("severity", splunkSeverity(a.Severity))
	w.text("severity_id", strconv.FormatInt(risk.id, 10))
	w.text("signature", a.Title)
	w.text("signature_id", ruleID(a))
	w.text("description", a.Summary)
	w.id("src", a.Agent.ID)
	w.text("src_type", "ai_agent")
	w.id("user", a.Agent.ID)
	if r := target(a); r != "" {
		kind, _ := splitResource(r)
		w.text("dest", r)
		w.some("dest_type", kind)
	}
	attack := a.Tags.Attack
	w.list("mitre_technique_id", attack, maxTags)
	w.object("annotations", func() {
		w.list("mitre_attack", attack, maxTags)
		w.list("owasp_asi", a.Tags.OwaspASI, maxTags)
		w.list("atlas", a.Tags.ATLAS, maxTags)
	})
	if a.Status != schemas.StatusClose { // the end of an episode adds no risk
		w.id("risk_object", a.Agent.ID)
		w.text("risk_object_type", "other")
		w.integer("risk_score", w.int32("score", a.Score))
		w.text("risk_message", a.Summary)
		if r := target(a); r != "" {
			w.text("threat_object", r)
			w.text("threat_object_type", "resource")
		}
	}
	w.object("plumbline", func() { w.own(a) })
}

func splunkSeverity(severity string) string {
	switch severity {
	case schemas.SeverityLow, schemas.SeverityMedium, schemas.SeverityHigh, schemas.SeverityCritical:
		return severity
	}
	return "unknown"
}
