package decode_test

import (
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
	"github.com/plumbline-sec/plumbline/schemas/decode/decodetest"
)

// decodeOne decodes value as the record that the tests name.
func decodeOne(tb testing.TB, d decode.Decoder, value string) (*schemas.Activity, *decode.Refusal) {
	tb.Helper()
	return decodetest.One(tb, d, &decode.Record{Topic: "agent-activity", Partition: 3, Offset: 41, Time: decodetest.Time, Value: []byte(value)})
}

const typical = `{"event_id":"5d640ae7114088a5-0001","time":"2024-06-03T08:00:03Z","tenant_id":"acme","agent_id":"travel/user_task_1","peer_group":"travel","session_id":"5d640ae7114088a5","model":"claude-3-5-sonnet-20241022","action":"tool_call","tool":"get_rating_reviews_for_hotels","access":"read","resources":["hotel:city hub"],"bytes_sent":29,"bytes_received":256,"outcome":"success","attributes":{"region":"eu-west-1"}}`

func TestAnEventIsReadFieldByField(t *testing.T) {
	ev, refusal := decodeOne(t, decode.NewActivity(), typical)
	require.Nil(t, refusal)
	require.Equal(t, &schemas.Activity{
		EventID: "5d640ae7114088a5-0001", Time: 1717401603000, TenantID: "acme", AgentID: "travel/user_task_1",
		PeerGroup: "travel", SessionID: "5d640ae7114088a5", Model: "claude-3-5-sonnet-20241022",
		Action: "tool_call", Tool: "get_rating_reviews_for_hotels", Access: "read",
		Resources: []string{"hotel:city hub"}, BytesSent: 29, BytesReceived: 256, Outcome: "success",
		Attributes: []schemas.Attribute{{Key: "region", Value: "eu-west-1"}},
		RecordedAt: decodetest.Time,
	}, ev)

	canonical := schemas.AppendActivity(nil, ev)
	again, refusal := decodeOne(t, decode.NewCanonical(), string(canonical))
	require.Nil(t, refusal)
	require.Equal(t, ev, again, "%s", canonical)
}

