package siem

import (
	"cmp"
	"math"
	"strconv"

	"github.com/plumbline-sec/plumbline/schemas"
)

// CEF is the Common Event Format, version 0, without a syslog header. Keys and the
// lengths of their values are those of the ArcSight extension dictionary.
var CEF Encoder = cefForm{}

type cefForm struct{}

// Bytes of a value, by its key.
const short, long = 1023, 4000

func (cefForm) Name() string { return "cef" }

func (cefForm) Append(dst []byte, a *schemas.Alert) ([]byte, error) {
	if err := finite(a); err != nil {
		return dst, err
	}
	h := line{buf: append(dst, "CEF:0|Plumbline|Plumbline|"...), char: cefHeaderChar}
	h.value(a.Detector.Version, 31)
	h.buf = append(append(append(h.buf, '|'), eventID(a)...), '|')
	h.value(a.Title, 512)
	h.buf = append(strconv.AppendInt(append(h.buf, '|'), severityOf(a.Severity).ten, 10), '|')

	l := line{buf: h.buf, sep: ' ', char: cefChar, head: true}
	ms := func(key string, t schemas.Millis) { l.pair(key, strconv.FormatInt(int64(t), 10), 20) }
	labelled := func(key, label, value string) {
		if value != "" {
			most := long
			if key[0] == 'f' { // flexString
				most = short
			}
			l.pair(key, value, most)
			l.pair(key+"Label", label, short)
		}
	}
	float := func(key, label string, v float64) {
		l.number(key, v)
		l.pair(key+"Label", label, short)
	}
	custom := func(key, label string, v int64) {
		l.pair(key, strconv.FormatInt(v, 10), 20)
		l.pair(key+"Label", label, short)
	}
	ms("rt", a.Time)
	ms("start", a.FirstSeen)
	ms("end", a.LastSeen)
	l.pair("externalId", a.AlertID, short)
	l.pair("cat", a.Kind, short)
	l.pair("act", "Observed", short)
	l.pair("outcome", a.Status, 63)
	l.pair("cnt", strconv.FormatInt(a.Evidence.EventCount, 10), 20)
	l.pair("suid", a.Agent.ID, short)
	l.pair("suser", cmp.Or(a.Agent.Name, a.Agent.ID), short)
	s := subjectOf(a)
	l.cefPlace(s)
	l.pair("reason", a.Episode.Reason, short)
	l.pair("msg", a.Summary, short)
	l.pair("request", a.Runbook, short)
	labelled("cs1", "episodeId", a.EpisodeID)
	labelled("cs2", "peerGroup", a.Agent.PeerGroup)
	labelled("cs3", "techniques", techniques(a))
	labelled("cs4", "tools", tools(a))
	labelled("cs5", "resource", s.target)
	labelled("cs6", "sessionId", a.SessionID)
	labelled("flexString1", "tenantId", a.TenantID)
	labelled("flexString2", "onBehalfOf", a.OnBehalfOf)
	// The dictionary has no field for these: own keys begin with the vendor's name.
	l.pair("PlumblineOwner", a.Agent.Owner, short)
	l.pair("PlumblineContact", a.Agent.Contact, short)
	l.pair("PlumblineCriticality", a.Agent.Criticality, short)
	float("cfp1", "score", a.Score)
	float("cfp2", "confidence", a.Confidence)
	custom("cn1", "episodeRisk", int64(a.Episode.Risk))
	custom("cn2", "riskAdded", int64(a.Episode.RiskAdded))
	if t := a.Evidence.Totals; t != nil {
		custom("cn3", "episodeBytesSent", int64(min(t.BytesSent, math.MaxInt64)))
	}
	if len(a.Signals) > 0 {
		float("cfp3", "observed", a.Signals[0].Observed)
		float("cfp4", "expected", a.Signals[0].Expected)
	}
	return l.buf, nil
}

// cefPlace is where the call that completed the alert went. dst takes IPv4 only.
func (l *line) cefPlace(s *subject) {
	to := s.dest()
	domain, _ := to.domain()
	l.pair("dhost", to.host, short)
	l.pair("destinationDnsDomain", domain, maxHost)
	switch {
	case to.addr.Is4():
		l.pair("dst", to.ip(), short)
	case to.addr.Is6():
		l.pair("c6a3", to.ip(), short)
		l.pair("c6a3Label", "Destination IPv6 Address", short)
	}
	if to.port > 0 {
		l.pair("dpt", strconv.Itoa(to.port), short)
	}
	l.pair("duser", to.mail, short)
	l.pair("duid", s.agent, short)
	if p := s.file(); p != nil {
		l.pair("fname", fileName(p.file), short)
		l.pair("filePath", p.file, short)
	}
}

// cefHeaderChar: a header is one line; a pipe ends a field.
func cefHeaderChar(dst []byte, c byte) []byte {
	switch c {
	case '\n', '\r', '\t':
		return append(dst, ' ')
	case '|', '\\':
		return append(dst, '\\', c)
	}
	return append(dst, c)
}

func cefChar(dst []byte, c byte) []byte {
	switch c {
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, ' ')
	case '=', '\\':
		return append(dst, '\\', c)
	}
	return append(dst, c)
}
