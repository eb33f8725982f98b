package decode

import (
	"strconv"
	"unicode/utf8"

	"github.com/plumbline-sec/plumbline/schemas"
)

// tree is a JSON text whose values can be asked for by name. Forms whose events
// are laid out otherwise than ours read one event into it at a time.
//
// It copies nothing: a node says where in the text its value stands. Of a name
// that an object has twice the last one counts; twice remembers that it was asked
// for, because two readers of such a text may see two identities in it.
type tree struct {
	plan  *plan
	b     []byte
	nodes []node // in the order of the text: a container, then what is in it
	mem   *arena
	base  int  // where in the scanner's text b begins
	large bool // the text went on behind schemas.MaxEventBytes

	found    []int32 // by slot of the plan
	double   []bool  // by slot: the name, or one above it, stands twice
	odd      []bool  // by slot: a name in that object is not UTF-8 where it has escapes
	anyOdd   bool
	twice    bool   // a name that was asked for since the last look stands twice
	replaced bool   // a text that was asked for was not UTF-8
	path     []byte // of a leaf
	paths    int    // bytes of paths above leaves
}

// node is one value.
type node struct {
	kind       byte // { [ " t f n, 0 for a number
	taken      bool // it became a field, so it is no attribute
	escaped    bool // of a text, as of a token
	high       bool
	keyEscaped bool // of the name
	keyHigh    bool
	start, end int32
	keyStart   int32 // of the name between its quotes, where it is a member
	keyEnd     int32
	next       int32 // the node behind it and all that is in it
}

// keepNodes is the largest tree whose memory outlives its event.
const keepNodes = 64 << 10

// longPath is a path that is too long for an event, so that it is cut and flagged there.
const longPath = schemas.MaxStringBytes + utf8.UTFMax

// Leaves repeat the path above them. An event may hold so many bytes of that, and so many for
// each of its own: one long name above many leaves would otherwise be a bomb.
const (
	fewPaths = 4 << 10
	perByte  = 8
)

// none is no node: the root is never looked for by name.
const none int32 = 0

func newTree(p *plan, mem *arena) tree {
	return tree{
		plan: p, mem: mem, path: make([]byte, 0, 2*longPath+1),
		found: make([]int32, len(p.all)), double: make([]bool, len(p.all)), odd: make([]bool, len(p.all)),
	}
}

// parse reads b, which is one event.
func (t *tree) parse(b []byte) *Refusal {
	if len(b) > schemas.MaxEventBytes {
		return tooLarge(len(b))
	}
	var s scanner
	s.reset(b)
	if _, ok := t.element(&s, 0); !ok {
		return malformed(&s)
	}
	if s.peek(); s.pos < len(b) {
		s.fail = ReasonNotJSON
		return malformed(&s)
	}
	return nil
}

// element reads the event at the scanner, which stands in depth containers. It is
// refused where it is too large; ok is false where it is malformed.
func (t *tree) element(s *scanner, depth int) (refusal *Refusal, ok bool) {
	if cap(t.nodes) > keepNodes {
		t.nodes = nil
	}
	s.peek()
	t.b, t.nodes, t.base, t.large, t.twice, t.replaced, t.paths = s.b[s.pos:], append(t.nodes[:0], node{}), s.pos, false, false, false, 0
	clear(t.found)
	clear(t.double)
	if t.anyOdd {
		clear(t.odd)
		t.anyOdd = false
	}
	ok = t.value(s, depth, t.plan.all[0])
	if t.large {
		s.pos = t.base // and on without a tree, to where it ends
		ok = s.skip(depth)
	}
	if n := s.pos - t.base; ok && n > schemas.MaxEventBytes {
		return tooLarge(n), true
	}
	return nil, ok
}

func tooLarge(n int) *Refusal {
	return &Refusal{Reason: ReasonTooLarge, Detail: strconv.Itoa(n) + " bytes, at most " + strconv.Itoa(schemas.MaxEventBytes)}
}

