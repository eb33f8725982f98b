package jsonscan

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Step is one part of a path: a name, an element or every element.
type Step struct {
	Name  string
	index int
	Kind  byte // '.' a name, '[' an element, '*' every element
}

// maxPath is more than any text can be deep.
const maxPath = 64

// ParsePath reads a path: names behind dots, [0] for one element of a list, [*]
// for all, ["a.b"] for a name with dots in it. The problem is empty where there
// is none.
func ParsePath(s string) (path []Step, problem string) {
	rest := s
	for first := true; rest != "" || first; first = false {
		if len(path) == maxPath {
			return nil, "has over 64 parts"
		}
		if strings.HasPrefix(rest, "[") {
			var st Step
			if st, rest, problem = parseBracket(rest); problem != "" {
				return nil, problem
			}
			path = append(path, st)
			continue
		}
		if !first {
			if rest[0] != '.' {
				return nil, "needs a dot before " + strconv.Quote(rest)
			}
			rest = rest[1:]
		}
		end := strings.IndexAny(rest, ".[")
		if end < 0 {
			end = len(rest)
		}
		name := rest[:end]
		switch {
		case name == "":
			return nil, "has an empty name in it"
		case strings.ContainsAny(name, `]()"' `):
			return nil, "has " + strconv.Quote(name) + ` in it; a name with such characters is written ["` + strings.Trim(name, `"'`) + `"]`
		}
		path, rest = append(path, Step{Kind: '.', Name: name}), rest[end:]
	}
	return path, ""
}

func parseBracket(s string) (st Step, rest, problem string) {
	if strings.HasPrefix(s, `["`) {
		end := strings.Index(s, `"]`)
		if end < 3 {
			return st, "", `has a [" without its name and "]`
		}
		return Step{Kind: '.', Name: s[2:end]}, s[end+2:], ""
	}
	inside, rest, ok := strings.Cut(s[1:], "]")
	if !ok {
		return st, "", "has a [ without its ]"
	}
	if inside == "*" {
		return Step{Kind: '*'}, rest, ""
	}
	n, err := strconv.ParseUint(inside, 10, 31)
	if err != nil {
		return st, "", "has [" + inside + `] in it; write [0] for the first element, [*] for all, ["name"] for a name`
	}
	return Step{Kind: '[', index: int(n)}, rest, ""
}

// Each calls visit with the nodes that a path leads to from node i, until visit
// returns false; it returns false then too.
func (t *Tree) Each(i int32, path []Step, visit func(i int32) bool) bool {
	if len(path) == 0 {
		return visit(i)
	}
	st, n := &path[0], &t.nodes[i]
	if st.Kind == '.' {
		c := t.Get(i, st.Name)
		return c == None || t.Each(c, path[1:], visit)
	}
	if n.kind != '[' {
		return true
	}
	element := 0
	for c := i + 1; c < n.next; c = t.nodes[c].next {
		if st.Kind == '*' || element == st.index {
			if !t.Each(c, path[1:], visit) {
				return false
			}
		}
		if element++; st.Kind == '[' && element > st.index {
			break
		}
	}
	return true
}

// Size is how many bytes a value has: a text without its quotes and escapes,
// anything else as it stands.
func (t *Tree) Size(i int32) uint64 {
	raw := t.Raw(i)
	if len(raw) == 0 || raw[0] != '"' {
		return uint64(len(raw))
	}
	n := 0
	for b := raw[1 : len(raw)-1]; len(b) > 0; n++ {
		k := 1
		switch {
		case b[0] == '\\' && b[1] == 'u':
			var r rune
			if r, k = unescapeUnicode(b); r < 0 {
				r = utf8.RuneError
			}
			n += utf8.RuneLen(r) - 1
		case b[0] == '\\':
			k = 2
		}
		b = b[k:]
	}
	return uint64(n)
}
