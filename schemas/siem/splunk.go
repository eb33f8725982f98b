package siem

import (
	"strconv"

	"github.com/plumbline-sec/plumbline/schemas"
)

// Splunk is an event in the envelope of the HTTP Event Collector, as Splunk Connect
// for Kafka passes it on with splunk.hec.json.event.formatted=true. The event has
// the fields of the CIM data model Alerts and those of risk-based alerting; the
// rest is in event.plumbline. `fields` are indexed: text only.
var Splunk Encoder = &jsonForm{"splunk", (*writer).splunk}

func (w *writer) splunk(a *schemas.Alert) {
	s := subjectOf(a)
	w.float("time", float64(a.Time)/1000)
	w.text("host", "plumbline")
	w.text("source", "plumbline")
	w.text("sourcetype", "plumbline:alert")
	w.object("event", func() { w.splunkEvent(a, s) })
	w.object("fields", func() {
		w.id("agent_id", a.Agent.ID)
		w.id("tenant_id", a.TenantID)
		w.id("episode_id", a.EpisodeID)
		w.text("peer_group", a.Agent.PeerGroup)
		w.text("status", a.Status)
	})
}

func (w *writer) splunkEvent(a *schemas.Alert, s *subject) {
	severity := severityOf(a.Severity)
	w.text("app", "plumbline")
	w.id("id", a.AlertID)
	w.text("type", "alert")
	w.text("severity", severity.splunk)
	w.text("severity_id", strconv.FormatInt(severity.risk.id, 10))
	w.text("signature", a.Title)
	w.text("signature_id", ruleID(a))
	w.text("description", a.Summary)
	w.id("src", a.Agent.ID)
	w.text("src_type", "ai_agent")
	w.id("user", a.Agent.ID)
	w.splunkDest(s)
	attack := a.Tags.Attack
	w.list("mitre_technique_id", attack, maxTags)
	w.object("annotations", func() {
		w.list("mitre_attack", attack, maxTags)
		w.list("owasp_asi", a.Tags.OwaspASI, maxTags)
		w.list("atlas", a.Tags.ATLAS, maxTags)
	})
	if a.Episode.RiskAdded > 0 { // risk is summed: what adds none makes no risk event
		w.id("risk_object", a.Agent.ID)
		w.text("risk_object_type", "other")
		w.integer("risk_score", int64(a.Episode.RiskAdded))
		w.text("risk_message", a.Summary)
		if object, kind := s.threatObject(); object != "" {
			w.text("threat_object", object)
			w.text("threat_object_type", kind)
		}
	}
	w.object("plumbline", func() { w.own(a) })
}

// splunkDest: dest is what other data models have in that field, a host, an address or a mail
// address, so that they join.
func (w *writer) splunkDest(s *subject) {
	to := s.dest()
	kind, _ := splitResource(s.target)
	switch {
	case s.target == "":
		return
	case to.mail != "":
		w.text("dest", to.mail)
		w.text("dest_type", "email")
	case to.ip() != "":
		w.text("dest", to.ip())
		w.text("dest_type", "ip")
	case to.host != "":
		w.text("dest", to.host)
		w.text("dest_type", "host")
	case s.agent != "":
		w.id("dest", s.agent)
		w.text("dest_type", "ai_agent")
	default:
		w.text("dest", s.target)
		w.some("dest_type", kind)
	}
	w.some("dest_host", to.host)
	w.some("dest_ip", to.ip())
	w.some("url", to.url())
	w.text("dest_resource", s.target)
}

// threatObject is the target as lists of threats have it, and its type as they call it.
func (s *subject) threatObject() (object, kind string) {
	to := s.dest()
	switch {
	case to.url() != "":
		return to.url(), "url"
	case to.mail != "":
		return to.mail, "email_address"
	case to.ip() != "":
		return to.ip(), "ip_address"
	case to.host != "":
		return to.host, "domain"
	case to.file != "":
		return to.file, "file_path"
	}
	return s.target, "resource"
}
