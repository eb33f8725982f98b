package decode

import (
	"strconv"

	"github.com/plumbline-sec/plumbline/schemas"
)

// tree is a JSON text whose values can be asked for by name. Forms whose events
// are laid out otherwise than ours read one event into it at a time.
//
// It copies nothing: a node says where in the text its value stands. Of a name
// that an object has twice the last one counts; twice remembers that it was asked
// for, because two readers of such a text may see two identities in it.
type tree struct {
	b     []byte
	nodes []node // in the order of the text: a container, then what is in it
	mem   arena

	twice    bool // a name that was asked for since the last look stands twice
	replaced bool // a text that was asked for was not UTF-8
}

// node is one value.
type node struct {
	kind       byte // { [ " t f n, 0 for a number
	taken      bool // it became a field, so it is no attribute
	start, end int32
	keyStart   int32 // of the name between its quotes, where it is a member
	keyEnd     int32
	escaped    bool  // the name has escapes
	next       int32 // the node behind it and all that is in it
}

// keepNodes is the largest tree whose memory outlives its event.
const keepNodes = 64 << 10

// none is no node: the root is never looked for by name.
const none int32 = 0

// parse reads b, which has at most schemas.MaxEventBytes.
func (t *tree) parse(b []byte) *Refusal {
	if cap(t.nodes) > keepNodes {
		t.nodes = nil
	}
	t.b, t.nodes, t.twice, t.replaced = b, t.nodes[:0], false, false
	if len(b) > schemas.MaxEventBytes {
		return &Refusal{Reason: ReasonTooLarge, Detail: strconv.Itoa(len(b)) + " bytes, at most " + strconv.Itoa(schemas.MaxEventBytes)}
	}
	var s scanner
	s.reset(b)
	if !t.value(&s, 0, node{}) {
		return malformed(&s)
	}
	if s.peek(); s.pos < len(b) {
		s.fail = ReasonNotJSON
		return malformed(&s)
	}
	return nil
}

// value reads the value at the scanner, which stands in depth containers. It
// calls itself once for each container, at most schemas.MaxDepth deep.
func (t *tree) value(s *scanner, depth int, n node) bool {
	c := s.peek()
	i := len(t.nodes)
	n.kind, n.start = c, int32(s.pos)
	t.nodes = append(t.nodes, n)
	var ok bool
	switch {
	case c == '{' || c == '[':
		if depth == schemas.MaxDepth {
			s.fail = ReasonTooDeep
			return false
		}
		ok = t.container(s, depth+1, c)
	case c == '-' || isDigit(c):
		t.nodes[i].kind = '0'
		ok = s.scalar(c)
	default:
		ok = s.scalar(c)
	}
	t.nodes[i].end, t.nodes[i].next = int32(s.pos), int32(len(t.nodes))
	return ok
}

func (t *tree) container(s *scanner, depth int, c byte) bool {
	closing := c + 2 // '{' and '}', '[' and ']' lie two apart
	s.pos++
	if s.peek() == closing {
		s.pos++
		return true
	}
	for {
		var n node
		if c == '{' {
			if s.peek() != '"' {
				return s.invalid()
			}
			key, ok := s.str()
			if !ok || !s.colon() {
				return false
			}
			n.keyStart, n.keyEnd, n.escaped = int32(key.start), int32(key.end), key.escaped
		}
		if !t.value(s, depth, n) {
			return false
		}
		switch s.peek() {
		case ',':
			s.pos++
		case closing:
			s.pos++
			return true
		default:
			return s.invalid()
		}
	}
}

// get returns the member of that name of the object i, none where there is none.
func (t *tree) get(i int32, name string) int32 {
	found := none
	if i < 0 || t.nodes[i].kind != '{' {
		return none
	}
	for c := i + 1; c < t.nodes[i].next; c = t.nodes[c].next {
		n := &t.nodes[c]
		if (n.escaped && t.key(c) == name) || (!n.escaped && string(t.b[n.keyStart:n.keyEnd]) == name) {
			t.twice = t.twice || found != none
			found = c
		}
	}
	return found
}

// member is get where i may be none.
func (t *tree) member(i int32, name string) int32 {
	if i == none {
		return none
	}
	return t.get(i, name)
}

// at returns the member that a path of names leads to from the root.
func (t *tree) at(names ...string) int32 {
	i := int32(0)
	for _, name := range names {
		if i = t.get(i, name); i == none {
			return none
		}
	}
	return i
}