// value reads the value at the scanner, which stands in depth containers, where w
// is wanted. It calls itself once for each container, at most schemas.MaxDepth deep.
func (t *tree) value(s *scanner, depth int, w *wanted) (ok bool) {
	c := s.peek()
	i := len(t.nodes) - 1
	n := &t.nodes[i]
	n.kind, n.start = c, int32(s.pos-t.base)
	switch c {
	case '"':
		var k token
		k, ok = s.str()
		n.escaped, n.high = k.escaped, k.high
	case '{', '[':
		if depth == schemas.MaxDepth {
			s.fail = ReasonTooDeep
			return false
		}
		ok = t.container(s, depth+1, c, w)
		n = &t.nodes[i] // they may have moved
	case 't', 'f', 'n':
		ok = s.scalar(c)
	default:
		n.kind = '0'
		_, ok = s.number()
	}
	n.end, n.next = int32(s.pos-t.base), int32(len(t.nodes))
	return ok
}

func (t *tree) container(s *scanner, depth int, c byte, w *wanted) bool {
	closing := c + 2 // '{' and '}', '[' and ']' lie two apart
	s.pos++
	if s.peek() == closing {
		s.pos++
		return true
	}
	for {
		t.nodes = append(t.nodes, node{})
		var below *wanted
		if c == '{' {
			if s.peek() != '"' {
				return s.invalid()
			}
			key, ok := s.str()
			if !ok || !s.colon() {
				return false
			}
			n := &t.nodes[len(t.nodes)-1]
			n.keyStart, n.keyEnd, n.keyEscaped, n.keyHigh = int32(key.start-t.base), int32(key.end-t.base), key.escaped, key.high
			if w != nil && len(w.below) > 0 {
				if key.escaped {
					below = t.findEscaped(w, key)
				} else {
					below = w.find(s.b[key.start:key.end])
				}
				if below != nil {
					t.note(below, int32(len(t.nodes)-1))
				}
			}
		}
		if !t.value(s, depth, below) {
			return false
		}
		if s.pos-t.base > schemas.MaxEventBytes {
			t.large = true
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

// findEscaped finds what is wanted below w under a name with escapes.
func (t *tree) findEscaped(w *wanted, key token) *wanted {
	key.start, key.end = key.start-t.base, key.end-t.base
	name, replaced := t.mem.text(t.b, key)
	if replaced {
		t.odd[w.slot], t.anyOdd = true, true
	}
	return w.find([]byte(name))
}

// get returns the member of that name of the object i, none where there is none.
func (t *tree) get(i int32, name string) int32 {
	found := none
	if i < 0 || t.nodes[i].kind != '{' {
		return none
	}
	for c := i + 1; c < t.nodes[i].next; c = t.nodes[c].next {
		n := &t.nodes[c]
		if (n.keyEscaped && t.key(c) == name) || (!n.keyEscaped && string(t.b[n.keyStart:n.keyEnd]) == name) {
			t.twice = t.twice || found != none
			found = c
		}
	}
	return found
}

// key returns the name of a member.
func (t *tree) key(i int32) string {
	n := &t.nodes[i]
	if !n.keyEscaped && !n.keyHigh {
		return alias(t.b[n.keyStart:n.keyEnd])
	}
	s, replaced := t.mem.text(t.b, token{start: int(n.keyStart), end: int(n.keyEnd), escaped: n.keyEscaped, high: n.keyHigh})
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
		k := token{start: int(n.start) + 1, end: int(n.end) - 1, escaped: n.escaped, high: n.high}
		k.escaped = k.escaped || k.end-k.start > schemas.MaxStringBytes // there is an end to it
		s, replaced := t.mem.text(t.b, k)
		t.replaced = t.replaced || replaced
		return s
	case n.kind == '0' || n.kind == 't' || n.kind == 'f':
		return alias(t.b[n.start:n.end])
	}
	return ""
}

// of returns the value of node i for a builder.
func (t *tree) of(i int32) (v value) {
	n := &t.nodes[i]
	switch v.kind = n.kind; {
	case v.kind != '"':
		v.text = alias(t.b[n.start:n.end])
	case !n.escaped && !n.high:
		v.text = alias(t.b[n.start+1 : n.end-1])
	default:
		v.text, v.replaced = t.mem.text(t.b, token{start: int(n.start) + 1, end: int(n.end) - 1, escaped: n.escaped, high: n.high})
	}
	return v
}

// empty reports whether node i says nothing: it is none, null or the empty text.
func (t *tree) empty(i int32) bool {
	n := &t.nodes[i]
	return i == none || n.kind == 'n' || n.kind == '"' && n.end-n.start == 2
}

// take marks what became a field: it is no attribute.
func (t *tree) take(i int32) { t.nodes[i].taken = i != none }

// rest makes attributes of every scalar that became no field, named by its path
// from the root: a.b[0].c.
func (t *tree) rest(b *builder) {
	t.leaves(b, 0, t.path)
}

// emit finishes an event that the tree was read for.
func (t *tree) emit(b *builder, rec *Record, index int32, emit emitFunc) {
	b.ev.Flags.UTF8Replaced = b.ev.Flags.UTF8Replaced || t.replaced
	b.emit(rec, index, emit)
}

func (t *tree) leaves(b *builder, i int32, path []byte) {
	n := &t.nodes[i]
	element := int64(-1)
	for c := i + 1; c < n.next; c = t.nodes[c].next {
		element++
		m := &t.nodes[c]
		if m.taken || t.empty(c) || m.kind != '{' && m.kind != '[' && !t.afford(b, len(path)) {
			if m.keyHigh || m.keyEscaped {
				t.key(c) // its name is looked at, too
			}
			if !m.taken && !t.empty(c) {
				b.more++ // of a flood those that no event holds are only counted
			}
			continue
		}
		key := ""
		if n.kind == '{' {
			key = t.key(c)
		}
		if m.kind == '{' || m.kind == '[' {
			t.leaves(b, c, t.below(path, n.kind, key, element))
			continue
		}
		if len(path) > 0 || n.kind == '[' {
			room := append(t.mem.take(len(path)+min(len(key), longPath)+len("[1234567]")), path...)
			key = t.mem.done(t.below(room, n.kind, key, element))
		}
		v := t.of(c)
		b.attribute(key, &v)
	}
}

// afford reports whether the event holds one more leaf, under a path of n bytes.
func (t *tree) afford(b *builder, n int) bool {
	if len(b.ev.Attributes) == schemas.MaxAttributes || t.paths+n > fewPaths+perByte*int(t.nodes[0].end) {
		return false
	}
	t.paths += n
	return true
}

// below appends the name of a member, or the place of an element, to a path.
func (t *tree) below(path []byte, container byte, key string, element int64) []byte {
	if container == '[' {
		path = append(strconv.AppendInt(append(path, '['), element, 10), ']')
	} else {
		if len(path) > 0 {
			path = append(path, '.')
		}
		path = append(path, key[:min(len(key), longPath)]...)
	}
	return path[:min(len(path), longPath)]
}

// pathTo names a value as rest does, for people.
func (t *tree) pathTo(i int32) string {
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

// field sets a field to the value of node i, and marks it as taken.
func (t *tree) field(b *builder, f field, i int32) bool {
	if t.empty(i) {
		return false
	}
	v := t.of(i)
	b.set(f, &v)
	t.take(i)
	t.from(b, f, i)
	return true
}

// from notes where a field came from, if somebody wants to know.
func (t *tree) from(b *builder, f field, i int32) {
	if b.trace != nil && i != none {
		b.trace(fieldNames[f], t.pathTo(i))
	}
}
