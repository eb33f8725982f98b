package config

import (
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
)

// Change is a key that two configs have different values of.
type Change struct {
	Key string `json:"key"`
	Old string `json:"old"` // as a file has it, on one line; secrets masked
	New string `json:"new"`
	// Verdicts: the same events may be judged differently, so that Hash differs.
	Verdicts bool `json:"verdicts"`
	// Restart: the running service can't take it over.
	Restart bool `json:"restart"`
}

// Diff returns what differs, in the order of the file. What a change does stands in the
// fields' tags: `change:"verdicts"`, `change:"restart"` or both with a comma, and `change:"-"`
// for neither. A field without a tag is as the section that it stands in.
func Diff(from, to *Config) []Change {
	var out []Change
	compare(&out, reflect.ValueOf(from).Elem(), reflect.ValueOf(to).Elem(), Change{})
	return out
}

// compare appends what differs at and below a key.
func compare(out *[]Change, from, to reflect.Value, at Change) {
	ty := from.Type()
	switch {
	case ty.Kind() == reflect.Struct && ty != reflect.TypeFor[Secret]():
		before := len(*out)
		for f := range ty.Fields() {
			if f.Tag.Get("yaml") == notInFile {
				continue
			}
			compare(out, from.FieldByIndex(f.Index), to.FieldByIndex(f.Index), at.field(&f))
		}
		if a, ok := reflect.TypeAssert[Policy](from); ok && len(*out) == before {
			at.Key += ".files"
			if at.Old, at.New = a.fingerprint(), to.Interface().(Policy).fingerprint(); at.Old != at.New { //nolint:forcetypeassert // of the same type
				*out = append(*out, at)
			}
		}
	case ty.Kind() == reflect.Map && ty != reflect.TypeFor[Tree]():
		compareMaps(out, from, to, at)
	case ty.Kind() == reflect.Slice && ty.Elem().Kind() == reflect.Struct:
		compareLists(out, from, to, at)
	case !reflect.DeepEqual(from.Interface(), to.Interface()):
		if at.Old, at.New = flow(from), flow(to); at.Old != at.New || ty == reflect.TypeFor[Secret]() {
			*out = append(*out, at)
		}
	}
}

// fingerprint is what the files come to.
func (p Policy) fingerprint() string {
	if p.Set == nil {
		return ""
	}
	return "policy_hash " + p.Set.Hash()
}

// field returns the change of a field below at.
func (c Change) field(f *reflect.StructField) Change {
	c.Key = dotted(c.Key, f.Tag.Get("yaml"))
	if does, ok := f.Tag.Lookup("change"); ok {
		words := strings.Split(does, ",")
		c.Verdicts, c.Restart = slices.Contains(words, "verdicts"), slices.Contains(words, "restart")
	}
	return c
}

// compareMaps takes an entry that is missing for one that says nothing.
func compareMaps(out *[]Change, from, to reflect.Value, at Change) {
	var names []string
	for _, m := range []reflect.Value{from, to} {
		for _, k := range m.MapKeys() {
			names = append(names, k.String())
		}
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		entry := at
		entry.Key = dotted(at.Key, name)
		get := func(m reflect.Value) reflect.Value {
			if v := m.MapIndex(reflect.ValueOf(name)); v.IsValid() {
				return v
			}
			return reflect.Zero(m.Type().Elem())
		}
		compare(out, get(from), get(to), entry)
	}
}

// compareLists compares what has the same name, wherever it stands, and overrides, which
// have none, by their place.
func compareLists(out *[]Change, from, to reflect.Value, at Change) {
	names, others := elements(from), elements(to)
	var kept []string // of both, in the old order
	for i, name := range names {
		entry := at
		entry.Key += "[" + name + "]"
		if j := slices.Index(others, name); j >= 0 {
			kept = append(kept, name)
			compare(out, from.Index(i), to.Index(j), entry)
			continue
		}
		entry.Old = flow(from.Index(i))
		*out = append(*out, entry)
	}
	for j, name := range others {
		if !slices.Contains(names, name) {
			entry := at
			entry.Key, entry.New = entry.Key+"["+name+"]", flow(to.Index(j))
			*out = append(*out, entry)
		}
	}
	stay := slices.DeleteFunc(slices.Clone(others), func(name string) bool { return !slices.Contains(kept, name) })
	if !slices.Equal(kept, stay) {
		at.Old, at.New = "order "+strings.Join(names, ", "), "order "+strings.Join(others, ", ")
		*out = append(*out, at)
	}
}

// elements names the elements of a list.
func elements(list reflect.Value) []string {
	out := make([]string, list.Len())
	for i := range out {
		out[i] = strconv.Itoa(i)
		for _, field := range []string{"Name", "Topic"} {
			if f := list.Index(i).FieldByName(field); f.IsValid() {
				out[i] = f.String()
				break
			}
		}
	}
	return out
}

// flow is a value as a file has it, on one line.
func flow(v reflect.Value) string {
	b, err := yaml.MarshalWithOptions(v.Interface(), yaml.Flow(true))
	if err != nil {
		return "(" + err.Error() + ")"
	}
	return strings.Join(strings.Fields(string(b)), " ")
}
