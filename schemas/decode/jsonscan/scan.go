// Package jsonscan reads JSON that others wrote: token by token (Scanner), member
// by member (Walk), or as a tree whose values are asked for by name (Tree). It
// makes strings that share the memory of the text or of an Arena.
//
// Nothing in a text makes it recurse deeper than schemas.MaxDepth or take more
// memory than the text has. It knows nothing of activity events, and imports the
// standard library and the limits of schemas.
package jsonscan

import (
	"encoding/binary"
	"math/bits"

	"github.com/plumbline-sec/plumbline/schemas"
)

// Reason says in one stable word why a text can't be read.
type Reason string

// The reasons.
const (
	NotJSON  Reason = "not_json"
	TooDeep  Reason = "too_deep"
	TooLarge Reason = "too_large"
)

// Scanner walks over one JSON text and validates it on the way.
//
// It is strict but for two things, because a refusal would be a way to hide: a
// control character may stand unescaped in a string, and bytes that are not
// UTF-8 may too.
//
// Methods that can fail return false after noting in Fail why and, with Pos, where.
type Scanner struct {
	B    []byte
	Pos  int
	Fail Reason
}

// Reset begins with another text.
func (s *Scanner) Reset(b []byte) { s.B, s.Pos, s.Fail = b, 0, "" }

// Invalid notes that the text is no JSON from here on.
func (s *Scanner) Invalid() bool {
	s.Fail = NotJSON
	return false
}

// Peek passes over white space and returns the byte that follows, 0 at the end.
func (s *Scanner) Peek() byte {
	for s.Pos < len(s.B) {
		c := s.B[s.Pos]
		if c > ' ' || (c != ' ' && c != '\n' && c != '\t' && c != '\r') {
			return c
		}
		s.Pos++
	}
	return 0
}

// Token is a string between its quotes: b[start:end].
type Token struct {
	Start, End int
	Escaped    bool // it has escapes, all of them well formed
	high       bool // it has bytes over 0x7f, which may or may not be UTF-8
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// Simple reads the string whose opening quote is at Pos if it is ASCII without
// escapes, as nearly all are, eight bytes at a time. Otherwise it stays where it is.
func (s *Scanner) Simple() (v string, ok bool) {
	b, start := s.B, s.Pos+1
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
		s.Pos = i + 1
		return Alias(b[start:i]), true
	}
	return "", false
}

// Token reads the string whose opening quote is at Pos, eight bytes at a time.
func (s *Scanner) Token() (t Token, ok bool) {
	b, i := s.B, s.Pos+1
	t.Start = i
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
				s.Pos = i
				return t, s.Invalid()
			}
		}
		if b[i] == '"' {
			t.End, t.high, s.Pos = i, high&highs != 0, i+1
			return t, true
		}
		t.Escaped = true
		n := escapeLen(b[i:])
		if n == 0 {
			s.Pos = i
			return t, s.Invalid()
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

// Number reads the number at Pos and returns its text.
func (s *Scanner) Number() ([]byte, bool) {
	b, i := s.B, s.Pos
	if i < len(b) && b[i] == '-' {
		i++
	}
	switch {
	case i < len(b) && b[i] == '0':
		i++
	case i < len(b) && IsDigit(b[i]):
		i = digits(b, i)
	default:
		s.Pos = i
		return nil, s.Invalid()
	}
	if i < len(b) && b[i] == '.' {
		j := digits(b, i+1)
		if j == i+1 {
			s.Pos = j
			return nil, s.Invalid()
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
			s.Pos = j
			return nil, s.Invalid()
		}
		i = j
	}
	text := b[s.Pos:i]
	s.Pos = i
	return text, true
}

// IsDigit reports whether c is 0 to 9.
func IsDigit(c byte) bool { return c-'0' <= 9 }

func digits[T string | []byte](b T, i int) int {
	for i < len(b) && IsDigit(b[i]) {
		i++
	}
	return i
}

// literal reads word at pos.
func (s *Scanner) literal(word string) bool {
	if end := s.Pos + len(word); end <= len(s.B) && string(s.B[s.Pos:end]) == word {
		s.Pos = end
		return true
	}
	return s.Invalid()
}

// Skip passes over the value at Pos, which stands in depth containers. It calls
// itself once for each container, at most schemas.MaxDepth deep.
func (s *Scanner) Skip(depth int) bool {
	c := s.Peek()
	if c != '{' && c != '[' {
		return s.Scalar(c)
	}
	if depth == schemas.MaxDepth {
		s.Fail = TooDeep
		return false
	}
	closing, more := s.Enter()
	for more {
		if c == '{' {
			if _, ok := s.Key(); !ok {
				return false
			}
		}
		ok := s.Skip(depth + 1)
		if ok {
			more, ok = s.More(closing)
		}
		if !ok {
			return false
		}
	}
	return true
}

// Scalar passes over the string, number or literal that begins with c.
func (s *Scanner) Scalar(c byte) bool {
	switch c {
	case '"':
		_, ok := s.Token()
		return ok
	case 't':
		return s.literal("true")
	case 'f':
		return s.literal("false")
	case 'n':
		return s.literal("null")
	default:
		_, ok := s.Number()
		return ok
	}
}

// Key reads a member's key and colon; Pos is then before its value.
func (s *Scanner) Key() (key Token, ok bool) {
	if s.Peek() != '"' {
		return key, s.Invalid()
	}
	if key, ok = s.Token(); !ok {
		return key, false
	}
	return key, s.Colon()
}

// Colon reads what stands behind a key.
func (s *Scanner) Colon() bool {
	if s.Peek() != ':' {
		return s.Invalid()
	}
	s.Pos++
	return true
}

// Enter goes into the object or array at Pos. more is whether something stands in
// it; otherwise it is behind it again.
func (s *Scanner) Enter() (closing byte, more bool) {
	closing = s.B[s.Pos] + 2 // '{' and '}', '[' and ']' lie two apart
	s.Pos++
	if s.Peek() == closing {
		s.Pos++
		return closing, false
	}
	return closing, true
}

// More goes on behind a value in an object or array: to the next one (more), or
// out of it.
func (s *Scanner) More(closing byte) (more, ok bool) {
	switch s.Peek() {
	case ',':
		s.Pos++
		return true, true
	case closing:
		s.Pos++
		return false, true
	}
	return false, s.Invalid()
}
