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
	d, p := &MappingDecoder{}, newPlan()
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
		c := condition{at: p.place(o.path(e.key, e.name)), values: o.texts(e.key, e.value)}
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
			d.fields = append(d.fields, mappedField{field: f, places: o.places(p, e), values: values[e.name]})
			delete(values, e.name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		o.wrong("values."+name, "has no field to it", "write where it comes from under fields")
	}
	if !slices.ContainsFunc(d.fields, func(f mappedField) bool { return f.field == fAgentID }) {
		o.wrong("fields", "says nothing of agent_id: without it every event is refused", "write fields: {agent_id: PATH}")
	}
	// The identity is looked for first, so that a name that stands twice is seen.
	slices.SortStableFunc(d.fields, func(a, b mappedField) int { return cmp.Compare(a.field, b.field) })
	for _, e := range o.entries("resources") {
		f := mappedField{kind: e.name, places: o.places(p, e)}
		if slices.ContainsFunc(f.places, func(p place) bool { return p.kind != '.' }) {
			o.wrong(e.key, "is no path", "a resource is what stands in the record")
		}
		d.resources = append(d.resources, f)
	}
	for i, path := range o.list("drop", nil) {
		d.drop = append(d.drop, p.place(o.path(fmt.Sprintf("drop[%d]", i), path)))
	}
	d.t = newTree(p, &d.b.mem)
	return d
}

func (o *options) path(key, text string) []step {
	path, problem := parsePath(text)
	if problem != "" {
		o.wrong(key, quote(text)+" "+problem, `a path is names with dots between, [0], [*], ["a name"]`)
	}
	return path
}

// place asks for what a path leads to.
func (p *plan) place(path []step) place {
	var names []string
	for len(path) > 0 && path[0].kind == '.' {
		names, path = append(names, path[0].name), path[1:]
	}
	return place{kind: '.', slot: p.slot(names...), path: path}
}

// places reads a place, or a list of them.
func (o *options) places(p *plan, e entry) []place {
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
		kind := byte('.')
		if value, ok := strings.CutPrefix(s, "="); ok {
			out = append(out, place{kind: '=', value: value})
			continue
		}
		for k, name := range map[byte]string{'l': "len(", 's': "seconds("} {
			if inner, ok := strings.CutPrefix(s, name); ok && strings.HasSuffix(inner, ")") {
				kind, s = k, strings.TrimSuffix(inner, ")")
			}
		}
		switch f := lookup(e.name); {
		case kind == 'l' && countOf(&schemas.Activity{}, f) == nil:
			o.wrong(key, "is a size, and "+e.name+" takes none", "write len(PATH) for bytes_sent, bytes_received, tokens_in, tokens_out, duration_ms")
		case kind == 's' && f != fTime && f != fCredentialExpires:
			o.wrong(key, "is a time, and "+e.name+" takes none", "write seconds(PATH) for time and credential_expires")
		}
		at := p.place(o.path(key, s))
		at.kind = kind
		out = append(out, at)
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
