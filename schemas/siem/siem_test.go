package siem_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/siem"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// exfiltration is an alert with everything in it.
func exfiltration() *schemas.Alert {
	return &schemas.Alert{
		AlertID: "al-2f6d0c5e91b7a384", EpisodeID: "ep-90c1d7a2be44f013", Status: schemas.StatusUpdate, Kind: schemas.KindBehavior,
		TenantID:  "acme",
		Agent:     schemas.AlertAgent{ID: "spiffe://acme/agents/invoice-bot", Name: "invoice-bot", Version: "1.4.2", PeerGroup: "finance", Owner: "finance-platform", Contact: "finance-platform@acme.example", Criticality: schemas.CriticalityHigh},
		SessionID: "conv-1", OnBehalfOf: "user:42",
		Time: 1732345678901, FirstSeen: 1732345500000, LastSeen: 1732345678901,
		Severity: schemas.SeverityCritical, Score: 82.4, ExpectedPerAgentDay: 5.7e-6, Confidence: 0.87,
		Episode: schemas.Episode{Reason: schemas.ReasonWorse, Severity: schemas.SeverityCritical, Score: 82.4, Risk: 100, RiskAdded: 40, Alerts: 2},
		Title:   "Agent sends data to a destination that it never used",
		Summary: `invoice-bot sent 41.2 MiB in 5 min; 99.9 % of its windows stay under 1.1 MiB. It wrote to "https://paste.example/x" for the first time.`,
		Signals: []schemas.AlertSignal{
			{
				Name: schemas.SignalNewDestination, Observed: 1, Expected: 0.0004, High: 0, Unit: "destinations", P: 2e-6,
				WindowStart: 1732345500000, WindowSeconds: 3600, BaselineSamples: 4032, FirstSeen: []string{"https://paste.example/x", "email:bob@x.example"}, Baseline: schemas.BaselineAgent, LedBy: schemas.LedByDestination,
			},
			{
				Name: schemas.SignalBytesSent, Observed: 43201822, Expected: 120034.5, Low: 0, High: 1153433, Unit: "bytes", P: 3.1e-5,
				WindowStart: 1732345500000, WindowSeconds: 3600, BaselineSamples: 4032, Baseline: schemas.BaselineAgent,
			},
			{Name: "metric:refunds", Observed: 9, Expected: 1, Low: 0, High: 3, Unit: "", P: 1e-3, WindowStart: 1732345500000, WindowSeconds: 3600, BaselineSamples: 10.5, Baseline: schemas.BaselinePeers},
		},
		Evidence: schemas.Evidence{
			EventIDs:   []string{"ev-1", "ev-2"},
			Resources:  []string{"https://paste.example/x", "email:bob@x.example", "ip:203.0.113.9", "host:h.example", "file:q3.xlsx", "url:ftp://f.example", "s3:bucket/key"},
			Tools:      []string{"s3.get_object", "http.post"},
			EventCount: 37,
			CompletedBy: &schemas.CompletedBy{
				EventID: "ev-2", Time: 1732345678901, Tool: "http.post", Access: schemas.AccessSend, Outcome: "ok", Target: "https://paste.example/x",
				Resources: []string{"https://paste.example/x", "file:q3.xlsx"}, BytesSent: 43201822, BytesReceived: 174,
			},
			Decision: &schemas.Decision{
				Action: "send", Resource: "https://paste.example/x", Policies: []string{"no-paste"}, Failed: []string{"agents.cedar:12"},
				Seen: []schemas.SeenValue{{Name: "resource.site", Value: "paste.example"}, {Name: "principal.risk", Value: "none"}},
			},
			Totals: &schemas.Totals{Since: 1732345500000, Events: 41, BytesSent: 43301822, BytesReceived: 9000, Sessions: 2, NewTools: 1, NewResources: 3, NewDestinations: 2},
			Places: []schemas.Place{
				{Resource: "https://paste.example/x", EventID: "ev-2", Events: 1, BytesSent: 43201822, BytesReceived: 174},
				{Resource: "email:bob@x.example", EventID: "ev-1", Events: 3, BytesSent: 100000},
			},
		},
		Tags: schemas.Tagging{}.For([]schemas.AlertSignal{
			{Name: schemas.SignalNewDestination, LedBy: schemas.LedByDestination}, {Name: schemas.SignalBytesSent}, {Name: schemas.SignalResourceBreadth}, {Name: schemas.SignalCallRate},
		}, &schemas.Act{Access: schemas.AccessSend, Kind: "https"}),
		Counterfactual: "under 3.4 MiB in this window",
		Query:          "SELECT * FROM activity WHERE tenant_id = 'acme' AND agent_id = 'spiffe://acme/agents/invoice-bot' ORDER BY time",
		Runbook:        "https://runbooks.example/new_destination", Suppressed: 4,
		Detector: schemas.DetectorInfo{Version: "0.1.0", ConfigHash: "c0ffee", PolicyHash: "facade"},
	}
}

