package decode

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/plumbline-sec/plumbline/schemas"
)

// mappingForm reads the options of a mapping.
func mappingForm(o *options) Decoder {
	d := &MappingDecoder{w: newDraft()}
	d.rest = o.text("attributes", "rest", "rest", "none") == "rest"
	if events := o.text("events", ""); events != "" {
		for _, st := range o.path("events", events) {
			if st.kind != '.' {
				o.wrong("events", "has an index in it", "name the list itself, with names and dots alone")
				break
			}
			d.events = append(d.events, st.name)
		}
	}
	for _, e := range o.entries("only") {
		c := condition{path: o.path(e.key, e.name), values: o.texts(e.key, e.value)}
		if slices.Contains(c.values, "*") {
			c.values = nil
		}
		d.only = append(d.only, c)
	}
	values := make(map[string]map[string]string)
	for _, e := range o.entries("values") {
		values[e.name] = o.meanings(e)
	}
	for _, e := range o.entries("fields") {
		switch f := lookup(e.name); {
		case f == fResources || f == fAttributes:
			o.wrong(e.key, "is no single value", "write "+e.name+" beside fields")
		case f >= fRecordedAt:
			o.wrong(e.key, "is no field of an event", "fields are "+strings.Join(fieldNames[:fRecordedAt], ", "))
		default:
			d.fields = append(d.fields, mappedField{name: e.name, places: o.places(e), values: values[e.name]})
			delete(values, e.name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		o.wrong("values."+name, "has no field to it", "write where it comes from under fields")
	}
	if !slices.ContainsFunc(d.fields, func(f mappedField) bool { return f.name == "agent_id" }) {
		o.wrong("fields", "says nothing of agent_id: without it every event is refused", "write fields: {agent_id: PATH}")
	}
	// The identity is looked for first, so that a name that stands twice is seen.
	slices.SortStableFunc(d.fields, func(a, b mappedField) int { return cmp.Compare(lookup(a.name), lookup(b.name)) })
	for _, e := range o.entries("resources") {
		f := mappedField{name: e.name, places: o.places(e)}
		if slices.ContainsFunc(f.places, func(p place) bool { return p.kind != '.' }) {
			o.wrong(e.key, "is no path", "a resource is what stands in the record")
		}
		d.resources = append(d.resources, f)
	}
	for i, p := range o.list("drop", nil) {
		d.drop = append(d.drop, o.path(fmt.Sprintf("drop[%d]", i), p))
	}
	return d
}

func (o *options) path(key, text string) []step {
	path, problem := parsePath(text)
	if problem != "" {
		o.wrong(key, quote(text)+" "+problem, `a path is names with dots between, [0], [*], ["a name"]`)
	}
	return path
}

// places reads a place, or a list of them.
func (o *options) places(e entry) []place {
	texts := o.texts(e.key, e.value)
	if len(texts) == 0 {
		o.wrong(e.key, "names no place", "write a path")
	}
	out := make([]place, 0, len(texts))
	for i, s := range texts {
		key := e.key
		if _, isList := e.value.([]any); isList {
			key = fmt.Sprintf("%s[%d]", e.key, i)
		}
		p := place{kind: '.'}
		if value, ok := strings.CutPrefix(s, "="); ok {
			out = append(out, place{kind: '=', value: value})
			continue
		}
		for kind, name := range map[byte]string{'l': "len(", 's': "seconds("} {
			if inner, ok := strings.CutPrefix(s, name); ok && strings.HasSuffix(inner, ")") {
				p.kind, s = kind, strings.TrimSuffix(inner, ")")
			}
		}
		switch f := lookup(e.name); {
		case p.kind == 'l' && countOf(&schemas.Activity{}, f) == nil:
			o.wrong(key, "is a size, and "+e.name+" takes none", "write len(PATH) for bytes_sent, bytes_received, tokens_in, tokens_out, duration_ms")
		case p.kind == 's' && f != fTime && f != fCredentialExpires:
			o.wrong(key, "is a time, and "+e.name+" takes none", "write seconds(PATH) for time and credential_expires")
		}
		p.path = o.path(key, s)
		out = append(out, p)
	}
	return out
}

// meanings reads what the values of a field mean, and holds them against those
// that the field takes.
func (o *options) meanings(e entry) map[string]string {
	allowed := map[string][]string{
		"access":  {schemas.AccessRead, schemas.AccessWrite, schemas.AccessDelete, schemas.AccessSend, schemas.AccessExecute, ""},
		"outcome": {schemas.OutcomeSuccess, schemas.OutcomeFailure, schemas.OutcomeDenied, ""},
	}[e.name]
	out := make(map[string]string)
	for _, v := range o.below(e.key, e.value) {
		s, ok := v.value.(string)
		switch {
		case !ok:
			o.wrong(v.key, "is not a text", "write it in quotes")
		case allowed != nil && !slices.Contains(allowed, s):
			o.wrong(v.key, "is "+quote(s), "write one of "+strings.Join(allowed[:len(allowed)-1], ", "))
		}
		out[v.name] = s
	}
	return out
}
