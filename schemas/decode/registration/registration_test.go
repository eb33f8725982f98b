package registration_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
	"github.com/plumbline-sec/plumbline/schemas/decode/registration"
)

const recorded = schemas.Millis(1_760_000_000_000)

// all are the registrations and refusals of a record.
func all(t *testing.T, d decode.Decoder, value string) (out []*schemas.Registration, refusals []string) {
	t.Helper()
	next := int32(0)
	d.Decode(&decode.Record{Topic: "agent-registry", Offset: 7, Time: recorded, Value: []byte(value)}, func(index int32, ev *schemas.Activity, refusal *decode.Refusal) {
		require.Equal(t, next, index)
		next++
		if refusal != nil {
			require.Nil(t, ev)
			refusals = append(refusals, strings.TrimPrefix(refusal.Error(), "decode activity: "))
			return
		}
		require.NotNil(t, ev.Registration)
		require.Equal(t, ev.Registration.Time, ev.Time)
		require.Equal(t, ev.Registration.AgentID, ev.AgentID)
		require.Equal(t, ev.Registration.TenantID, ev.TenantID)
		out = append(out, ev.Registration)
	})
	return out, refusals
}

func newDecoder(t *testing.T, options map[string]any) decode.Decoder {
	t.Helper()
	o := &decode.Options{Values: options}
	d := registration.New(o)
	require.NoError(t, o.Done())
	return d
}

const whole = `{"record":"registration","tenant_id":"acme","agent_id":"invoice-bot","time":"2025-10-09T08:53:00.000Z","status":"suspended",` +
	`"name":"Invoice bot","owner":"Ada Lovelace","contact":"ada@acme.example","purpose":"pays","environment":"prod","vendor":"acme","criticality":"high",` +
	`"peer_group":"finance","time_zone":"Europe/Berlin","valid_until":"2026-10-09T08:53:00.000Z","versions":["1","2"],` +
	`"credentials":[{"id":"k1","type":"static_key","expires":"2026-01-01T00:00:00.000Z","max_age_days":90},{"id":"k2"}],` +
	`"tools":["mail.*","crm.read"],"destinations":[],"agents":["clerk"],"public_key":"11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=","labels":{"team":"ap"}}`

func TestWhatIsReadIsWrittenAsItWas(t *testing.T) {
	for _, d := range []decode.Decoder{newDecoder(t, nil), registration.NewCanonical()} {
		got, refusals := all(t, d, whole)
		require.Empty(t, refusals)
		require.Len(t, got, 1)
		want := []byte(whole) // byte for byte
		require.Equal(t, want, schemas.AppendRegistration(nil, got[0]))
		require.NotNil(t, got[0].Destinations)
	}
}

func TestAbsentIsNotEmpty(t *testing.T) {
	got, refusals := all(t, newDecoder(t, nil), `[{"agent_id":"a"},{"agent_id":"b","credentials":[],"versions":[]}]`)
	require.Empty(t, refusals)
	require.Nil(t, got[0].Credentials)
	require.Nil(t, got[0].Versions)
	require.Equal(t, recorded, got[0].Time)
	require.Equal(t, "default", got[0].TenantID)
	require.NotNil(t, got[1].Credentials)
	require.NotNil(t, got[1].Versions)
	for _, reg := range got {
		again, refusals := all(t, registration.NewCanonical(), string(schemas.AppendRegistration(nil, reg)))
		require.Empty(t, refusals)
		require.Equal(t, reg, again[0])
	}
}

func TestAnUnknownFieldIsKeptAndNamed(t *testing.T) {
	got, refusals := all(t, newDecoder(t, nil), `{"agent_id":"a","cost_center":17,"team":{"x":[1]},"labels":{"team":"ap"}}`)
	require.Empty(t, refusals)
	require.Equal(t, []string{"cost_center", "team"}, got[0].Unknown)
	require.Equal(t, []schemas.Attribute{{Key: "cost_center", Value: "17"}, {Key: "team", Value: "ap"}}, got[0].Labels, "what was given as a label stays")
	again, _ := all(t, registration.NewCanonical(), string(schemas.AppendRegistration(nil, got[0])))
	require.Equal(t, got[0], again[0])
}

