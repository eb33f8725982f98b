package replay

import (
	"bytes"

	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
	"github.com/plumbline-sec/plumbline/schemas/decode/registration"
)

// Stream makes events of the records of files, and says of each when it arrived as far as
// those behind it tell.
type Stream struct {
	decoder decode.Decoder
	ahead   lookahead
	line    int64
	event   func(ev *schemas.Activity, arrived schemas.Millis)
	refused func(decode.Reason)
}

// NewStream returns a stream that hands events and refusals on. An event is valid until the
// call returns; its strings are never written again. Without a decoder records are activity
// events. Registrations may stand among the records of any form.
func NewStream(decoder decode.Decoder, event func(*schemas.Activity, schemas.Millis), refused func(decode.Reason)) *Stream {
	if decoder == nil {
		decoder = decode.NewActivity()
	}
	return &Stream{decoder: registration.Beside(decoder), event: event, refused: refused}
}

// Record takes one record; Flush comes after the last one. The value may change afterwards.
func (s *Stream) Record(value []byte) {
	s.line++
	// There is no broker here, so that there is no time but the event's own.
	// Its events are held for a while (lookahead), and share its memory.
	rec := decode.Record{Topic: "replay", Offset: s.line, Value: bytes.Clone(value)}
	s.decoder.Decode(&rec, func(_ int32, ev *schemas.Activity, refusal *decode.Refusal) {
		if refusal != nil {
			s.refused(refusal.Reason)
			return
		}
		if s.ahead.push(ev, len(value)); s.ahead.full() {
			s.next()
		}
	})
}

// TooLarge takes a record that is too large for a topic.
func (s *Stream) TooLarge() {
	s.line++
	s.refused(decode.ReasonTooLarge)
}

// next takes the oldest event that is held.
func (s *Stream) next() {
	arrived := s.ahead.arrival()
	s.ahead.pop(func(ev *schemas.Activity) { s.event(ev, arrived) })
}

// Flush hands on the events that are still held.
func (s *Stream) Flush() {
	for !s.ahead.empty() {
		s.next()
	}
}
