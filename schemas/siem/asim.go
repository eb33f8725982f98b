package siem

import (
	"cmp"
	"slices"
	"strings"

	"github.com/plumbline-sec/plumbline/schemas"
)

// ASIM is a record of Microsoft Sentinel's Alert Event schema 0.1 (Advanced
// Security Information Model). What it has no column for is in AdditionalFields.
var ASIM Encoder = &jsonForm{"asim", (*writer).asim}

func (w *writer) asim(a *schemas.Alert) {
	s := subjectOf(a)
	status := "Active"
	if a.Status == schemas.StatusClose {
		status = "Closed"
	}
	w.time("TimeGenerated", a.Time)
	w.integer("EventCount", 1)
	w.time("EventStartTime", a.FirstSeen)
	w.time("EventEndTime", a.LastSeen)
	w.text("EventType", "Alert")
	w.text("EventSubType", "Anomaly")
	w.id("EventUid", a.AlertID)
	w.text("EventProduct", productName)
	w.text("EventVendor", productVendor)
	w.some("EventProductVersion", a.Detector.Version)
	w.text("EventSchema", "AlertEvent")
	w.text("EventSchemaVersion", "0.1")
	w.text("EventSeverity", severityOf(a.Severity).asim)
	w.text("EventOriginalSeverity", a.Severity)
	w.some("EventOwner", a.Agent.Owner)
	w.text("EventMessage", a.Summary)
	w.text("AlertName", a.Title)
	w.text("AlertStatus", status)
	w.text("AlertOriginalStatus", a.Status)
	w.text("DetectionMethod", "Behavioral Analytics")
	w.text("RuleName", ruleID(a))
	w.integer("ThreatConfidence", percent(integer32(a.Confidence*100)))
	w.integer("ThreatRiskLevel", percent(int64(a.Episode.Risk)))
	w.some("ThreatOriginalRiskLevel", a.Episode.Severity)
	w.asimAttack(a.Tags.Attack)
	w.some("AttackRemediationSteps", a.Runbook)
	w.text("Username", cmp.Or(a.Agent.Name, a.Agent.ID))
	w.text("UsernameType", "Simple")
	w.id("UserId", a.Agent.ID)
	w.text("UserIdType", "Other")
	w.text("UserType", "Application")
	w.id("UserScopeId", a.TenantID)
	w.some("UserSessionId", a.SessionID)
	w.asimPlace(s)
	w.text("IndicatorType", "Application")
	w.text("IndicatorAssociation", "Associated")
	w.object("AdditionalFields", func() {
		w.text("peer_group", a.Agent.PeerGroup)
		w.array("tags", func() { w.tagValues(a) })
		w.asimPivots(s)
		w.own(a)
	})
}

// asimPlace: the schema has columns for a URL and a file. Its host and address are those of the
// device that reports.
func (w *writer) asimPlace(s *subject) {
	if p := s.link(); p != nil {
		w.text("Url", p.url())
	}
	if p := s.file(); p != nil {
		w.some("FileName", fileName(p.file))
		w.text("FilePath", p.file)
	}
}

// asimPivots are in AdditionalFields, for entity mappings and for searches.
func (w *writer) asimPivots(s *subject) {
	if s.target != "" {
		w.object("target", func() {
			to := s.dest()
			domain, _ := to.domain()
			w.text("resource", s.target)
			w.some("agent", s.agent)
			w.some("host", to.host)
			w.some("domain", domain)
			w.some("ip", to.ip())
			w.port(to.port)
			w.some("email", to.mail)
			w.some("url", to.url())
		})
	}
	w.list("hosts", s.all(hostOf), maxAlertPivots)
	w.list("ips", s.all((*pivot).ip), maxAlertPivots)
	w.list("emails", s.all(func(p *pivot) string { return p.mail }), maxAlertPivots)
	w.list("urls", s.all((*pivot).url), maxAlertPivots)
}

func percent(v int64) int64 { return min(max(v, 0), 100) }

// asimAttack writes "Name (ID)", separated by commas: the form that ASIM prefers.
func (w *writer) asimAttack(ids []string) {
	var tactics, techniques []string
	for _, id := range ids[:min(len(ids), maxTags)] {
		t, _ := schemas.LookupTechnique(id)
		techniques = append(techniques, titled(t.Name, t.ID))
		if tactic := titled(t.TacticName, t.Tactic); t.Tactic != "" && !slices.Contains(tactics, tactic) {
			tactics = append(tactics, tactic)
		}
	}
	w.some("AttackTactics", strings.Join(tactics, ", "))
	w.some("AttackTechniques", strings.Join(techniques, ", "))
}

func titled(name, id string) string {
	if name == "" {
		return id
	}
	return name + " (" + id + ")"
}