func TestAnEventWithoutAUsableIdentityIsRefused(t *testing.T) {
	long := strings.Repeat("a", 513)
	for name, tc := range map[string]struct {
		value  string
		reason decode.Reason
		field  string
	}{
		"nothing at all":                      {``, decode.ReasonNotJSON, ""},
		"a list":                              {`[{"agent_id":"a"}]`, decode.ReasonNotJSON, ""},
		"a list after the event":              {`{"agent_id":"a"}[]`, decode.ReasonNotJSON, ""},
		"a second event":                      {`{"agent_id":"a"}{"agent_id":"b"}`, decode.ReasonNotJSON, ""},
		"an event cut short":                  {`{"agent_id":"a","tool":"x`, decode.ReasonNotJSON, ""},
		"a comma too many":                    {`{"agent_id":"a",}`, decode.ReasonNotJSON, ""},
		"a number with a leading zero":        {`{"agent_id":"a","bytes_sent":01}`, decode.ReasonNotJSON, ""},
		"a number that ends in a dot":         {`{"agent_id":"a","x":1.}`, decode.ReasonNotJSON, ""},
		"an unknown escape":                   {`{"agent_id":"a","x":"\x"}`, decode.ReasonNotJSON, ""},
		"a short unicode escape":              {`{"agent_id":"a","x":"\u12"}`, decode.ReasonNotJSON, ""},
		"a misspelt literal":                  {`{"agent_id":"a","x":nul}`, decode.ReasonNotJSON, ""},
		"mismatched brackets":                 {`{"agent_id":"a","x":[}]}`, decode.ReasonNotJSON, ""},
		"a key without quotes":                {`{agent_id:"a"}`, decode.ReasonNotJSON, ""},
		"33 levels":                           {`{"agent_id":"a","x":` + strings.Repeat("[", 32) + strings.Repeat("]", 32) + `}`, decode.ReasonTooDeep, ""},
		"33 levels under attributes":          {`{"agent_id":"a","attributes":{"x":` + strings.Repeat("[", 31) + strings.Repeat("]", 31) + `}}`, decode.ReasonTooDeep, ""},
		"no agent":                            {`{"tool":"x"}`, decode.ReasonNoAgentID, "agent_id"},
		"an empty agent":                      {`{"agent_id":""}`, decode.ReasonNoAgentID, "agent_id"},
		"a null agent":                        {`{"agent_id":null}`, decode.ReasonNoAgentID, "agent_id"},
		"an agent under another case":         {`{"Agent_ID":"a"}`, decode.ReasonNoAgentID, "agent_id"},
		"an agent that is a number":           {`{"agent_id":7}`, decode.ReasonInvalidIdentity, "agent_id"},
		"an agent that is an object":          {`{"agent_id":{"id":"a"}}`, decode.ReasonInvalidIdentity, "agent_id"},
		"an agent that is not UTF-8":          {"{\"agent_id\":\"a\xff\"}", decode.ReasonInvalidIdentity, "agent_id"},
		"an agent with half a surrogate":      {`{"agent_id":"a\ud800"}`, decode.ReasonInvalidIdentity, "agent_id"},
		"an agent with an escaped NUL":        {`{"agent_id":"a\u0000"}`, decode.ReasonInvalidIdentity, "agent_id"},
		"an agent with a raw line end":        {"{\"agent_id\":\"a\n\"}", decode.ReasonInvalidIdentity, "agent_id"},
		"an agent with a C1 control":          {`{"agent_id":"a\u0085"}`, decode.ReasonInvalidIdentity, "agent_id"},
		"an agent with a DEL after a letter":  {"{\"agent_id\":\"é\x7f\"}", decode.ReasonInvalidIdentity, "agent_id"},
		"an agent of 513 bytes":               {`{"agent_id":"` + long + `"}`, decode.ReasonIdentityTooLong, "agent_id"},
		"a tenant of 513 bytes":               {`{"agent_id":"a","tenant_id":"` + long + `"}`, decode.ReasonIdentityTooLong, "tenant_id"},
		"a tenant of 65 bytes":                {`{"agent_id":"a","tenant_id":"` + long[:65] + `"}`, decode.ReasonInvalidIdentity, "tenant_id"},
		"a tenant with a slash":               {`{"agent_id":"a","tenant_id":"a/b"}`, decode.ReasonInvalidIdentity, "tenant_id"},
		"a tenant that is a list":             {`{"agent_id":"a","tenant_id":["a"]}`, decode.ReasonInvalidIdentity, "tenant_id"},
		"two agents":                          {`{"agent_id":"a","agent_id":"a"}`, decode.ReasonDuplicateIdentity, "agent_id"},
		"two agents, one of them escaped":     {`{"agent_id":"a","\u0061gent_id":"b"}`, decode.ReasonDuplicateIdentity, "agent_id"},
		"a null tenant before another tenant": {`{"agent_id":"a","tenant_id":null,"tenant_id":"b"}`, decode.ReasonDuplicateIdentity, "tenant_id"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, d := range []decode.Decoder{decode.NewActivity(), decode.NewCanonical()} {
				ev, refusal := decodeOne(t, d, tc.value)
				require.Nil(t, ev)
				require.Equal(t, tc.reason, refusal.Reason, refusal.Error())
				require.Equal(t, tc.field, refusal.Field)
				require.NotEmpty(t, refusal.Detail)
			}
		})
	}
}

