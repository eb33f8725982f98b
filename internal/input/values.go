package input

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// maxNesting is deeper than any form permits. It bounds the search for the bracket that one
// closes: a file of nothing else must not take longer for it.
const maxNesting = 64

// scanner follows the brackets and strings of a JSON value, which is all that it takes to
// find its end. Whether it is JSON is for the decoder to say.
type scanner struct {
	open   []byte
	deeper int // brackets beyond maxNesting
	str    bool
	esc    bool
	last   byte // before, outside strings, blanks aside
}

// step takes the next byte, and reports whether it closes the value.
func (s *scanner) step(c byte) (closed bool) {
	if s.str {
		switch {
		case c == '\n':
			s.str, s.esc = false, false
		case s.esc:
			s.esc = false
		case c == '\\':
			s.esc = true
		case c == '"':
			s.str = false
		}
		return false
	}
	switch c {
	case ' ', '\t', '\r', '\n':
		return false
	case '"':
		s.str = true
	case '{', '[':
		if len(s.open) < maxNesting {
			s.open = append(s.open, c)
		} else {
			s.deeper++
		}
	case '}', ']':
		s.last = c
		if s.deeper > 0 {
			s.deeper--
			return false
		}
		if i := bytes.LastIndexByte(s.open, c-2); i >= 0 { // '{' and '}', '[' and ']' lie two apart
			s.open = s.open[:i]
		}
		return len(s.open) == 0
	}
	s.last = c
	return false
}

// mayOpen reports whether an object may begin here, within a value.
func (s *scanner) mayOpen() bool {
	list := len(s.open) > 0 && s.open[len(s.open)-1] == '['
	return s.last == '[' || s.last == ':' || s.last == ',' && list
}

// values reads JSON values wherever they begin and end: one over many lines, several
// on one, the elements of lists.
type values struct {
	in       *bufio.Reader
	max      int
	line     int64 // of the next byte
	list     bool  // within a list
	listLine int64
	buf      []byte

	// of a value
	scan    scanner
	whole   bool // an object or a list
	atStart bool // of a line
}

// next returns the next value.
func (v *values) next() (Record, error) {
	for {
		c, err := v.in.ReadByte()
		if errors.Is(err, io.EOF) && v.list {
			return Record{}, &Error{Line: v.listLine, What: "the list that begins here never ends: the file is cut off, and what stands in it was taken", Next: "get the whole file"}
		}
		if err != nil {
			return Record{}, err
		}
		switch {
		case c == '\n':
			v.line++
		case c == ' ', c == '\t', c == '\r', c == ',', c == bom[0], c == bom[1], c == bom[2]:
		case c == '[' && !v.list:
			v.list, v.listLine = true, v.line
		case c == ']' && v.list:
			v.list = false
		default:
			if err := v.in.UnreadByte(); err != nil {
				return Record{}, err
			}
			return v.value(c == '{' || c == '[')
		}
	}
}

// value returns the value that is next; whole says that it is an object or a list.
func (v *values) value(whole bool) (Record, error) {
	v.scan = scanner{open: v.scan.open[:0]}
	v.buf, v.whole, v.atStart = v.buf[:0], whole, false
	rec := Record{Line: v.line}
	for ended := false; !ended; {
		_, err := v.in.Peek(1)
		if errors.Is(err, io.EOF) {
			break // the decoder says that it ends too early
		}
		if err != nil {
			return Record{}, err
		}
		part, _ := v.in.Peek(v.in.Buffered()) // which is there
		part, ended = v.take(part)
		if rec.Size += int64(len(part)); rec.Size <= int64(v.max) {
			v.buf = append(v.buf, part...)
		} else if rec.Size > maxSkipped {
			return Record{}, errEndless
		}
		if _, err := v.in.Discard(len(part)); err != nil {
			return Record{}, err
		}
	}
	if rec.Size > int64(v.max) {
		rec.TooLong = true
		return rec, nil
	}
	rec.Data = bytes.TrimRight(v.buf, " \t\r\n")
	rec.Size = int64(len(rec.Data))
	return rec, nil
}

// take returns how much of text belongs to the value, and whether that ends there: an object or
// a list with its bracket, or where a line begins as only another value can; what
// is neither with its line, or where the list around it goes on.
func (v *values) take(text []byte) (part []byte, ended bool) {
	for i, c := range text {
		if v.atStart && c == '{' && !v.scan.mayOpen() || !v.whole && v.list && !v.scan.str && (c == ',' || c == ']') {
			return text[:i], true
		}
		closed := v.scan.step(c)
		if v.atStart = c == '\n'; v.atStart {
			v.line++
		}
		if closed || !v.whole && v.atStart {
			return text[:i+1], true
		}
	}
	return text, false
}
