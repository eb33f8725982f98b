package decode

import (
	"strconv"

	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode/jsonscan"
)

// ActivityDecoder reads the activity event, one JSON object a record, as agents
// send it or as route writes it.
//
// Invariants:
//  1. Every record gives exactly one call of emit, with an event or a refusal.
//  2. An event is refused only where the text is not JSON, too deep, too large, or
//     without one usable identity. All else is kept, cut or set aside, and flagged.
//  3. What is not understood is not lost: an unknown field, and the value of an
//     invalid one, stand in the attributes under the field's name.
//  4. What an agent sends sets neither RecordedAt nor Flags.
//  5. Strings share memory with the record, or with memory of the decoder that
//     is never written again. Only the Activity and its slices are reused.
//
// Where the contract is silent: null and the empty string mean absent; of a
// repeated field the last one counts, a repeated "attributes" adds to the one
// before, and of a repeated attribute the last one counts; an element of
// resources that is no string is dropped and makes the field invalid; an access
// or an outcome that the contract does not name is an invalid field, and so is a
// time that is not after the first instant of 1970. An event without a usable
// time from a record without one (a replay) stands at the first millisecond of
// 1970: late for every baseline, yet scored for what it touches.
//
// It is not safe for concurrent use: one goroutine, one decoder.
type ActivityDecoder struct {
	s jsonscan.Scanner
	b Builder
}

// maxCanonicalBytes bounds an event as route writes it: escaping makes up to six
// bytes of one, and the times, the flags and the defaults are added.
const maxCanonicalBytes = 6*schemas.MaxEventBytes + 64<<10

// NewActivity returns a decoder of the event as agents send it.
func NewActivity() *ActivityDecoder { return &ActivityDecoder{} }

// NewCanonical returns a decoder of the event as route writes it: the same form
// with recorded_at and flags, and a time that is already resolved.
func NewCanonical() *ActivityDecoder {
	return &ActivityDecoder{b: Builder{canonical: true}}
}

// Decode implements Decoder.
func (d *ActivityDecoder) Decode(rec *Record, emit EmitFunc) {
	if refusal := d.read(rec); refusal != nil {
		emit(0, nil, refusal)
		return
	}
	d.b.Emit(rec, 0, emit)
}

func (d *ActivityDecoder) read(rec *Record) *Refusal {
	most := schemas.MaxEventBytes
	if d.b.canonical {
		most = maxCanonicalBytes
	}
	if n := len(rec.Value); n > most {
		return &Refusal{Reason: ReasonTooLarge, Detail: strconv.Itoa(n) + " bytes, at most " + strconv.Itoa(most)}
	}
	s := &d.s
	s.Reset(rec.Value)
	d.b.Begin()
	if s.Peek() != '{' {
		s.Fail = ReasonNotJSON
		return d.malformed("is not an object")
	}
	s.Pos++
	if s.Peek() == '}' {
		s.Pos++
	} else if refusal := d.members(); refusal != nil {
		return refusal
	}
	if s.Peek(); s.Pos < len(s.B) {
		s.Fail = ReasonNotJSON
		return d.malformed("goes on after the object")
	}
	return nil
}

func (d *ActivityDecoder) members() *Refusal {
	s, b := &d.s, &d.b
	for {
		name, replaced, ok := d.key()
		if !ok {
			return d.malformed("")
		}
		f := schemas.LookupField(name)
		if f >= schemas.FieldRecordedAt && !b.canonical {
			f = schemas.FieldCount
		}
		switch f { //nolint:exhaustive // the rest are single values
		case schemas.FieldCount:
			b.ev.Flags.UTF8Replaced = b.ev.Flags.UTF8Replaced || replaced
			var v jsonscan.Value
			if v, ok = d.value(1); ok {
				b.attribute(name, &v)
			}
		case schemas.FieldResources, schemas.FieldAttributes, schemas.FieldFlags:
			ok = d.container(f)
		default:
			if f <= schemas.FieldAgentID {
				if refusal := b.twice(f); refusal != nil {
					return refusal // whatever follows
				}
			}
			var v jsonscan.Value
			if v, ok = d.value(1); ok {
				b.Set(f, &v)
			}
		}
		if !ok {
			return d.malformed("")
		}
		if b.refusal != nil {
			return b.refusal
		}
		switch s.Peek() {
		case ',':
			s.Pos++
		case '}':
			s.Pos++
			return nil
		default:
			s.Fail = ReasonNotJSON
			return d.malformed("")
		}
	}
}

