package siem

import (
	"cmp"

	"github.com/plumbline-sec/plumbline/schemas"
)

// ECS is a document of the Elastic Common Schema 9.4, as Elastic Security's rule
// "External Alerts" promotes it: event.kind is "alert", message the rule's name,
// event.severity one of 21, 47, 73, 99. What ECS has no field for is in plumbline.*.
var ECS Encoder = &jsonForm{"ecs", (*writer).ecs}

const ecsVersion = "9.4.0"

func (w *writer) ecs(a *schemas.Alert) {
	s := subjectOf(a)
	w.time("@timestamp", a.Time)
	w.object("ecs", func() { w.text("version", ecsVersion) })
	w.text("message", a.Title)
	w.object("event", func() { w.ecsEvent(a) })
	w.object("rule", func() {
		w.text("id", ruleID(a))
		w.text("name", a.Title)
		w.text("category", "behavioral")
		w.text("ruleset", "plumbline")
		w.some("reference", a.Runbook)
	})
	w.ecsThreat(a.Tags.Attack)
	w.object("observer", func() {
		w.text("vendor", productVendor)
		w.text("product", productName)
		w.text("type", "anomaly-detector")
		w.some("version", a.Detector.Version)
	})
	w.ecsActor(a, s)
	w.ecsPlace(s)
	w.array("tags", func() { w.tagValues(a) })
	w.object("plumbline", func() { w.own(a) })
}

// ruleID names what raised the alert: the signal that stands out most.
func ruleID(a *schemas.Alert) string {
	if len(a.Signals) == 0 {
		return "plumbline." + a.Kind
	}
	return "plumbline." + a.Signals[0].Name
}

// ecsEvent: the end of an episode is an event, not one more alert. Elastic adds up the risk of
// alerts: each says what it adds to its episode.
func (w *writer) ecsEvent(a *schemas.Alert) {
	kind := "alert"
	if a.Status == schemas.StatusClose {
		kind = "event"
	}
	w.text("kind", kind)
	w.list("category", []string{"intrusion_detection"}, 1)
	w.list("type", []string{"info"}, 1)
	w.text("action", "episode-"+a.Status)
	w.text("code", ruleID(a))
	w.text("dataset", "plumbline.alerts")
	w.text("module", "plumbline")
	w.text("provider", "plumbline")
	w.id("id", a.AlertID)
	w.integer("severity", severityOf(a.Severity).ecs)
	w.integer("risk_score", int64(a.Episode.RiskAdded))
	w.integer("risk_score_norm", int64(a.Episode.RiskAdded))
	w.text("reason", a.Summary)
	w.time("start", a.FirstSeen)
	w.time("end", a.LastSeen)
	w.some("reference", a.Runbook)
}

// ecsThreat: threat.framework is one; ATLAS is among the tags.
func (w *writer) ecsThreat(ids []string) {
	ids = ids[:min(len(ids), maxTags)]
	if len(ids) == 0 {
		return
	}
	var tactics, techniques, subs []schemas.Technique
	seen := make(map[string]bool)
	add := func(to *[]schemas.Technique, t schemas.Technique) {
		if !seen[t.ID] {
			seen[t.ID] = true
			*to = append(*to, t)
		}
	}
	for _, id := range ids {
		t, _ := schemas.LookupTechnique(id)
		if t.Tactic != "" {
			add(&tactics, schemas.Technique{ID: t.Tactic, Name: t.TacticName})
		}
		if t.Parent == "" {
			add(&techniques, t)
			continue
		}
		parent, _ := schemas.LookupTechnique(t.Parent)
		add(&techniques, parent)
		add(&subs, t)
	}
	named := func(list []schemas.Technique) {
		w.array("id", func() {
			for _, t := range list {
				w.element(t.ID)
			}
		})
		w.array("name", func() {
			for _, t := range list {
				w.element(cmp.Or(t.Name, t.ID)) // of a tag from the config only the id is known
			}
		})
	}
	w.object("threat", func() {
		w.text("framework", "MITRE ATT&CK")
		if len(tactics) > 0 {
			w.object("tactic", func() { named(tactics) })
		}
		w.object("technique", func() {
			named(techniques)
			if len(subs) > 0 {
				w.object("subtechnique", func() { named(subs) })
			}
		})
	})
}