func TestAnEventOfOneMiBIsTheLargest(t *testing.T) {
	canonical := decode.NewCanonical()
	fill := func(n int) string {
		head, tail := `{"agent_id":"a","resources":["`, `"]}`
		list := strings.Repeat(strings.Repeat("\x01", 4096)+`","`, 255)
		return head + list + strings.Repeat("\x01", n-len(head)-len(list)-len(tail)) + tail
	}
	largest := fill(schemas.MaxEventBytes)
	ev, refusal := decodeOne(t, decode.NewActivity(), largest)
	require.Nil(t, refusal)
	require.Len(t, ev.Resources, 256)

	written := schemas.AppendActivity(nil, ev)
	require.Greater(t, len(written), 5*schemas.MaxEventBytes, "each of these characters needs six bytes")
	again, refusal := decodeOne(t, canonical, string(written))
	require.Nil(t, refusal, "what route writes is never too large for those who read it")
	require.Equal(t, ev, again)

	_, refusal = decodeOne(t, decode.NewActivity(), largest+" ")
	require.Equal(t, decode.ReasonTooLarge, refusal.Reason)
	_, refusal = decodeOne(t, canonical, strings.Repeat(largest, 7))
	require.Equal(t, decode.ReasonTooLarge, refusal.Reason)
}

