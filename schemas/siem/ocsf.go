package siem

import (
	"math"
	"strings"

	"github.com/plumbline-sec/plumbline/schemas"
)

// OCSF is the Detection Finding (class 2004) of OCSF 1.8.0 with the profile
// security_control. An episode is one finding: finding_info.uid stays the same
// from its creation to its close, metadata.uid is another one in every record.
var OCSF = ocsfForm("ocsf", "1.8.0")

// The same in earlier versions. Up to 1.5 a resource has no role, a user is not of
// type Service, and unmapped says whether the record was cut.
var (
	OCSF17 = ocsfForm("ocsf-1.7", "1.7.0")
	OCSF16 = ocsfForm("ocsf-1.6", "1.6.0")
	OCSF15 = ocsfForm("ocsf-1.5", "1.5.0")
)

const (
	productName    = "Plumbline"
	productVendor  = "Plumbline"
	ocsfClass      = 2004
	userTypeSvc    = 4
	ocsfOther      = 99
	timespanRange  = 9 // start_time and end_time say it
	roleTarget     = 1
	roleActor      = 2
	analyticBehave = 2
)

func ocsfForm(name, version string) Encoder {
	return &jsonForm{name, func(w *writer, a *schemas.Alert) {
		w.ocsf = version
		w.finding(a)
	}}
}

func (w *writer) finding(a *schemas.Alert) {
	s := subjectOf(a)
	w.ocsfHead(a)
	w.object("finding_info", func() { w.findingInfo(a) })
	w.anomalies(a)
	w.evidences(a, s)
	w.ocsfResources(a, s)
	w.observables(a, s)
	if a.Runbook != "" {
		w.object("remediation", func() {
			w.text("desc", "Follow the runbook.")
			w.list("references", []string{a.Runbook}, 1)
		})
	}
	// Last comes what says whether anything was cut.
	if w.ocsf15() {
		w.object("metadata", func() { w.metadata(a) })
		w.object("unmapped", func() {
			w.unmapped(a)
			w.boolean("is_truncated", w.cut)
		})
	} else {
		w.object("unmapped", func() { w.unmapped(a) })
		w.object("metadata", func() { w.metadata(a) })
	}
}

// caption is a normalised id of OCSF with its name.
type caption struct {
	id   int64
	name string
}

func (w *writer) caption(idName, name string, c caption) {
	w.integer(idName, c.id)
	w.text(name, c.name)
}

// lifecycle is what a step in the life of an episode is to OCSF.
type lifecycle struct {
	activity, status, disposition caption
	alert                         bool
}

// lifecycleOf: an episode that closed did so because nothing more happened. That
// is not "Resolved", which says that somebody looked.
func lifecycleOf(status string) lifecycle {
	const logged, alerted = 17, 19
	switch status {
	case schemas.StatusOpen:
		return lifecycle{caption{1, "Create"}, caption{1, "New"}, caption{alerted, "Alert"}, true}
	case schemas.StatusUpdate:
		return lifecycle{caption{2, "Update"}, caption{1, "New"}, caption{alerted, "Alert"}, true}
	case schemas.StatusClose:
		return lifecycle{caption{3, "Close"}, caption{99, "Ended"}, caption{logged, "Logged"}, false}
	}
	return lifecycle{caption{0, "Unknown"}, caption{0, "Unknown"}, caption{alerted, "Alert"}, true}
}

func confidenceOf(c float64) caption {
	switch {
	case c >= 2.0/3:
		return caption{3, "High"}
	case c >= 1.0/3:
		return caption{2, "Medium"}
	}
	return caption{1, "Low"}
}

// ocsfHead: a finding is an episode, so its severity and risk are what that has come to: no
// update makes a finding milder.
func (w *writer) ocsfHead(a *schemas.Alert) {
	life := lifecycleOf(a.Status)
	severity := severityOf(a.Episode.Severity)
	w.caption("activity_id", "activity_name", life.activity)
	w.caption("category_uid", "category_name", caption{2, "Findings"})
	w.caption("class_uid", "class_name", caption{ocsfClass, "Detection Finding"})
	w.caption("type_uid", "type_name", caption{ocsfClass*100 + life.activity.id, "Detection Finding: " + life.activity.name})
	w.integer("time", int64(a.Time))
	w.integer("start_time", int64(a.FirstSeen))
	w.integer("end_time", int64(a.LastSeen))
	w.integer("duration", int64(a.LastSeen-a.FirstSeen))
	w.integer("timezone_offset", 0)
	w.caption("severity_id", "severity", severity.ocsf)
	w.caption("status_id", "status", life.status)
	w.caption("confidence_id", "confidence", confidenceOf(a.Confidence))
	w.integer("confidence_score", integer32(a.Confidence*100))
	w.caption("risk_level_id", "risk_level", severity.risk)
	w.integer("risk_score", int64(a.Episode.Risk))
	w.boolean("is_alert", life.alert)
	w.caption("action_id", "action", caption{3, "Observed"})
	w.caption("disposition_id", "disposition", life.disposition)
	w.text("message", a.Summary)
	w.integer("count", integer32(float64(a.Evidence.EventCount)))
}

// integer32 rounds v to what OCSF's integer_t holds.
func integer32(v float64) int64 {
	return int64(math.Round(min(max(v, math.MinInt32), math.MaxInt32)))
}

func (w *writer) metadata(a *schemas.Alert) {
	w.text("version", w.ocsf)
	w.id("uid", a.AlertID)
	w.id("correlation_uid", a.EpisodeID)
	w.id("tenant_uid", a.TenantID)
	w.list("profiles", []string{"security_control"}, 1)
	w.object("product", func() {
		w.text("name", productName)
		w.text("vendor_name", productVendor)
		w.some("version", a.Detector.Version)
	})
	if len(a.Signals) > 0 {
		w.text("event_code", a.Signals[0].Name)
	}
	w.text("log_name", "plumbline.alerts")
	w.text("log_provider", productName)
	w.time("original_time", a.Time)
	if !w.ocsf15() {
		w.boolean("is_truncated", w.cut)
	}
}