func (w *writer) ecsActor(a *schemas.Alert, s *subject) {
	w.object("organization", func() { w.id("id", a.TenantID) })
	w.object("user", func() {
		w.id("id", a.Agent.ID)
		w.some("name", a.Agent.Name)
		if a.Agent.PeerGroup != "" {
			w.object("group", func() { w.text("name", a.Agent.PeerGroup) })
		}
	})
	w.object("entity", func() {
		w.id("id", a.Agent.ID)
		w.some("name", a.Agent.Name)
		w.list("type", []string{"application"}, 1)
	})
	w.object("gen_ai", func() {
		w.object("agent", func() {
			w.id("id", a.Agent.ID)
			w.some("name", a.Agent.Name)
		})
	})
	w.object("related", func() {
		w.array("user", func() {
			for _, v := range []string{a.Agent.ID, a.Agent.Name, a.OnBehalfOf, a.Agent.Owner, s.agent} {
				if v != "" {
					w.element(v)
				}
			}
		})
		w.list("ip", s.all((*pivot).ip), maxAlertPivots)
		w.list("hosts", s.all(hostOf), maxAlertPivots)
	})
}

// ecsPlace is where the call that completed the alert went. Only what was read as an address
// stands in a field for addresses: Elastic refuses the whole document for an ip that is none.
func (w *writer) ecsPlace(s *subject) {
	if to := s.dest(); to.name() != "" {
		registered, _ := to.domain()
		w.object("destination", func() {
			w.text("address", to.name())
			w.some("domain", to.host)
			w.some("ip", to.ip())
			w.some("registered_domain", registered)
			w.port(to.port)
		})
	}
	if p := s.link(); p != nil {
		registered, suffix := p.domain()
		w.object("url", func() {
			w.text("original", p.link.original)
			w.some("full", p.link.full)
			w.some("scheme", p.link.scheme)
			w.text("domain", p.name())
			w.some("registered_domain", registered)
			w.some("top_level_domain", suffix)
			w.port(p.port)
			w.some("path", p.link.path)
			w.some("query", p.link.query)
		})
	}
	if to := s.recipients(); len(to) > 0 {
		w.object("email", func() {
			w.object("to", func() { w.list("address", to, maxAlertPivots) })
		})
	}
	if p := s.file(); p != nil {
		w.object("file", func() {
			w.text("path", p.file)
			w.some("name", fileName(p.file))
		})
	}
}

// tagValues are the techniques of all taxonomies, with the taxonomy before them.
func (w *writer) tagValues(a *schemas.Alert) {
	for _, tags := range []struct {
		prefix string
		ids    []string
	}{{"owasp:", a.Tags.OwaspASI}, {"atlas:", a.Tags.ATLAS}, {"attack:", a.Tags.Attack}} {
		for _, id := range tags.ids[:min(len(tags.ids), maxTags)] {
			w.element(tags.prefix + id)
		}
	}
}

// own is what the common schemas have no field for.
func (w *writer) own(a *schemas.Alert) {
	w.id("episode_id", a.EpisodeID)
	w.text("status", a.Status)
	w.text("kind", a.Kind)
	w.text("severity", a.Severity)
	w.float("score", a.Score)
	w.some("session_id", a.SessionID)
	w.some("on_behalf_of", a.OnBehalfOf)
	w.some("owner", a.Agent.Owner)
	w.some("contact", a.Agent.Contact)
	w.some("criticality", a.Agent.Criticality)
	w.some("agent_version", a.Agent.Version)
	w.float("expected_per_agent_day", a.ExpectedPerAgentDay)
	w.float("confidence", a.Confidence)
	w.signals(a.Signals)
	w.object("episode", func() { w.episode(&a.Episode) })
	w.object("evidence", func() { w.evidence(&a.Evidence) })
	w.some("counterfactual", a.Counterfactual)
	w.some("query", a.Query)
	w.integer("suppressed", int64(a.Suppressed))
	w.text("config_hash", a.Detector.ConfigHash)
	w.some("policy_hash", a.Detector.PolicyHash)
	w.boolean("truncated", w.cut)
}
