package decode

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// step is one part of a path: a name, an element or every element.
type step struct {
	name  string
	index int
	kind  byte // '.' a name, '[' an element, '*' every element
}

// maxPath is more than any text can be deep.
const maxPath = 64

// parsePath reads a path: names behind dots, [0] for one element of a list, [*]
// for all, ["a.b"] for a name with dots in it. The problem is empty where there
// is none.
func parsePath(s string) (path []step, problem string) {
	rest := s
	for first := true; rest != "" || first; first = false {
		if len(path) == maxPath {
			return nil, "has over 64 parts"
		}
		if strings.HasPrefix(rest, "[") {
			var st step
			if st, rest, problem = parseBracket(rest); problem != "" {
				return nil, problem
			}
			path = append(path, st)
			continue
		}
		if !first {
			if rest[0] != '.' {
				return nil, "needs a dot before " + quote(rest)
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
			return nil, "has " + quote(name) + ` in it; a name with such characters is written ["` + strings.Trim(name, `"'`) + `"]`
		}
		path, rest = append(path, step{kind: '.', name: name}), rest[end:]
	}
	return path, ""
}

func parseBracket(s string) (st step, rest, problem string) {
	if strings.HasPrefix(s, `["`) {
		end := strings.Index(s, `"]`)
		if end < 3 {
			return st, "", `has a [" without its name and "]`
		}
		return step{kind: '.', name: s[2:end]}, s[end+2:], ""
	}
	inside, rest, ok := strings.Cut(s[1:], "]")
	if !ok {
		return st, "", "has a [ without its ]"
	}
	if inside == "*" {
		return step{kind: '*'}, rest, ""
	}
	n, err := strconv.ParseUint(inside, 10, 31)
	if err != nil {
		return st, "", "has [" + inside + `] in it; write [0] for the first element, [*] for all, ["name"] for a name`
	}
	return step{kind: '[', index: int(n)}, rest, ""
}

// each calls visit with the nodes that a path leads to from node i, until visit
// returns false; it returns false then too.
func (t *tree) each(i int32, path []step, visit func(i int32) bool) bool {
	if len(path) == 0 {
		return visit(i)
	}
	st, n := &path[0], &t.nodes[i]
	if st.kind == '.' {
		c := t.get(i, st.name)
		return c == none || t.each(c, path[1:], visit)
	}
	if n.kind != '[' {
		return true
	}
	element := 0
	for c := i + 1; c < n.next; c = t.nodes[c].next {
		if st.kind == '*' || element == st.index {
			if !t.each(c, path[1:], visit) {
				return false
			}
		}
		if element++; st.kind == '[' && element > st.index {
			break
		}
	}
	return true
}

// size is how many bytes a value has: a text without its quotes and escapes,
// anything else as it stands.
func (t *tree) size(i int32) uint64 {
	raw := t.raw(i)
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
