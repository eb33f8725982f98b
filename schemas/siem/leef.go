package siem

import (
	"cmp"
	"strconv"

	"github.com/plumbline-sec/plumbline/schemas"
)

// LEEF is IBM QRadar's Log Event Extended Format 2.0 without a syslog header, its
// attributes separated by tabs. LEEF knows no escapes: what separates becomes a
// blank in a value.
var LEEF Encoder = leefForm{}

type leefForm struct{}

func (leefForm) Name() string { return "leef" }

func (leefForm) Append(dst []byte, a *schemas.Alert) ([]byte, error) {
	if err := finite(a); err != nil {
		return dst, err
	}
	h := line{buf: append(dst, "LEEF:2.0|Plumbline|Plumbline|"...), char: leefHeaderChar}
	h.value(a.Detector.Version, 255)
	h.buf = append(append(append(h.buf, '|'), eventID(a)...), "|x09|"...)

	const most = 4000
	l := line{buf: h.buf, sep: '\t', char: leefChar, head: true}
	text := func(key, value string) { l.pair(key, value, most) }
	text("devTime", strconv.FormatInt(int64(a.Time), 10))
	text("cat", a.Kind)
	text("sev", strconv.FormatInt(severityOf(a.Severity).ten, 10))
	text("usrName", a.Agent.ID)
	s := subjectOf(a)
	to := s.dest()
	domain, _ := to.domain()
	text("resource", s.target)
	text("dst", to.ip())
	if to.port > 0 {
		text("dstPort", strconv.Itoa(to.port))
	}
	text("dstHost", to.host)
	text("dstDomain", domain)
	text("dstEmail", to.mail)
	text("dstUrl", to.url())
	text("dstAgent", s.agent)
	text("policy", ruleID(a))
	text("url", a.Runbook)
	text("title", a.Title)
	text("summary", a.Summary)
	text("status", a.Status)
	text("severity", a.Severity)
	text("episodeSeverity", a.Episode.Severity)
	text("riskAdded", strconv.Itoa(a.Episode.RiskAdded))
	text("reason", a.Episode.Reason)
	text("agentName", cmp.Or(a.Agent.Name, a.Agent.ID))
	text("peerGroup", a.Agent.PeerGroup)
	text("owner", a.Agent.Owner)
	text("contact", a.Agent.Contact)
	text("criticality", a.Agent.Criticality)
	text("tenantId", a.TenantID)
	text("sessionId", a.SessionID)
	text("onBehalfOf", a.OnBehalfOf)
	text("alertId", a.AlertID)
	text("episodeId", a.EpisodeID)
	text("tools", tools(a))
	text("techniques", techniques(a))
	text("eventCount", strconv.FormatInt(a.Evidence.EventCount, 10))
	if t := a.Evidence.Totals; t != nil {
		text("episodeBytesSent", strconv.FormatUint(t.BytesSent, 10))
	}
	l.number("score", a.Score)
	l.number("confidence", a.Confidence)
	if len(a.Signals) > 0 {
		l.number("observed", a.Signals[0].Observed)
		l.number("expected", a.Signals[0].Expected)
	}
	return l.buf, nil
}

func leefHeaderChar(dst []byte, c byte) []byte {
	if c == '|' {
		return append(dst, '/')
	}
	return leefChar(dst, c)
}

func leefChar(dst []byte, c byte) []byte {
	switch c {
	case '\n', '\r', '\t':
		return append(dst, ' ')
	}
	return append(dst, c)
}
