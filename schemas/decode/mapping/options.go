package mapping

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
	"github.com/plumbline-sec/plumbline/schemas/decode/jsonscan"
)

// reader reads the options of a mapping into a plan.
type reader struct {
	*decode.Options
	plan *jsonscan.Plan
}

// New returns the decoder that the options describe.
func New(options *decode.Options) decode.Decoder {
	d, o := &decoder{}, reader{Options: options, plan: jsonscan.NewPlan()}
	d.rest = o.Text("attributes", "rest", "rest", "none") == "rest"
	if events := o.Text("events", ""); events != "" {
		for _, st := range o.path("events", events) {
			if st.Kind != '.' {
				o.Wrong("events", "has an index in it", "name the list itself, with names and dots alone")
				break
			}
			d.events = append(d.events, st.Name)
		}
	}
	d.only = o.only()
	values := make(map[string]map[string]string)
	for _, e := range o.Entries("values") {
		values[e.Name] = o.meanings(e)
	}
	for _, e := range o.Entries("fields") {
		switch f := schemas.LookupField(e.Name); {
		case f == schemas.FieldResources || f == schemas.FieldAttributes:
			o.Wrong(e.Key, "is no single value", "write "+e.Name+" beside fields")
		case f >= schemas.FieldRecordedAt:
			var names []string
			for known := range schemas.FieldRecordedAt {
				names = append(names, known.String())
			}
			o.Wrong(e.Key, "is no field of an event", "fields are "+strings.Join(names, ", "))
		default:
			d.fields = append(d.fields, mappedField{field: f, number: f == schemas.FieldTime || isCount(f), places: o.places(e), values: values[e.Name]})
			delete(values, e.Name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		o.Wrong("values."+name, "has no field to it", "write where it comes from under fields")
	}
	if !slices.ContainsFunc(d.fields, func(f mappedField) bool { return f.field == schemas.FieldAgentID }) {
		o.Wrong("fields", "says nothing of agent_id: without it every event is refused", "write fields: {agent_id: PATH}")
	}
	// The identity is looked for first, so that a name that stands twice is seen.
	slices.SortStableFunc(d.fields, func(a, b mappedField) int { return cmp.Compare(a.field, b.field) })
	for _, e := range o.Entries("resources") {
		f := mappedField{kind: e.Name, places: o.places(e)}
		if slices.ContainsFunc(f.places, func(p place) bool { return p.kind != '.' && p.kind != '{' }) {
			o.Wrong(e.Key, "is no path", "a resource is what stands in the record")
		}
		d.resources = append(d.resources, f)
	}
	for i, path := range o.List("drop", nil) {
		d.drop = append(d.drop, o.place(o.path(fmt.Sprintf("drop[%d]", i), path)))
	}
	d.Init(o.plan, d.event)
	return d
}

// isCount reports whether f is a field that counts.
func isCount(f schemas.Field) bool {
	if f == schemas.FieldCount {
		return false
	}
	_, is := f.Of(&schemas.Activity{}).(*uint64)
	return is
}

func (o reader) path(key, text string) []jsonscan.Step {
	path, problem := jsonscan.ParsePath(text)
	if problem != "" {
		o.Wrong(key, strconv.Quote(text)+" "+problem, `a path is names with dots between, [0], [*], ["a name"]`)
	}
	return path
}

// place asks for what a path leads to.
func (o reader) place(path []jsonscan.Step) place {
	var names []string
	for len(path) > 0 && path[0].Kind == '.' {
		names, path = append(names, path[0].Name), path[1:]
	}
	return place{kind: '.', slot: o.plan.Slot(names...), path: path}
}

// only reads which events count: conditions that all hold, or a list of such.
func (o reader) only() (groups [][]condition) {
	v, ok := o.Value("only")
	if !ok {
		return nil
	}
	list, isList := v.([]any)
	if !isList {
		list = []any{v}
	}
	for i, v := range list {
		key := "only"
		if isList {
			key = fmt.Sprintf("only[%d]", i)
		}
		var group []condition
		for _, e := range o.Below(key, v) {
			c := condition{at: o.place(o.path(e.Key, e.Name)), values: o.Texts(e.Key, e.Value)}
			if slices.Contains(c.values, "*") {
				c.values = nil
			}
			group = append(group, c)
		}
		groups = append(groups, group)
	}
	return groups
}

// when reads a condition behind a place: PATH=VALUE, PATH!=VALUE,VALUE, PATH, !PATH.
func (o reader) when(key, s string) *condition {
	c := &condition{}
	path, values, ok := strings.Cut(s, "=")
	if ok {
		path, c.not = strings.CutSuffix(path, "!")
		c.values = strings.Split(values, ",")
	} else {
		path, c.not = strings.CutPrefix(path, "!")
	}
	c.at = o.place(o.path(key, path))
	return c
}

// joined reads a text with paths in braces.
func (o reader) joined(key, s string) (parts []part) {
	for s != "" {
		text, rest, ok := strings.Cut(s, "{")
		if !ok {
			return append(parts, part{text: s})
		}
		path, rest, ok := strings.Cut(rest, "}")
		if !ok {
			o.Wrong(key, "has a { without its }", "write text with paths in braces: k8s:{namespace}/{name}")
			return nil
		}
		at := o.place(o.path(key, path))
		parts, s = append(parts, part{text: text, at: &at}), rest
	}
	return parts
}

// places reads a place, or a list of them.
func (o reader) places(e decode.Entry) []place {
	texts := o.Texts(e.Key, e.Value)
	if len(texts) == 0 {
		o.Wrong(e.Key, "names no place", "write a path")
	}
	out := make([]place, 0, len(texts))
	for i, s := range texts {
		key := e.Key
		if _, isList := e.Value.([]any); isList {
			key = fmt.Sprintf("%s[%d]", e.Key, i)
		}
		kind, when := byte('.'), (*condition)(nil)
		if i := strings.LastIndex(s, " if "); i > 0 {
			when = o.when(key, s[i+len(" if "):])
			s = s[:i]
		}
		if value, ok := strings.CutPrefix(s, "="); ok {
			out = append(out, place{kind: '=', value: value, when: when})
			continue
		}
		if strings.Contains(s, "{") {
			if isCount(schemas.LookupField(e.Name)) {
				o.Wrong(key, "is a text, and "+e.Name+" takes none", "name the one place of the number")
			}
			out = append(out, place{kind: '{', join: o.joined(key, s), when: when})
			continue
		}
		for k, name := range map[byte]string{'l': "len(", 's': "seconds("} {
			if inner, ok := strings.CutPrefix(s, name); ok && strings.HasSuffix(inner, ")") {
				kind, s = k, strings.TrimSuffix(inner, ")")
			}
		}
		switch f := schemas.LookupField(e.Name); {
		case kind == 'l' && !isCount(f):
			o.Wrong(key, "is a size, and "+e.Name+" takes none", "write len(PATH) for bytes_sent, bytes_received, tokens_in, tokens_out, duration_ms")
		case kind == 's' && f != schemas.FieldTime && f != schemas.FieldCredentialExpires:
			o.Wrong(key, "is a time, and "+e.Name+" takes none", "write seconds(PATH) for time and credential_expires")
		}
		at := o.place(o.path(key, s))
		at.kind, at.when = kind, when
		out = append(out, at)
	}
	return out
}

// meanings reads what the values of a field mean, and holds them against those
// that the field takes.
func (o reader) meanings(e decode.Entry) map[string]string {
	var allowed []string
	if f := schemas.LookupField(e.Name); f != schemas.FieldCount {
		allowed = f.Values()
	}
	out := make(map[string]string)
	for _, v := range o.Below(e.Key, e.Value) {
		s, ok := v.Value.(string)
		switch {
		case !ok:
			o.Wrong(v.Key, "is not a text", "write it in quotes")
		case s != "" && allowed != nil && !slices.Contains(allowed, s):
			o.Wrong(v.Key, "is "+strconv.Quote(s), "write one of "+strings.Join(allowed, ", "))
		}
		out[v.Name] = s
	}
	return out
}
