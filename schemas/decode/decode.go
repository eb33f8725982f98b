// Package decode says what a decoder of source records is, and holds what all
// input forms share: the Builder with its limits, flags and refusals, and the
// framing around a record. Plumbline's own form is here too; the others are
// packages below it, which package forms lists by name.
//
// A decoder is a function of the record alone: no clock, no memory across
// records, no I/O. What it keeps, cuts and refuses is the contract of the
// activity event.
//
// The package imports the standard library, schemas and jsonscan, and none of the
// forms below it.
package decode

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode/jsonscan"
)

// Record is a source record as a decoder sees it.
type Record struct {
	Topic     string
	Partition int32
	Offset    int64
	Time      schemas.Millis // the broker's timestamp
	Key       []byte
	Value     []byte
	Headers   []Header
	Event     *CloudEvent // the envelope that stood around Value, nil: none
}

// Header is a header of a record.
type Header struct {
	Key   string
	Value []byte
}

// A Decoder turns one source record into events.
type Decoder interface {
	// Decode calls emit once per event that the record holds, in order, with the
	// event's index in the record. Where an event can't be read, refusal says
	// why and ev is nil. ev and its slices are valid until emit returns; its
	// strings share memory with the record's Value, or with memory that is never
	// written again: they are valid as long as the caller does not change Value.
	Decode(rec *Record, emit EmitFunc)
}

// EmitFunc takes the index-th event of a record, or why it is none.
type EmitFunc = func(index int32, ev *schemas.Activity, refusal *Refusal)

// A Skipper is a decoder of a form whose records also hold what is no agent
// activity: that is no mistake, so it is neither an event nor a refusal.
type Skipper interface {
	// Skipped returns how many entries of the last record were passed over.
	Skipped() int
}

// Shape is what entries that are passed over look like. There are few of them, and
// they are constants: a name is a label of a metric.
type Shape struct {
	Name  string
	Needs string // for people: what would make events of such entries
}

// A ShapeSkipper is a Skipper that says what it passed over.
type ShapeSkipper interface {
	Skipper
	// Shapes calls visit for each shape among the entries of the last record that
	// were passed over, with how many there were and a name that one of them had.
	Shapes(visit func(s Shape, n int, sample string))
}

// SampleName is a name of somebody else as far as a log may show it. A name is short
// and has no more than a few words: anything else may be a sentence that a model or
// a person wrote.
func SampleName(name string) string {
	const most, words = 64, 4
	if len(name) > most || strings.Count(name, " ") >= words || !utf8.ValidString(name) || HasControl(name) {
		return "(" + strconv.Itoa(len(name)) + " bytes)"
	}
	return name
}

// Passed calls visit with what a decoder passed over of its last record.
func Passed(d Decoder, visit func(s Shape, n int, sample string)) {
	switch s := d.(type) {
	case ShapeSkipper:
		s.Shapes(visit)
	case Skipper:
		if n := s.Skipped(); n > 0 {
			visit(shapeOther, n, "")
		}
	}
}

var shapeOther = Shape{Name: "other", Needs: "nothing: the source's options leave it out"}

// A Tracer is a decoder that can say from where in a record a field came.
type Tracer interface {
	// Trace makes the decoder call note for each field of the contract that it
	// fills, with the path of the value that it came from, before the event is
	// emitted. nil ends that.
	Trace(note func(field, path string))
}

// Reason says in one stable word why an event was refused; it is a metric label
// and a header of the dead letter.
type Reason = jsonscan.Reason

// The reasons for which an event is refused.
const (
	ReasonNotJSON                    = jsonscan.NotJSON
	ReasonTooDeep                    = jsonscan.TooDeep
	ReasonTooLarge                   = jsonscan.TooLarge
	ReasonNoAgentID           Reason = "no_agent_id"
	ReasonInvalidIdentity     Reason = "invalid_identity"     // wrong type, invalid UTF-8, control character, forbidden character
	ReasonIdentityTooLong     Reason = "identity_too_long"    // over schemas.MaxIdentityBytes
	ReasonDuplicateIdentity   Reason = "duplicate_identity"   // a key among the identity fields stands twice
	ReasonNoEvents            Reason = "no_events"            // a record without the list that its events should stand in
	ReasonNotCloudEvent       Reason = "not_cloudevent"       // the envelope is one of CloudEvents, and there is no data in it
	ReasonNotCloudTrail       Reason = "not_cloudtrail"       // records of something else of AWS, or a notice that names a file
	ReasonInvalidRegistration Reason = "invalid_registration" // a field of it is wrong
	ReasonNotOTLP             Reason = "not_otlp"             // neither the protobuf nor the JSON form of OTLP, or a part of it that is malformed
)

// Refusal is why an event was not taken.
type Refusal struct {
	Reason Reason
	Field  string // the field at fault, where there is one
	Detail string // for people: what was found, and where
}

// Error makes a Refusal usable as an error.
func (r *Refusal) Error() string {
	s := "decode activity: " + string(r.Reason)
	if r.Field != "" {
		s += " (" + r.Field + ")"
	}
	if r.Detail != "" {
		s += ": " + r.Detail
	}
	return s
}
