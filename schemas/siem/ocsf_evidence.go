package siem

import (
	"net/mail"
	"strconv"

	"github.com/plumbline-sec/plumbline/schemas"
)

// evidences are first the call that completed the alert, then the other tools that were
// called; the events themselves are finding_info.related_events.
func (w *writer) evidences(a *schemas.Alert, s *subject) {
	w.array("evidences", func() {
		done := a.Evidence.CompletedBy
		if done != nil {
			w.object("", func() { w.completing(a, done, s) })
		}
		if done == nil && len(a.Evidence.Tools) == 0 {
			w.object("", func() {
				w.text("name", "agent")
				w.actor(a)
			})
		}
		for _, tool := range a.Evidence.Tools[:min(len(a.Evidence.Tools), schemas.MaxEvidence)] {
			if done != nil && tool == done.Tool {
				continue
			}
			w.object("", func() {
				w.text("name", "tool_call")
				w.actor(a)
				w.object("api", func() { w.text("operation", tool) })
			})
		}
	})
}

func (w *writer) completing(a *schemas.Alert, done *schemas.CompletedBy, s *subject) {
	w.text("name", "completed_by")
	w.some("uid", done.EventID)
	w.actor(a)
	if done.Tool != "" {
		w.object("api", func() { w.text("operation", done.Tool) })
	}
	if to := s.dest(); to.name() != "" {
		w.object("dst_endpoint", func() {
			w.some("hostname", to.host)
			w.some("ip", to.ip())
			w.port(to.port)
		})
	}
	if p := s.link(); p != nil {
		w.object("url", func() {
			w.text("url_string", p.url())
			w.text("hostname", p.name())
			w.some("scheme", p.link.scheme)
			w.port(p.port)
			w.some("path", p.link.path)
			w.some("query_string", p.link.query)
		})
	}
	if s.called > 0 {
		w.array("resources", func() {
			for i := range s.touched[:s.called] {
				w.object("", func() { w.ocsfResource(&s.touched[i]) })
			}
		})
	}
	w.object("data", func() { w.completedBy(done) })
}

// ocsfResources are the agent, the target, and what else was touched.
func (w *writer) ocsfResources(a *schemas.Alert, s *subject) {
	w.array("resources", func() {
		w.object("", func() {
			w.id("uid", a.Agent.ID)
			w.some("name", a.Agent.Name)
			w.text("type", "AI Agent")
			w.some("version", a.Agent.Version)
			w.role(caption{roleActor, "Actor"})
			if a.Agent.Owner != "" {
				w.object("owner", func() {
					w.text("name", a.Agent.Owner)
					if _, err := mail.ParseAddress(a.Agent.Contact); err == nil {
						w.text("email_addr", a.Agent.Contact)
					}
				})
			}
			w.some("criticality", a.Agent.Criticality)
		})
		for i := range s.touched {
			w.object("", func() { w.ocsfResource(&s.touched[i]) })
		}
	})
}

func (w *writer) ocsfResource(t *touched) {
	kind, name := splitResource(t.resource)
	w.text("uid", t.resource)
	w.text("name", name)
	w.some("type", kind)
	w.role(caption{roleTarget, "Target"})
	if len(t.pivots) > 0 {
		w.some("hostname", t.pivots[0].host)
		w.some("ip", t.pivots[0].ip())
	}
}

// observables are what a resource is known by elsewhere, several of one: a URL and its host, a
// mail address and its domain. Each names the attribute that it was read from.
func (w *writer) observables(a *schemas.Alert, s *subject) {
	w.array("observables", func() {
		observable := func(name string, c caption, write func(name, v string), v string) {
			w.object("", func() {
				w.text("name", name)
				w.caption("type_id", "type", c)
				write("value", v)
			})
		}
		observable("evidences[].actor.user.uid", caption{31, "User Object: uid"}, w.id, a.Agent.ID)
		for i, t := range s.touched {
			at := "resources[" + strconv.Itoa(i+1) + "]"
			if len(t.pivots) == 0 {
				observable(at+".uid", caption{10, "Resource UID"}, w.text, t.resource)
			}
			for j := range t.pivots {
				p := &t.pivots[j]
				name, host, ip := at+".name", at+".hostname", at+".ip"
				if j > 0 {
					host, ip = name, name // a resource has one of each
				}
				for _, known := range []struct {
					caption

					at, value string
				}{
					{caption{6, "URL String"}, name, p.url()},
					{caption{5, "Email Address"}, name, p.mail},
					{caption{2, "IP Address"}, ip, p.ip()},
					{caption{1, "Hostname"}, host, p.host},
					{caption{7, "File Name"}, name, fileName(p.file)},
				} {
					if known.value != "" {
						observable(known.at, known.caption, w.text, known.value)
					}
				}
			}
		}
	})
}
