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
	b       builder
	skipped int

	events    []string // names on the way to the list
	only      []condition
	fields    []mappedField // agent_id and tenant_id first
	resources []mappedField
	drop      []place
	rest      bool
}

// condition: an event counts where a value at path is one of values, or is any
// where there are none.
type condition struct {
	at     place
	values []string
}

// mappedField is a field and the places that it is looked for in.
type mappedField struct {
	field  field
	kind   string // of a resource
	places []place
	values map[string]string // what a value means; "*" any other
}

// place is where a value comes from.
type place struct {
	kind  byte   // '.' the value, '=' constant, 'l' its size in bytes, 's' seconds since 1970
	slot  int    // of the names that the path begins with
	path  []step // what follows on them
	value string
}

// Skipped implements Skipper.
func (d *MappingDecoder) Skipped() int { return d.skipped }

// Trace implements Tracer.
func (d *MappingDecoder) Trace(note func(field, path string)) { d.b.trace = note }

// Decode implements Decoder.
func (d *MappingDecoder) Decode(rec *Record, emit emitFunc) {
	d.skipped = 0
	index := int32(0)
	b := rec.Value
	for _, name := range d.events {
		var below []byte
		refusal := object(b, func(n string, value []byte) {
			if n == name {
				below = value
			}
		})
		if refusal == nil && below == nil {
			refusal = &Refusal{Reason: ReasonNoEvents, Field: strings.Join(d.events, "."), Detail: "absent"}
		}
		if refusal != nil {
			emit(0, nil, refusal)
			return
		}
		b = below
	}
	var s scanner
	s.reset(b)
	if s.peek() != '[' {
		d.event(rec, d.t.parse(b), 0, emit)
		return
	}
	if refusal := elements(b[s.pos:], func(s *scanner) bool {
		refusal, ok := d.t.element(s, 1)
		if ok {
			d.event(rec, refusal, index, emit)
			index++
		}
		return ok
	}); refusal != nil {
		emit(index, nil, refusal)
	}
}

// event makes an event of the tree, unless that could not be read.
func (d *MappingDecoder) event(rec *Record, refusal *Refusal, index int32, emit emitFunc) {
	t, b := &d.t, &d.b
	if refusal == nil && t.nodes[0].kind != '{' {
		refusal = &Refusal{Reason: ReasonNotJSON, Detail: "an event is no object"}
	}
	if refusal != nil {
		emit(index, nil, refusal)
		return
	}
	for i := range d.only {
		if !d.holds(&d.only[i]) {
			d.skipped++
			return
		}
	}
	b.begin()
	t.twice = false
	for i := range d.fields {
		f := &d.fields[i]
		d.fill(f)
		if t.twice && f.field <= fAgentID {
			emit(index, nil, &Refusal{Reason: ReasonDuplicateIdentity, Field: fieldNames[f.field], Detail: "a name on the way to it stands twice"})
			return
		}
	}
	for i := range d.resources {
		d.touched(&d.resources[i])
	}
	for i := range d.drop {
		d.each(&d.drop[i], func(i int32) bool { t.take(i); return true })
	}
	if d.rest {
		t.rest(b)
	}
	t.emit(b, rec, index, emit)
}

// each calls visit with the nodes at a place until visit returns false; it returns
// false then too.
func (d *MappingDecoder) each(p *place, visit func(i int32) bool) bool {
	i := d.t.ask(p.slot)
	return i == none && p.slot > 0 || d.t.each(i, p.path, visit)
}

func (d *MappingDecoder) holds(c *condition) bool {
	return !d.each(&c.at, func(i int32) bool {
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
	t, b := &d.t, &d.b
	for i := range f.places {
		p := &f.places[i]
		switch {
		case p.kind == '=':
			b.text(f.field, p.value)
			return
		case p.kind == 'l':
			var size uint64
			d.each(p, func(i int32) bool {
				size += t.size(i)
				t.from(b, f.field, i)
				return true
			})
			if b.count(f.field, size); size > 0 {
				return
			}
		case len(p.path) == 0:
			if d.write(f, p, t.ask(p.slot)) {
				return
			}
		case !d.each(p, func(i int32) bool { return !d.write(f, p, i) }):
			return
		}
	}
}

// write sets a field to the value of node i, and returns false where there is none.
func (d *MappingDecoder) write(f *mappedField, p *place, i int32) bool {
	t, b := &d.t, &d.b
	if t.empty(i) {
		return false
	}
	v := t.of(i)
	t.replaced = t.replaced || v.replaced
	if f.values != nil {
		s := t.str(i)
		means, known := f.values[s]
		if !known {
			means, known = f.values["*"]
		}
		if known {
			b.text(f.field, means)
			if means != "" {
				t.from(b, f.field, i)
			}
			return means != ""
		}
	}
	isNumber := f.field == fTime || countOf(&b.ev, f.field) != nil
	scalar := v.kind != '{' && v.kind != '['
	switch {
	case p.kind == 's':
		seconds, err := strconv.ParseFloat(t.str(i), 64)
		if millis := seconds * 1000; err == nil && millis >= 0 && millis < float64(maxTime) {
			at := schemas.Millis(millis).Time().UTC()
			v = value{kind: '"', text: t.mem.done(at.AppendFormat(t.mem.take(24), "2006-01-02T15:04:05.000Z07:00"))}
		}
	case isNumber && v.kind == '"' && isInteger(v.text): // a number in quotes
		v.kind = '0'
	case !isNumber && scalar && v.kind != '"': // a number that is a name
		v.kind = '"'
	}
	b.set(f.field, &v)
	if scalar {
		t.take(i)
	}
	t.from(b, f.field, i)
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
	t, b := &d.t, &d.b
	for i := range f.places {
		found := false
		d.each(&f.places[i], func(i int32) bool {
			if s := t.str(i); s != "" {
				found = true
				b.touch(resourceName(f.kind, s))
				t.from(b, fResources, i)
				t.take(i)
			}
			return true
		})
		if found {
			return
		}
	}
}
