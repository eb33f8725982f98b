// Package mapping reads any JSON by paths in the config, and OCSF, which is a
// mapping as a constant.
package mapping

import (
	"slices"
	"strconv"
	"strings"

	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
	"github.com/plumbline-sec/plumbline/schemas/decode/jsonscan"
)

// decoder reads what its paths lead to.
//
// Invariants:
//  1. A record is one event, or as many as the list at `events` has elements; a
//     record that is a list is always as many.
//  2. The first place that has a value fills a field. What fills no field, and is
//     not dropped, is an attribute under its path.
//  3. A name that stands twice on the way to the agent refuses the event.
//
// It is not safe for concurrent use: one goroutine, one decoder.
type decoder struct {
	decode.TreeBuilder
	skipped int

	events    []string      // names on the way to the list
	only      [][]condition // of one of these groups all hold; none: every event counts
	fields    []mappedField // agent_id and tenant_id first
	resources []mappedField
	drop      []place
	rest      bool
}

// condition: it holds where a value at path is one of values, or is any where there
// are none; or where that is not so.
type condition struct {
	at     place
	values []string
	not    bool
}

// mappedField is a field and the places that it is looked for in.
type mappedField struct {
	field  schemas.Field
	number bool   // the field takes one
	kind   string // of a resource
	places []place
	values map[string]string // what a value means; "*" any other
}

// place is where a value comes from.
type place struct {
	kind  byte            // '.' the value, '=' constant, 'l' its size in bytes, 's' seconds since 1970, '{' joined
	slot  int             // of the names that the path begins with
	path  []jsonscan.Step // what follows on them
	value string
	join  []part
	when  *condition // it counts only where this holds
}

// part is a piece of a joined text: what stands before a value, and the value.
type part struct {
	text string
	at   *place // nil: the text ends the whole
}

// Skipped implements decode.Skipper.
func (d *decoder) Skipped() int { return d.skipped }

// Decode implements decode.Decoder.
func (d *decoder) Decode(rec *decode.Record, emit decode.EmitFunc) {
	d.skipped = 0
	d.Start(rec, emit)
	b := rec.Value
	for _, name := range d.events {
		var below []byte
		err := jsonscan.Members(b, func(n string, value []byte) {
			if n == name {
				below = value
			}
		})
		if err != nil {
			d.End(err)
			return
		}
		if below == nil {
			d.Refuse(&decode.Refusal{Reason: decode.ReasonNoEvents, Field: strings.Join(d.events, "."), Detail: "absent"})
			return
		}
		b = below
	}
	var s jsonscan.Scanner
	s.Reset(b)
	if s.Peek() == '[' {
		d.List(b[s.Pos:])
	} else {
		d.One(b)
	}
}

// event makes an event of the tree.
func (d *decoder) event() {
	if !d.wanted() {
		d.skipped++
		return
	}
	d.Begin()
	d.Twice = false
	for i := range d.fields {
		f := &d.fields[i]
		d.fill(f)
		if d.Twice && f.field <= schemas.FieldAgentID {
			d.Refuse(&decode.Refusal{Reason: decode.ReasonDuplicateIdentity, Field: f.field.String(), Detail: "a name on the way to it stands twice"})
			return
		}
	}
	for i := range d.resources {
		d.touched(&d.resources[i])
	}
	for i := range d.drop {
		d.at(&d.drop[i], func(i int32) bool { d.Take(i); return true })
	}
	if d.rest {
		d.Rest()
	}
	d.Emit()
}

// at calls visit with the nodes at a place until visit returns false; it returns
// false then too.
func (d *decoder) at(p *place, visit func(i int32) bool) bool {
	i := d.Ask(p.slot)
	return i == jsonscan.None && p.slot > 0 || d.Each(i, p.path, visit)
}

// wanted reports whether the event is one of those that count.
func (d *decoder) wanted() bool {
	for _, group := range d.only {
		all := true
		for i := range group {
			all = all && d.holds(&group[i])
		}
		if all {
			return true
		}
	}
	return len(d.only) == 0
}

func (d *decoder) holds(c *condition) bool {
	return c.not == d.at(&c.at, func(i int32) bool {
		s := d.Str(i)
		if len(c.values) > 0 {
			return !slices.Contains(c.values, s)
		}
		raw := d.Raw(i)
		return s == "" && (len(raw) == 0 || raw[0] == '"') || s == "false"
	})
}

