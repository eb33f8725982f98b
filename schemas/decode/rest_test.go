package decode_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
)

// decodedAs decodes a record, and keeps its events.
func decodedAs(t *testing.T, form string, options map[string]any, value string) (events []schemas.Activity) {
	t.Helper()
	d, err := decode.New(form, options)
	require.NoError(t, err)
	d.Decode(&decode.Record{Topic: "t", Offset: 7, Time: recordTime, Value: []byte(value)}, func(_ int32, ev *schemas.Activity, refusal *decode.Refusal) {
		require.Nil(t, refusal)
		own := *ev
		own.Attributes = append([]schemas.Attribute(nil), ev.Attributes...)
		events = append(events, own)
	})
	return events
}

func TestEventsOfARecordWithInvalidIDsStayDifferentEvents(t *testing.T) {
	got := decodedAs(t, "cloudtrail", nil, `{"Records":[{"eventID":5,"userIdentity":{"arn":"r"}},{"eventID":6,"userIdentity":{"arn":"r"}}]}`)
	require.Equal(t, []string{"t/0/7", "t/0/7/1"}, []string{got[0].EventID, got[1].EventID})
}

func TestTemporaryCredentialsAreWithheldWhereTheyStandTwice(t *testing.T) {
	for _, response := range []string{
		`"responseElements":{"credentials":{"sessionToken":"SECRET","sessionToken":"x"}}`,
		`"responseElements":{"credentials":{"sessionToken":"SECRET"}},"responseElements":{}`,
	} {
		got := decodedAs(t, "cloudtrail", nil, `{"userIdentity":{"arn":"r"},`+response+`}`)
		require.NotContains(t, string(schemas.AppendActivity(nil, &got[0])), "SECRET")
	}
}

var agentInA = map[string]any{"fields": map[string]any{"agent_id": "a", "credential_expires": "seconds(exp)"}}

func TestALongPathIsCutAndFlagged(t *testing.T) {
	got := decodedAs(t, "mapping", agentInA, `{"a":"x","`+strings.Repeat("é", 2500)+`":{"p":1}}`)
	require.Equal(t, 1, got[0].Flags.StringsCut)
	require.False(t, got[0].Flags.UTF8Replaced)
	require.Len(t, got[0].Attributes[0].Key, schemas.MaxStringBytes)
}

func TestARepeatedNameTakesOneAttribute(t *testing.T) {
	got := decodedAs(t, "mapping", agentInA, `{"a":"x",`+strings.Repeat(`"d":1,`, schemas.MaxAttributes)+`"real":2}`)
	require.Equal(t, []schemas.Attribute{{Key: "d", Value: "1"}, {Key: "real", Value: "2"}}, got[0].Attributes)
	require.Zero(t, got[0].Flags.AttributesCut)
}

func TestALongNameAboveManyLeavesIsNoBomb(t *testing.T) {
	text := `{"a":"x","` + strings.Repeat("n", 4080) + `":[` + strings.Repeat("1,", 255) + `1]}`
	got := decodedAs(t, "mapping", agentInA, text)
	require.Less(t, len(schemas.AppendActivity(nil, &got[0])), 12*len(text))
	require.Equal(t, 256, got[0].Flags.AttributesCut)
}

func TestACredentialExpiresInSeconds(t *testing.T) {
	got := decodedAs(t, "mapping", agentInA, `{"a":"x","exp":1800000000.25}`)
	require.Equal(t, schemas.Millis(1800000000250), got[0].CredentialExpires)
	require.Empty(t, got[0].Flags.FieldsInvalid)
}
