package decode

import (
	"encoding/binary"
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode/jsonscan"
)

// CloudEvent is what the envelope around a record says of it. The event takes it
// where it says nothing itself.
type CloudEvent struct {
	ID, Source, Type, Subject string
	Time                      schemas.Millis // 0: none
}

// envelope takes from a record what stands around any form.
//
// The framing of Confluent's serializers (a zero byte, the id of the schema, for
// protobuf the indexes of the message) is recognised without being asked for: no
// JSON text and no protobuf message begins with a zero byte, so that nothing else
// is taken for it. The schema itself is not fetched; what the bytes say counts.
//
// CloudEvents are unwrapped where the source's config says so: a JSON object that
// happens to have their names must not become another event than it is.
type envelope struct {
	inner  Decoder
	events bool

	ce      CloudEvent
	refused bool // the last record never got to inner
}

// Unwrapped returns a decoder that takes the framing off a record for another one.
func Unwrapped(inner Decoder, cloudEvents bool) Decoder {
	return &envelope{inner: inner, events: cloudEvents}
}

// Decode implements Decoder.
func (e *envelope) Decode(rec *Record, emit EmitFunc) {
	e.refused = false
	if (len(rec.Value) == 0 || rec.Value[0] != 0) && !e.events {
		e.inner.Decode(rec, emit)
		return
	}
	in := *rec
	in.Value = unframe(in.Value)
	if e.events {
		if refusal := e.unwrap(&in); refusal != nil {
			e.refused = true
			emit(0, nil, refusal)
			return
		}
		in.Value = unframe(in.Value)
	}
	e.inner.Decode(&in, emit)
}

// Skipped implements Skipper.
func (e *envelope) Skipped() int {
	if s, ok := e.inner.(Skipper); ok && !e.refused {
		return s.Skipped()
	}
	return 0
}

// Shapes implements ShapeSkipper.
func (e *envelope) Shapes(visit func(s Shape, n int, sample string)) {
	if !e.refused {
		Passed(e.inner, visit)
	}
}

// Trace implements Tracer.
func (e *envelope) Trace(note func(field, path string)) {
	if t, ok := e.inner.(Tracer); ok {
		t.Trace(note)
	}
}

// unframe returns b without Confluent's framing.
func unframe(b []byte) []byte {
	const header = 5
	if len(b) <= header || b[0] != 0 {
		return b
	}
	if b = b[header:]; b[0] == '{' || b[0] == '[' {
		return b
	}
	// The indexes of the message, zigzag varints: how many, then each; none stands
	// for the first message. JSON can't be meant here: as a count its brace is negative.
	n, size := zigzag(b)
	for i, rest := int64(0), b[size:]; size > 0 && n >= 0 && n <= 16; i++ {
		if i == n {
			return rest
		}
		var s int
		if _, s = zigzag(rest); s == 0 {
			break
		}
		rest = rest[s:]
	}
	return b
}

// zigzag reads the varint that b begins with, of 32 bits; size is 0 where there is none.
func zigzag(b []byte) (v int64, size int) {
	return binary.Varint(b[:min(len(b), binary.MaxVarintLen32)])
}

// unwrap takes a CloudEvent off rec: of structured mode, where the record is the
// event; of binary mode, where headers are around its data. A record that is
// neither stays as it is.
func (e *envelope) unwrap(rec *Record) *Refusal {
	e.ce = CloudEvent{}
	if rec.header("ce_specversion") != "" {
		e.ce = CloudEvent{
			ID: rec.header("ce_id"), Source: rec.header("ce_source"), Type: rec.header("ce_type"), Subject: rec.header("ce_subject"),
		}
		e.ce.Time, _ = ParseTime(rec.header("ce_time"))
		rec.Event = &e.ce
		return nil
	}
	kind := rec.header("content-type")
	if kind != "" && !strings.HasPrefix(kind, "application/cloudevents") && !strings.HasPrefix(kind, "application/json") {
		return nil
	}
	return e.structured(rec)
}

func (e *envelope) structured(rec *Record) *Refusal {
	var version string
	var data, data64 []byte
	// What is no object, the form complains about.
	whole := jsonscan.Members(rec.Value, func(name string, value []byte) {
		switch name {
		case "specversion":
			version = textOfJSON(value)
		case "id":
			e.ce.ID = textOfJSON(value)
		case "source":
			e.ce.Source = textOfJSON(value)
		case "type":
			e.ce.Type = textOfJSON(value)
		case "subject":
			e.ce.Subject = textOfJSON(value)
		case "time":
			e.ce.Time, _ = ParseTime(textOfJSON(value))
		case "data":
			data = value
		case "data_base64":
			data64 = value
		}
	}) == nil
	if !whole || version == "" {
		return nil
	}
	rec.Event = &e.ce
	switch {
	case len(data) > 0 && data[0] == '"': // a text, such as JSON within JSON
		var text string
		if json.Unmarshal(data, &text) != nil {
			return &Refusal{Reason: ReasonNotCloudEvent, Field: "data", Detail: "is not a text"}
		}
		rec.Value = []byte(text)
	case len(data) > 0 && data[0] != 'n':
		rec.Value = data
	case len(data64) > 0:
		var raw []byte
		if json.Unmarshal(data64, &raw) != nil {
			return &Refusal{Reason: ReasonNotCloudEvent, Field: "data_base64", Detail: "is not base64"}
		}
		rec.Value = raw
	default:
		return &Refusal{Reason: ReasonNotCloudEvent, Field: "data", Detail: "absent: an event without data has no activity in it"}
	}
	return nil
}

// textOfJSON is the value of a JSON string, as far as an event may hold it.
func textOfJSON(value []byte) string {
	var s jsonscan.Scanner
	var mem jsonscan.Arena
	if s.Reset(value); s.Peek() != '"' {
		return ""
	}
	t, _ := s.Token()
	text, _ := mem.Text(value, t)
	return clean(text)
}

// clean makes a string of foreign bytes one that an event may hold.
func clean(s string) string {
	out := make([]byte, 0, min(len(s), schemas.MaxStringBytes))
	for _, r := range s[:min(len(s), schemas.MaxStringBytes-utf8.UTFMax)] {
		out = utf8.AppendRune(out, r) // a byte that is no UTF-8 becomes three
		if len(out) > schemas.MaxStringBytes-utf8.UTFMax {
			break
		}
	}
	return string(out)
}

// header returns the value of the first header of that name, as far as it may
// become a string of an event.
func (r *Record) header(name string) string {
	for i := range r.Headers {
		if strings.EqualFold(r.Headers[i].Key, name) {
			return clean(string(r.Headers[i].Value))
		}
	}
	return ""
}
