package schemas_test

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/schemas"
)

func fullActivity() *schemas.Activity {
	return &schemas.Activity{
		EventID: "e-1", Time: 1717401603000, TenantID: "acme", AgentID: "travel/user_task_1", AgentName: "Travel", AgentVersion: "1.2",
		PeerGroup: "travel", SessionID: "s-1", OnBehalfOf: "user:42", Action: "tool_call", Tool: "get_hotels", Access: "read",
		Resources: []string{"hotel:city hub", `file:"a"\b`}, TargetAgentID: "b", BytesSent: 29, BytesReceived: 1<<64 - 1, TokensIn: 1, TokensOut: 2,
		Outcome: "success", DurationMS: 3, Model: "m", CredentialID: "k", CredentialType: "static_key", CredentialExpires: 253402300799999,
		SourceIP: "::1", Attributes: []schemas.Attribute{{Key: "", Value: ""}, {Key: "region", Value: "eu\n\t\r\x00\x1b"}}, RecordedAt: 1717401700001,
		Flags: schemas.Flags{TimeClamped: true, Old: true, UTF8Replaced: true, ResourcesCut: 300, AttributesCut: 400, StringsCut: 5, FieldsInvalid: []string{"time", "tool"}},
	}
}

func TestAnActivityIsWrittenInAFixedForm(t *testing.T) {
	for name, tc := range map[string]struct {
		event *schemas.Activity
		want  string
	}{
		"empty": {&schemas.Activity{}, `{}`},
		"full": {fullActivity(), `{"event_id":"e-1","time":"2024-06-03T08:00:03.000Z","tenant_id":"acme","agent_id":"travel/user_task_1","agent_name":"Travel","agent_version":"1.2",` +
			`"peer_group":"travel","session_id":"s-1","on_behalf_of":"user:42","action":"tool_call","tool":"get_hotels","access":"read","resources":["hotel:city hub","file:\"a\"\\b"],` +
			`"target_agent_id":"b","bytes_sent":29,"bytes_received":18446744073709551615,"tokens_in":1,"tokens_out":2,"outcome":"success","duration_ms":3,"model":"m",` +
			`"credential_id":"k","credential_type":"static_key","credential_expires":"9999-12-31T23:59:59.999Z","source_ip":"::1","attributes":{"":"","region":"eu\n\t\r\u0000\u001b"},` +
			`"recorded_at":"2024-06-03T08:01:40.001Z","flags":["time_clamped","old","utf8_replaced","resources_cut:300","attributes_cut:400","strings_cut:5","fields_invalid:time,tool"]}`},
		"one flag":         {&schemas.Activity{AgentID: "a", Flags: schemas.Flags{StringsCut: 1}}, `{"agent_id":"a","flags":["strings_cut:1"]}`},
		"invalid strings":  {&schemas.Activity{AgentID: "a\xffb\xed\xa0\x80é"}, "{\"agent_id\":\"a\uFFFDb\uFFFD\uFFFD\uFFFDé\"}"},
		"a hostile key":    {&schemas.Activity{Attributes: []schemas.Attribute{{Key: `"},"`, Value: "{"}}, Tool: "["}, `{"tool":"[","attributes":{"\"},\"":"{"}}`},
		"a field unknown ": {&schemas.Activity{Flags: schemas.Flags{FieldsInvalid: []string{`"`}}}, `{"flags":["fields_invalid:\""]}`},
	} {
		t.Run(name, func(t *testing.T) {
			got := schemas.AppendActivity([]byte("before"), tc.event)
			require.Equal(t, "before"+tc.want, string(got))
			require.True(t, json.Valid(got[6:]))
		})
	}
}

