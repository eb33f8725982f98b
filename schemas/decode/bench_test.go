package decode_test

import (
	"encoding/json"
	"testing"

	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
	"github.com/plumbline-sec/plumbline/schemas/decode/decodetest"
)

// BenchmarkDecode compares the decoder with the standard library on the same
// event of about 400 bytes; both validate.
func BenchmarkDecode(b *testing.B) {
	b.Run("plumbline", func(b *testing.B) {
		d := decode.NewActivity()
		rec := decode.Record{Topic: "agent-activity", Time: decodetest.Time, Value: []byte(typical)}
		refused := 0
		emit := func(_ int32, _ *schemas.Activity, refusal *decode.Refusal) {
			if refusal != nil {
				refused++
			}
		}
		b.SetBytes(int64(len(typical)))
		b.ReportAllocs()
		for b.Loop() {
			d.Decode(&rec, emit)
		}
		if refused > 0 {
			b.Fatal("refused")
		}
	})
	b.Run("canonical", func(b *testing.B) {
		ev, _ := decodeOne(b, decode.NewActivity(), typical)
		d := decode.NewCanonical()
		rec := decode.Record{Topic: "plumbline.activity", Time: decodetest.Time, Value: schemas.AppendActivity(nil, ev)}
		b.SetBytes(int64(len(rec.Value)))
		b.ReportAllocs()
		for b.Loop() {
			d.Decode(&rec, func(int32, *schemas.Activity, *decode.Refusal) {})
		}
	})
	b.Run("encoding/json", func(b *testing.B) {
		var ev struct {
			EventID       string            `json:"event_id"`
			Time          schemas.Millis    `json:"time"`
			TenantID      string            `json:"tenant_id"`
			AgentID       string            `json:"agent_id"`
			PeerGroup     string            `json:"peer_group"`
			SessionID     string            `json:"session_id"`
			Model         string            `json:"model"`
			Action        string            `json:"action"`
			Tool          string            `json:"tool"`
			Access        string            `json:"access"`
			Resources     []string          `json:"resources"`
			BytesSent     uint64            `json:"bytes_sent"`
			BytesReceived uint64            `json:"bytes_received"`
			Outcome       string            `json:"outcome"`
			Attributes    map[string]string `json:"attributes"`
		}
		value := []byte(typical)
		b.SetBytes(int64(len(value)))
		b.ReportAllocs()
		for b.Loop() {
			if err := json.Unmarshal(value, &ev); err != nil {
				b.Fatal(err)
			}
		}
	})
}