func TestWhatIsPartlyWrongIsKeptAndFlagged(t *testing.T) {
	const day = 24 * 3600 * 1000
	kib4 := strings.Repeat("x", 4096)
	base := func(change func(*schemas.Activity)) *schemas.Activity {
		ev := &schemas.Activity{
			EventID: "agent-activity/3/41", Time: decodetest.Time, TenantID: "default", AgentID: "a", PeerGroup: "default",
			Outcome: "success", RecordedAt: decodetest.Time,
		}
		change(ev)
		return ev
	}
	attrs := func(kv ...string) (list []schemas.Attribute) {
		for i := 0; i < len(kv); i += 2 {
			list = append(list, schemas.Attribute{Key: kv[i], Value: kv[i+1]})
		}
		return list
	}
	for name, tc := range map[string]struct {
		members string
		want    func(*schemas.Activity)
	}{
		"null and empty are absent": {`"tenant_id":"","event_id":null,"time":"","outcome":"","access":null,"resources":[null,""],"x":null,"attributes":{"y":null}`, func(*schemas.Activity) {}},
		"what an agent says about flags and recorded_at is an attribute": {`"flags":["old"],"recorded_at":"2020-01-01T00:00:00Z"`, func(ev *schemas.Activity) {
			ev.Attributes = attrs("flags", `["old"]`, "recorded_at", "2020-01-01T00:00:00Z")
		}},
		"unknown fields and attributes keep their text": {`"x":"a\nb","y":1.50,"attributes":{"n":-0,"t":true,"o":{ "k" : [ 1, "a b" ] }}`, func(ev *schemas.Activity) {
			ev.Attributes = attrs("x", "a\nb", "y", "1.50", "n", "-0", "t", "true", "o", `{"k":[1,"a b"]}`)
		}},
		"a wrong type drops the field": {`"tool":7,"bytes_sent":"9","attributes":"no","resources":"file:x","time":true`, func(ev *schemas.Activity) {
			ev.Flags.FieldsInvalid = []string{"time", "tool", "resources", "bytes_sent", "attributes"}
			ev.Attributes = attrs("time", "true", "tool", "7", "resources", "file:x", "bytes_sent", "9", "attributes", "no")
		}},
		"the last of a repeated field counts": {`"tool":7,"tool":"x","resources":["file:a"],"resources":["file:b"],"outcome":"denied","outcome":null,"attributes":{"a":"1"},"attributes":{"a":"2","b":"3"}`, func(ev *schemas.Activity) {
			ev.Tool = "x"
			ev.Resources = []string{"file:b"}
			ev.Attributes = attrs("a", "2", "b", "3")
		}},
		"a word outside the list is invalid": {`"access":"READ","outcome":"ok"`, func(ev *schemas.Activity) {
			ev.Flags.FieldsInvalid = []string{"access", "outcome"}
			ev.Attributes = attrs("access", "READ", "outcome", "ok")
		}},
		"resources are given a kind, and what is no string is dropped": {`"resources":["a","s3:b/c",":d",5,"https://e"]`, func(ev *schemas.Activity) {
			ev.Resources = []string{"other:a", "s3:b/c", "other::d", "https://e"}
			ev.Flags.FieldsInvalid = []string{"resources"}
			ev.Attributes = attrs("resources", `["a","s3:b/c",":d",5,"https://e"]`)
		}},
		"whole numbers are whole however they are written": {`"bytes_sent":1e3,"bytes_received":10.0,"tokens_in":18446744073709551615,"tokens_out":1844674407370955161.5e1,"duration_ms":-0`, func(ev *schemas.Activity) {
			ev.BytesSent, ev.BytesReceived, ev.TokensIn, ev.TokensOut = 1000, 10, 1<<64-1, 1<<64-1
		}},
		"a number that is negative, fractional or too great is invalid": {`"bytes_sent":-1,"bytes_received":0.5,"tokens_in":18446744073709551616,"tokens_out":1e99999999999`, func(ev *schemas.Activity) {
			ev.Flags.FieldsInvalid = []string{"bytes_sent", "bytes_received", "tokens_in", "tokens_out"}
			ev.Attributes = attrs("bytes_sent", "-1", "bytes_received", "0.5", "tokens_in", "18446744073709551616", "tokens_out", "1e99999999999")
		}},
		"a number too long to keep is cut": {`"bytes_sent":` + strings.Repeat("9", 5000), func(ev *schemas.Activity) {
			ev.Flags.FieldsInvalid = []string{"bytes_sent"}
			ev.Flags.StringsCut = 1
			ev.Attributes = attrs("bytes_sent", strings.Repeat("9", 4096))
		}},
		"invalid UTF-8 is replaced": {"\"tool\":\"a\xff\xfeb\",\"model\":\"\\ud800!\"", func(ev *schemas.Activity) {
			ev.Tool, ev.Model, ev.Flags.UTF8Replaced = "a\uFFFD\uFFFDb", "\uFFFD!", true
		}},
		"a U+FFFD that was there is no replacement": {`"tool":"` + "\uFFFD" + `\ufffd"`, func(ev *schemas.Activity) { ev.Tool = "\uFFFD\uFFFD" }},
		"control characters are kept":               {"\"tool\":\"a\x00\n\\u0000\\u001b[31m\"", func(ev *schemas.Activity) { ev.Tool = "a\x00\n\x00\x1b[31m" }},
		"a string over 4 KiB is cut between runes": {`"tool":"` + kib4[1:] + `é","model":"` + kib4 + `","x` + kib4 + `":"v"`, func(ev *schemas.Activity) {
			ev.Tool, ev.Model, ev.Flags.StringsCut = kib4[1:], kib4, 2
			ev.Attributes = attrs("x"+kib4[1:], "v")
		}},
		"a bare resource over 4 KiB is cut once": {`"resources":["` + kib4 + `xyz:","` + kib4[4:] + `"]`, func(ev *schemas.Activity) {
			ev.Resources = []string{"other:" + kib4[6:], "other:" + kib4[6:]}
			ev.Flags.StringsCut = 2
		}},
		"an attribute that is a big object is cut": {`"x":[` + strings.Repeat("1 ,", 3000) + `1]`, func(ev *schemas.Activity) {
			ev.Attributes = attrs("x", "["+strings.Repeat("1,", 2047)+"1")
			ev.Flags.StringsCut = 1
		}},
		"a time is kept as sent, however old": {`"time":"2021-06-03T10:00:03.25+02:00"`, func(ev *schemas.Activity) { ev.Time, ev.Flags.Old = 1622707203250, true }},
		"seven days are not old":              {`"time":` + (decodetest.Time - 7*day).Time().Format("\"2006-01-02T15:04:05.000Z\""), func(ev *schemas.Activity) { ev.Time -= 7 * day }},
		"a time may be a number":              {`"time":1717401603000.0`, func(ev *schemas.Activity) { ev.Time = 1717401603000 }},
		"a time of 1970 is a time":            {`"time":1`, func(ev *schemas.Activity) { ev.Time, ev.Flags.Old = 1, true }},
		"five minutes ahead are kept":         {`"time":"2024-06-03T08:06:40Z"`, func(ev *schemas.Activity) { ev.Time += 5 * 60 * 1000 }},
		"more than five minutes are clamped":  {`"time":"2024-06-03T08:06:40.001Z"`, func(ev *schemas.Activity) { ev.Flags.TimeClamped = true }},
		"the year 2300 is clamped":            {`"time":"2300-01-01T00:00:00Z"`, func(ev *schemas.Activity) { ev.Flags.TimeClamped = true }},
		"before 1970 there is no time": {`"time":"1969-12-31T23:59:59.999Z"`, func(ev *schemas.Activity) {
			ev.Flags.FieldsInvalid = []string{"time"}
			ev.Attributes = attrs("time", "1969-12-31T23:59:59.999Z")
		}},
		"after 9999 there is no time": {`"time":253402300800000`, func(ev *schemas.Activity) {
			ev.Flags.FieldsInvalid = []string{"time"}
			ev.Attributes = attrs("time", "253402300800000")
		}},
		"a date is not a time": {`"time":"2024-06-03","credential_expires":5`, func(ev *schemas.Activity) {
			ev.Flags.FieldsInvalid = []string{"time", "credential_expires"}
			ev.Attributes = attrs("time", "2024-06-03", "credential_expires", "5")
		}},
		"credentials are read": {`"credential_id":"k","credential_type":"static_key","credential_expires":"9999-12-31T23:59:59Z","source_ip":"::1","on_behalf_of":"u","target_agent_id":"b"`, func(ev *schemas.Activity) {
			ev.CredentialID, ev.CredentialType, ev.CredentialExpires = "k", "static_key", 253402300799000
			ev.SourceIP, ev.OnBehalfOf, ev.TargetAgentID = "::1", "u", "b"
		}},
	} {
		t.Run(name, func(t *testing.T) {
			ev, refusal := decodeOne(t, decode.NewActivity(), `{"agent_id":"a",`+tc.members+`}`)
			require.Nil(t, refusal)
			require.Equal(t, base(tc.want), ev)
		})
	}
}

