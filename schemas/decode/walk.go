package decode

import (
	"strconv"
	"unicode/utf8"

	"github.com/plumbline-sec/plumbline/schemas"
)

// object walks over the members of the object b without looking into them; it
// calls visit with the name of each and where its value stands.
func object(b []byte, visit func(name string, value []byte)) *Refusal {
	var s scanner
	var mem arena
	s.reset(b)
	if s.peek() != '{' {
		s.fail = ReasonNotJSON
		return malformed(&s)
	}
	s.pos++
	if s.peek() == '}' {
		s.pos++
	} else {
		for {
			if s.peek() != '"' {
				s.fail = ReasonNotJSON
				return malformed(&s)
			}
			key, ok := s.str()
			if !ok || !s.colon() {
				return malformed(&s)
			}
			name, _ := mem.text(b, key)
			s.peek()
			start := s.pos
			if !s.skip(1) {
				return malformed(&s)
			}
			visit(name, b[start:s.pos])
			c := s.peek()
			s.pos++
			if c == '}' {
				break
			}
			if c != ',' {
				s.pos--
				s.fail = ReasonNotJSON
				return malformed(&s)
			}
		}
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