// silence is an alert with as little in it as there may be.
func silence() *schemas.Alert {
	return &schemas.Alert{
		AlertID: "al-1", EpisodeID: "ep-1", Status: schemas.StatusOpen, Kind: schemas.KindBehavior, TenantID: "default",
		Agent: schemas.AlertAgent{ID: "a", PeerGroup: "default"},
		Time:  1732345200000, FirstSeen: 1732345200000, LastSeen: 1732345200000,
		Severity: schemas.SeverityLow, Score: 50, ExpectedPerAgentDay: 0.01, Confidence: 0.2,
		Episode: schemas.Episode{Reason: schemas.ReasonOpened, Severity: schemas.SeverityLow, Score: 50, Risk: 5, RiskAdded: 5, Alerts: 1},
		Title:   "Agent fell silent", Summary: "No call in an hour that has 31 to 64 of them.",
		Signals:  []schemas.AlertSignal{{Baseline: schemas.BaselineAgent, Name: schemas.SignalSilence, Expected: 45, Low: 31, High: 64, Unit: "calls", P: 0.01, WindowStart: 1732341600000, WindowSeconds: 3600, BaselineSamples: 96}},
		Tags:     schemas.Tagging{}.For([]schemas.AlertSignal{{Name: schemas.SignalSilence}}, nil),
		Detector: schemas.DetectorInfo{Version: "0.1.0", ConfigHash: "c0ffee"},
	}
}

func closed() *schemas.Alert {
	a := silence()
	a.Status, a.AlertID, a.Time = schemas.StatusClose, "al-2", a.Time+6*3600*1000
	a.Signals, a.Tags = nil, schemas.Tags{}
	a.Episode.Reason, a.Episode.RiskAdded, a.Episode.Alerts = schemas.ReasonEnded, 0, 2
	return a
}

// hostile puts v wherever an agent has a say.
func hostile(v string) *schemas.Alert {
	a := exfiltration()
	a.Agent = schemas.AlertAgent{ID: v, Name: v, Version: v, PeerGroup: v, Owner: v, Contact: v, Criticality: v}
	a.TenantID, a.SessionID, a.OnBehalfOf, a.Summary, a.Title, a.Counterfactual, a.Query, a.Runbook = v, v, v, v, v, v, v, v
	many := make([]string, 30)
	for i := range many {
		many[i] = v
	}
	a.Evidence.EventIDs, a.Evidence.Resources, a.Evidence.Tools = many, many, many
	a.Evidence.CompletedBy = &schemas.CompletedBy{EventID: v, Tool: v, Access: v, Outcome: v, Target: v, TargetAgentID: v, Resources: []string{
		"email:" + v, "ip:" + v, "host:" + v, "url:https://" + v + "/", "url:https://h/" + v, "file:" + v, "agent:" + v, "email:" + v + "@x.example", "https:" + v,
	}, BytesSent: math.MaxUint64}
	a.Evidence.Totals = &schemas.Totals{BytesSent: math.MaxUint64}
	a.Evidence.Places = slices.Repeat([]schemas.Place{{Resource: v, EventID: v}}, 30)
	a.Episode.Reason, a.Episode.Severity = v, v
	a.Tags = schemas.Tags{OwaspASI: many, ATLAS: many, Attack: many}
	for range 40 {
		a.Signals = append(a.Signals, schemas.AlertSignal{Name: v, Unit: v, Baseline: schemas.BaselineAgent, FirstSeen: many})
	}
	a.Signals[0].FirstSeen = many
	return a
}