func TestWhatIsOverALimitIsCountedExactly(t *testing.T) {
	list := func(n int, item string) string {
		items := make([]string, n)
		for i := range items {
			items[i] = strings.ReplaceAll(item, "N", strconv.Itoa(i))
		}
		return strings.Join(items, ",")
	}
	d := decode.NewActivity()
	for _, n := range []int{0, 1, 12, 13, 255, 256, 257, 4000} {
		ev, refusal := decodeOne(t, d, `{"agent_id":"a","u":"v","resources":[`+list(n, `"file:N"`)+`],"attributes":{`+list(n, `"kN":"N"`)+`}}`)
		require.Nil(t, refusal)
		require.Len(t, ev.Resources, min(n, 256))
		require.Equal(t, n, ev.ResourceCount())
		require.Len(t, ev.Attributes, min(n+1, 256))
		require.Equal(t, max(n, 255) > 255, ev.Flags.AttributesCut > 0)
		if n > 255 {
			require.Equal(t, n+1, ev.Flags.AttributesCut)
		}
		// The index of many attributes must not survive into the next event.
		ev, _ = decodeOne(t, d, `{"agent_id":"a","k1":"x","k1":"y"}`)
		require.Equal(t, []schemas.Attribute{{Key: "k1", Value: "y"}}, ev.Attributes)
		require.Zero(t, ev.Flags)
	}
}

