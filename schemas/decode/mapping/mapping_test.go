package mapping_test

import (
	"maps"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
	"github.com/plumbline-sec/plumbline/schemas/decode/decodetest"
	"github.com/plumbline-sec/plumbline/schemas/decode/forms"
)

func mapped(tb testing.TB, fields map[string]any, more ...map[string]any) decode.Decoder {
	tb.Helper()
	options := map[string]any{"fields": fields}
	for _, m := range more {
		maps.Copy(options, m)
	}
	return decodetest.New(tb, "mapping", options)
}

func one(tb testing.TB, d decode.Decoder, value string) *schemas.Activity {
	tb.Helper()
	got := decodetest.All(tb, d, &decode.Record{Topic: "t", Time: decodetest.Time, Value: []byte(value)})
	require.Len(tb, got, 1)
	return got[0]
}

func TestAPathLeadsToWhatItNames(t *testing.T) {
	const text = `{"a":{"b":[{"c":"first"},{"c":"second"}],"x.y":"dots"},"n":7,"empty":"","null":null,"esc\u0061ped":"e"}`
	for path, want := range map[string]string{
		"a.b[0].c":   "first",
		"a.b[1].c":   "second",
		"a.b[*].c":   "first", // of many the first
		`a["x.y"]`:   "dots",
		"n":          "7",
		"escaped":    "e",
		"a.b[2].c":   "",
		"a.b.c":      "",
		"n.x":        "",
		"empty":      "",
		"null":       "",
		"=constant":  "constant",
		`["n"]`:      "7",
		"a.b[*].nix": "",
	} {
		t.Run(path, func(t *testing.T) {
			ev := one(t, mapped(t, map[string]any{"agent_id": "=x", "tool": path}), text)
			require.Equal(t, want, ev.Tool)
		})
	}
}

func TestTheFirstPlaceWithAValueFillsAField(t *testing.T) {
	d := mapped(t, map[string]any{"agent_id": []any{"missing", "empty", "null", "list[*].id", "=x"}})
	require.Equal(t, "b", one(t, d, `{"empty":"","null":null,"list":[{"id":""},{"id":"b"}]}`).AgentID)
	require.Equal(t, "x", one(t, d, `{}`).AgentID)
}

func TestSizesTimesAndNumbersInQuotes(t *testing.T) {
	d := mapped(t, map[string]any{
		"agent_id": "id", "time": "seconds(at)", "bytes_sent": "len(in)", "bytes_received": []any{"len(none)", "len(out[*].text)"},
		"tokens_in": "tokens", "duration_ms": "ms",
	})
	ev := one(t, d, `{"id":4711,"at":1717401600.25,"in":{"q": 1},"out":[{"text":"a\"\u00e9\ud83d\ude00"},{"text":"bc"}],"tokens":"12","ms":9}`)
	require.Equal(t, "4711", ev.AgentID)
	require.Equal(t, "2024-06-03T08:00:00.250Z", ev.Time.String())
	require.Equal(t, uint64(8), ev.BytesSent)
	require.Equal(t, uint64(1+1+2+4+2), ev.BytesReceived)
	require.Equal(t, uint64(12), ev.TokensIn)
	require.Equal(t, uint64(9), ev.DurationMS)
	require.Empty(t, ev.Flags.FieldsInvalid)

	ev = one(t, d, `{"id":"a","at":"yesterday","tokens":-1,"ms":{}}`)
	require.Equal(t, []string{"time", "tokens_in", "duration_ms"}, ev.Flags.FieldsInvalid)
}

func TestValuesMeanWhatTheConfigSays(t *testing.T) {
	d := mapped(t, map[string]any{"agent_id": "id", "outcome": []any{"code", "ok"}, "access": "verb"}, map[string]any{"values": map[string]any{
		"outcome": map[string]any{"403": "denied", "true": "success", "false": "failure", "*": ""},
		"access":  map[string]any{"GET": "read"},
	}})
	ev := one(t, d, `{"id":"a","code":403,"ok":true,"verb":"GET"}`)
	require.Equal(t, "denied", ev.Outcome)
	require.Equal(t, "read", ev.Access)
	ev = one(t, d, `{"id":"a","code":200,"ok":false,"verb":"BREW"}`)
	require.Equal(t, "failure", ev.Outcome)
	require.Equal(t, []string{"access"}, ev.Flags.FieldsInvalid, "a value without a meaning is flagged, not guessed")
	require.Equal(t, "BREW", decodetest.Attribute(ev, "access"))
}

func TestWhatIsLeftIsAnAttributeAndWhatIsDroppedIsNot(t *testing.T) {
	const text = `{"id":"a","prompt":{"text":"secret"},"region":"eu","tags":["x","y"],"files":[{"name":"f1"},{"name":"f2"}],"arn":"arn:aws:s3:::b/k"}`
	d := mapped(t, map[string]any{"agent_id": "id"}, map[string]any{
		"drop": []any{"prompt"}, "resources": map[string]any{"file": "files[*].name", "any": []any{"nix", "arn"}},
	})
	ev := one(t, d, text)
	require.Equal(t, []string{"s3:b/k", "file:f1", "file:f2"}, ev.Resources)
	require.Equal(t, []schemas.Attribute{{Key: "region", Value: "eu"}, {Key: "tags[0]", Value: "x"}, {Key: "tags[1]", Value: "y"}}, ev.Attributes)
	d = mapped(t, map[string]any{"agent_id": "id"}, map[string]any{"attributes": "none"})
	require.Empty(t, one(t, d, text).Attributes)
}

