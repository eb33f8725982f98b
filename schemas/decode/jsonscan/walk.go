package jsonscan

import (
	"strconv"

	"github.com/plumbline-sec/plumbline/schemas"
)

// Error is why a text can't be read.
type Error struct {
	Reason Reason
	Detail string // for people
}

// Members walks over the members of the object b without looking into them; it
// calls visit with the name of each and where its value stands.
func Members(b []byte, visit func(name string, value []byte)) *Error {
	return Walk(b, func(name string, s *Scanner) bool {
		start := s.Pos
		if !s.Skip(1) {
			return false
		}
		visit(name, b[start:s.Pos])
		return true
	})
}

// Walk walks over the members of the object b. For each it calls read, which reads
// the value at the scanner and returns false where that is malformed.
func Walk(b []byte, read func(name string, s *Scanner) bool) *Error {
	var s Scanner
	var mem Arena
	s.Reset(b)
	return s.End((s.Peek() == '{' || s.Invalid()) && s.Each(func(s *Scanner) bool {
		key, ok := s.Key()
		if !ok {
			return false
		}
		name, _ := mem.Text(b, key)
		s.Peek()
		return read(name, s)
	}))
}

// List walks over the elements of the array that b is. What is malformed ends it.
func List(b []byte, read func(s *Scanner) bool) *Error {
	var s Scanner
	s.Reset(b)
	return s.End(s.Each(read))
}

// Each walks over the object or array at Pos. For each member or element it calls
// read, which reads it and returns false where it is malformed.
func (s *Scanner) Each(read func(s *Scanner) bool) bool {
	for closing, more := s.Enter(); more; {
		s.Peek()
		ok := read(s)
		if ok {
			more, ok = s.More(closing)
		}
		if !ok {
			return false
		}
	}
	return true
}

// End returns nil where the text was read well and ends at Pos.
func (s *Scanner) End(ok bool) *Error {
	if ok {
		if s.Peek(); s.Pos == len(s.B) {
			return nil
		}
		s.Invalid()
	}
	return s.Malformed()
}

// Malformed says where a text stopped being JSON.
func (s *Scanner) Malformed() *Error {
	detail := "invalid at byte " + strconv.Itoa(s.Pos)
	switch {
	case s.Fail == TooDeep:
		detail = "deeper than " + strconv.Itoa(schemas.MaxDepth) + " at byte " + strconv.Itoa(s.Pos)
	case s.Pos >= len(s.B):
		detail = "ends too early"
	}
	return &Error{Reason: s.Fail, Detail: detail}
}
