package decode

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// OptionError is a mistake in the options of a form.
type OptionError struct {
	Key     string // below the options: `agent[0]`, `fields.time`
	Problem string
	Fix     string
}

func (e *OptionError) Error() string {
	s := e.Key + " " + e.Problem
	if e.Fix != "" {
		s += "; " + e.Fix
	}
	return s
}

// OptionErrors are all mistakes in the options of a form.
type OptionErrors []*OptionError

func (es OptionErrors) Error() string {
	parts := make([]string, len(es))
	for i, e := range es {
		parts[i] = e.Error()
	}
	return "options: " + strings.Join(parts, "; ")
}

// Options reads the options of a form as they stood in YAML or JSON: texts,
// switches, numbers, lists ([]any) and keys (map[string]any). It goes on after a
// mistake, so that one run names them all.
type Options struct {
	Values   map[string]any
	known    []string
	mistakes OptionErrors
}

// Wrong notes a mistake: what of which key, and what to write instead.
func (o *Options) Wrong(key, problem, fix string) {
	o.mistakes = append(o.mistakes, &OptionError{Key: key, Problem: problem, Fix: fix})
}

func (o *Options) get(name string) (any, bool) {
	o.known = append(o.known, name)
	v, ok := o.Values[name]
	return v, ok
}

// Value reads an option of any shape.
func (o *Options) Value(name string) (any, bool) { return o.get(name) }

// Sound reports whether there is no mistake so far.
func (o *Options) Sound() bool { return len(o.mistakes) == 0 }

// Done reports the mistakes, options that nobody asked for among them.
func (o *Options) Done() error {
	slices.Sort(o.known)
	for _, name := range slices.Sorted(maps.Keys(o.Values)) {
		if !slices.Contains(o.known, name) {
			o.Wrong(name, "is not an option of this decoder", "known here: "+strings.Join(o.known, ", "))
		}
	}
	if o.Sound() {
		return nil
	}
	return o.mistakes
}

// Flag reads a switch.
func (o *Options) Flag(name string, preset bool) bool {
	v, ok := o.get(name)
	if !ok {
		return preset
	}
	b, ok := v.(bool)
	if !ok {
		o.Wrong(name, "is not a switch", "write true or false")
	}
	return b
}

// Text reads a text, one of allowed where there are any.
func (o *Options) Text(name, preset string, allowed ...string) string {
	v, ok := o.get(name)
	if !ok {
		return preset
	}
	s, ok := v.(string)
	switch {
	case !ok:
		o.Wrong(name, "is not a text", "write it in quotes")
	case len(allowed) > 0 && !slices.Contains(allowed, s):
		o.Wrong(name, "is "+strconv.Quote(s), "write one of "+strings.Join(allowed, ", "))
	}
	return s
}

// List reads a text or a list of texts.
func (o *Options) List(name string, preset []string) []string {
	v, ok := o.get(name)
	if !ok {
		return preset
	}
	return o.Texts(name, v)
}

// Texts is v, the value of a key, as a list of texts.
func (o *Options) Texts(key string, v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		out := make([]string, 0, len(v))
		for i, e := range v {
			s, ok := e.(string)
			if !ok {
				o.Wrong(fmt.Sprintf("%s[%d]", key, i), "is not a text", "write it in quotes")
				continue
			}
			out = append(out, s)
		}
		return out
	}
	o.Wrong(key, "is neither a text nor a list of texts", "")
	return nil
}

// Entry is one key of an open set of options.
type Entry struct {
	Name  string
	Key   string // from the top of the options
	Value any
}

// Entries reads keys below name, in alphabetical order.
func (o *Options) Entries(name string) []Entry {
	v, ok := o.get(name)
	if !ok {
		return nil
	}
	return o.Below(name, v)
}

// Below are the keys below v, the value of a key, in alphabetical order.
func (o *Options) Below(key string, v any) []Entry {
	m, ok := v.(map[string]any)
	if !ok {
		o.Wrong(key, "needs keys below it", "")
		return nil
	}
	out := make([]Entry, 0, len(m))
	for _, name := range slices.Sorted(maps.Keys(m)) {
		out = append(out, Entry{Name: name, Key: key + "." + name, Value: m[name]})
	}
	return out
}

// Pairs reads keys that each have a text behind them.
func (o *Options) Pairs(name string) map[string]string {
	var out map[string]string
	for _, e := range o.Entries(name) {
		s, ok := e.Value.(string)
		if !ok {
			o.Wrong(e.Key, "is not a text", "write it in quotes")
			continue
		}
		if out == nil {
			out = make(map[string]string)
		}
		out[e.Name] = s
	}
	return out
}
