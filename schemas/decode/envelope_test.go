package decode_test

import (
	"encoding/base64"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
	"github.com/plumbline-sec/plumbline/schemas/decode/decodetest"
)

var cloudEvents = map[string]any{"cloudevents": true}

func TestTheFramingOfConfluentIsTakenOff(t *testing.T) {
	const event = `{"agent_id":"a","event_id":"e"}`
	for name, frame := range map[string]string{
		"json schema":           "\x00\x00\x00\x00\x07",
		"protobuf, message 0":   "\x00\x00\x00\x00\x07\x00",
		"protobuf, message 2.1": "\x00\x00\x00\x00\x07\x04\x04\x02",
		"none":                  "",
	} {
		t.Run(name, func(t *testing.T) {
			ev, refusal := decodetest.One(t, decodetest.New(t, "activity", nil), &decode.Record{Value: []byte(frame + event)})
			require.Nil(t, refusal)
			require.Equal(t, "a", ev.AgentID)
		})
	}
}

func TestAFrameWithNothingInItIsRefused(t *testing.T) {
	for _, value := range []string{"\x00", "\x00\x00\x00\x00\x07", "\x00\x00\x00\x00\x07\x00", "\x00\x00\x00\x00\x07\xff\xff\xff\xff\xff\xff", "\x00\x00\x00\x00\x07\x20\x02"} {
		_, refusal := decodetest.One(t, decodetest.New(t, "activity", nil), &decode.Record{Value: []byte(value)})
		require.NotNil(t, refusal)
		require.Equal(t, decode.ReasonNotJSON, refusal.Reason)
	}
}

func TestACloudEventIsUnwrapped(t *testing.T) {
	const data = `{"agent_id":"a","tool":"search"}`
	const around = `{"specversion":"1.0","id":"A234","source":"/gateway","type":"com.example.call","subject":"s","time":"2024-06-03T08:00:01Z",`
	headers := []decode.Header{
		{Key: "ce_specversion", Value: []byte("1.0")},
		{Key: "ce_id", Value: []byte("A234")},
		{Key: "ce_source", Value: []byte("/gateway")},
		{Key: "ce_type", Value: []byte("com.example.call")},
		{Key: "ce_subject", Value: []byte("s")},
		{Key: "ce_time", Value: []byte("2024-06-03T08:00:01Z")},
		{Key: "content-type", Value: []byte("application/json")},
	}
	for name, rec := range map[string]decode.Record{
		"structured":                {Value: []byte(around + `"data":` + data + `}`), Headers: []decode.Header{{Key: "content-type", Value: []byte("application/cloudevents+json; charset=UTF-8")}}},
		"structured, no header":     {Value: []byte(around + `"data":` + data + `}`)},
		"structured, data a text":   {Value: []byte(around + `"data":"{\"agent_id\":\"a\",\"tool\":\"search\"}"}`)},
		"structured, data in bytes": {Value: []byte(around + `"data_base64":"` + base64.StdEncoding.EncodeToString([]byte(data)) + `"}`)},
		"binary":                    {Value: []byte(data), Headers: headers},
		"binary, framed":            {Value: []byte("\x00\x00\x00\x00\x01" + data), Headers: headers},
	} {
		t.Run(name, func(t *testing.T) {
			rec.Topic, rec.Time = "t", decodetest.Time
			ev, refusal := decodetest.One(t, decodetest.New(t, "activity", cloudEvents), &rec)
			require.Nil(t, refusal)
			require.Equal(t, "A234", ev.EventID)
			require.Equal(t, "a", ev.AgentID)
			require.Equal(t, "search", ev.Tool)
			require.Equal(t, "2024-06-03T08:00:01.000Z", ev.Time.String())
			require.Equal(t, []schemas.Attribute{
				{Key: "ce_source", Value: "/gateway"}, {Key: "ce_type", Value: "com.example.call"}, {Key: "ce_subject", Value: "s"},
			}, ev.Attributes)
		})
	}
}

func TestWhatAnEventSaysItselfCountsMoreThanItsEnvelope(t *testing.T) {
	rec := decode.Record{Time: decodetest.Time, Value: []byte(`{"specversion":"1.0","id":"outer","time":"2020-01-01T00:00:00Z","data":{"agent_id":"a","event_id":"inner","time":"2024-06-03T08:00:00Z"}}`)}
	ev, refusal := decodetest.One(t, decodetest.New(t, "activity", cloudEvents), &rec)
	require.Nil(t, refusal)
	require.Equal(t, "inner", ev.EventID)
	require.Equal(t, "2024-06-03T08:00:00.000Z", ev.Time.String())
}

func TestARecordThatIsNoCloudEventIsReadAsItIs(t *testing.T) {
	for _, value := range []string{`{"agent_id":"a"}`, `{"agent_id":"a","data":{"agent_id":"b"}}`} {
		ev, refusal := decodetest.One(t, decodetest.New(t, "activity", cloudEvents), &decode.Record{Time: decodetest.Time, Value: []byte(value)})
		require.Nil(t, refusal)
		require.Equal(t, "a", ev.AgentID)
	}
	// Without the option nothing is unwrapped: who may write a field "data" would
	// otherwise choose the agent.
	ev, _ := decodetest.One(t, decodetest.New(t, "activity", nil), &decode.Record{Time: decodetest.Time, Value: []byte(`{"agent_id":"a","specversion":"1.0","data":{"agent_id":"b"}}`)})
	require.Equal(t, "a", ev.AgentID)
}

func TestACloudEventWithoutDataIsRefused(t *testing.T) {
	for _, value := range []string{`{"specversion":"1.0","id":"x"}`, `{"specversion":"1.0","data":null}`, `{"specversion":"1.0","data_base64":"%%"}`} {
		_, refusal := decodetest.One(t, decodetest.New(t, "activity", cloudEvents), &decode.Record{Value: []byte(value)})
		require.NotNil(t, refusal)
		require.Equal(t, decode.ReasonNotCloudEvent, refusal.Reason)
	}
}

func FuzzEnvelope(f *testing.F) {
	for _, s := range []string{
		`{"specversion":"1.0","id":"x","data":{"agent_id":"a"}}`, `{"specversion":"1.0","data_base64":"e30="}`, "\x00\x00\x00\x00\x01\x02\x02{}",
		`{"specversion":1,"data":"{\"agent_id\":\"\\ud800\"}"}`, `{"specversion":"1.0","id":"` + "\xff" + `","data":{"agent_id":"a"}}`,
	} {
		f.Add([]byte(s), []byte(s), true)
	}
	d := decodetest.New(f, "activity", cloudEvents)
	f.Fuzz(func(t *testing.T, value, header []byte, binary bool) {
		rec := decode.Record{Time: decodetest.Time, Value: value}
		if binary {
			rec.Headers = []decode.Header{{Key: "ce_specversion", Value: []byte("1.0")}, {Key: "ce_id", Value: header}, {Key: "ce_time", Value: header}, {Key: "ce_type", Value: header}}
		}
		decodetest.Check(t, d, &rec)
	})
}
