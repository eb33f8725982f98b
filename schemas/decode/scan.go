package decode

import (
	"encoding/binary"
	"math/bits"

	"github.com/plumbline-sec/plumbline/schemas"
)

// scanner walks over one JSON text and validates it on the way. It never
// recurses, so that the nesting of a hostile text costs nothing.
//
// It is strict but for two things, because a refusal would be a way to hide: a
// control character may stand unescaped in a string, and bytes that are not
// UTF-8 may too.
//
// Methods that can fail return false after noting in fail why and, with pos, where.
type scanner struct {
	b    []byte
	pos  int
	fail Reason
}

func (s *scanner) reset(b []byte) { s.b, s.pos, s.fail = b, 0, "" }

func (s *scanner) invalid() bool {
	s.fail = ReasonNotJSON
	return false
}

// peek passes over white space and returns the byte that follows, 0 at the end.
func (s *scanner) peek() byte {
	for s.pos < len(s.b) {
		c := s.b[s.pos]
		if c > ' ' || (c != ' ' && c != '\n' && c != '\t' && c != '\r') {
			return c
		}
		s.pos++
	}
	return 0
}

// token is a string between its quotes: b[start:end].
type token struct {
	start, end int
	escaped    bool // it has escapes, all of them well formed
	high       bool // it has bytes over 0x7f, which may or may not be UTF-8
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// simple reads the string whose opening quote is at pos if it is ASCII without
// escapes, as nearly all are, eight bytes at a time. Otherwise it stays where it is.
func (s *scanner) simple() (v string, ok bool) {
	b, start := s.b, s.pos+1
	for i := start; i <= len(b)-8; i += 8 {
		w := binary.LittleEndian.Uint64(b[i : i+8])
		q, e := w^(ones*'"'), w^(ones*'\\')
		m := ((q-ones)&^q | (e-ones)&^e | w) & highs
		if m == 0 {
			continue
		}
		i += bits.TrailingZeros64(m) >> 3 // the lowest mark is exact
		if b[i] != '"' {
			return "", false
		}
		s.pos = i + 1
		return alias(b[start:i]), true
	}
	return "", false
}

// str reads the string whose opening quote is at pos, eight bytes at a time.
func (s *scanner) str() (t token, ok bool) {
	b, i := s.b, s.pos+1
	t.start = i
	high := uint64(0)
	for {
		if i <= len(b)-8 {
			w := binary.LittleEndian.Uint64(b[i : i+8])
			q, e := w^(ones*'"'), w^(ones*'\\')
			m := ((q - ones) &^ q & highs) | ((e - ones) &^ e & highs)
			if m == 0 {
				high |= w
				i += 8
				continue
			}
			// The lowest mark is exact; only bytes before it belong to the string.
			high |= w & (m&-m - 1)
			i += bits.TrailingZeros64(m) >> 3
		} else {
			for i < len(b) && b[i] != '"' && b[i] != '\\' {
				high |= uint64(b[i])
				i++
			}
			if i == len(b) {
				s.pos = i
				return t, s.invalid()
			}
		}
		if b[i] == '"' {
			t.end, t.high, s.pos = i, high&highs != 0, i+1
			return t, true
		}
		t.escaped = true
		n := escapeLen(b[i:])
		if n == 0 {
			s.pos = i
			return t, s.invalid()
		}
		i += n
	}
}

// escapeLen returns the length of the escape that b begins with, 0 if it is none.
func escapeLen(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if _, ok := hex4(b); ok {
			return 6
		}
	}
	return 0
}

// number reads the number at pos and returns its text.
func (s *scanner) number() ([]byte, bool) {
	b, i := s.b, s.pos
	if i < len(b) && b[i] == '-' {
		i++
	}
	switch {
	case i < len(b) && b[i] == '0':
		i++
	case i < len(b) && isDigit(b[i]):
		i = digits(b, i)
	default:
		s.pos = i
		return nil, s.invalid()
	}
	if i < len(b) && b[i] == '.' {
		j := digits(b, i+1)
		if j == i+1 {
			s.pos = j
			return nil, s.invalid()
		}
		i = j
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		j := digits(b, i)
		if j == i {
			s.pos = j
			return nil, s.invalid()
		}
		i = j
	}
	text := b[s.pos:i]
	s.pos = i
	return text, true
}

func isDigit(c byte) bool { return c-'0' <= 9 }

func digits[T string | []byte](b T, i int) int {
	for i < len(b) && isDigit(b[i]) {
		i++
	}
	return i
}

// literal reads word at pos.
func (s *scanner) literal(word string) bool {
	if end := s.pos + len(word); end <= len(s.b) && string(s.b[s.pos:end]) == word {
		s.pos = end
		return true
	}
	return s.invalid()
}

// skip passes over the value at pos, which stands in depth containers.
func (s *scanner) skip(depth int) bool {
	outer := depth
	var objects uint64 // bit d: the container at depth d is an object
	for {
		switch c := s.peek(); c {
		case '{', '[':
			depth++
			if depth > schemas.MaxDepth {
				s.fail = ReasonTooDeep
				return false
			}
			s.pos++
			closing := c + 2 // '{' and '}', '[' and ']' lie two apart
			objects &^= 1 << depth
			if c == '{' {
				objects |= 1 << depth
			}
			if s.peek() == closing {
				s.pos++
				depth--
				break
			}
			if c == '{' {
				if !s.skipKey() {
					return false
				}
			}
			continue
		default:
			if !s.scalar(c) {
				return false
			}
		}
		more, ok := s.closeContainers(&depth, outer, objects)
		if !ok {
			return false
		}
		if !more {
			return true
		}
	}
}

// closeContainers goes on after a value: to the next value (more), or out of the
// containers that end here until outer is reached.
func (s *scanner) closeContainers(depth *int, outer int, objects uint64) (more, ok bool) {
	for *depth > outer {
		isObject := objects>>*depth&1 == 1
		switch c := s.peek(); {
		case c == ',':
			s.pos++
			if isObject {
				if !s.skipKey() {
					return false, false
				}
			}
			return true, true
		case c == '}' && isObject, c == ']' && !isObject:
			s.pos++
			*depth--
		default:
			return false, s.invalid()
		}
	}
	return false, true
}

// scalar passes over the string, number or literal that begins with c.
func (s *scanner) scalar(c byte) bool {
	switch c {
	case '"':
		_, ok := s.str()
		return ok
	case 't':
		return s.literal("true")
	case 'f':
		return s.literal("false")
	case 'n':
		return s.literal("null")
	default:
		_, ok := s.number()
		return ok
	}
}

// skipKey passes over a member's key and colon; pos is then before its value.
func (s *scanner) skipKey() bool {
	if s.peek() != '"' {
		return s.invalid()
	}
	if _, ok := s.str(); !ok {
		return false
	}
	return s.colon()
}

func (s *scanner) colon() bool {
	if s.peek() != ':' {
		return s.invalid()
	}
	s.pos++
	return true
}