func TestARecordHoldsAsManyEventsAsItsList(t *testing.T) {
	d := mapped(t, map[string]any{"agent_id": "id"}, map[string]any{"events": "data.items", "only": map[string]any{"kind": []any{"call"}, "id": "*"}})
	got := decodetest.All(t, d, &decode.Record{Topic: "t", Offset: 5, Time: decodetest.Time, Value: []byte(`{"x":[],"data":{"items":[{"id":"a","kind":"call"},{"id":"b","kind":"other"},{"kind":"call"},{"id":"c","kind":"call"}]}}`)})
	require.Len(t, got, 2)
	require.Equal(t, "t/0/5", got[0].EventID)
	require.Equal(t, "t/0/5/3", got[1].EventID, "the index is the place in the list, whatever is passed over")
	require.Equal(t, 2, d.(decode.Skipper).Skipped())

	_, refusal := decodetest.One(t, d, &decode.Record{Value: []byte(`{"data":{}}`)})
	require.Equal(t, decode.ReasonNoEvents, refusal.Reason)
	require.Len(t, decodetest.All(t, mapped(t, map[string]any{"agent_id": "id"}), &decode.Record{Time: decodetest.Time, Value: []byte(`[{"id":"a"},{"id":"b"}]`)}), 2)
}

func TestANameThatStandsTwiceOnTheWayToTheAgentIsRefused(t *testing.T) {
	d := mapped(t, map[string]any{"agent_id": "who.id", "tool": "t"})
	for _, value := range []string{`{"who":{"id":"a","id":"b"}}`, `{"who":{"id":"a"},"who":{"id":"b"}}`, `{"who":{"id":"a","\u0069d":"b"}}`} {
		_, refusal := decodetest.One(t, d, &decode.Record{Value: []byte(value)})
		require.NotNil(t, refusal)
		require.Equal(t, decode.ReasonDuplicateIdentity, refusal.Reason)
	}
	require.Equal(t, "y", one(t, d, `{"who":{"id":"a"},"t":"x","t":"y"}`).Tool, "elsewhere the last one counts")
}

func TestMistakesInAMappingAreNamed(t *testing.T) {
	_, err := forms.New("mapping", map[string]any{
		"events": "a[0]", "attributes": "some", "drop": []any{"x..y"}, "resources": map[string]any{"file": "=f"},
		"fields": map[string]any{
			"agent": "id", "tool": "a[b]", "time": "len(x)", "session_id": "seconds(x)", "resources": "r", "model": []any{}, "access": "a b",
			"on_behalf_of": "a[", "target_agent_id": `a["`, "outcome": "x",
		},
		"values": map[string]any{"outcome": map[string]any{"1": "good"}, "modes": map[string]any{"a": "b"}},
	})
	var mistakes decode.OptionErrors
	require.ErrorAs(t, err, &mistakes)
	got := map[string]string{}
	for _, m := range mistakes {
		got[m.Key] = m.Problem
	}
	require.Equal(t, map[string]string{
		"events":                 "has an index in it",
		"attributes":             `is "some"`,
		"drop[0]":                `"x..y" has an empty name in it`,
		"resources.file":         "is no path",
		"fields.agent":           "is no field of an event",
		"fields.tool":            `"a[b]" has [b] in it; write [0] for the first element, [*] for all, ["name"] for a name`,
		"fields.time":            "is a size, and time takes none",
		"fields.session_id":      "is a time, and session_id takes none",
		"fields.resources":       "is no single value",
		"fields.model":           "names no place",
		"fields.access":          `"a b" has "a b" in it; a name with such characters is written ["a b"]`,
		"fields.on_behalf_of":    `"a[" has a [ without its ]`,
		"fields.target_agent_id": `"a[\"" has a [" without its name and "]`,
		"fields":                 "says nothing of agent_id: without it every event is refused",
		"values.outcome.1":       `is "good"`,
		"values.modes":           "has no field to it",
	}, got)
}

func TestOCSFBecomesWhatItMeans(t *testing.T) {
	d := decodetest.New(t, "ocsf", nil)
	text, err := os.ReadFile("../../../../shared/siem/samples/ocsf-api-activity-1.8.0.json")
	if err != nil {
		t.Skip("skipped: ../shared/siem/samples is not there")
	}
	ev := decodetest.All(t, d, &decode.Record{Time: decodetest.Later, Value: text})[0]
	require.Equal(t, "spiffe://acme/agents/invoice-bot", ev.AgentID)
	require.Equal(t, "alice@example.com", ev.OnBehalfOf)
	require.Equal(t, "read", ev.Access)
	require.Equal(t, []string{"s3:invoices"}, ev.Resources)
	require.Equal(t, uint64(43201822), ev.BytesSent)
	require.Equal(t, uint64(10), ev.TokensIn)
	require.Equal(t, "success", ev.Outcome)
	require.Equal(t, "claude-x", ev.Model)
	require.Equal(t, "2024-11-23T07:07:58.901Z", ev.Time.String())

	events, refusals := decodetest.Check(t, d, &decode.Record{Value: []byte(`{"class_uid":2004}`)})
	require.Zero(t, events+refusals, "other classes are passed over")
}

