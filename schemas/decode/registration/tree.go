package registration

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
)

// JSON as it was read: object, []any, string, number, bool or nil.
type (
	object map[string]any
	number = json.Number
)

func (o object) names() []string { return slices.Sorted(maps.Keys(o)) }

// Errors of a text that is JSON and still not read.
var (
	errDeep  = errors.New("deeper than " + strconv.Itoa(schemas.MaxDepth))
	errTwice = errors.New("stands twice")
)

// maxRecordBytes bounds a record, which may hold many registrations.
const maxRecordBytes = 16 << 20

// parse reads a record. A name that stands twice is refused: two readers could take two
// different agents to be meant.
func parse(b []byte) (any, *decode.Refusal) {
	if len(b) > maxRecordBytes {
		return nil, &decode.Refusal{Reason: decode.ReasonTooLarge, Detail: strconv.Itoa(len(b)) + " bytes, at most " + strconv.Itoa(maxRecordBytes)}
	}
	if refusal := utf8Only(b); refusal != nil {
		return nil, refusal
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	v, err := value(d, 0)
	if err == nil {
		if _, err = d.Token(); err == nil {
			err = errors.New("goes on after its end")
		} else if errors.Is(err, io.EOF) {
			err = nil
		}
	}
	switch {
	case errors.Is(err, errDeep):
		return nil, &decode.Refusal{Reason: decode.ReasonTooDeep, Detail: err.Error()}
	case errors.Is(err, errTwice):
		return nil, &decode.Refusal{Reason: decode.ReasonInvalidRegistration, Detail: err.Error()}
	case errors.Is(err, io.EOF):
		return nil, &decode.Refusal{Reason: decode.ReasonNotJSON, Detail: "ends too early"}
	case err != nil:
		return nil, &decode.Refusal{Reason: decode.ReasonNotJSON, Detail: err.Error()}
	}
	return v, nil
}

func value(d *json.Decoder, depth int) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	delim, ok := t.(json.Delim)
	if !ok {
		return t, nil
	}
	if depth >= schemas.MaxDepth {
		return nil, errDeep
	}
	o, list := object{}, []any{}
	for d.More() {
		name := ""
		if delim == '{' {
			key, err := d.Token()
			if err != nil {
				return nil, err
			}
			name, _ = key.(string)
			if _, twice := o[name]; twice {
				return nil, fmt.Errorf("%q %w", name, errTwice)
			}
		}
		v, err := value(d, depth+1)
		if err != nil {
			return nil, err
		}
		if delim == '{' {
			o[name] = v
		} else {
			list = append(list, v)
		}
	}
	if _, err := d.Token(); err != nil { // the closing one
		return nil, err
	}
	if delim == '{' {
		return o, nil
	}
	return list, nil
}

// scalar is what a single value says as a text.
func scalar(v any) (s string, ok bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case number:
		return v.String(), true
	case bool:
		return strconv.FormatBool(v), true
	}
	return "", false
}

// text is a value as JSON.
func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return "" // what was read as JSON can be written
	}
	return string(b)
}

// path is where a value stands: names, and conditions on the elements of lists.
type path []step

type step struct {
	name        string // of a member; empty: elements of a list
	where, is   string // of those, the ones whose member `where` is `is`; empty: all
	description string
}

func (p path) String() string {
	parts := make([]string, len(p))
	for i, s := range p {
		parts[i] = s.description
	}
	return strings.Join(parts, ".")
}

// parsePath reads names with dots between, ["a name"] for one with dots in it, [*] for all
// elements and [name=text] for those with that member.
func parsePath(s string) (p path, problem string) {
	for rest := s; rest != ""; {
		if inner, after, ok := bracket(rest); ok {
			rest = after
			switch name, quoted := strings.CutPrefix(inner, `"`); {
			case quoted:
				name = strings.TrimSuffix(name, `"`)
				p = append(p, step{name: name, description: "[" + inner + "]"})
			case inner == "*":
				p = append(p, step{description: "[*]"})
			default:
				where, is, ok := strings.Cut(inner, "=")
				if !ok || where == "" {
					return nil, "has [" + inner + `] in it; write [*], [name=text] or ["name"]`
				}
				p = append(p, step{where: where, is: is, description: "[" + inner + "]"})
			}
		} else {
			end := strings.IndexAny(rest, ".[")
			if end < 0 {
				end = len(rest)
			}
			if end == 0 {
				return nil, "has an empty name in it"
			}
			p = append(p, step{name: rest[:end], description: rest[:end]})
			rest = rest[end:]
		}
		if after, ok := strings.CutPrefix(rest, "."); ok {
			if rest = after; rest == "" {
				return nil, "ends with a dot"
			}
		}
	}
	if len(p) == 0 {
		return nil, "is empty"
	}
	return p, ""
}

// bracket cuts off what stands in brackets at the beginning.
func bracket(s string) (inner, rest string, ok bool) {
	if !strings.HasPrefix(s, "[") {
		return "", s, false
	}
	closing := "]"
	if strings.HasPrefix(s, `["`) {
		closing = `"]`
	}
	end := strings.Index(s[1:], closing)
	if end < 0 {
		return "", s, false
	}
	end += 1 + len(closing) - 1
	return s[1:end], s[end+1:], true
}

// find returns what stands at the path below v. A name below a list is that of each element.
func (p path) find(v any) []any {
	at := []any{v}
	for _, s := range p {
		var next []any
		for _, v := range at {
			list, isList := v.([]any)
			if !isList {
				list = []any{v}
			}
			for _, e := range list {
				o, isObject := e.(object)
				switch {
				case s.name != "":
					if v, ok := o[s.name]; ok {
						next = append(next, v)
					}
				case s.where == "" && isList:
					next = append(next, e)
				case s.where != "" && isObject:
					if is, ok := scalar(o[s.where]); ok && is == s.is {
						next = append(next, e)
					}
				}
			}
		}
		at = next
	}
	return at
}

// place is a path, or a text that always stands there.
type place struct {
	path  path
	value string
}

func (p place) in(v any) []any {
	if p.path == nil {
		return []any{p.value}
	}
	return p.path.find(v)
}
