package decode

import (
	"slices"
	"strconv"
	"strings"

	"github.com/plumbline-sec/plumbline/schemas"
)

// MappingDecoder reads any JSON by paths in the config.
//
// Invariants:
//  1. A record is one event, or as many as the list at `events` has elements; a
//     record that is a list is always as many.
//  2. The first place that has a value fills a field. What fills no field, and is
//     not dropped, is an attribute under its path.
//  3. A name that stands twice on the way to the agent refuses the event.
//
// It is not safe for concurrent use: one goroutine, one decoder.
type MappingDecoder struct {
	t       tree
	w       *draft
	skipped int

	events    []string // names on the way to the list
	only      []condition
	fields    []mappedField // agent_id and tenant_id first
	resources []mappedField // name is the kind
	drop      [][]step
	rest      bool
}

// condition: an event counts where a value at path is one of values, or is any
// where there are none.
type condition struct {
	path   []step
	values []string
}

// mappedField is a field and the places that it is looked for in.
type mappedField struct {
	name   string
	places []place
	values map[string]string // what a value means; "*" any other
}

// place is where a value comes from.
type place struct {
	kind  byte // '.' the value at path, '=' constant, 'l' its size in bytes, 's' seconds since 1970
	path  []step
	value string
}

// Skipped implements Skipper.
func (d *MappingDecoder) Skipped() int { return d.skipped }

// Trace implements Tracer.
func (d *MappingDecoder) Trace(note func(field, path string)) { d.w.trace = note }

// Decode implements Decoder.
func (d *MappingDecoder) Decode(rec *Record, emit func(index int32, ev *schemas.Activity, refusal *Refusal)) {
	d.skipped = 0
	index := int32(0)
	one := func(value []byte) {
		d.event(rec, value, index, emit)
		index++
	}
	if refusal := d.each(rec.Value, one); refusal != nil {
		emit(index, nil, refusal)
	}
}

// each calls visit for every event of a record.
func (d *MappingDecoder) each(b []byte, visit func(value []byte)) *Refusal {
	for _, name := range d.events {
		var below []byte
		if refusal := object(b, func(n string, value []byte) {
			if n == name {
				below = value
			}
		}); refusal != nil {
			return refusal
		}
		if below == nil {
			return &Refusal{Reason: ReasonNoEvents, Field: strings.Join(d.events, "."), Detail: "absent"}
		}
		b = below
	}
	var s scanner
	s.reset(b)
	if s.peek() == '[' {
		return elements(b[s.pos:], visit)
	}
	visit(b)
	return nil
}

func (d *MappingDecoder) event(rec *Record, value []byte, index int32, emit func(index int32, ev *schemas.Activity, refusal *Refusal)) {
	t, w := &d.t, d.w
	if refusal := t.parse(value); refusal != nil {
		emit(index, nil, refusal)
		return
	}
	if t.nodes[0].kind != '{' {
		emit(index, nil, &Refusal{Reason: ReasonNotJSON, Detail: "an event is no object"})
		return
	}
	for i := range d.only {
		if !d.holds(&d.only[i]) {
			d.skipped++
			return
		}
	}
	w.begin()
	t.twice = false
	for i := range d.fields {
		f := &d.fields[i]
		d.fill(f)
		if t.twice && (f.name == "agent_id" || f.name == "tenant_id") {
			emit(index, nil, &Refusal{Reason: ReasonDuplicateIdentity, Field: f.name, Detail: "a name on the way to it stands twice"})
			return
		}
	}
	for i := range d.resources {
		d.touched(&d.resources[i])
	}
	for _, path := range d.drop {
		t.each(0, path, func(i int32) bool { t.take(i); return true })
	}
	if d.rest {
		t.rest(w)
	}
	w.replaced = t.replaced
	w.emit(rec, index, emit)
}

func (d *MappingDecoder) holds(c *condition) bool {
	return !d.t.each(0, c.path, func(i int32) bool {
		s := d.t.str(i)
		if len(c.values) > 0 {
			return !slices.Contains(c.values, s)
		}
		raw := d.t.raw(i)
		return s == "" && (len(raw) == 0 || raw[0] == '"') || s == "false"
	})
}

// fill fills a field from the first of its places that has a value.
func (d *MappingDecoder) fill(f *mappedField) {
	t, w := &d.t, d.w
	for i := range f.places {
		p := &f.places[i]
		if p.kind == '=' {
			w.text(f.name, p.value)
			return
		}
		if p.kind == 'l' {
			var size uint64
			t.each(0, p.path, func(i int32) bool {
				size += t.size(i)
				w.from(f.name, t, i)
				return true
			})
			if w.count(f.name, size); size > 0 {
				return
			}
			continue
		}
		if !t.each(0, p.path, func(i int32) bool { return !d.write(f, p, i) }) {
			return
		}
	}
}

// write writes the value of node i into a field, and returns false where there is
// none.
func (d *MappingDecoder) write(f *mappedField, p *place, i int32) bool {
	t, w := &d.t, d.w
	raw := t.raw(i)
	if len(raw) == 0 || string(raw) == `""` {
		return false
	}
	if f.values != nil {
		s := t.str(i)
		means, known := f.values[s]
		if !known {
			means, known = f.values["*"]
		}
		if known {
			w.text(f.name, means)
			if means != "" {
				w.from(f.name, t, i)
			}
			return means != ""
		}
	}
	k := lookup(f.name)
	isCount := countOf(&schemas.Activity{}, k) != nil
	scalar := t.nodes[i].kind != '{' && t.nodes[i].kind != '['
	switch s := t.str(i); {
	case p.kind == 's':
		seconds, err := strconv.ParseFloat(s, 64)
		if millis := seconds * 1000; err == nil && millis >= 0 && millis < float64(maxTime) {
			raw = strconv.AppendInt(nil, int64(millis), 10)
		}
		w.raw(f.name, raw)
	case (isCount || k == fTime) && t.nodes[i].kind == '"' && isInteger(s):
		w.raw(f.name, []byte(s)) // a number in quotes
	case !isCount && k != fTime && scalar && t.nodes[i].kind != '"':
		w.text(f.name, s) // a number that is a name
	default:
		w.raw(f.name, raw)
	}
	if scalar {
		t.take(i)
	}
	w.from(f.name, t, i)
	return true
}

func isInteger(s string) bool {
	for i := range len(s) {
		if !isDigit(s[i]) {
			return false
		}
	}
	return s != "" && (len(s) == 1 || s[0] != '0')
}

// touched adds the resources at the first of the places that has any.
func (d *MappingDecoder) touched(f *mappedField) {
	t, w := &d.t, d.w
	for i := range f.places {
		found := false
		t.each(0, f.places[i].path, func(i int32) bool {
			if s := t.str(i); s != "" {
				found = true
				w.resource(resourceName(f.name, s))
				w.from("resources", t, i)
				t.take(i)
			}
			return true
		})
		if found {
			return
		}
	}
}
