package policy

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// Bounds of what is read. The parser recurses, and so does all that works on its trees:
// what is deeper or longer never reaches it.
const (
	MaxFiles       = 1000
	MaxFileBytes   = 4 << 20
	MaxTotalBytes  = 16 << 20
	MaxPolicies    = 10_000
	MaxPolicyBytes = 64 << 10
	MaxDepth       = 64   // of brackets
	MaxOperators   = 4000 // characters of a policy's operators
)

// piece is the text of one policy.
type piece struct {
	text         []byte // with its semicolon, without what stands before it
	line, column int    // 1-based, of its first character
}

// place is where something stands in a file.
type place struct{ line, column int }

// split cuts a file into its policies, by the semicolons outside of texts and comments.
func split(src []byte) (pieces []piece, wrong *Mistake) {
	s := splitter{src: src, line: 1, column: 1, start: -1}
	for s.at < len(src) {
		if wrong := s.step(); wrong != nil {
			return s.pieces, wrong
		}
	}
	s.end()
	return s.pieces, nil
}

type splitter struct {
	src          []byte
	at           int
	line, column int // of at
	start        int // of the policy; -1: none has begun
	begins       place
	open         []byte // the brackets that are open
	operators    int
	pieces       []piece
}

// forward moves on by n bytes.
func (s *splitter) forward(n int) {
	for _, c := range s.src[s.at : s.at+n] {
		switch {
		case c == '\n':
			s.line, s.column = s.line+1, 1
		case utf8.RuneStart(c):
			s.column++
		}
	}
	s.at += n
}

func (s *splitter) mistake(problem, fix string) *Mistake {
	return &Mistake{Line: s.line, Column: s.column, Problem: problem, Fix: fix}
}

// step reads one character, comment or text.
func (s *splitter) step() *Mistake {
	rest := s.src[s.at:]
	switch c := rest[0]; {
	case c == ' ' || c == '\t' || c == '\r' || c == '\n':
		s.forward(1)
		return nil
	case bytes.HasPrefix(rest, []byte("//")):
		n := bytes.IndexByte(rest, '\n')
		if n < 0 {
			n = len(rest)
		}
		s.forward(n)
		return nil
	case bytes.HasPrefix(rest, []byte("/*")):
		n := bytes.Index(rest[2:], []byte("*/"))
		if n < 0 {
			return s.mistake("a comment begins here and does not end", "write */ behind it")
		}
		s.forward(n + 4)
		return nil
	}
	if s.start < 0 {
		s.start, s.begins = s.at, place{s.line, s.column}
	}
	if s.at-s.start >= MaxPolicyBytes {
		s.line, s.column = s.begins.line, s.begins.column
		return s.mistake(fmt.Sprintf("a policy of more than %d bytes begins here", MaxPolicyBytes), "write several, or check that each ends with a semicolon")
	}
	switch c := rest[0]; c {
	case '"':
		n := 1
		for n < len(rest) && rest[n] != '"' && rest[n] != '\n' {
			if rest[n] == '\\' && n+1 < len(rest) && rest[n+1] != '\n' {
				n++
			}
			n++
		}
		if n >= len(rest) || rest[n] != '"' {
			return s.mistake("a text begins here and does not end on its line", `write " behind it`)
		}
		s.forward(n + 1)
		return nil
	case '(', '[', '{':
		if s.open = append(s.open, c); len(s.open) > MaxDepth {
			return s.mistake(fmt.Sprintf("brackets are nested deeper than %d", MaxDepth), "write several policies")
		}
	case ')', ']', '}':
		if n := len(s.open); n > 0 {
			s.open = s.open[:n-1] // whether it is the right one, the parser says
		}
	case '&', '|', '!', '-', '+', '*', '.', '<', '>', '=': // these nest without brackets
		if s.operators++; s.operators > MaxOperators {
			return s.mistake(fmt.Sprintf("a policy has over %d characters of operators", MaxOperators), "write several policies, or [\"a\", \"b\"].contains(x) in the place of many ==")
		}
	case ';':
		s.forward(1)
		s.end()
		return nil
	}
	s.forward(1)
	return nil
}

// end ends the policy that has begun.
func (s *splitter) end() {
	if s.start >= 0 {
		s.pieces = append(s.pieces, piece{s.src[s.start:s.at], s.begins.line, s.begins.column})
	}
	s.start, s.open, s.operators = -1, s.open[:0], 0
}