var agentInA = map[string]any{"agent_id": "a", "credential_expires": "seconds(exp)"}

func TestALongPathIsCutAndFlagged(t *testing.T) {
	got := one(t, mapped(t, agentInA), `{"a":"x","`+strings.Repeat("é", 2500)+`":{"p":1}}`)
	require.Equal(t, 1, got.Flags.StringsCut)
	require.False(t, got.Flags.UTF8Replaced)
	require.Len(t, got.Attributes[0].Key, schemas.MaxStringBytes)
}

func TestARepeatedNameTakesOneAttribute(t *testing.T) {
	got := one(t, mapped(t, agentInA), `{"a":"x",`+strings.Repeat(`"d":1,`, schemas.MaxAttributes)+`"real":2}`)
	require.Equal(t, []schemas.Attribute{{Key: "d", Value: "1"}, {Key: "real", Value: "2"}}, got.Attributes)
	require.Zero(t, got.Flags.AttributesCut)
}

func TestALongNameAboveManyLeavesIsNoBomb(t *testing.T) {
	text := `{"a":"x","` + strings.Repeat("n", 4080) + `":[` + strings.Repeat("1,", 255) + `1]}`
	got := one(t, mapped(t, agentInA), text)
	require.Less(t, len(schemas.AppendActivity(nil, got)), 12*len(text))
	require.Equal(t, 256, got.Flags.AttributesCut)
}

func TestACredentialExpiresInSeconds(t *testing.T) {
	got := one(t, mapped(t, agentInA), `{"a":"x","exp":1800000000.25}`)
	require.Equal(t, schemas.Millis(1800000000250), got.CredentialExpires)
	require.Empty(t, got.Flags.FieldsInvalid)
}

func TestStringsOutliveTheirDecoding(t *testing.T) {
	event := `{"class_uid":6003,"actor":{"app_uid":"b\u0041"},"metadata":{"uid":"N"},"x":{"y\u0041":["z\u0041",1]},"resources":[{"uid":"N\u0041"}]}`
	events := make([]string, 200)
	for i := range events {
		events[i] = strings.ReplaceAll(event, "N", strings.Repeat(string(rune('a'+i%26)), 1+i%40))
	}
	decodetest.Outlive(t, decodetest.New(t, "ocsf", nil), []byte("["+strings.Join(events, ",")+"]"))
}

func FuzzMapping(f *testing.F) {
	for _, s := range []string{
		`{"id":"a","t":1,"l":[{"x":"y"},[],{}],"u":"` + "\xff" + `","\ud800":"\ud800"}`, `[{"id":"a"},7]`, `{"id":"a","id":"b"}`,
		`{"id":` + strings.Repeat("[", 31) + strings.Repeat("]", 31) + `}`, `{"id":"a","l":` + strings.Repeat(`{"x":`, 33), `{"at":1e308,"id":true}`, `{"id":"a","l":"\u00e9\\\"","t":"007"}`,
		`{"class_uid":6003,"actor":{"app_uid":"a"},"resources":[{"uid":"arn:aws:s3:::"}]}`,
	} {
		f.Add([]byte(s))
	}
	d := mapped(f, map[string]any{
		"agent_id": []any{"id", "actor.app_uid"}, "time": "seconds(at)", "tokens_in": "t", "tool": "t", "bytes_sent": "len(l)", "bytes_received": "len(l[*].x)", "outcome": "id", "access": "l[0].x",
	}, map[string]any{"resources": map[string]any{"k": "l[*]", "": "id"}, "values": map[string]any{"outcome": map[string]any{"a": "denied"}}})
	ocsf := decodetest.New(f, "ocsf", nil)
	f.Fuzz(func(t *testing.T, value []byte) {
		decodetest.Check(t, d, &decode.Record{Topic: "t", Time: decodetest.Time, Value: value})
		decodetest.Check(t, ocsf, &decode.Record{Topic: "t", Time: decodetest.Time, Value: value})
	})
}

func BenchmarkOCSF(b *testing.B) {
	text, err := os.ReadFile("../../../../shared/siem/samples/ocsf-api-activity-1.8.0.json")
	if err != nil {
		b.Skip("skipped: ../shared/siem/samples is not there")
	}
	d := decodetest.New(b, "ocsf", nil)
	rec := decode.Record{Topic: "t", Time: decodetest.Time, Value: text}
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		d.Decode(&rec, func(int32, *schemas.Activity, *decode.Refusal) {})
	}
}
