package decode

import (
	"strconv"
	"strings"

	"github.com/plumbline-sec/plumbline/schemas"
)

// The functions here read the value that begins with c. valid is whether it is
// one that the field takes; ok is whether it is JSON.

// limit cuts s to the longest string that an event may hold.
func (d *ActivityDecoder) limit(s string) string {
	if len(s) <= schemas.MaxStringBytes {
		return s
	}
	d.ev.Flags.StringsCut++
	return truncate(s, schemas.MaxStringBytes)
}

// text reads the value of the string at pos. replaced: something in it was not
// UTF-8 and became U+FFFD.
func (d *ActivityDecoder) text() (v string, replaced, ok bool) {
	if v, ok = d.s.simple(); ok {
		return v, false, true
	}
	t, ok := d.s.str()
	if !ok {
		return "", false, false
	}
	v, replaced = d.mem.text(d.s.b, t)
	return v, replaced, true
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

// str reads the string at pos, replaced and cut as needed.
func (d *ActivityDecoder) str() (string, bool) {
	v, replaced, ok := d.text()
	if replaced {
		d.ev.Flags.UTF8Replaced = true
	}
	return d.limit(v), ok
}

func (d *ActivityDecoder) textField(c byte, to *string) (valid, ok bool) {
	if c != '"' {
		return false, d.s.skip(1)
	}
	*to, ok = d.str()
	return true, ok
}

func (d *ActivityDecoder) countField(c byte, to *uint64) (valid, ok bool) {
	if c != '-' && !isDigit(c) {
		return false, d.s.skip(1)
	}
	text, ok := d.s.number()
	if !ok {
		return false, false
	}
	*to, valid = parseUint(text)
	return valid, true
}

func (d *ActivityDecoder) timeField(c byte, to *schemas.Millis, number bool) (valid, ok bool) {
	switch {
	case c == '"':
		text, _, ok := d.text()
		if !ok || text == "" {
			return true, ok
		}
		v, valid := parseTime(text)
		if valid {
			*to = v
		}
		return valid, true
	case number && isDigit(c):
		text, ok := d.s.number()
		if !ok {
			return false, false
		}
		v, valid := parseUint(text)
		if !valid || v > uint64(maxTime) || v == 0 {
			return false, true
		}
		*to = schemas.Millis(v)
		return true, true
	default:
		return false, d.s.skip(1)
	}
}

// enumField keeps the constant and not the record's bytes.
func (d *ActivityDecoder) enumField(c byte, to *string, values ...string) (valid, ok bool) {
	if c != '"' {
		return false, d.s.skip(1)
	}
	v, _, ok := d.text()
	if !ok {
		return false, false
	}
	for _, value := range values {
		if v == value {
			*to = value
			return true, true
		}
	}
	return v == "", true
}

func (d *ActivityDecoder) resources(c byte) (valid, ok bool) {
	s, ev := &d.s, &d.ev
	if c != '[' {
		return false, s.skip(1)
	}
	s.pos++
	if s.peek() == ']' {
		s.pos++
		return true, true
	}
	valid = true
	total := 0
	for {
		switch s.peek() {
		case '"':
			v, replaced, ok := d.text()
			if !ok {
				return false, false
			}
			if v == "" {
				break
			}
			total++
			if total <= schemas.MaxResources {
				ev.Flags.UTF8Replaced = ev.Flags.UTF8Replaced || replaced
				ev.Resources = append(ev.Resources, d.resource(v))
			}
		case 'n':
			if !s.literal("null") {
				return false, false
			}
		default:
			valid = false
			if !s.skip(2) {
				return false, false
			}
		}
		switch s.peek() {
		case ',':
			s.pos++
			continue
		case ']':
			s.pos++
			if total > schemas.MaxResources {
				ev.Flags.ResourcesCut = total
			}
			return valid, true
		}
		return false, s.invalid()
	}
}

// resource gives a bare id the kind "other". What comes out of it goes through it
// unchanged.
func (d *ActivityDecoder) resource(v string) string {
	cut := d.limit(v)
	if strings.IndexByte(cut, ':') > 0 {
		return cut
	}
	const kind = "other:"
	b := append(append(d.mem.take(len(kind)+len(cut)), kind...), cut...)
	named := d.mem.done(b)
	if len(cut) == len(v) {
		return d.limit(named)
	}
	return truncate(named, schemas.MaxStringBytes)
}

// attributes reads the object of open names and values.
func (d *ActivityDecoder) attributes(c byte) (valid, ok bool) {
	s := &d.s
	if c != '{' {
		return false, s.skip(1)
	}
	s.pos++
	if s.peek() == '}' {
		s.pos++
		return true, true
	}
	for {
		name, replaced, ok := d.key()
		if !ok {
			return false, false
		}
		if replaced {
			d.ev.Flags.UTF8Replaced = true
		}
		if !d.attribute(name, 2) {
			return false, false
		}
		switch s.peek() {
		case ',':
			s.pos++
			continue
		case '}':
			s.pos++
			return true, true
		}
		return false, s.invalid()
	}
}

// attribute reads the value at pos, in depth containers, into the attributes: a
// string is its value, anything else its JSON text.
func (d *ActivityDecoder) attribute(name string, depth int) (ok bool) {
	s := &d.s
	var v string
	switch c := s.peek(); c {
	case '"':
		if v, ok = d.str(); !ok {
			return false
		}
	case 'n':
		return s.literal("null")
	case '{', '[':
		start := s.pos
		if !s.skip(depth) {
			return false
		}
		var cut, replaced bool
		v, cut, replaced = d.mem.compact(s.b[start:s.pos])
		if cut {
			d.ev.Flags.StringsCut++
		}
		if replaced {
			d.ev.Flags.UTF8Replaced = true
		}
	default:
		start := s.pos
		if !s.scalar(c) {
			return false
		}
		v = d.limit(alias(s.b[start:s.pos]))
	}
	d.keepAttribute(d.limit(name), v)
	return true
}

// manyAttributes is how many attributes are searched one by one.
const manyAttributes = 12

func (d *ActivityDecoder) keepAttribute(name, v string) {
	attrs := d.ev.Attributes
	if len(attrs) < manyAttributes {
		for i := range attrs {
			if attrs[i].Key == name {
				attrs[i].Value = v
				return
			}
		}
	} else {
		if d.attrs == nil {
			d.attrs = make(map[string]uint16, schemas.MaxAttributes)
		}
		if len(d.attrs) == 0 {
			for i := range attrs {
				d.attrs[attrs[i].Key] = uint16(i)
			}
		}
		if i, known := d.attrs[name]; known {
			attrs[i].Value = v
			return
		}
		if len(attrs) == schemas.MaxAttributes {
			d.more++
			return
		}
		d.attrs[name] = uint16(len(attrs))
	}
	d.ev.Attributes = append(d.ev.Attributes, schemas.Attribute{Key: name, Value: v})
}

// flags reads what route noted. A flag of a later version is passed over.
func (d *ActivityDecoder) flags(c byte) (valid, ok bool) {
	s := &d.s
	if c != '[' {
		return false, s.skip(1)
	}
	s.pos++
	if s.peek() == ']' {
		s.pos++
		return true, true
	}
	for {
		if s.peek() != '"' {
			if !s.skip(2) {
				return false, false
			}
		} else {
			v, _, ok := d.text()
			if !ok {
				return false, false
			}
			d.flag(v)
		}
		switch s.peek() {
		case ',':
			s.pos++
			continue
		case ']':
			s.pos++
			return true, true
		}
		return false, s.invalid()
	}
}

func (d *ActivityDecoder) flag(v string) {
	f := &d.ev.Flags
	name, arg, _ := strings.Cut(v, ":")
	number := func() int {
		n, err := strconv.Atoi(arg)
		if err != nil || n < 0 {
			return 0
		}
		return n
	}
	switch name {
	case "time_clamped":
		f.TimeClamped = true
	case "old":
		f.Old = true
	case "utf8_replaced":
		f.UTF8Replaced = true
	case "resources_cut":
		f.ResourcesCut = max(f.ResourcesCut, number())
	case "attributes_cut":
		f.AttributesCut = max(f.AttributesCut, number())
	case "strings_cut":
		f.StringsCut = max(f.StringsCut, number())
	case "fields_invalid":
		for field := range strings.SplitSeq(arg, ",") {
			if known := lookup(field); known != unknown {
				d.noted |= 1 << known
			}
		}
	}
}
