package siem_test

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/siem"
)

// parseCEF reads a record by the rules of the format: seven header fields between
// pipes that are not escaped, then pairs whose values escape '=' and '\'.
func parseCEF(tb testing.TB, record string) map[string]string {
	tb.Helper()
	rest, ok := strings.CutPrefix(record, "CEF:0|")
	require.True(tb, ok, "%.100q", record)
	var header []string
	var field []byte
	for len(header) < 6 {
		require.NotEmpty(tb, rest)
		switch c := rest[0]; c {
		case '|':
			header, field = append(header, string(field)), nil
		case '\\':
			require.Contains(tb, `\|`, rest[1:2])
			field = append(field, rest[1])
			rest = rest[1:]
		default:
			field = append(field, c)
		}
		rest = rest[1:]
	}
	require.Equal(tb, []string{"Plumbline", "Plumbline"}, header[:2])
	require.LessOrEqual(tb, len(header[2]), 31)
	require.LessOrEqual(tb, len(header[3]), 1023)
	require.LessOrEqual(tb, len(header[4]), 512)
	require.Regexp(tb, `^([0-9]|10)$`, header[5])
	pairs := make(map[string]string)
	starts := regexp.MustCompile(`(^| )([A-Za-z0-9]+)=`).FindAllStringSubmatchIndex(rest, -1)
	for i, at := range starts {
		end := len(rest)
		if i+1 < len(starts) {
			end = starts[i+1][0]
		}
		key, value := rest[at[4]:at[5]], rest[at[1]:end]
		require.NotContains(tb, pairs, key)
		require.NotRegexp(tb, `(^|[^\\])(\\\\)*=`, value, "an '=' that is not escaped in %s", key)
		pairs[key] = strings.NewReplacer(`\\`, `\`, `\=`, `=`, `\n`, "\n", `\r`, "\r").Replace(value)
	}
	pairs["name"] = header[4]
	return pairs
}

func parseLEEF(tb testing.TB, record string) map[string]string {
	tb.Helper()
	parts := strings.SplitN(record, "|", 7)
	require.Len(tb, parts, 7)
	require.Equal(tb, []string{"LEEF:2.0", "Plumbline", "Plumbline"}, parts[:3])
	require.LessOrEqual(tb, len(parts[4]), 255)
	require.Equal(tb, "x09", parts[5])
	pairs := make(map[string]string)
	for p := range strings.SplitSeq(parts[6], "\t") {
		key, value, ok := strings.Cut(p, "=")
		require.True(tb, ok, "%q", p)
		require.NotContains(tb, pairs, key)
		require.Regexp(tb, `^[A-Za-z]+$`, key)
		pairs[key] = value
	}
	return pairs
}

func TestLinesCarryTheirValues(t *testing.T) {
	a := exfiltration()
	a.Summary = "p=1|2 \\ done\nnext suid=admin"
	a.Agent.ID = "a|b\tusrName=root"
	cef := parseCEF(t, string(check(t, siem.CEF, a)))
	require.Equal(t, a.Summary, cef["msg"])
	require.Equal(t, "a|b usrName=root", cef["suid"])
	require.Equal(t, a.Title, cef["name"])
	require.Equal(t, "https://paste.example/x", cef["cs5"])
	require.Equal(t, "43201822", parseCEF(t, string(check(t, siem.CEF, &schemas.Alert{Signals: a.Signals[1:]})))["cfp3"])
	require.Equal(t, "resource", cef["cs5Label"])
	leef := parseLEEF(t, string(check(t, siem.LEEF, a)))
	require.Equal(t, "a|b usrName=root", leef["usrName"])
	require.Equal(t, "p=1|2 \\ done next suid=admin", leef["summary"])
	require.Equal(t, "1732345678901", leef["devTime"])

	a.Summary = strings.Repeat("é", 2000)
	msg := parseCEF(t, string(check(t, siem.CEF, a)))["msg"]
	require.LessOrEqual(t, len(msg), 1023)
	require.True(t, strings.HasSuffix(msg, "é…"), "what is cut says so")
}

func TestCEFKeysAndLengthsAreOfTheDictionary(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "siem", "cef", "cef-extensions-v27.yaml"))
	if err != nil {
		t.Skipf("SKIPPED, CEF is not checked against the extension dictionary: %v", err)
	}
	var doc any
	require.NoError(t, yaml.Unmarshal(raw, &doc))
	known := make(map[string]uint64)
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if key, ok := v["key"].(string); ok {
				known[key], _ = v["length"].(uint64)
			}
			for _, v := range v {
				walk(v)
			}
		case []any:
			for _, v := range v {
				walk(v)
			}
		}
	}
	walk(doc)
	require.Greater(t, len(known), 100)
	for _, a := range allAlerts(t, map[string]*schemas.Alert{"hostile": hostile(strings.Repeat("x", 1<<13))}) {
		a.AlertID = strings.Repeat("0123abcd", 4)
		for key, value := range parseCEF(t, string(check(t, siem.CEF, a))) {
			if key == "name" || strings.HasPrefix(key, "Plumbline") { // own keys begin with the vendor's name
				continue
			}
			require.Contains(t, known, key)
			if most := known[key]; most > 0 {
				require.LessOrEqual(t, uint64(len(value)), most, key)
			}
		}
	}
}

func TestDocumentsAreECS(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "siem", "ecs", "ecs-9.4.0-compact.json"))
	if err != nil {
		t.Skipf("SKIPPED, documents are not checked against ECS: %v", err)
	}
	var ecs struct {
		Fields map[string]struct {
			T string
			N []string
			A []string
		}
	}
	require.NoError(t, json.Unmarshal(raw, &ecs))
	var walk func(t *testing.T, path string, v any)
	walk = func(t *testing.T, path string, v any) {
		t.Helper()
		if m, ok := v.(map[string]any); ok {
			for k, v := range m {
				p := strings.TrimPrefix(path+"."+k, ".")
				if p != "plumbline" {
					walk(t, p, v)
				}
			}
			return
		}
		f, ok := ecs.Fields[path]
		require.True(t, ok, "ECS has no %s", path)
		values, list := v.([]any)
		require.Equal(t, len(f.N) > 0, list, path)
		if !list {
			values = []any{v}
		}
		for _, v := range values {
			s, isText := v.(string)
			switch f.T {
			case "long", "float":
				require.IsType(t, 0.0, v, path)
			case "date":
				_, err := time.Parse(time.RFC3339, s)
				require.NoError(t, err, path)
			case "ip":
				_, err := netip.ParseAddr(s)
				require.NoError(t, err, path)
			default:
				require.True(t, isText, path)
			}
			if len(f.A) > 0 {
				require.Contains(t, f.A, s, path)
			}
		}
	}
	alerts := hostileAlerts()
	odd := exfiltration()
	odd.Evidence.Resources = []string{"ip:fe80::1%eth0", "ip:999.1.1.1", "ip:", "ip:2001:db8::1"}
	alerts["addresses"] = odd
	for name, a := range allAlerts(t, alerts) {
		t.Run(name, func(t *testing.T) {
			var doc map[string]any
			require.NoError(t, json.Unmarshal(check(t, siem.ECS, a), &doc))
			walk(t, "", doc)
			event := doc["event"].(map[string]any)
			require.Contains(t, []float64{21, 47, 73, 99}, event["severity"])
			require.Equal(t, a.Status != schemas.StatusClose, event["kind"] == "alert")
		})
	}
}

func TestRecordsAreASIM(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "siem", "asim", "asim-AlertEvent-0.1.yaml"))
	if err != nil {
		t.Skipf("SKIPPED, records are not checked against ASIM: %v", err)
	}
	var schema struct {
		Fields []struct {
			Name, Class string
			Allowed     []string `yaml:"allowed_values"`
		}
	}
	require.NoError(t, yaml.Unmarshal(raw, &schema))
	for _, a := range allAlerts(t, map[string]*schemas.Alert{"hostile": hostile("x\n|=")}) {
		var record map[string]any
		require.NoError(t, json.Unmarshal(check(t, siem.ASIM, a), &record))
		known := map[string]bool{"TimeGenerated": true}
		for _, f := range schema.Fields {
			known[f.Name] = true
			v, ok := record[f.Name]
			if f.Class == "Mandatory" {
				require.True(t, ok, f.Name)
			}
			if ok && len(f.Allowed) > 0 {
				found := false
				for _, allowed := range f.Allowed { // some carry an explanation in brackets
					found = found || allowed == v || strings.HasPrefix(allowed, v.(string)+" (")
				}
				require.True(t, found, "%s: %v", f.Name, v)
			}
		}
		for name := range record {
			require.True(t, known[name], "ASIM has no %s", name)
		}
	}
}

func TestSplunksEnvelopeAndModel(t *testing.T) {
	for _, a := range allAlerts(t, map[string]*schemas.Alert{"hostile": hostile("x\n|=")}) {
		var record struct {
			Time   float64
			Event  map[string]any
			Fields map[string]string // the collector refuses anything but text
		}
		require.NoError(t, json.Unmarshal(check(t, siem.Splunk, a), &record))
		require.InDelta(t, float64(a.Time)/1000, record.Time, 1e-4)
		require.Contains(t, []string{"critical", "high", "medium", "low", "informational", "unknown"}, record.Event["severity"])
		for _, recommended := range []string{"app", "severity", "signature_id", "src", "type", "user", "id", "description"} {
			require.NotNil(t, record.Event[recommended], recommended)
		}
		for _, field := range []string{"risk_score", "risk_object", "risk_object_type", "risk_message"} {
			require.Equal(t, a.Episode.RiskAdded > 0, record.Event[field] != nil, field)
		}
	}
	raw, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "siem", "splunk", "splunk-cim-8.5-alerts.yaml"))
	if err != nil {
		t.Skipf("SKIPPED, events are not checked against the CIM: %v", err)
	}
	var model struct {
		Datasets struct {
			Alerts struct{ Fields map[string]any } `yaml:"Alerts"`
		}
	}
	require.NoError(t, yaml.Unmarshal(raw, &model))
	own := map[string]bool{
		"dest_host": true, "dest_ip": true, "dest_resource": true, "url": true, "annotations": true, "risk_object": true, "risk_object_type": true, "risk_score": true, "risk_message": true, "threat_object": true, "threat_object_type": true, "plumbline": true,
	}
	var record struct{ Event map[string]any }
	require.NoError(t, json.Unmarshal(check(t, siem.Splunk, exfiltration()), &record))
	for name := range record.Event {
		if !own[name] {
			require.Contains(t, model.Datasets.Alerts.Fields, name)
		}
	}
}
