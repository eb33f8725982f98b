package decode

import (
	"strconv"

	"github.com/plumbline-sec/plumbline/schemas"
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
	s scanner
	b builder
}

// maxCanonicalBytes bounds an event as route writes it: escaping makes up to six
// bytes of one, and the times, the flags and the defaults are added.
const maxCanonicalBytes = 6*schemas.MaxEventBytes + 64<<10

// NewActivity returns a decoder of the event as agents send it.
func NewActivity() *ActivityDecoder { return &ActivityDecoder{} }

// NewCanonical returns a decoder of the event as route writes it: the same form
// with recorded_at and flags, and a time that is already resolved.
func NewCanonical() *ActivityDecoder {
	return &ActivityDecoder{b: builder{canonical: true}}
}

// Decode implements Decoder.
func (d *ActivityDecoder) Decode(rec *Record, emit emitFunc) {
	if refusal := d.read(rec); refusal != nil {
		emit(0, nil, refusal)
		return
	}
	d.b.emit(rec, 0, emit)
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
	s.reset(rec.Value)
	d.b.begin()
	if s.peek() != '{' {
		s.fail = ReasonNotJSON
		return d.malformed("is not an object")
	}
	s.pos++
	if s.peek() == '}' {
		s.pos++
	} else if refusal := d.members(); refusal != nil {
		return refusal
	}
	if s.peek(); s.pos < len(s.b) {
		s.fail = ReasonNotJSON
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
		f := lookup(name)
		if f >= fRecordedAt && !b.canonical {
			f = unknown
		}
		switch f {
		case unknown:
			b.ev.Flags.UTF8Replaced = b.ev.Flags.UTF8Replaced || replaced
			var v value
			if v, ok = d.value(1); ok {
				b.attribute(name, &v)
			}
		case fResources, fAttributes, fFlags:
			ok = d.container(f)
		default:
			if f <= fAgentID {
				if refusal := b.twice(f); refusal != nil {
					return refusal // whatever follows
				}
			}
			var v value
			if v, ok = d.value(1); ok {
				b.set(f, &v)
			}
		}
		if !ok {
			return d.malformed("")
		}
		if b.refusal != nil {
			return b.refusal
		}
		switch s.peek() {
		case ',':
			s.pos++
		case '}':
			s.pos++
			return nil
		default:
			s.fail = ReasonNotJSON
			return d.malformed("")
		}
	}
}

func (d *ActivityDecoder) malformed(detail string) *Refusal {
	if d.s.fail == ReasonTooDeep || d.s.pos >= len(d.s.b) || detail == "" {
		return malformed(&d.s)
	}
	return &Refusal{Reason: d.s.fail, Detail: detail + " at byte " + strconv.Itoa(d.s.pos)}
}

// text reads the string at pos.
func (d *ActivityDecoder) text() (s string, replaced, ok bool) {
	if s, ok = d.s.simple(); ok {
		return s, false, true
	}
	t, ok := d.s.str()
	if !ok {
		return "", false, false
	}
	s, replaced = d.b.mem.text(d.s.b, t)
	return s, replaced, true
}

// key reads a member's key and colon.
func (d *ActivityDecoder) key() (name string, replaced, ok bool) {
	if d.s.peek() != '"' {
		return "", false, d.s.invalid()
	}
	if name, replaced, ok = d.text(); !ok {
		return "", false, false
	}
	return name, replaced, d.s.colon()
}

// value reads the value at pos, which stands in depth containers.
func (d *ActivityDecoder) value(depth int) (v value, ok bool) {
	s := &d.s
	v.kind = s.peek()
	start := s.pos
	switch v.kind {
	case '"':
		v.text, v.replaced, ok = d.text()
		return v, ok
	case '{', '[':
		ok = s.skip(depth)
	case 't', 'f', 'n':
		ok = s.scalar(v.kind)
	default:
		v.kind = '0'
		_, ok = s.number()
	}
	v.text = alias(s.b[start:s.pos])
	return v, ok
}

// container reads the value of a field that is an array or an object.
func (d *ActivityDecoder) container(f field) (ok bool) {
	s, valid := &d.s, true
	d.b.again(f)
	c, start := s.peek(), s.pos
	switch {
	case f == fResources && c == '[':
		valid, ok = d.resources()
	case f == fFlags && c == '[':
		ok = d.flags()
	case f == fAttributes && c == '{':
		ok = d.attributes()
	default:
		var v value
		if v, ok = d.value(1); ok && v.kind != 'n' {
			d.b.hold(f, &v)
		}
	}
	if !valid {
		d.b.hold(f, &value{kind: c, text: alias(s.b[start:s.pos])})
	}
	return ok
}

// list reads the array or object at pos; element reads what stands in it.
func (d *ActivityDecoder) list(element func() bool) (ok bool) {
	s := &d.s
	closing := s.b[s.pos] + 2 // '{' and '}', '[' and ']' lie two apart
	s.pos++
	if s.peek() == closing {
		s.pos++
		return true
	}
	for {
		if !element() {
			return false
		}
		switch s.peek() {
		case ',':
			s.pos++
		case closing:
			s.pos++
			return true
		default:
			return s.invalid()
		}
	}
}

// resources reads what was touched; valid is whether all of it is texts.
func (d *ActivityDecoder) resources() (valid, ok bool) {
	valid = true
	ok = d.list(func() bool {
		v, ok := d.value(2)
		if ok && v.kind == '"' {
			d.b.resource(&v)
		}
		valid = valid && (v.kind == '"' || v.kind == 'n')
		return ok
	})
	return valid, ok
}

// attributes reads open names and values.
func (d *ActivityDecoder) attributes() bool {
	return d.list(func() bool {
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
	return d.list(func() bool {
		v, ok := d.value(2)
		if ok && v.kind == '"' {
			d.b.flag(v.text)
		}
		return ok
	})
}
