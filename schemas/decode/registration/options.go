package registration

import (
	"slices"
	"strconv"
	"strings"

	"github.com/plumbline-sec/plumbline/schemas/decode"
)

// New returns the decoder that the options describe; without any, that of the contract's
// own form.
func New(o *decode.Options) decode.Decoder {
	d := &decoder{}
	if list := o.Text("registrations", ""); list != "" {
		d.list = pathOf(o, "registrations", list)
	}
	fields := o.Entries("fields")
	for _, e := range fields {
		if d.fields == nil {
			d.fields = make(map[string][]place)
		}
		if e.Name == "record" || e.Name == "labels" || !slices.Contains(known, e.Name) && !slices.Contains(credentialFields, e.Name) {
			o.Wrong(e.Key, "is no field of a registration", "fields are "+strings.Join(slices.Concat(known[1:len(known)-1], credentialFields), ", ")+"; labels stand beside fields")
		}
		d.fields[e.Name] = places(o, e)
	}
	if d.fields != nil && d.fields["agent_id"] == nil {
		o.Wrong("fields", "says nothing of agent_id: without it every registration is refused", "write fields: {agent_id: PATH}")
	}
	d.labels, d.values = make(map[string][]place), make(map[string]map[string]string)
	for _, e := range o.Entries("labels") {
		d.labels[e.Name] = places(o, e)
	}
	for _, e := range o.Entries("values") {
		if d.fields[e.Name] == nil {
			o.Wrong(e.Key, "has no field to it", "write where it comes from under fields")
		}
		d.values[e.Name] = make(map[string]string)
		for _, v := range o.Below(e.Key, e.Value) {
			s, ok := v.Value.(string)
			if !ok {
				o.Wrong(v.Key, "is not a text", "write it in quotes")
			}
			d.values[e.Name][v.Name] = s
		}
	}
	if len(d.labels) > 0 && d.fields == nil {
		o.Wrong("labels", "is of no use without fields", "write fields: {agent_id: PATH}")
	}
	return d
}

func pathOf(o *decode.Options, key, s string) path {
	p, problem := parsePath(s)
	if problem != "" {
		o.Wrong(key, strconv.Quote(s)+" "+problem, `a path is names with dots between, [*], [name=text], ["a name"]`)
	}
	return p
}

func places(o *decode.Options, e decode.Entry) []place {
	var out []place
	for _, s := range o.Texts(e.Key, e.Value) {
		if value, ok := strings.CutPrefix(s, "="); ok {
			out = append(out, place{value: value})
			continue
		}
		out = append(out, place{path: pathOf(o, e.Key, s)})
	}
	return out
}
