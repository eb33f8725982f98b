package siem_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/siem"
)

// to is an alert that a call to this target completed, after other things were touched.
func to(target string) *schemas.Alert {
	a := exfiltration()
	a.Evidence.CompletedBy.Target, a.Evidence.CompletedBy.Resources = target, nil
	if id, ok := strings.CutPrefix(target, "agent:"); ok {
		a.Evidence.CompletedBy.TargetAgentID = id
	}
	a.Evidence.Resources = []string{"host:before.example"}
	return a
}

// flat is a JSON record with each leaf at its path.
func flat(t *testing.T, record []byte) map[string]any {
	t.Helper()
	var doc any
	require.NoError(t, json.Unmarshal(record, &doc))
	leaves := make(map[string]any)
	var walk func(path string, v any)
	walk = func(path string, v any) {
		m, ok := v.(map[string]any)
		if !ok {
			leaves[path] = v
			return
		}
		for k, v := range m {
			walk(strings.TrimPrefix(path+"."+k, "."), v)
		}
	}
	walk("", doc)
	return leaves
}

// has proves that a record has these fields, and of those with the value nil none.
func has(t *testing.T, got, want map[string]any) {
	t.Helper()
	for path, v := range want {
		if v == nil {
			require.NotContains(t, got, path)
		} else {
			require.Equal(t, v, got[path], path)
		}
	}
}

type fields = map[string]any

func TestECSHasWhereTheCallWent(t *testing.T) {
	for target, want := range map[string]fields{
		"url:https://U:pw@Www.Paste.co.uk:8443/a/b?c=d#e": {
			"url.original": "https://U:pw@Www.Paste.co.uk:8443/a/b?c=d#e", "url.full": "https://www.paste.co.uk:8443/a/b?c=d#e", "url.scheme": "https",
			"url.domain": "www.paste.co.uk", "url.registered_domain": "paste.co.uk", "url.top_level_domain": "co.uk", "url.port": 8443.0, "url.path": "/a/b", "url.query": "c=d",
			"destination.address": "www.paste.co.uk", "destination.domain": "www.paste.co.uk", "destination.registered_domain": "paste.co.uk", "destination.port": 8443.0,
			"destination.ip": nil, "related.hosts": []any{"www.paste.co.uk", "before.example"}, "related.ip": []any{}, "email.to.address": nil, "file.path": nil,
		},
		"ip:[2001:db8::1]:443": {"destination.address": "2001:db8::1", "destination.ip": "2001:db8::1", "destination.port": 443.0, "destination.domain": nil, "related.ip": []any{"2001:db8::1"}, "url.original": nil},
		"email:Bob <bob@x.example>, ann@y.example": {
			"email.to.address": []any{"bob@x.example", "ann@y.example"}, "destination.domain": "x.example", "related.hosts": []any{"x.example", "y.example", "before.example"},
		},
		"file:/srv/q3.xlsx": {"file.path": "/srv/q3.xlsx", "file.name": "q3.xlsx", "destination.address": nil},
		"agent:bot-7":       {"related.user": []any{"spiffe://acme/agents/invoice-bot", "invoice-bot", "user:42", "finance-platform", "bot-7"}, "destination.address": nil},
		"ip:999.1.1.1":      {"destination.address": nil, "destination.ip": nil, "related.ip": []any{}},
		"":                  {"destination.address": nil, "url.original": nil, "email.to.address": nil, "file.path": nil, "related.hosts": []any{"before.example"}},
	} {
		t.Run(target, func(t *testing.T) { has(t, flat(t, check(t, siem.ECS, to(target))), want) })
	}
}

func TestSplunkHasWhereTheCallWent(t *testing.T) {
	for target, want := range map[string]fields{
		"url:https://paste.example/x": {
			"dest": "paste.example", "dest_type": "host", "dest_host": "paste.example", "dest_ip": nil, "url": "https://paste.example/x", "dest_resource": "url:https://paste.example/x",
			"threat_object": "https://paste.example/x", "threat_object_type": "url",
		},
		"host:h.example:443":         {"dest": "h.example", "dest_type": "host", "threat_object": "h.example", "threat_object_type": "domain", "url": nil},
		"ip:fe80::1%eth0":            {"dest": "fe80::1", "dest_type": "ip", "dest_ip": "fe80::1", "dest_host": nil, "threat_object": "fe80::1", "threat_object_type": "ip_address"},
		"email:Bob <bob@x.example>":  {"dest": "bob@x.example", "dest_type": "email", "dest_host": "x.example", "threat_object": "bob@x.example", "threat_object_type": "email_address"},
		"s3:bucket/key":              {"dest": "s3:bucket/key", "dest_type": "s3", "dest_resource": "s3:bucket/key", "threat_object": "s3:bucket/key", "threat_object_type": "resource"},
		"agent:bot-7":                {"dest": "bot-7", "dest_type": "ai_agent", "dest_resource": "agent:bot-7"},
		"email:bob@a.example@b.test": {"dest": "email:bob@a.example@b.test", "dest_type": "email", "dest_host": nil},
		"":                           {"dest": nil, "dest_type": nil, "dest_resource": nil, "threat_object": nil, "threat_object_type": nil, "risk_score": 40.0},
	} {
		t.Run(target, func(t *testing.T) {
			event := make(fields)
			for k, v := range want {
				event["event."+k] = v
			}
			has(t, flat(t, check(t, siem.Splunk, to(target))), event)
		})
	}
}

