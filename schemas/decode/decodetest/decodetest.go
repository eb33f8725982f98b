// Package decodetest is what the tests of all input forms share.
package decodetest

import (
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
	"github.com/plumbline-sec/plumbline/schemas/decode/forms"
)

// Time is that of the records of the tests, 2024-06-03T08:01:40Z.
const Time = schemas.Millis(1_717_401_700_000)

// Later is after everything that happens in samples, so that no time is clamped.
const Later = Time + 1e12

// New returns a decoder, and fails the test where the options are wrong.
func New(tb testing.TB, form string, options map[string]any) decode.Decoder {
	tb.Helper()
	d, err := forms.New(form, options)
	require.NoError(tb, err)
	return d
}

// One decodes a record and checks what holds where that is one event: emit is
// called once, with either an event or a refusal.
func One(tb testing.TB, d decode.Decoder, rec *decode.Record) (event *schemas.Activity, refused *decode.Refusal) {
	tb.Helper()
	calls := 0
	d.Decode(rec, func(index int32, ev *schemas.Activity, refusal *decode.Refusal) {
		calls++
		require.Zero(tb, index)
		if ev != nil {
			event = Clone(ev)
		}
		refused = refusal
	})
	require.Equal(tb, 1, calls)
	require.NotEqual(tb, event == nil, refused == nil, "an event or a refusal, never both")
	return event, refused
}

// All decodes a record and returns copies of its events; there is no refusal.
func All(tb testing.TB, d decode.Decoder, rec *decode.Record) (events []*schemas.Activity) {
	tb.Helper()
	d.Decode(rec, func(_ int32, ev *schemas.Activity, refusal *decode.Refusal) {
		require.Nil(tb, refusal, "%v", refusal)
		events = append(events, Clone(ev))
	})
	return events
}

// Clone copies what the decoder reuses, and makes empty slices nil.
func Clone(ev *schemas.Activity) *schemas.Activity {
	c := *ev
	c.Resources = append([]string(nil), ev.Resources...)
	c.Attributes = append([]schemas.Attribute(nil), ev.Attributes...)
	c.Flags.FieldsInvalid = append([]string(nil), ev.Flags.FieldsInvalid...)
	return &c
}

// Attribute returns an attribute of an event, empty where it has none of that name.
func Attribute(ev *schemas.Activity, key string) string {
	for _, a := range ev.Attributes {
		if a.Key == key {
			return a.Value
		}
	}
	return ""
}

// Check decodes a record of any bytes and holds every event against the bounds of
// the contract. It returns how many events and refusals there were.
func Check(tb testing.TB, d decode.Decoder, rec *decode.Record) (events, refusals int) {
	tb.Helper()
	last := int32(-1)
	canonical := decode.NewCanonical()
	d.Decode(rec, func(index int32, ev *schemas.Activity, refusal *decode.Refusal) {
		require.GreaterOrEqual(tb, index, max(last, 0), "the index grows")
		last = index
		if refusal != nil {
			refusals++
			require.Nil(tb, ev)
			require.NotEmpty(tb, refusal.Reason)
			return
		}
		events++
		require.NotEmpty(tb, ev.AgentID)
		require.NotEmpty(tb, ev.EventID)
		require.Positive(tb, ev.Time)
		require.Positive(tb, ev.RecordedAt)
		require.LessOrEqual(tb, len(ev.AgentID), schemas.MaxIdentityBytes)
		require.True(tb, schemas.ValidTenant(ev.TenantID), ev.TenantID)
		require.LessOrEqual(tb, len(ev.Attributes), schemas.MaxAttributes)
		require.LessOrEqual(tb, len(ev.Resources), schemas.MaxResources)
		texts := append([]string(nil), ev.Resources...)
		for f := range schemas.FieldCount {
			if s, ok := f.Of(ev).(*string); ok {
				texts = append(texts, *s)
			}
		}
		for _, a := range ev.Attributes {
			texts = append(texts, a.Key, a.Value)
		}
		for _, s := range texts {
			require.True(tb, utf8.ValidString(s))
			require.LessOrEqual(tb, len(s), schemas.MaxStringBytes)
		}
		// What route writes is read back.
		text := schemas.AppendActivity(nil, ev)
		back, refusal := One(tb, canonical, &decode.Record{Time: rec.Time, Value: text})
		require.Nil(tb, refusal)
		require.Equal(tb, Clone(ev), back, "%s", text)
	})
	return events, refusals
}

// Outlive decodes records several times and holds the strings of their events
// against later ones: a replay holds events back until later ones have told it more.
func Outlive(tb testing.TB, d decode.Decoder, values ...[]byte) {
	tb.Helper()
	var kept []*schemas.Activity
	var want []string
	for range 3 {
		for _, value := range values {
			d.Decode(&decode.Record{Topic: "t", Time: Time, Value: value}, func(_ int32, ev *schemas.Activity, _ *decode.Refusal) {
				if ev != nil {
					kept = append(kept, Clone(ev))
					want = append(want, string(schemas.AppendActivity(nil, ev)))
				}
			})
		}
	}
	require.NotEmpty(tb, kept)
	for i, ev := range kept {
		require.Equal(tb, want[i], string(schemas.AppendActivity(nil, ev)))
	}
}
