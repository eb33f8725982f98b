package decode

import (
	"strconv"
	"unicode/utf8"

	"github.com/plumbline-sec/plumbline/schemas"
)

// object walks over the members of the object b without looking into them; it
// calls visit with the name of each and where its value stands.
func object(b []byte, visit func(name string, value []byte)) *Refusal {
	return walk(b, func(name string, s *scanner) bool {
		start := s.pos
		if !s.skip(1) {
			return false
		}
		visit(name, b[start:s.pos])
		return true
	})
}

// walk walks over the members of the object b. For each it calls read, which reads
// the value at the scanner and returns false where that is malformed.
func walk(b []byte, read func(name string, s *scanner) bool) *Refusal {
	var s scanner
	var mem arena
	s.reset(b)
	if s.peek() != '{' {
		s.fail = ReasonNotJSON
		return malformed(&s)
	}
	s.pos++
	for more := s.peek() != '}'; more; {
		if s.peek() != '"' {
			s.fail = ReasonNotJSON
			return malformed(&s)
		}
		key, ok := s.str()
		if !ok || !s.colon() {
			return malformed(&s)
		}
		name, _ := mem.text(b, key)
		if s.peek(); !read(name, &s) {
			return malformed(&s)
		}
		switch s.peek() {
		case ',':
			s.pos++
		case '}':
			more = false
		default:
			s.fail = ReasonNotJSON
			return malformed(&s)
		}
	}
	s.pos++
	if s.peek(); s.pos < len(b) {
		s.fail = ReasonNotJSON
		return malformed(&s)
	}
	return nil
}

// walkList walks over the array at the scanner. For each element it calls read,
// which reads the value at the scanner and returns false where that is malformed.
func walkList(s *scanner, read func(s *scanner) bool) *Refusal {
	s.pos++
	for more := s.peek() != ']'; more; {
		if s.peek(); !read(s) {
			return malformed(s)
		}
		switch s.peek() {
		case ',':
			s.pos++
		case ']':
			more = false
		default:
			s.fail = ReasonNotJSON
			return malformed(s)
		}
	}
	s.pos++
	return nil
}

// elements walks over the elements of the array that b is. What is malformed ends it.
func elements(b []byte, read func(s *scanner) bool) *Refusal {
	var s scanner
	s.reset(b)
	if refusal := walkList(&s, read); refusal != nil {
		return refusal
	}
	if s.peek(); s.pos < len(b) {
		s.fail = ReasonNotJSON
		return malformed(&s)
	}
	return nil
}

// malformed says where a text stopped being JSON.
func malformed(s *scanner) *Refusal {
	detail := "invalid at byte " + strconv.Itoa(s.pos)
	switch {
	case s.fail == ReasonTooDeep:
		detail = "deeper than " + strconv.Itoa(schemas.MaxDepth) + " at byte " + strconv.Itoa(s.pos)
	case s.pos >= len(s.b):
		detail = "ends too early"
	}
	return &Refusal{Reason: s.fail, Detail: detail}
}

// clean makes a string of foreign bytes one that an event may hold.
func clean(s string) string {
	out := make([]byte, 0, min(len(s), schemas.MaxStringBytes))
	for _, r := range s[:min(len(s), schemas.MaxStringBytes-utf8.UTFMax)] {
		out = utf8.AppendRune(out, r) // a byte that is no UTF-8 becomes three
		if len(out) > schemas.MaxStringBytes-utf8.UTFMax {
			break
		}
	}
	return string(out)
}