func TestASIMHasWhereTheCallWent(t *testing.T) {
	got := flat(t, check(t, siem.ASIM, to("url:https://www.paste.example:8443/x")))
	has(t, got, fields{
		"Url": "https://www.paste.example:8443/x", "FilePath": nil, "AdditionalFields.target.resource": "url:https://www.paste.example:8443/x", "AdditionalFields.target.host": "www.paste.example",
		"AdditionalFields.target.domain": "paste.example", "AdditionalFields.target.port": 8443.0, "AdditionalFields.target.ip": nil,
		"AdditionalFields.hosts": []any{"www.paste.example", "before.example"}, "AdditionalFields.urls": []any{"https://www.paste.example:8443/x"}, "AdditionalFields.ips": []any{},
	})
	has(t, flat(t, check(t, siem.ASIM, to("file:/srv/q3.xlsx"))), fields{"FilePath": "/srv/q3.xlsx", "FileName": "q3.xlsx", "Url": nil})
	has(t, flat(t, check(t, siem.ASIM, to(""))), fields{"AdditionalFields.target.resource": nil, "Url": nil})
}

func TestLinesHaveWhereTheCallWent(t *testing.T) {
	for target, want := range map[string]struct{ cef, leef fields }{
		"url:https://www.paste.example:8443/x": {
			fields{"dhost": "www.paste.example", "destinationDnsDomain": "paste.example", "dpt": "8443", "dst": nil, "c6a3": nil, "request": "https://runbooks.example/new_destination"},
			fields{"dstHost": "www.paste.example", "dstDomain": "paste.example", "dstPort": "8443", "dst": nil, "url": "https://runbooks.example/new_destination"},
		},
		"ip:203.0.113.9":       {fields{"dst": "203.0.113.9", "c6a3": nil, "dhost": nil}, fields{"dst": "203.0.113.9", "dstHost": nil}},
		"ip:2001:db8::1":       {fields{"c6a3": "2001:db8::1", "c6a3Label": "Destination IPv6 Address", "dst": nil}, fields{"dst": "2001:db8::1"}},
		"email:bob@x.example":  {fields{"duser": "bob@x.example", "dhost": "x.example"}, fields{"dstEmail": "bob@x.example", "dstHost": "x.example"}},
		"agent:bot-7":          {fields{"duid": "bot-7", "dhost": nil}, fields{"dstAgent": "bot-7"}},
		"file:/srv/q3.xlsx":    {fields{"filePath": "/srv/q3.xlsx", "fname": "q3.xlsx"}, fields{"resource": "file:/srv/q3.xlsx"}},
		"":                     {fields{"cs5": nil, "dhost": nil, "dst": nil, "duser": nil}, fields{"resource": nil, "dst": nil, "dstHost": nil, "dstEmail": nil}},
		"host:a\tdst=10.0.0.1": {fields{"dhost": "a", "dst": nil}, fields{"dstHost": "a", "dst": nil}},
	} {
		t.Run(target, func(t *testing.T) {
			for form, want := range map[siem.Encoder]fields{siem.CEF: want.cef, siem.LEEF: want.leef} {
				got := make(fields)
				parse := parseCEF
				if form == siem.LEEF {
					parse = parseLEEF
				}
				for k, v := range parse(t, string(check(t, form, to(target)))) {
					got[k] = v
				}
				has(t, got, want)
			}
		})
	}
}

// observed returns the observables of a finding by type. What one names has its value.
func observed(t *testing.T, finding []byte) map[float64][]string {
	t.Helper()
	var f struct {
		Observables []struct {
			Name    string
			Type_id float64
			Value   string
		}
		Resources []map[string]any
	}
	require.NoError(t, json.Unmarshal(finding, &f))
	byType := make(map[float64][]string)
	for _, o := range f.Observables {
		byType[o.Type_id] = append(byType[o.Type_id], o.Value)
		var i int
		var attribute string
		if n, _ := fmt.Sscanf(o.Name, "resources[%d].%s", &i, &attribute); n == 2 && attribute != "name" {
			require.Equal(t, f.Resources[i][attribute], o.Value, o.Name)
		}
	}
	return byType
}

