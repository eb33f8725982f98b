package decode_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/schemas/decode"
	"github.com/plumbline-sec/plumbline/schemas/decode/decodetest"
)

func seeds(f *testing.F) {
	f.Helper()
	for _, s := range []string{
		typical,
		`{}`, `[]`, ``, ` `, `null`, `"x"`, `{"agent_id":"a"}x`, `{"agent_id":"a"} {}`, "\ufeff{}",
		`{"agent_id":"a","agent\u005fid":"b"}`, `{"agent_id":"\ud800"}`, `{"agent_id":"\u0000"}`, `{"agent_id":"é","tenant_id":"é"}`,
		`{"agent_id":"a","time":1.7174016e12,"bytes_sent":1e3,"bytes_received":-0,"tokens_in":18446744073709551616,"tokens_out":0.5}`,
		`{"agent_id":"a","time":"2016-12-31T23:59:60.9Z","credential_expires":"9999-12-31T23:59:59+00:00"}`,
		`{"agent_id":"a","time":"0001-01-01T00:00:00Z"}`, `{"agent_id":"a","time":[1,2, {"x": "} ]"}]}`,
		`{"agent_id":"a","resources":["file:a","b",":c","",null,7,{"d":[]}],"attributes":{"a":1,"a":null,"b":[ 1 , "x y" ],"":true}}`,
		`{"agent_id":"a","tool":7,"tool":"x","access":"READ","outcome":"maybe","recorded_at":1,"flags":["old"],"attributes":"no"}`,
		`{"agent_id":"a","tool":"` + "\xff\xfe" + `\ud83d\ude00\ud800x\n","x":{"y":"` + "\xc0" + `"}}`,
		`{"agent_id":"a","x":` + strings.Repeat("[", 31) + strings.Repeat("]", 31) + `}`,
		`{"agent_id":"a","x":` + strings.Repeat(`{"a":`, 32) + "1" + strings.Repeat("}", 32) + `}`,
		`{"agent_id":"a","tool":"` + strings.Repeat("é", 3000) + `"}`,
		`{"agent_id":"a","resources":[` + strings.Repeat(`"file:x",`, 300) + `"y"]}`,
		`{"agent_id":"a","recorded_at":"2024-06-03T08:00:03.000Z","flags":["time_clamped","resources_cut:300","fields_invalid:time,tool","new"]}`,
	} {
		f.Add([]byte(s))
	}
}

// FuzzActivityAgainstTheStandardLibrary: the decoder takes exactly what
// encoding/json and the rules of the contract take, and reads the same from it.
func FuzzActivityAgainstTheStandardLibrary(f *testing.F) {
	seeds(f)
	d := decode.NewActivity()
	f.Fuzz(func(t *testing.T, value []byte) {
		// The one leniency of the decoder: control characters within strings.
		value = bytes.Clone(value)
		for i, c := range value {
			if c < ' ' {
				value[i] = ' '
			}
		}
		ev, _ := decodeOne(t, d, string(value))
		want := reference(value, decodetest.Time, "agent-activity/3/41")
		if diff := differences(want, ev); diff != "" {
			t.Fatalf("%q (-encoding/json +decoder):\n%s", value, diff)
		}
	})
}

// FuzzCanonicalIsStable: what route writes is read back as the identical event,
// and a canonical record of any content is read without a panic.
func FuzzCanonicalIsStable(f *testing.F) {
	seeds(f)
	public, canonical := decode.NewActivity(), decode.NewCanonical()
	f.Fuzz(func(t *testing.T, value []byte) {
		for _, d := range []*decode.ActivityDecoder{public, canonical} {
			events, refusals := decodetest.Check(t, d, &decode.Record{Topic: "agent-activity", Time: decodetest.Time, Value: value})
			require.Equal(t, 1, events+refusals)
		}
	})
}