func TestWhatIsSaidForLaterCountsFromNow(t *testing.T) {
	got, _ := all(t, newDecoder(t, nil), `{"agent_id":"a","time":"2999-01-01T00:00:00Z"}`)
	require.Equal(t, recorded, got[0].Time)
}

func TestAMistakeRefusesTheRegistration(t *testing.T) {
	for value, want := range map[string]string{
		`{"agent_id":"a","tools":"mail"}`:                                   "invalid_registration (tools): is not a list",
		`{"agent_id":"a","tools":["ma*il"]}`:                                `invalid_registration (tools[0]): "ma*il" has a * that is not at its end`,
		`{"agent_id":"a","versions":[1]}`:                                   "invalid_registration (versions[0]): is not a text, or empty",
		`{"agent_id":"a","status":"gone"}`:                                  `invalid_registration (status): is "gone", and must be one of active, suspended, decommissioned`,
		`{"agent_id":"a","owner":["x"]}`:                                    "invalid_registration (owner): is not a text",
		`{"agent_id":"a","time":"yesterday"}`:                               "invalid_registration (time): is neither a time of RFC 3339 nor milliseconds since 1970",
		`{"agent_id":"a","credentials":[{"type":"x"}]}`:                     "invalid_registration (credentials[0].id): is absent",
		`{"agent_id":"a","credentials":[{"id":"x","max_age_days":-1}]}`:     "invalid_registration (credentials[0].max_age_days): is not a number of days",
		`{"agent_id":"a","credentials":[{"id":"x","expiry":1}]}`:            "invalid_registration (credentials[0].expiry): is no field of a credential",
		`{"agent_id":"a","public_key":"eA=="}`:                              "invalid_registration (public_key): is not the base64 of the 32 bytes of an Ed25519 key",
		`{"agent_id":"a","time_zone":"../../etc/passwd"}`:                   `invalid_registration (time_zone): "../../etc/passwd" is no name of the IANA database, such as Europe/Berlin`,
		`{"agent_id":"a","labels":{"x":1}}`:                                 "invalid_registration (labels.x): is not a text",
		`{"agent_id":"a","record":"verdict"}`:                               `invalid_registration (record): is "verdict", and must be "registration"`,
		`{"agent_id":"a","agent_id":"b"}`:                                   `invalid_registration: "agent_id" stands twice`,
		`{"owner":"x"}`:                                                     "no_agent_id (agent_id): absent or empty",
		`{"agent_id":"a","tenant_id":"x/y"}`:                                "invalid_identity (tenant_id): is not 1 to 64 of A-Z a-z 0-9 . _ -",
		`{"agent_id":"a\u0007"}`:                                            "invalid_identity (agent_id): has a control character",
		`{"agent_id":"` + strings.Repeat("a", 600) + `"}`:                   "identity_too_long (agent_id): is over 512 bytes",
		`{"agent_id":"a","owner":"` + strings.Repeat("a", 2000) + `"}`:      "invalid_registration (owner): 2000 bytes, at most 1024",
		`{"agent_id":"a","tools":[` + strings.Repeat(`"t",`, 300) + `"t"]}`: "invalid_registration (tools): 301 elements, at most 256",
		`{"agent_id":"a","x":` + strings.Repeat("[", 40) + `}`:              "too_deep: deeper than 32",
		`{"agent_id":"a"`:                                                   "not_json: ends too early",
		`{"agent_id":"a"} {}`:                                               "not_json: goes on after its end",
		`"a"`:                                                               "not_json: a registration is no object",
		"{\"agent_id\":\"\xff\"}":                                           "not_json: is not UTF-8",
	} {
		got, refusals := all(t, newDecoder(t, nil), value)
		require.Empty(t, got, value)
		require.Equal(t, []string{want}, refusals, value)
	}
	var many []string
	for i := range 250 {
		many = append(many, fmt.Sprintf("%q", strings.Repeat("x", 500)+fmt.Sprint(i)))
	}
	_, refusals := all(t, newDecoder(t, nil), `{"agent_id":"a","tools":[`+strings.Join(many, ",")+`]}`)
	require.Contains(t, refusals[0], "too_large: ")
}