// key returns the name of a member.
func (t *tree) key(i int32) string {
	n := &t.nodes[i]
	s, replaced := t.mem.text(t.b, token{start: int(n.keyStart), end: int(n.keyEnd), escaped: n.escaped, high: true})
	t.replaced = t.replaced || replaced
	return s
}

// raw is the JSON text of a value, nil of none and of null.
func (t *tree) raw(i int32) []byte {
	if n := &t.nodes[i]; i != none && n.kind != 'n' {
		return t.b[n.start:n.end]
	}
	return nil
}

// str is the value of a text, or the text of a number or switch; empty for
// anything else. A text over schemas.MaxStringBytes ends somewhere behind that.
func (t *tree) str(i int32) string {
	n := &t.nodes[i]
	switch {
	case i == none:
		return ""
	case n.kind == '"':
		// A text without a backslash has none of the two to be looked at.
		s, replaced := t.mem.text(t.b, token{start: int(n.start) + 1, end: int(n.end) - 1, escaped: true})
		t.replaced = t.replaced || replaced
		return s
	case n.kind == '0' || n.kind == 't' || n.kind == 'f':
		return alias(t.b[n.start:n.end])
	}
	return ""
}

// take marks what became a field: it is no attribute.
func (t *tree) take(i int32) { t.nodes[i].taken = i != none }

// rest makes attributes of every scalar that became no field, named by its path
// from the root: a.b[0].c.
func (t *tree) rest(w *draft) {
	var buf [256]byte
	t.leaves(w, 0, buf[:0])
}

func (t *tree) leaves(w *draft, i int32, path []byte) {
	n := &t.nodes[i]
	switch {
	case n.taken && i != none:
	case n.kind == '{' || n.kind == '[':
		element := 0
		for c := i + 1; c < n.next; c = t.nodes[c].next {
			below := path
			if n.kind == '[' {
				below = append(strconv.AppendInt(append(below, '['), int64(element), 10), ']')
				element++
			} else {
				if len(below) > 0 {
					below = append(below, '.')
				}
				below = append(below, t.key(c)...)
			}
			if len(below) > schemas.MaxStringBytes {
				below = below[:schemas.MaxStringBytes]
			}
			t.leaves(w, c, below)
		}
	case n.kind != 'n' && n.end-n.start > 0 && string(t.b[n.start:n.end]) != `""`:
		w.rawAttribute(path, t.b[n.start:n.end])
	}
}

// path names a value as rest does, for people.
func (t *tree) path(i int32) string {
	var path []byte
	for at := int32(0); at != i; {
		element := 0
		for c := at + 1; c < t.nodes[at].next; c = t.nodes[c].next {
			if i < c || i >= t.nodes[c].next {
				element++
				continue
			}
			if t.nodes[at].kind == '[' {
				path = append(strconv.AppendInt(append(path, '['), int64(element), 10), ']')
			} else {
				if len(path) > 0 {
					path = append(path, '.')
				}
				path = append(path, t.key(c)...)
			}
			at = c
			break
		}
	}
	return string(path)
}

// elements walks over the elements of the array that b is. What is malformed ends it.
func elements(b []byte, visit func(value []byte)) *Refusal {
	var s scanner
	s.reset(b)
	if refusal := walkList(&s, visit); refusal != nil {
		return refusal
	}
	if s.peek(); s.pos < len(b) {
		s.fail = ReasonNotJSON
		return malformed(&s)
	}
	return nil
}

// rawAttribute adds JSON text under a name of any bytes. Of a flood of attributes
// those that no event holds are only counted.
func (w *draft) rawAttribute(name, value []byte) {
	if w.written == schemas.MaxAttributes {
		w.more++
		return
	}
	w.written++
	w.attrs = append(appendText(w.attrs, alias(name)), ':')
	w.attrs = append(append(w.attrs, value...), ',')
}

// field writes a value of a tree into a field of the contract, and marks it as
// taken.
func (w *draft) field(name string, t *tree, i int32) bool {
	v := t.raw(i)
	if len(v) == 0 || string(v) == `""` {
		return false
	}
	w.raw(name, v)
	t.take(i)
	w.from(name, t, i)
	return true
}

// from notes where a field came from, if somebody wants to know.
func (w *draft) from(name string, t *tree, i int32) {
	if w.trace != nil && i != none {
		w.trace(name, t.path(i))
	}
}