func TestNoFieldOfAnActivityIsLeftOut(t *testing.T) {
	require.Equal(t, reflect.TypeFor[schemas.Activity]().NumField()-1, int(schemas.FieldCount), "but Registration, which is another record")
	for f := range schemas.FieldCount {
		require.Equal(t, f, schemas.LookupField(f.String()))
		full, one := reflect.ValueOf(f.Of(fullActivity())).Elem(), schemas.Activity{}
		require.False(t, full.IsZero(), "the full activity of this test lacks %s", f)
		reflect.ValueOf(f.Of(&one)).Elem().Set(full)
		require.Regexp(t, `^\{"`+f.String()+`":`, string(schemas.AppendActivity(nil, &one)))
	}
	require.Equal(t, schemas.FieldCount, schemas.LookupField("Time"))
}

func TestNoFlagIsLeftOut(t *testing.T) {
	full, n := fullActivity(), 0
	for name := range full.Flags.Each {
		n++
		one := schemas.Flags{}
		reflect.ValueOf(one.Of(name)).Elem().Set(reflect.ValueOf(full.Flags.Of(name)).Elem())
		require.Equal(t, name != "old", one.Malformed(), name)
		for only := range one.Each {
			require.Equal(t, name, only)
		}
	}
	require.Equal(t, reflect.TypeFor[schemas.Flags]().NumField(), n)
	require.Nil(t, full.Flags.Of("of a later version"))
}

func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "plain", "12345678", "1234567\"", "é", "1234567é", "\xff", "a\\b", "\x7f\x1f\x00", "\u2028", "1234567\x1f"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b := schemas.AppendString(nil, s)
		var got, want string
		require.NoError(t, json.Unmarshal(b, &got), "%q", b)
		require.True(t, utf8.Valid(b))
		std, err := json.Marshal(s)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(std, &want))
		require.Equal(t, want, got)
	})
}

func TestMillisAreWrittenAsTheStandardLibraryWritesThem(t *testing.T) {
	const layout = "2006-01-02T15:04:05.000Z"
	compare := func(m schemas.Millis) {
		require.Equal(t, time.UnixMilli(int64(m)).UTC().Format(layout), m.String())
		require.Equal(t, m.String(), string(m.AppendRFC3339(nil)))
	}
	const day = 24 * 3600 * 1000
	for m := schemas.Millis(0); m < 253402300800000; m += day - 1 { // every day from 1970 to 9999
		if want := time.UnixMilli(int64(m)).UTC().Format(layout); want != string(m.AppendRFC3339(nil)) {
			t.Fatalf("%d is %s, not %s", m, want, m.AppendRFC3339(nil))
		}
	}
	for _, m := range []schemas.Millis{-1, 0, 1, 253402300799999, 253402300800000, -62135596800000, 1 << 50} {
		compare(m)
	}
	for seed := range uint64(1000) {
		compare(schemas.Millis(rand.New(rand.NewPCG(seed, 2)).Int64N(253402300800000)))
	}
}

func TestTenantNames(t *testing.T) {
	for name, ok := range map[string]bool{
		"a": true, "Z9._-": true, "": false, "a/b": false, "a b": false, "é": false, "a\x00": false, "@": false, "[": false, "`": false, "{": false,
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa":  true,
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa": false,
	} {
		require.Equal(t, ok, schemas.ValidTenant(name), "%q", name)
	}
}

func BenchmarkAppendActivity(b *testing.B) {
	a := &schemas.Activity{
		EventID: "5d640ae7114088a5-0001", Time: 1717401603000, TenantID: "acme", AgentID: "travel/user_task_1", PeerGroup: "travel",
		SessionID: "5d640ae7114088a5", Model: "claude-3-5-sonnet-20241022", Action: "tool_call", Tool: "get_rating_reviews_for_hotels", Access: "read",
		Resources: []string{"hotel:city hub"}, BytesSent: 29, BytesReceived: 256, Outcome: "success",
		Attributes: []schemas.Attribute{{Key: "region", Value: "eu-west-1"}}, RecordedAt: 1717401700000,
	}
	buf := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		buf = schemas.AppendActivity(buf[:0], a)
	}
	b.SetBytes(int64(len(buf)))
}
