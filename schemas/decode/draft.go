package decode

import (
	"strconv"

	"github.com/plumbline-sec/plumbline/schemas"
)

// draft is an event in the making. A form other than `activity` writes into it
// what it has found, under the names of the activity contract, and emit lets the
// activity decoder read that: limits, flags and refusals are the same whatever
// form an event came in, and stand in one place.
//
// Of an event that is a part of a record the size has no limit of its own: its
// long strings are cut, and the record is bounded by Kafka.
//
// The strings of the event share the draft's memory, which the next event takes.
type draft struct {
	d         *ActivityDecoder
	buf       []byte
	resources []byte
	attrs     []byte
	id        bool // an event_id was written
	written   int  // attributes in attrs
	more      int  // attributes that were there beyond what an event holds
	replaced  bool // something in the event was not UTF-8, and is now
	trace     func(field, path string)
}

func newDraft() *draft {
	return &draft{d: &ActivityDecoder{unbounded: true}}
}

// begin starts the next event.
func (w *draft) begin() {
	w.buf, w.resources, w.attrs, w.id = append(room(w.buf), '{'), room(w.resources), room(w.attrs), false
	w.written, w.more, w.replaced = 0, 0, false
}

// room empties b, and gives back what a huge event has taken.
func room(b []byte) []byte {
	if cap(b) > schemas.MaxEventBytes {
		return nil
	}
	return b[:0]
}

// text writes a field of the contract. The empty string is no value.
func (w *draft) text(name, value string) {
	if value == "" {
		return
	}
	w.id = w.id || name == "event_id"
	w.buf = append(appendText(w.name(name), value), ',')
}

// count writes a number. 0 is no value.
func (w *draft) count(name string, n uint64) {
	if n != 0 {
		w.buf = append(strconv.AppendUint(w.name(name), n, 10), ',')
	}
}

// raw writes JSON text as it stood in the source: what is wrong with it, the
// activity decoder says. nil is no value.
func (w *draft) raw(name string, value []byte) {
	if len(value) > 0 {
		w.id = w.id || name == "event_id"
		w.buf = append(append(w.name(name), value...), ',')
	}
}

// resource adds a resource `kind:id`.
func (w *draft) resource(kind, id string) {
	if id == "" {
		return
	}
	if kind != "" {
		id = kind + ":" + id
	}
	w.resources = append(appendText(w.resources, id), ',')
}

// attribute adds to the open attributes. The empty string is no value.
func (w *draft) attribute(name, value string) {
	if value != "" {
		w.attrs = append(appendText(w.attrs, name), ':')
		w.attrs = append(appendText(w.attrs, value), ',')
	}
}

// emit finishes the event, the index-th of its record.
func (w *draft) emit(rec *Record, index int32, emit func(index int32, ev *schemas.Activity, refusal *Refusal)) {
	if !w.id {
		w.text("event_id", string(appendOwnID(nil, rec, index)))
	}
	if len(w.resources) > 0 {
		w.buf = append(append(append(w.name("resources"), '['), closed(w.resources)...), ']', ',')
	}
	if len(w.attrs) > 0 {
		w.buf = append(append(append(w.name("attributes"), '{'), closed(w.attrs)...), '}', ',')
	}
	w.buf = append(closed(w.buf), '}')
	part := *rec
	part.Value = w.buf
	w.d.extra = w.more
	w.d.Decode(&part, func(_ int32, ev *schemas.Activity, refusal *Refusal) {
		if ev != nil && w.replaced {
			ev.Flags.UTF8Replaced = true
		}
		emit(index, ev, refusal)
	})
}

func (w *draft) name(name string) []byte { return append(appendText(w.buf, name), ':') }

// closed takes the comma behind the last member away.
func closed(b []byte) []byte {
	if n := len(b) - 1; b[n] == ',' {
		return b[:n]
	}
	return b
}

// appendText appends s as a JSON string. Unlike schemas.AppendString it leaves
// what is not UTF-8 as it is, so that the activity decoder sees and flags it.
func appendText(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	start := 0
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[start:i]...)
		if c == '"' || c == '\\' {
			dst = append(dst, '\\', c)
		} else {
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		start = i + 1
	}
	return append(append(dst, s[start:]...), '"')
}
