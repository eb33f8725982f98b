package jsonscan

import (
	"strconv"
	"unicode/utf8"

	"github.com/plumbline-sec/plumbline/schemas"
)

// Tree is a JSON text whose values can be asked for by name. Forms whose events
// are laid out otherwise than ours read one event into it at a time.
//
// It copies nothing: a node says where in the text its value stands. Of a name
// that an object has twice the last one counts; Twice remembers that it was asked
// for, because two readers of such a text may see two identities in it.
type Tree struct {
	plan  *Plan
	b     []byte
	nodes []node // in the order of the text: a container, then what is in it
	mem   *Arena
	base  int  // where in the scanner's text b begins
	large bool // the text went on behind schemas.MaxEventBytes

	found    []int32 // by slot of the plan
	double   []bool  // by slot: the name, or one above it, stands twice
	odd      []bool  // by slot: a name in that object is not UTF-8 where it has escapes
	anyOdd   bool
	Twice    bool // a name that was asked for since the last look stands twice
	Replaced bool // a text that was asked for was not UTF-8

	path  []byte // of a leaf
	paths int    // bytes of paths above leaves
	full  bool   // the event takes no more leaves
	more  int    // leaves that it does not take
}

// Value is a value of a source.
type Value struct {
	Kind     byte   // " a text, 0 a number, t f n { [ as JSON text begins
	Replaced bool   // something in the text was not UTF-8 and became U+FFFD
	Text     string // what a text says, or more than schemas.MaxStringBytes of it; of anything else its JSON
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

// None is no node: the root is never looked for by name.
const None int32 = 0

// NewTree returns a tree of what a plan asks for, which takes memory from an arena.
func NewTree(p *Plan, mem *Arena) Tree {
	return Tree{
		plan: p, mem: mem, path: make([]byte, 0, 2*longPath+1),
		found: make([]int32, len(p.all)), double: make([]bool, len(p.all)), odd: make([]bool, len(p.all)),
	}
}

// Parse reads b, which is one event.
func (t *Tree) Parse(b []byte) *Error {
	if len(b) > schemas.MaxEventBytes {
		return tooLarge(len(b))
	}
	var s Scanner
	s.Reset(b)
	_, ok := t.Element(&s, 0)
	return s.End(ok)
}

// Element reads the event at the scanner, which stands in depth containers. It may
// be too large; ok is false where it is malformed.
func (t *Tree) Element(s *Scanner, depth int) (large *Error, ok bool) {
	if cap(t.nodes) > keepNodes {
		t.nodes = nil
	}
	s.Peek()
	t.b, t.nodes, t.base, t.large, t.Twice, t.Replaced = s.B[s.Pos:], append(t.nodes[:0], node{}), s.Pos, false, false, false
	clear(t.found)
	clear(t.double)
	if t.anyOdd {
		clear(t.odd)
		t.anyOdd = false
	}
	ok = t.value(s, depth, t.plan.all[0])
	if t.large {
		s.Pos = t.base // and on without a tree, to where it ends
		ok = s.Skip(depth)
	}
	if n := s.Pos - t.base; ok && n > schemas.MaxEventBytes {
		return tooLarge(n), true
	}
	return nil, ok
}

func tooLarge(n int) *Error {
	return &Error{Reason: TooLarge, Detail: strconv.Itoa(n) + " bytes, at most " + strconv.Itoa(schemas.MaxEventBytes)}
}

// value reads the value at the scanner, which stands in depth containers, where w
// is wanted. It calls itself once for each container, at most schemas.MaxDepth deep.
func (t *Tree) value(s *Scanner, depth int, w *wanted) (ok bool) {
	c := s.Peek()
	i := len(t.nodes) - 1
	n := &t.nodes[i]
	n.kind, n.start = c, int32(s.Pos-t.base)
	switch c {
	case '"':
		var k Token
		k, ok = s.Token()
		n.escaped, n.high = k.Escaped, k.high
	case '{', '[':
		if depth == schemas.MaxDepth {
			s.Fail = TooDeep
			return false
		}
		ok = t.container(s, depth+1, w)
		n = &t.nodes[i] // they may have moved
	case 't', 'f', 'n':
		ok = s.Scalar(c)
	default:
		n.kind = '0'
		_, ok = s.Number()
	}
	n.end, n.next = int32(s.Pos-t.base), int32(len(t.nodes))
	return ok
}

func (t *Tree) container(s *Scanner, depth int, w *wanted) bool {
	closing, more := s.Enter()
	for more {
		t.nodes = append(t.nodes, node{})
		var below *wanted
		if closing == '}' {
			if s.Peek() != '"' { // as Key does, which costs a call for each member
				return s.Invalid()
			}
			key, ok := s.Token()
			if !ok || !s.Colon() {
				return false
			}
			n := &t.nodes[len(t.nodes)-1]
			n.keyStart, n.keyEnd, n.keyEscaped, n.keyHigh = int32(key.Start-t.base), int32(key.End-t.base), key.Escaped, key.high
			if w != nil && len(w.below) > 0 {
				if key.Escaped {
					below = t.findEscaped(w, key)
				} else {
					below = w.find(s.B[key.Start:key.End])
				}
				if below != nil {
					t.note(below, int32(len(t.nodes)-1))
				}
			}
		}
		if !t.value(s, depth, below) {
			return false
		}
		if s.Pos-t.base > schemas.MaxEventBytes {
			t.large = true
			return false
		}
		var ok bool
		if more, ok = s.More(closing); !ok {
			return false
		}
	}
	return true
}

// findEscaped finds what is wanted below w under a name with escapes.
func (t *Tree) findEscaped(w *wanted, key Token) *wanted {
	key.Start, key.End = key.Start-t.base, key.End-t.base
	name, replaced := t.mem.Text(t.b, key)
	if replaced {
		t.odd[w.slot], t.anyOdd = true, true
	}
	return w.find([]byte(name))
}

// Get returns the member of that name of the object i, None where there is none.
func (t *Tree) Get(i int32, name string) int32 {
	found := None
	if i < 0 || t.nodes[i].kind != '{' {
		return None
	}
	for c := i + 1; c < t.nodes[i].next; c = t.nodes[c].next {
		n := &t.nodes[c]
		if (n.keyEscaped && t.Key(c) == name) || (!n.keyEscaped && string(t.b[n.keyStart:n.keyEnd]) == name) {
			t.Twice = t.Twice || found != None
			found = c
		}
	}
	return found
}

// Key returns the name of a member.
func (t *Tree) Key(i int32) string {
	n := &t.nodes[i]
	if !n.keyEscaped && !n.keyHigh {
		return Alias(t.b[n.keyStart:n.keyEnd])
	}
	s, replaced := t.mem.Text(t.b, Token{Start: int(n.keyStart), End: int(n.keyEnd), Escaped: n.keyEscaped, high: n.keyHigh})
	t.Replaced = t.Replaced || replaced
	return s
}

// Kind is what a value is: one of { [ " t f n, 0 for a number.
func (t *Tree) Kind(i int32) byte { return t.nodes[i].kind }

// Next is the node behind a value and all that is in it, which begins at i+1.
func (t *Tree) Next(i int32) int32 { return t.nodes[i].next }

// Raw is the JSON text of a value, nil of none and of null.
func (t *Tree) Raw(i int32) []byte {
	if n := &t.nodes[i]; i != None && n.kind != 'n' {
		return t.b[n.start:n.end]
	}
	return nil
}

// Str is the value of a text, or the text of a number or switch; empty for
// anything else. A text over schemas.MaxStringBytes ends somewhere behind that.
func (t *Tree) Str(i int32) string {
	n := &t.nodes[i]
	switch {
	case i == None:
		return ""
	case n.kind == '"':
		k := Token{Start: int(n.start) + 1, End: int(n.end) - 1, Escaped: n.escaped, high: n.high}
		k.Escaped = k.Escaped || k.End-k.Start > schemas.MaxStringBytes // there is an end to it
		s, replaced := t.mem.Text(t.b, k)
		t.Replaced = t.Replaced || replaced
		return s
	case n.kind == '0' || n.kind == 't' || n.kind == 'f':
		return Alias(t.b[n.start:n.end])
	}
	return ""
}

// Of returns the value of node i.
func (t *Tree) Of(i int32) (v Value) {
	n := &t.nodes[i]
	switch v.Kind = n.kind; {
	case v.Kind != '"':
		v.Text = Alias(t.b[n.start:n.end])
	case !n.escaped && !n.high:
		v.Text = Alias(t.b[n.start+1 : n.end-1])
	default:
		v.Text, v.Replaced = t.mem.Text(t.b, Token{Start: int(n.start) + 1, End: int(n.end) - 1, Escaped: n.escaped, high: n.high})
	}
	return v
}

// Empty reports whether node i says nothing: it is none, null or the empty text.
func (t *Tree) Empty(i int32) bool {
	n := &t.nodes[i]
	return i == None || n.kind == 'n' || n.kind == '"' && n.end-n.start == 2
}

// Take marks what became a field: it is no attribute.
func (t *Tree) Take(i int32) { t.nodes[i].taken = i != None }

// Rest calls keep with every scalar that became no field, named by its path from
// the root, a.b[0].c, until the event is full; keep returns whether it is. What is
// left then is only counted.
func (t *Tree) Rest(full bool, keep func(name string, v Value) (full bool)) (more int) {
	t.full, t.paths, t.more = full, 0, 0
	t.leaves(0, t.path, keep)
	return t.more
}

func (t *Tree) leaves(i int32, path []byte, keep func(name string, v Value) bool) {
	n := &t.nodes[i]
	element := int64(-1)
	for c := i + 1; c < n.next; c = t.nodes[c].next {
		element++
		m := &t.nodes[c]
		if m.taken || t.Empty(c) || m.kind != '{' && m.kind != '[' && !t.afford(len(path)) {
			if m.keyHigh || m.keyEscaped {
				t.Key(c) // its name is looked at, too
			}
			if !m.taken && !t.Empty(c) {
				t.more++ // of a flood those that no event holds are only counted
			}
			continue
		}
		key := ""
		if n.kind == '{' {
			key = t.Key(c)
		}
		if m.kind == '{' || m.kind == '[' {
			t.leaves(c, below(path, n.kind, key, element), keep)
			continue
		}
		if len(path) > 0 || n.kind == '[' {
			room := append(t.mem.Take(len(path)+min(len(key), longPath)+len("[1234567]")), path...)
			key = t.mem.Done(below(room, n.kind, key, element))
		}
		t.full = keep(key, t.Of(c))
	}
}

// afford reports whether the event holds one more leaf, under a path of n bytes.
func (t *Tree) afford(n int) bool {
	if t.full || t.paths+n > fewPaths+perByte*int(t.nodes[0].end) {
		return false
	}
	t.paths += n
	return true
}

// below appends the name of a member, or the place of an element, to a path.
func below(path []byte, container byte, key string, element int64) []byte {
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

// PathTo names a value as Rest does, for people.
func (t *Tree) PathTo(i int32) string {
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
				path = append(path, t.Key(c)...)
			}
			at = c
			break
		}
	}
	return string(path)
}