func (w *writer) findingInfo(a *schemas.Alert) {
	signals := a.Signals[:min(len(a.Signals), maxSignals)]
	w.id("uid", a.EpisodeID)
	w.text("title", a.Title)
	w.text("desc", a.Summary)
	w.array("types", func() {
		for i := range signals {
			w.element(signals[i].Name)
		}
	})
	switch a.Status {
	case schemas.StatusOpen:
		w.integer("created_time", int64(a.Time))
	default:
		w.integer("modified_time", int64(a.Time))
	}
	w.integer("first_seen_time", int64(a.FirstSeen))
	w.integer("last_seen_time", int64(a.LastSeen))
	if len(signals) > 0 {
		w.object("analytic", func() { w.analytic(a, &signals[0]) })
	}
	if len(signals) > 1 {
		w.array("related_analytics", func() {
			for i := range signals[1:] {
				w.object("", func() { w.analytic(a, &signals[1+i]) })
			}
		})
	}
	w.attacks(a.Tags.Attack, schemas.AttackVersion, a.Tags.ATLAS, schemas.ATLASVersion)
	if asi := a.Tags.OwaspASI; len(asi) > 0 {
		w.array("tags", func() {
			w.object("", func() {
				w.text("name", "owasp_asi_"+schemas.OwaspASIVersion)
				w.list("values", asi, maxTags)
			})
		})
	}
	if ids := a.Evidence.EventIDs; len(ids) > 0 {
		w.array("related_events", func() {
			for _, id := range ids[:min(len(ids), schemas.MaxEvidence)] {
				w.object("", func() {
					w.text("uid", id)
					w.text("type", "Agent Activity")
				})
			}
		})
	}
	w.integer("related_events_count", integer32(float64(a.Evidence.EventCount)))
	w.list("data_sources", []string{"plumbline.activity"}, 1)
}

func (w *writer) analytic(a *schemas.Alert, s *schemas.AlertSignal) {
	w.text("uid", "plumbline."+s.Name)
	w.text("name", s.Name)
	w.caption("type_id", "type", caption{analyticBehave, "Behavioral"})
	w.text("category", "UEBA")
	w.some("version", a.Detector.Version)
}

// attacks writes the techniques of both taxonomies: OCSF has one place for them.
func (w *writer) attacks(attack []string, attackVersion string, atlas []string, atlasVersion string) {
	if len(attack)+len(atlas) == 0 {
		return
	}
	w.array("attacks", func() {
		for _, id := range attack[:min(len(attack), maxTags)] {
			w.object("", func() { w.attack(id, attackVersion) })
		}
		for _, id := range atlas[:min(len(atlas), maxTags)] {
			w.object("", func() { w.attack(id, atlasVersion) })
		}
	})
}

func (w *writer) attack(id, version string) {
	t, _ := schemas.LookupTechnique(id)
	technique := func(name string, t schemas.Technique) {
		w.object(name, func() {
			w.text("uid", t.ID)
			w.some("name", t.Name)
		})
	}
	w.text("version", version)
	if t.Tactic != "" {
		w.object("tactic", func() {
			w.text("uid", t.Tactic)
			w.text("name", t.TacticName)
		})
	}
	if t.Parent == "" {
		technique("technique", t)
		return
	}
	parent, _ := schemas.LookupTechnique(t.Parent)
	technique("technique", parent)
	technique("sub_technique", t)
}

func (w *writer) actor(a *schemas.Alert) {
	w.object("actor", func() {
		w.object("user", func() {
			w.id("uid", a.Agent.ID)
			w.some("name", a.Agent.Name)
			service := caption{userTypeSvc, "Service"}
			if w.ocsf15() {
				service.id = ocsfOther
			}
			w.caption("type_id", "type", service)
			if a.Agent.PeerGroup != "" {
				w.array("groups", func() {
					w.object("", func() { w.text("name", a.Agent.PeerGroup) })
				})
			}
		})
		if a.SessionID != "" {
			w.object("session", func() { w.text("uid", a.SessionID) })
		}
	})
}

func (w *writer) ocsf15() bool { return w.ocsf == "1.5.0" }

func (w *writer) role(c caption) {
	if !w.ocsf15() {
		w.caption("role_id", "role", c)
	}
}

func splitResource(r string) (kind, id string) {
	if kind, id, ok := strings.Cut(r, ":"); ok {
		return kind, id
	}
	return "", r
}

// unmapped holds what OCSF has no field for.
func (w *writer) unmapped(a *schemas.Alert) {
	w.text("kind", a.Kind)
	w.some("on_behalf_of", a.OnBehalfOf)
	w.some("contact", a.Agent.Contact)
	w.text("severity", a.Severity)
	w.float("score", a.Score)
	w.object("episode", func() { w.episode(&a.Episode) })
	w.decision(a.Evidence.Decision)
	w.sums(&a.Evidence)
	w.float("expected_per_agent_day", a.ExpectedPerAgentDay)
	w.some("counterfactual", a.Counterfactual)
	w.some("query", a.Query)
	w.integer("suppressed", int64(a.Suppressed))
	w.text("config_hash", a.Detector.ConfigHash)
	w.some("policy_hash", a.Detector.PolicyHash)
	w.array("signals", func() {
		for i := range a.Signals[:min(len(a.Signals), maxSignals)] {
			s := &a.Signals[i]
			w.object("", func() {
				w.text("name", s.Name)
				w.float("p", s.P)
			})
		}
	})
}