func TestTimeWithoutABroker(t *testing.T) {
	for name, tc := range map[string]struct {
		value          string
		time, recorded schemas.Millis
	}{
		"is the event's own":             {`{"agent_id":"a","time":"2300-01-01T00:00:00Z"}`, 10413792000000, 10413792000000},
		"is the earliest if it has none": {`{"agent_id":"a"}`, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			for _, none := range []schemas.Millis{0, -1, 1 << 60} {
				for _, d := range []decode.Decoder{decode.NewActivity(), decode.NewCanonical()} {
					ev, refusal := decodetest.One(t, d, &decode.Record{Topic: "t", Time: none, Value: []byte(tc.value)})
					require.Nil(t, refusal)
					require.Equal(t, tc.time, ev.Time)
					require.Equal(t, tc.recorded, ev.RecordedAt)
					require.Zero(t, ev.Flags)
				}
			}
		})
	}
}

func TestCanonicalRecordsCarryWhatRouteDid(t *testing.T) {
	ev, refusal := decodeOne(t, decode.NewCanonical(), `{"agent_id":"a","time":"2024-06-03T08:00:03.000Z","recorded_at":"2024-06-04T08:00:03.000Z","resources":["file:x"],`+
		`"flags":["time_clamped","old","utf8_replaced","resources_cut:300","attributes_cut:400","strings_cut:5","fields_invalid:tool,time,nonsense","of a later version",7]}`)
	require.Nil(t, refusal)
	require.Equal(t, schemas.Millis(1717488003000), ev.RecordedAt)
	require.Equal(t, schemas.Millis(1717401603000), ev.Time)
	require.Equal(t, 300, ev.ResourceCount())
	require.Equal(t, schemas.Flags{
		TimeClamped: true, Old: true, UTF8Replaced: true, ResourcesCut: 300, AttributesCut: 400, StringsCut: 5,
		FieldsInvalid: []string{"time", "tool"},
	}, ev.Flags)
}

func TestStringsOutliveTheirDecoding(t *testing.T) {
	var values [][]byte
	for i := range 2000 {
		values = append(values, []byte(`{"agent_id":"a\u0041","tool":"\u0041`+strconv.Itoa(i)+`","x":{"y\u0041":["z\u0041",1]},"resources":["\u0041"]}`))
	}
	decodetest.Outlive(t, decode.NewActivity(), values...)
}

func TestHostileInputIsCheap(t *testing.T) {
	mib := schemas.MaxEventBytes - 100
	pad := func(open, unit, end string) string {
		return open + strings.Repeat(unit, (mib-len(open)-len(end))/len(unit)) + end
	}
	for name, value := range map[string]string{
		"ten thousand levels":         `{"agent_id":"a","x":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + `}`,
		"a million opening brackets":  strings.Repeat(`{"a":`, 200_000),
		"five MiB":                    strings.Repeat("[", 5<<20),
		"a million escapes":           pad(`{"agent_id":"a","tool":"`, `\u0041`, `"}`),
		"a million broken bytes":      pad(`{"agent_id":"a","tool":"`, "\xff", `"}`),
		"a million digits":            pad(`{"agent_id":"a","bytes_sent":1`, `0`, `}`),
		"a fraction of a million":     pad(`{"agent_id":"a","bytes_sent":0.`, `0`, `1e9999999}`),
		"white space in an attribute": pad(`{"agent_id":"a","x":[`, " ", `]}`),
		"many attributes of one name": pad(`{"agent_id":"a","x":1`, `,"x":1`, `}`),
		"many attributes":             pad(`{"agent_id":"a"`, `,"":"x"`, `}`),
		"many resources":              pad(`{"agent_id":"a","resources":[1`, `,""`, `]}`),
		"many wrong fields":           pad(`{"agent_id":"a"`, `,"tool":1`, `}`),
	} {
		t.Run(name, func(t *testing.T) {
			d := decode.NewActivity()
			rec := decode.Record{Value: []byte(value)}
			var allocated uint64
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			d.Decode(&rec, func(int32, *schemas.Activity, *decode.Refusal) {})
			runtime.ReadMemStats(&after)
			allocated = after.TotalAlloc - before.TotalAlloc
			require.Less(t, allocated, uint64(4*len(value)+1<<16), "memory is bounded by the size of the event")
		})
	}
}
