package decode_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
)

// A replay holds events back until later ones have told it more.
func TestStringsOfAnEventOutliveTheEventsAfterIt(t *testing.T) {
	batch := typicalTraces()
	event := `{"class_uid":6003,"agent_id":"a\u0041","actor":{"app_uid":"b\u0041"},"metadata":{"uid":"N"},"x":{"y\u0041":["z\u0041",1]},"eventSource":"s3.amazonaws.com","eventName":"N",` +
		`"userIdentity":{"arn":"arn:aws:iam::1:user/N"},"requestParameters":{"bucketName":"b","key":"N\u0041"},"resources":["N\u0041"]}`
	list := func(before, after string) []byte {
		events := make([]string, 200)
		for i := range events {
			events[i] = strings.ReplaceAll(event, "N", strings.Repeat(string(rune('a'+i%26)), 1+i%40))
		}
		return []byte(before + strings.Join(events, ",") + after)
	}
	for form, values := range map[string][][]byte{
		"activity":   {[]byte(event), []byte(typical)},
		"ocsf":       {list("[", "]")},
		"cloudtrail": {list(`{"Records":[`, "]}")},
		"otlp_spans": {otlpProto(t, batch), otlpJSON(t, batch)},
	} {
		t.Run(form, func(t *testing.T) {
			d, err := decode.New(form, nil)
			require.NoError(t, err)
			var kept []schemas.Activity
			var want []string
			for range 3 {
				for _, value := range values {
					d.Decode(&decode.Record{Topic: "t", Time: recordTime, Value: value}, func(_ int32, ev *schemas.Activity, _ *decode.Refusal) {
						if ev == nil {
							return
						}
						want = append(want, string(schemas.AppendActivity(nil, ev)))
						own := *ev
						own.Resources, own.Attributes = slices.Clone(ev.Resources), slices.Clone(ev.Attributes)
						kept = append(kept, own)
					})
				}
			}
			require.NotEmpty(t, kept)
			for i := range kept {
				require.Equal(t, want[i], string(schemas.AppendActivity(nil, &kept[i])))
			}
		})
	}
}
