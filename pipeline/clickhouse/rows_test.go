package clickhouse

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/schemas"
)

// typicalRows are events as a fleet sends them: n events of agents agents.
func typicalRows(n, agents int, start schemas.Millis) []pipeline.ActivityRow {
	rng := rand.New(rand.NewPCG(1, 2))
	tools := []string{"read_file", "http_get", "sql_query", "send_email", "search", "write_file", "list_dir", "s3:GetObject"}
	rows := make([]pipeline.ActivityRow, n)
	for i := range rows {
		a := rng.IntN(agents)
		at := start + schemas.Millis(i)
		rows[i] = pipeline.ActivityRow{
			Version: 1,
			Origin:  schemas.Origin{Source: "default", Incarnation: 1, Topic: "agent-activity", Partition: int32(a % 8), Offset: int64(i)},
			Event: schemas.Activity{
				EventID: fmt.Sprintf("%016x%016x", rng.Uint64(), rng.Uint64()), Time: at, TenantID: "default",
				AgentID: fmt.Sprintf("agent-%05d", a), AgentName: fmt.Sprintf("Agent %d", a), AgentVersion: "1.4.2",
				PeerGroup: fmt.Sprintf("group-%d", a%7), SessionID: fmt.Sprintf("s-%08x", a*31+i/4000), OnBehalfOf: fmt.Sprintf("user%d@example.org", a%300),
				Action: "tool_call", Tool: tools[rng.IntN(len(tools))], Access: schemas.AccessRead,
				Resources: []string{fmt.Sprintf("file:reports/%d.xlsx", rng.IntN(500))},
				BytesSent: uint64(rng.IntN(4000)), BytesReceived: uint64(rng.IntN(60000)), TokensIn: uint64(rng.IntN(3000)), TokensOut: uint64(rng.IntN(900)),
				Outcome: schemas.OutcomeSuccess, DurationMS: uint64(rng.IntN(2000)), Model: "large-2", CredentialID: fmt.Sprintf("cred-%d", a), CredentialType: "oauth_token",
				SourceIP:   fmt.Sprintf("10.0.%d.%d", a/250%250, a%250),
				Attributes: []schemas.Attribute{{Key: "region", Value: "eu-central-1"}, {Key: "trace_id", Value: fmt.Sprintf("%016x", rng.Uint64())}},
				RecordedAt: at + 20,
			},
		}
	}
	return rows
}

// hostile are values that break what is not made for them.
var hostile = []string{
	"", " ", "a\x00b", "\x00", "\xff\xfe invalid", "\xed\xa0\x80 surrogate", "'; DROP TABLE activity_rows; --", `back\slash 'single' "double" ` + "`tick`",
	"\x1b[2J\x1b[31mred", "line\nline\r\ttab", strings.Repeat("ü", schemas.MaxStringBytes/2), strings.Repeat("x", schemas.MaxStringBytes),
	"\u202egnp.exe", "NULL", `\N`, "{}", "[]", "日本語 テスト", "\u0085\u2028",
}

// randomRows are rows that use the whole range of every field.
func randomRows(rng *rand.Rand, n int, recorded schemas.Millis) []pipeline.ActivityRow {
	text := func() string {
		if rng.IntN(3) > 0 {
			return hostile[rng.IntN(len(hostile))]
		}
		b := make([]byte, rng.IntN(40))
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return string(b)
	}
	number := func() uint64 {
		if rng.IntN(4) == 0 {
			return math.MaxUint64
		}
		return rng.Uint64() >> rng.IntN(64)
	}
	list := func(limit int) []string {
		var out []string
		for range rng.IntN(limit) {
			out = append(out, text())
		}
		return out
	}
	rows := make([]pipeline.ActivityRow, n)
	for i := range rows {
		e := &rows[i].Event
		*e = schemas.Activity{
			EventID: text(), Time: recorded - schemas.Millis(rng.Int64N(int64(recorded))), TenantID: fmt.Sprint("t", rng.IntN(3)), AgentID: text(),
			AgentName: text(), AgentVersion: text(), PeerGroup: text(), SessionID: text(), OnBehalfOf: text(), Action: text(), Tool: text(), Access: text(),
			Resources: list(6), TargetAgentID: text(), BytesSent: number(), BytesReceived: number(), TokensIn: number(), TokensOut: number(),
			Outcome: text(), DurationMS: number(), Model: text(), CredentialID: text(), CredentialType: text(), SourceIP: text(),
			RecordedAt: recorded + schemas.Millis(rng.Int64N(1000)),
			Flags: schemas.Flags{
				TimeClamped: rng.IntN(2) == 0, Old: rng.IntN(2) == 0, UTF8Replaced: rng.IntN(2) == 0, ResourcesCut: rng.IntN(2) * rng.IntN(1e6),
				AttributesCut: rng.IntN(2) * rng.IntN(1e6), StringsCut: rng.IntN(2) * rng.IntN(9), FieldsInvalid: list(3),
			},
		}
		if rng.IntN(2) == 0 {
			e.CredentialExpires = schemas.Millis(rng.Int64N(maxMillis))
		}
		for k := range rng.IntN(5) {
			e.Attributes = append(e.Attributes, schemas.Attribute{Key: fmt.Sprint(k, text()), Value: text()})
		}
		rows[i].Version = rng.Uint32()
		rows[i].Log, rows[i].LogTime = pipeline.Place{Partition: int32(rng.Uint32()), Offset: int64(rng.Uint64() >> 1)}, recorded+schemas.Millis(rng.Int64N(1000))
		rows[i].Origin = schemas.Origin{
			Source: text(), Incarnation: rng.Uint32(), Topic: text(), Partition: int32(rng.Uint32()), Offset: int64(rng.Uint64()), Index: int32(i),
		}
	}
	return rows
}

