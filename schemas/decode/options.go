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

// options reads the options of a form as they stood in YAML or JSON: texts,
// switches, numbers, lists ([]any) and keys (map[string]any). It goes on after a
// mistake, so that one run names them all.
type options struct {
	values   map[string]any
	known    []string
	mistakes OptionErrors
}

func (o *options) wrong(key, problem, fix string) {
	o.mistakes = append(o.mistakes, &OptionError{Key: key, Problem: problem, Fix: fix})
}

func (o *options) get(name string) (any, bool) {
	o.known = append(o.known, name)
	v, ok := o.values[name]
	return v, ok
}

// done reports the mistakes, options that nobody asked for among them.
func (o *options) done() error {
	slices.Sort(o.known)
	for _, name := range slices.Sorted(maps.Keys(o.values)) {
		if !slices.Contains(o.known, name) {
			o.wrong(name, "is not an option of this decoder", "known here: "+strings.Join(o.known, ", "))
		}
	}
	if len(o.mistakes) == 0 {
		return nil
	}
	return o.mistakes
}

func (o *options) flag(name string, preset bool) bool {
	v, ok := o.get(name)
	if !ok {
		return preset
	}
	b, ok := v.(bool)
	if !ok {
		o.wrong(name, "is not a switch", "write true or false")
	}
	return b
}

func (o *options) text(name, preset string, allowed ...string) string {
	v, ok := o.get(name)
	if !ok {
		return preset
	}
	s, ok := v.(string)
	switch {
	case !ok:
		o.wrong(name, "is not a text", "write it in quotes")
	case len(allowed) > 0 && !slices.Contains(allowed, s):
		o.wrong(name, "is "+quote(s), "write one of "+strings.Join(allowed, ", "))
	}
	return s
}

// list reads a text or a list of texts.
func (o *options) list(name string, preset []string) []string {
	v, ok := o.get(name)
	if !ok {
		return preset
	}
	return o.texts(name, v)
}

func (o *options) texts(key string, v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		out := make([]string, 0, len(v))
		for i, e := range v {
			s, ok := e.(string)
			if !ok {
				o.wrong(fmt.Sprintf("%s[%d]", key, i), "is not a text", "write it in quotes")
				continue
			}
			out = append(out, s)
		}
		return out
	}
	o.wrong(key, "is neither a text nor a list of texts", "")
	return nil
}

// entry is one key of an open set of options.
type entry struct {
	name  string
	key   string // from the top of the options
	value any
}

// entries reads keys below name, in alphabetical order.
func (o *options) entries(name string) []entry {
	v, ok := o.get(name)
	if !ok {
		return nil
	}
	return o.below(name, v)
}

func (o *options) below(key string, v any) []entry {
	m, ok := v.(map[string]any)
	if !ok {
		o.wrong(key, "needs keys below it", "")
		return nil
	}
	out := make([]entry, 0, len(m))
	for _, name := range slices.Sorted(maps.Keys(m)) {
		out = append(out, entry{name: name, key: key + "." + name, value: m[name]})
	}
	return out
}

// pairs reads keys that each have a text behind them.
func (o *options) pairs(name string) map[string]string {
	var out map[string]string
	for _, e := range o.entries(name) {
		s, ok := e.value.(string)
		if !ok {
			o.wrong(e.key, "is not a text", "write it in quotes")
			continue
		}
		if out == nil {
			out = make(map[string]string)
		}
		out[e.name] = s
	}
	return out
}

func quote(s string) string { return strconv.Quote(s) }
