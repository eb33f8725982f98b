package registration

import (
	"bytes"

	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
)

// Beside returns a decoder for files in which registrations stand among the records of
// another form: a line that says `"record": "registration"` is one. No source of a service
// is read so: who may write events must not say who an agent is.
func Beside(events decode.Decoder) decode.Decoder {
	return &beside{Decoder: events}
}

type beside struct {
	decode.Decoder
	registrations decoder
}

// Decode implements decode.Decoder.
func (b *beside) Decode(rec *decode.Record, emit decode.EmitFunc) {
	if bytes.Contains(rec.Value, []byte(`"record"`)) {
		if v, refusal := parse(rec.Value); refusal == nil {
			if o, ok := v.(object); ok && o["record"] == schemas.RecordRegistration {
				b.registrations.Decode(rec, emit)
				return
			}
		}
	}
	b.Decoder.Decode(rec, emit)
}