func TestAFindingHasWhereTheCallWent(t *testing.T) {
	schema := findingSchema(t, "1.8.0")
	for target, want := range map[string]map[float64][]string{
		"url:https://paste.example/x":              {6: {"https://paste.example/x"}, 1: {"paste.example", "before.example"}},
		"email:Bob <bob@x.example>, ann@y.example": {5: {"bob@x.example", "ann@y.example"}, 1: {"x.example", "y.example", "before.example"}},
		"ip:203.0.113.9:443":                       {2: {"203.0.113.9"}, 1: {"before.example"}},
		"file:/srv/q3.xlsx":                        {7: {"q3.xlsx"}},
		"s3:bucket/key":                            {10: {"s3:bucket/key"}},
		"ip:999.1.1.1":                             {10: {"ip:999.1.1.1"}, 2: nil},
	} {
		t.Run(target, func(t *testing.T) {
			record := check(t, siem.OCSF, to(target))
			validate(t, schema, record)
			got := observed(t, record)
			for typ, values := range want {
				require.Equal(t, values, got[typ], typ)
			}
			var f struct {
				Resources []map[string]any
				Evidences []struct {
					Name, UID    string
					API          map[string]any
					Data         map[string]any
					Dst_endpoint map[string]any
				}
			}
			require.NoError(t, json.Unmarshal(record, &f))
			require.Equal(t, "AI Agent", f.Resources[0]["type"])
			require.Equal(t, target, f.Resources[1]["uid"])
			first := f.Evidences[0]
			require.Equal(t, "completed_by", first.Name)
			require.Equal(t, "ev-2", first.UID)
			require.Equal(t, "http.post", first.API["operation"])
			require.Equal(t, target, first.Data["target"])
			require.Len(t, f.Evidences, 2, "the tool that completed it is told once")
		})
	}
}

// Over the records of an episode its risk is told once: added up where a SIEM sums records,
// as the state where a record is the state of a finding.
func TestTheRiskOfAnEpisodeIsToldOnce(t *testing.T) {
	steps := []struct {
		severity string
		episode  schemas.Episode
		status   string
	}{
		{schemas.SeverityMedium, schemas.Episode{Reason: schemas.ReasonOpened, Severity: schemas.SeverityMedium, Risk: 15, RiskAdded: 15, Alerts: 1}, schemas.StatusOpen},
		{schemas.SeverityHigh, schemas.Episode{Reason: schemas.ReasonWorse, Severity: schemas.SeverityHigh, Risk: 60, RiskAdded: 45, Alerts: 2}, schemas.StatusUpdate},
		{schemas.SeverityLow, schemas.Episode{Reason: schemas.ReasonNewPlace, Severity: schemas.SeverityHigh, Risk: 60, Alerts: 3}, schemas.StatusUpdate},
		{schemas.SeverityHigh, schemas.Episode{Reason: schemas.ReasonEnded, Severity: schemas.SeverityHigh, Risk: 60, Alerts: 4}, schemas.StatusClose},
	}
	var splunk, ecs, leef float64
	var finding, threat float64
	for _, step := range steps {
		a := exfiltration()
		a.Severity, a.Episode, a.Status = step.severity, step.episode, step.status

		event := flat(t, check(t, siem.Splunk, a))
		if added, ok := event["event.risk_score"]; ok {
			splunk += added.(float64)
		}
		has(t, event, fields{"event.plumbline.severity": step.severity, "event.plumbline.score": 82.4, "event.plumbline.episode.reason": step.episode.Reason})

		doc := flat(t, check(t, siem.ECS, a))
		ecs += doc["event.risk_score"].(float64)
		require.Equal(t, doc["event.risk_score"], doc["event.risk_score_norm"])
		has(t, doc, fields{"plumbline.severity": step.severity, "plumbline.score": 82.4, "plumbline.episode.reason": step.episode.Reason})

		f := flat(t, check(t, siem.OCSF, a))
		require.GreaterOrEqual(t, f["severity_id"].(float64), finding, "an update makes no finding milder")
		finding = f["severity_id"].(float64)
		has(t, f, fields{"risk_score": float64(step.episode.Risk), "unmapped.severity": step.severity, "unmapped.score": 82.4, "unmapped.episode.reason": step.episode.Reason})

		r := flat(t, check(t, siem.ASIM, a))
		require.GreaterOrEqual(t, r["ThreatRiskLevel"].(float64), threat)
		threat = r["ThreatRiskLevel"].(float64)
		has(t, r, fields{"EventOriginalSeverity": step.severity, "ThreatOriginalRiskLevel": step.episode.Severity, "AdditionalFields.score": 82.4})

		var added float64
		line := parseLEEF(t, string(check(t, siem.LEEF, a)))
		require.NoError(t, json.Unmarshal([]byte(line["riskAdded"]), &added))
		leef += added
		require.Equal(t, []string{step.severity, step.episode.Severity, step.episode.Reason}, []string{line["severity"], line["episodeSeverity"], line["reason"]})

		pairs := parseCEF(t, string(check(t, siem.CEF, a)))
		require.Equal(t, step.episode.Reason, pairs["reason"])
		require.Equal(t, []string{"episodeRisk", "riskAdded"}, []string{pairs["cn1Label"], pairs["cn2Label"]})
	}
	want := float64(schemas.Risk(schemas.SeverityHigh))
	require.Equal(t, []float64{want, want, want, want}, []float64{splunk, ecs, leef, threat})
	require.InDelta(t, 4, finding, 0)
}