func (d *ActivityDecoder) malformed(detail string) *Refusal {
	if d.s.Fail == ReasonTooDeep || d.s.Pos >= len(d.s.B) || detail == "" {
		return malformed(d.s.Malformed())
	}
	return &Refusal{Reason: d.s.Fail, Detail: detail + " at byte " + strconv.Itoa(d.s.Pos)}
}

// text reads the string at pos.
func (d *ActivityDecoder) text() (s string, replaced, ok bool) {
	if s, ok = d.s.Simple(); ok {
		return s, false, true
	}
	t, ok := d.s.Token()
	if !ok {
		return "", false, false
	}
	s, replaced = d.b.Mem.Text(d.s.B, t)
	return s, replaced, true
}

// key reads a member's key and colon.
func (d *ActivityDecoder) key() (name string, replaced, ok bool) {
	if d.s.Peek() != '"' {
		return "", false, d.s.Invalid()
	}
	if name, replaced, ok = d.text(); !ok {
		return "", false, false
	}
	return name, replaced, d.s.Colon()
}

// value reads the value at pos, which stands in depth containers.
func (d *ActivityDecoder) value(depth int) (v jsonscan.Value, ok bool) {
	s := &d.s
	v.Kind = s.Peek()
	start := s.Pos
	switch v.Kind {
	case '"':
		v.Text, v.Replaced, ok = d.text()
		return v, ok
	case '{', '[':
		ok = s.Skip(depth)
	case 't', 'f', 'n':
		ok = s.Scalar(v.Kind)
	default:
		v.Kind = '0'
		_, ok = s.Number()
	}
	v.Text = jsonscan.Alias(s.B[start:s.Pos])
	return v, ok
}

// container reads the value of a field that is an array or an object.
func (d *ActivityDecoder) container(f schemas.Field) (ok bool) {
	s, valid := &d.s, true
	d.b.again(f)
	c, start := s.Peek(), s.Pos
	switch {
	case f == schemas.FieldResources && c == '[':
		valid, ok = d.resources()
	case f == schemas.FieldFlags && c == '[':
		ok = d.flags()
	case f == schemas.FieldAttributes && c == '{':
		ok = d.attributes()
	default:
		var v jsonscan.Value
		if v, ok = d.value(1); ok && v.Kind != 'n' {
			d.b.hold(f, &v)
		}
	}
	if !valid {
		d.b.hold(f, &jsonscan.Value{Kind: c, Text: jsonscan.Alias(s.B[start:s.Pos])})
	}
	return ok
}

// resources reads what was touched; valid is whether all of it is texts.
func (d *ActivityDecoder) resources() (valid, ok bool) {
	valid = true
	ok = d.s.Each(func(*jsonscan.Scanner) bool {
		v, ok := d.value(2)
		if ok && v.Kind == '"' {
			d.b.resource(&v)
		}
		valid = valid && (v.Kind == '"' || v.Kind == 'n')
		return ok
	})
	return valid, ok
}

// attributes reads open names and values.
func (d *ActivityDecoder) attributes() bool {
	return d.s.Each(func(*jsonscan.Scanner) bool {
		name, replaced, ok := d.key()
		if !ok {
			return false
		}
		if replaced {
			d.b.ev.Flags.UTF8Replaced = true
		}
		v, ok := d.value(2)
		if ok {
			d.b.attribute(name, &v)
		}
		return ok
	})
}

// flags reads what route noted. A flag of a later version is passed over.
func (d *ActivityDecoder) flags() bool {
	return d.s.Each(func(*jsonscan.Scanner) bool {
		v, ok := d.value(2)
		if ok && v.Kind == '"' {
			d.b.flag(v.Text)
		}
		return ok
	})
}