func sampleAlert(i int) pipeline.AlertRow {
	at := schemas.Millis(1790000000000 + int64(i)*1000)
	h := func(k int) string { return hostile[(i+k)%len(hostile)] }
	a := schemas.Alert{
		AlertID: fmt.Sprintf("alert-%06d", i), EpisodeID: fmt.Sprintf("episode-%05d", i/3), Status: schemas.StatusOpen, Kind: schemas.KindBehavior,
		TenantID: "default", Agent: schemas.AlertAgent{ID: "agent-1", Name: h(1), Version: h(2), PeerGroup: h(3), Owner: h(4)}, SessionID: h(5), OnBehalfOf: h(6),
		Time: at, FirstSeen: at - 5, LastSeen: at + 5, Severity: schemas.SeverityHigh, Score: 63.25, ExpectedPerAgentDay: 1e-5, Confidence: 0.75,
		Title: h(7), Summary: h(8), Counterfactual: h(9), Query: h(10), Runbook: h(11), Suppressed: i,
		Evidence: schemas.Evidence{EventIDs: []string{h(1), h(2)}, Resources: []string{h(3)}, Tools: []string{h(4), h(5), h(6)}, EventCount: int64(i)},
		Tags:     schemas.Tags{OwaspASI: []string{"ASI02"}, ATLAS: []string{"AML.T0086", "AML.T0024"}},
		Detector: schemas.DetectorInfo{Version: "1.0.0", ConfigHash: "abc"},
	}
	for k := range i % 4 {
		s := schemas.AlertSignal{
			Name: []string{"call_rate", "bytes_sent", "new_tool"}[k%3], Observed: float64(k) + 0.5, Expected: 1e9, Low: -1, High: math.MaxFloat64, Unit: h(k),
			P: 1e-300, WindowStart: at - 300000, WindowSeconds: 300, BaselineSamples: 812.5,
		}
		for j := range (i + k) % 3 {
			s.FirstSeen = append(s.FirstSeen, h(j))
		}
		a.Signals = append(a.Signals, s)
	}
	return pipeline.AlertRow{Alert: a, JSON: []byte(`{"alert_id":"` + a.AlertID + `"}` + h(12)), RecordedAt: at + 40}
}

func sampleWindow(i int) pipeline.WindowRow {
	start := schemas.Millis(1790000000000 / 3600000 * 3600000)
	w := schemas.Window{
		TenantID: "default", AgentID: fmt.Sprintf("agent-%d", i%5), PeerGroup: hostile[i%len(hostile)], Start: start + schemas.Millis(i/5)*3600000, Seconds: 3600,
		Events: uint64(i), Late: 1, Failures: 2, Denied: 3, BytesSent: math.MaxUint64, BytesReceived: 4, Tools: 5, Resources: 6, NewResources: 7,
		NewDestinations: 8, Sessions: 9, Score: 12.5, BaselineSamples: 100.25, ConfigHash: "abc",
	}
	if i%3 > 0 {
		w.Signals = map[string]schemas.WindowSignal{
			"call_rate": {Observed: 1, Expected: 2, Low: 3, High: 4, P: 5e-200}, "metric:" + hostile[i%len(hostile)]: {Observed: -1, P: 1},
		}
	}
	return pipeline.WindowRow{Window: w, RecordedAt: start + 3600100}
}
