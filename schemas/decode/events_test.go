package decode_test

import (
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
)

// checkEvents decodes a record of any bytes and holds every event against the
// bounds of the contract. It returns how many events and refusals there were.
func checkEvents(tb testing.TB, d decode.Decoder, rec *decode.Record) (events, refusals int) {
	tb.Helper()
	last := int32(-1)
	canonical := decode.NewCanonical()
	d.Decode(rec, func(index int32, ev *schemas.Activity, refusal *decode.Refusal) {
		require.GreaterOrEqual(tb, index, last, "the index grows")
		last = index
		if refusal != nil {
			refusals++
			require.Nil(tb, ev)
			require.NotEmpty(tb, refusal.Reason)
			return
		}
		events++
		require.NotEmpty(tb, ev.AgentID)
		require.LessOrEqual(tb, len(ev.AgentID), schemas.MaxIdentityBytes)
		require.True(tb, schemas.ValidTenant(ev.TenantID), ev.TenantID)
		require.LessOrEqual(tb, len(ev.Attributes), schemas.MaxAttributes)
		require.LessOrEqual(tb, len(ev.Resources), schemas.MaxResources)
		for _, s := range append([]string{ev.EventID, ev.AgentID, ev.Tool, ev.SessionID, ev.Model, ev.Action, ev.SourceIP}, ev.Resources...) {
			require.True(tb, utf8.ValidString(s))
			require.LessOrEqual(tb, len(s), schemas.MaxStringBytes)
		}
		for _, a := range ev.Attributes {
			require.True(tb, utf8.ValidString(a.Key) && utf8.ValidString(a.Value))
			require.LessOrEqual(tb, max(len(a.Key), len(a.Value)), schemas.MaxStringBytes)
		}
		// What route writes is read back.
		text := schemas.AppendActivity(nil, ev)
		canonical.Decode(&decode.Record{Time: rec.Time, Value: text}, func(_ int32, back *schemas.Activity, refusal *decode.Refusal) {
			require.Nil(tb, refusal)
			require.Equal(tb, string(text), string(schemas.AppendActivity(nil, back)))
		})
	})
	return events, refusals
}

// all decodes a record and returns copies of its events; there is no refusal.
func all(tb testing.TB, d decode.Decoder, rec *decode.Record) []schemas.Activity {
	tb.Helper()
	var out []schemas.Activity
	d.Decode(rec, func(_ int32, ev *schemas.Activity, refusal *decode.Refusal) {
		require.Nil(tb, refusal, "%v", refusal)
		var own schemas.Activity
		text := schemas.AppendActivity(nil, ev)
		decode.NewCanonical().Decode(&decode.Record{Time: rec.Time, Value: text}, func(_ int32, back *schemas.Activity, refusal *decode.Refusal) {
			require.Nil(tb, refusal)
			own = *back
		})
		out = append(out, own)
	})
	return out
}