var hostileValues = map[string]string{
	"empty": "", "a quote and braces": `"}],"x":{"`, "a backslash": `\`, "a newline": "a\r\nb", "a NUL": "a\x00b", "an ANSI escape": "\x1b[2J\x9b31m",
	"a bidi override": "a\u202egpj.exe\u2066b\u2069", "separators": "a\u2028b\u2029", "C1 and DEL": "\u0085\x7f\u009f",
	"invisible tags": "a\U000e0041\u200b\ufeff", "invalid UTF-8": "\xff\xfe\xed\xa0\x80", "an HTML tag": "<script>&amp;", "an emoji": "👩‍🚀", "a bare resource": ":", "1 MiB": strings.Repeat("a", 1<<20),
	"1 MiB to be escaped": strings.Repeat("\u202e", 1<<20/3), "4 KiB to be escaped": strings.Repeat("\x00", 4<<10), "4 KiB of it": strings.Repeat("é", 2<<10),
}

func TestAnAlertLooksAsItAlwaysDid(t *testing.T) {
	escapes := silence()
	escapes.Summary = "a\"\\\n\x00\x1b[31m\u202e\U000e0041\xff é </script>"
	escapes.Evidence.Resources = []string{"file:" + escapes.Summary, ":", "bare"}
	for name, alert := range map[string]*schemas.Alert{"exfiltration": exfiltration(), "silence": silence(), "closed": closed(), "escapes": escapes} {
		for _, e := range siem.Encoders() {
			t.Run(e.Name()+" "+name, func(t *testing.T) {
				got, err := e.Append(nil, alert)
				require.NoError(t, err)
				file := filepath.Join("testdata", name+"."+e.Name()+".golden")
				if *update {
					require.NoError(t, os.MkdirAll("testdata", 0o755))
					require.NoError(t, os.WriteFile(file, append(got, '\n'), 0o644))
				}
				want, err := os.ReadFile(file)
				require.NoError(t, err, "write it with -update")
				require.Equal(t, string(want), string(got)+"\n")
			})
		}
	}
}

// check proves what holds for every record of every form.
func check(tb testing.TB, e siem.Encoder, a *schemas.Alert) []byte {
	tb.Helper()
	prefix := []byte("before")
	got, err := e.Append(prefix, a)
	require.NoError(tb, err)
	require.Equal(tb, "before", string(got[:6]))
	got = got[6:]
	require.LessOrEqual(tb, len(got), siem.MaxRecordBytes)
	switch e {
	case siem.CEF:
		parseCEF(tb, string(got))
	case siem.LEEF:
		parseLEEF(tb, string(got))
	default:
		require.True(tb, json.Valid(got), "%.2000q", got)
	}
	require.True(tb, utf8.Valid(got))
	for _, r := range string(got) {
		if r == '\t' && e == siem.LEEF {
			continue
		}
		if unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp) {
			tb.Fatalf("%U stands unescaped in %.2000q", r, got)
		}
	}
	again, err := e.Append(nil, a)
	require.NoError(tb, err)
	require.True(tb, bytes.Equal(got, again))
	return got
}

func TestNoValueBreaksOutOfItsField(t *testing.T) {
	for name, v := range hostileValues {
		for _, e := range siem.Encoders() {
			t.Run(e.Name()+" "+name, func(t *testing.T) { check(t, e, hostile(v)) })
		}
	}
}

func TestTheJSONFormIsTheAlert(t *testing.T) {
	for _, alert := range []*schemas.Alert{exfiltration(), silence(), closed()} {
		var got schemas.Alert
		require.NoError(t, json.Unmarshal(check(t, siem.JSON, alert), &got))
		// An absent list is written as an empty one.
		want := *alert
		for _, list := range []*[]string{&want.Evidence.EventIDs, &want.Evidence.Resources, &want.Evidence.Tools, &want.Tags.OwaspASI, &want.Tags.ATLAS, &want.Tags.Attack} {
			if *list == nil {
				*list = []string{}
			}
		}
		if want.Signals == nil {
			want.Signals = []schemas.AlertSignal{}
		}
		require.Equal(t, want, got)
	}
}

func TestTheJSONFormHasEveryFieldOfTheAlert(t *testing.T) {
	var got, want map[string]any
	full := exfiltration()
	require.NoError(t, json.Unmarshal(check(t, siem.JSON, full), &got))
	std, err := json.Marshal(full)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(std, &want))
	require.Equal(t, want, got)
}

func TestStringsAreCutOnlyWhereTheRecordWouldBeTooLong(t *testing.T) {
	id := strings.Repeat("é", 256) // 512 bytes, the longest identity
	a := hostile(strings.Repeat("\x00", 4096))
	a.Agent.ID, a.AlertID = id, "al-3"
	var got schemas.Alert
	require.NoError(t, json.Unmarshal(check(t, siem.JSON, a), &got))
	require.Equal(t, id, got.Agent.ID)
	require.Equal(t, "al-3", got.AlertID)
	require.True(t, strings.HasSuffix(got.Evidence.EventIDs[0], "\x00…"), "%q", got.Evidence.EventIDs[0])
	require.Len(t, got.Evidence.EventIDs, schemas.MaxEvidence)

	b := exfiltration()
	b.Summary = strings.Repeat("\x00", 4096)
	require.NoError(t, json.Unmarshal(check(t, siem.JSON, b), &got))
	require.Equal(t, b.Summary, got.Summary)
}

func TestANumberThatIsNotFiniteIsAnError(t *testing.T) {
	for i, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		for field, set := range map[string]func(*schemas.Alert){
			"score":      func(a *schemas.Alert) { a.Score = v },
			"confidence": func(a *schemas.Alert) { a.Confidence = v },
			"expected":   func(a *schemas.Alert) { a.Signals[1].Expected = v },
			"p":          func(a *schemas.Alert) { a.Signals[0].P = v },
			"episode":    func(a *schemas.Alert) { a.Episode.Score = v },
		} {
			a := exfiltration()
			set(a)
			for _, e := range siem.Encoders() {
				got, err := e.Append([]byte("before"), a)
				require.ErrorIs(t, err, siem.ErrNotFinite, "%s of %s %d", field, e.Name(), i)
				require.Equal(t, "before", string(got))
			}
		}
	}
}

func TestFormsAreFoundByName(t *testing.T) {
	require.NotEmpty(t, siem.Encoders())
	for _, e := range siem.Encoders() {
		found, ok := siem.Lookup(e.Name())
		require.True(t, ok)
		require.Equal(t, e, found)
	}
	_, ok := siem.Lookup("JSON")
	require.False(t, ok)
}

// findingSchema is the official schema of the class, with its profile.
func findingSchema(tb testing.TB, version string) *jsonschema.Schema {
	tb.Helper()
	file := filepath.Join("..", "..", "..", "shared", "siem", "ocsf", "ocsf-"+version+"-detection_finding-security_control.json")
	text, err := os.ReadFile(file)
	if err != nil {
		tb.Skipf("SKIPPED, findings are not checked against OCSF's schema: %v", err)
	}
	if version == "1.5.0" { // it was exported by a server that called itself so
		text = bytes.ReplaceAll(text, []byte("1.6.0-dev"), []byte("1.5.0"))
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	require.NoError(tb, err)
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	require.NoError(tb, c.AddResource("finding.json", doc))
	return c.MustCompile("finding.json")
}

func validate(tb testing.TB, schema *jsonschema.Schema, record []byte) {
	tb.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(record))
	require.NoError(tb, err)
	if err := schema.Validate(doc); err != nil {
		tb.Fatalf("%v\n%.4000s", err, record)
	}
}

func TestFindingsFollowOCSFsOwnSchema(t *testing.T) {
	alerts := hostileAlerts()
	alerts["of nothing"] = &schemas.Alert{}
	for _, status := range []string{schemas.StatusOpen, schemas.StatusUpdate, schemas.StatusClose, "later"} {
		for _, severity := range []string{schemas.SeverityLow, schemas.SeverityMedium, schemas.SeverityHigh, schemas.SeverityCritical, "later"} {
			for _, confidence := range []float64{-1, 0, 0.5, 1, 1e300} {
				a := exfiltration()
				a.Status, a.Episode.Severity, a.Confidence, a.Score = status, severity, confidence, confidence*100
				a.Evidence.EventCount = math.MaxInt64
				a.Signals[0].WindowStart, a.Signals[0].WindowSeconds = math.MaxInt64, math.MaxInt64
				a.Signals[1].BaselineSamples = 1e300
				alerts[fmt.Sprintf("%s %s %g", status, severity, confidence)] = a
			}
		}
	}
	for _, signal := range []string{
		schemas.SignalCallRate, schemas.SignalCallRateLong, schemas.SignalDrift, schemas.SignalSilence, schemas.SignalBytesSent, schemas.SignalBytesReceived,
		schemas.SignalNewTool, schemas.SignalNewResource, schemas.SignalNewDestination, schemas.SignalResourceBreadth, schemas.SignalToolSequence,
		schemas.SignalFailureRatio, schemas.SignalMalformed, schemas.SignalLate, schemas.SignalNameFlood, "metric:x",
		schemas.CheckDecommissionedAgent, schemas.CheckUnknownCredential,
	} {
		a := silence()
		a.Signals[0].Name = signal
		a.Tags = schemas.Tagging{}.For(a.Signals, &schemas.Act{Access: schemas.AccessExecute})
		alerts["signal "+signal] = a
	}
	overridden := exfiltration()
	overridden.Tags = schemas.Tags{OwaspASI: []string{"ASI02"}, ATLAS: []string{"AML.T9999.001"}, Attack: []string{"T1048", "T1567.002"}}
	alerts["tags of a config"] = overridden
	alerts = allAlerts(t, alerts)
	for version, form := range map[string]siem.Encoder{"1.8.0": siem.OCSF, "1.7.0": siem.OCSF17, "1.6.0": siem.OCSF16, "1.5.0": siem.OCSF15} {
		schema := findingSchema(t, version)
		for name, a := range alerts {
			t.Run(version+" "+name, func(t *testing.T) { validate(t, schema, check(t, form, a)) })
		}
	}
}

func TestAFindingSaysThatItWasCut(t *testing.T) {
	for _, c := range []struct {
		form siem.Encoder
		at   string
	}{{siem.OCSF, "metadata"}, {siem.OCSF16, "metadata"}, {siem.OCSF15, "unmapped"}} {
		for _, cut := range []bool{false, true} {
			a := exfiltration()
			if cut {
				a.Query = strings.Repeat("x", 1<<20)
			}
			var finding map[string]any
			require.NoError(t, json.Unmarshal(check(t, c.form, a), &finding))
			require.Equal(t, cut, finding[c.at].(map[string]any)["is_truncated"], c.form.Name())
		}
	}
}

// FuzzEncoders: whatever stands in an alert, every form stays one record of
// valid JSON, and a finding stays a finding.
func FuzzEncoders(f *testing.F) {
	for _, v := range hostileValues {
		if len(v) < 1<<16 {
			f.Add(v, "open", 0.5, int64(1))
		}
	}
	var schema *jsonschema.Schema
	if _, err := os.Stat(filepath.Join("..", "..", "..", "shared")); err == nil {
		schema = findingSchema(f, "1.8.0")
	}
	f.Fuzz(func(t *testing.T, v, status string, x float64, n int64) {
		if math.IsNaN(x) || math.IsInf(x, 0) || math.IsInf(x*100, 0) {
			t.Skip()
		}
		a := exfiltration()
		a.Status, a.Severity, a.Agent.ID, a.Agent.Name, a.Summary, a.Runbook = status, v, v, v, v, v
		a.Confidence, a.Score, a.Evidence.EventCount = x, x, n
		a.Episode.Severity = v
		a.Evidence.Resources = []string{v, "email:" + v, "ip:" + v, "url:" + v, "host:" + v, "file:" + v}
		a.Evidence.CompletedBy.Target = "url:https://" + v
		a.Tags.Attack = []string{v}
		a.Signals[0] = schemas.AlertSignal{Name: v, Observed: x, Unit: v, WindowStart: schemas.Millis(n), WindowSeconds: n, FirstSeen: []string{v}}
		for _, e := range siem.Encoders() {
			record := check(t, e, a)
			if e == siem.OCSF && schema != nil {
				validate(t, schema, record)
			}
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	for _, e := range siem.Encoders() {
		b.Run(e.Name(), func(b *testing.B) {
			a := exfiltration()
			var buf []byte
			b.ReportAllocs()
			for b.Loop() {
				var err error
				if buf, err = e.Append(buf[:0], a); err != nil {
					b.Fatal(err)
				}
			}
			b.SetBytes(int64(len(buf)))
		})
	}
}
