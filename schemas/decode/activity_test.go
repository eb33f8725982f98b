package decode_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
)

const recordTime = schemas.Millis(1_717_401_700_000) // 2024-06-03T08:01:40Z

// decodeOne decodes value and checks what holds for every record: emit is called
// once, with either an event or a refusal.
func decodeOne(tb testing.TB, d decode.Decoder, value string) (*schemas.Activity, *decode.Refusal) {
	tb.Helper()
	rec := decode.Record{Topic: "agent-activity", Partition: 3, Offset: 41, Time: recordTime, Value: []byte(value)}
	return decodeRecord(tb, d, &rec)
}

func decodeRecord(tb testing.TB, d decode.Decoder, rec *decode.Record) (*schemas.Activity, *decode.Refusal) {
	tb.Helper()
	var (
		calls   int
		event   *schemas.Activity
		refused *decode.Refusal
	)
	d.Decode(rec, func(index int32, ev *schemas.Activity, refusal *decode.Refusal) {
		calls++
		require.Zero(tb, index)
		if ev != nil {
			event = clone(ev)
		}
		refused = refusal
	})
	require.Equal(tb, 1, calls)
	require.NotEqual(tb, event == nil, refused == nil, "an event or a refusal, never both")
	return event, refused
}

// clone copies what the decoder reuses, and makes empty slices nil.
func clone(ev *schemas.Activity) *schemas.Activity {
	c := *ev
	c.Resources = append([]string(nil), ev.Resources...)
	c.Attributes = append([]schemas.Attribute(nil), ev.Attributes...)
	c.Flags.FieldsInvalid = append([]string(nil), ev.Flags.FieldsInvalid...)
	return &c
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
		RecordedAt: recordTime,
	}, ev)

	canonical := schemas.AppendActivity(nil, ev)
	again, refusal := decodeOne(t, decode.NewCanonical(), string(canonical))
	require.Nil(t, refusal)
	require.Equal(t, ev, again, "%s", canonical)
}