// fill fills a field from the first of its places that has a value.
func (d *decoder) fill(f *mappedField) {
	for i := range f.places {
		p := &f.places[i]
		if p.when != nil && !d.holds(p.when) {
			continue
		}
		switch {
		case p.kind == '=':
			d.Text(f.field, p.value)
			return
		case p.kind == '{':
			if s, at, ok := d.joined(p); ok && d.meant(f, s, at) {
				return
			}
		case p.kind == 'l':
			var size uint64
			d.at(p, func(i int32) bool {
				size += d.Size(i)
				d.From(f.field, i)
				return true
			})
			if d.Count(f.field, size); size > 0 {
				return
			}
		case len(p.path) == 0:
			if d.write(f, p, d.Ask(p.slot)) {
				return
			}
		case !d.at(p, func(i int32) bool { return !d.write(f, p, i) }):
			return
		}
	}
}

// write sets a field to the value of node i, and returns false where there is none.
func (d *decoder) write(f *mappedField, p *place, i int32) bool {
	if d.Empty(i) {
		return false
	}
	v := d.Of(i)
	d.Replaced = d.Replaced || v.Replaced
	if f.values != nil {
		if means, known := f.meaning(d.Str(i)); known {
			d.Text(f.field, means)
			if means != "" {
				d.From(f.field, i)
			}
			return means != ""
		}
	}
	scalar := v.Kind != '{' && v.Kind != '['
	switch {
	case p.kind == 's':
		seconds, err := strconv.ParseFloat(d.Str(i), 64)
		if millis := seconds * 1000; err == nil && millis >= 0 && millis < float64(decode.MaxTime) {
			at := schemas.Millis(millis).Time().UTC()
			v = jsonscan.Value{Kind: '"', Text: d.Mem.Done(at.AppendFormat(d.Mem.Take(24), "2006-01-02T15:04:05.000Z07:00"))}
		}
	case f.number && v.Kind == '"' && isInteger(v.Text): // a number in quotes
		v.Kind = '0'
	case !f.number && scalar && v.Kind != '"': // a number that is a name
		v.Kind = '"'
	}
	d.Set(f.field, &v)
	if scalar {
		d.Take(i)
	}
	d.From(f.field, i)
	return true
}

// meaning returns what a value means, and whether the options say so.
func (f *mappedField) meaning(s string) (string, bool) {
	means, known := f.values[s]
	if !known {
		means, known = f.values["*"]
	}
	return means, known
}

// meant sets a field to a text that was made, or to what that means; false where it
// means nothing.
func (d *decoder) meant(f *mappedField, s string, at int32) bool {
	if f.values != nil {
		if means, known := f.meaning(s); known {
			s = means
		}
	}
	d.Text(f.field, s)
	if s != "" {
		d.From(f.field, at)
	}
	return s != ""
}

// joined returns the text that a place makes of values, and where one of them stands;
// false where one of them is not there.
func (d *decoder) joined(p *place) (text string, at int32, ok bool) {
	b := d.Mem.Take(64)
	for i := range p.join {
		b = append(b, p.join[i].text...)
		if p.join[i].at == nil {
			continue
		}
		found := false
		d.at(p.join[i].at, func(n int32) bool {
			s := d.Str(n)
			if found = s != ""; found {
				b, at = append(b, s[:min(len(s), schemas.MaxStringBytes)]...), n
			}
			return !found
		})
		if !found {
			return "", jsonscan.None, false
		}
	}
	return d.Mem.Done(b), at, true
}

func isInteger(s string) bool {
	for i := range len(s) {
		if !jsonscan.IsDigit(s[i]) {
			return false
		}
	}
	return s != "" && (len(s) == 1 || s[0] != '0')
}

// touched adds the resources at the first of the places that has any.
func (d *decoder) touched(f *mappedField) {
	for i := range f.places {
		found := false
		p := &f.places[i]
		if p.when != nil && !d.holds(p.when) {
			continue
		}
		if p.kind == '{' {
			if s, at, ok := d.joined(p); ok {
				d.Touch(decode.ResourceName(f.kind, s))
				d.From(schemas.FieldResources, at)
				return
			}
			continue
		}
		d.at(p, func(i int32) bool {
			if s := d.Str(i); s != "" {
				found = true
				d.Touch(decode.ResourceName(f.kind, s))
				d.From(schemas.FieldResources, i)
				d.Take(i)
			}
			return true
		})
		if found {
			return
		}
	}
}