func TestOneMistakeLeavesTheOthers(t *testing.T) {
	got, refusals := all(t, newDecoder(t, nil), `[{"agent_id":"a"},{"agent_id":"b","status":"x"},{"agent_id":"c"}]`)
	require.Len(t, got, 2)
	require.Len(t, refusals, 1)
}

func TestAnInventoryIsReadByPaths(t *testing.T) {
	d := newDecoder(t, map[string]any{
		"registrations": "Resources",
		"fields": map[string]any{
			"agent_id": "id", "name": "displayName", "status": []any{"active"}, "owner": `["urn:x:User"].manager.displayName`,
			"environment": "tags[Key=env].Value", "vendor": "=acme", "tools": "scopes[*].name",
			"credentials": "keys", "credentials.id": "keyId", "credentials.expires": "end", "credentials.type": "=static_key",
		},
		"values": map[string]any{"status": map[string]any{"false": "suspended", "true": "active"}},
		"labels": map[string]any{"team": "tags[Key=team].Value"},
	})
	got, refusals := all(t, d, `{"Resources":[{"id":7,"displayName":"Bot","active":false,"urn:x:User":{"manager":{"displayName":"Ada"}},
		"tags":[{"Key":"team","Value":"ap"},{"Key":"env","Value":"prod"}],"scopes":[{"name":"mail.send"},{"name":"crm.*"}],
		"keys":[{"keyId":"k1","end":"2026-01-01T00:00:00Z"}]},{"id":"b","keys":[]}]}`)
	require.Empty(t, refusals)
	want := `{"record":"registration","tenant_id":"default","agent_id":"7","time":"2025-10-09T08:53:20.000Z","status":"suspended","name":"Bot","owner":"Ada","environment":"prod","vendor":"acme",` +
		`"credentials":[{"id":"k1","type":"static_key","expires":"2026-01-01T00:00:00.000Z"}],"tools":["mail.send","crm.*"],"labels":{"team":"ap"}}`
	require.Equal(t, []byte(want), schemas.AppendRegistration(nil, got[0]))
	require.NotNil(t, got[1].Credentials, "an empty list of credentials says that it has none")
	require.Nil(t, got[1].Tools)
}

func TestMistakesInOptionsAreNamed(t *testing.T) {
	o := &decode.Options{Values: map[string]any{
		"fields": map[string]any{"owner": "a..b", "nonsense": "x"}, "values": map[string]any{"status": map[string]any{"a": "b"}},
		"registrations": "x[", "labels": map[string]any{"t": "[y]"},
	}}
	registration.New(o)
	err := o.Done()
	for _, want := range []string{"fields.nonsense is no field", `"a..b" has an empty name`, "fields says nothing of agent_id", "values.status has no field to it", `"x[" has an empty name`, "[y] in it"} {
		require.ErrorContains(t, err, want)
	}
}

func TestRegistrationsStandBesideEvents(t *testing.T) {
	d := registration.Beside(decode.NewActivity())
	kinds := ""
	for _, line := range []string{whole, `{"agent_id":"a","record":"x"}`, `{"agent_id":"a","attributes":{"record":"registration"}}`, `{"agent_id":"a"}`} {
		d.Decode(&decode.Record{Time: recorded, Value: []byte(line)}, func(_ int32, ev *schemas.Activity, refusal *decode.Refusal) {
			require.Nil(t, refusal)
			kinds += map[bool]string{true: "r", false: "e"}[ev.Registration != nil]
		})
	}
	require.Equal(t, "reee", kinds)
}

func FuzzRegistration(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte(`[{"agent_id":"a","x":{"y":[1,true,null]}}]`))
	if b, err := os.ReadFile("../../../deploy/sources/registration.json"); err == nil {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		got, _ := all(t, newDecoder(t, nil), string(value))
		for _, reg := range got {
			b := schemas.AppendRegistration(nil, reg)
			require.LessOrEqual(t, len(b), schemas.MaxRegistrationBytes)
			again, refusals := all(t, registration.NewCanonical(), string(b))
			require.Empty(t, refusals)
			require.Equal(t, b, schemas.AppendRegistration(nil, again[0]))
		}
	})
}
