package input

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// Bounds of what is read in search of the first JSON line: a program that says something
// before it writes events is forgiven.
const (
	prefaceLines = 20
	prefaceBytes = 64 << 10
)

const (
	headBytes   = 4 << 10
	binaryBytes = 64 // tell a binary message from text
)

// begin finds out what the input is. It reads no further than it takes to tell: for
// JSON lines that is the first line.
func (r *Reader) begin() error {
	if err := r.open(); err != nil {
		return err
	}
	head, err := r.head()
	if err != nil {
		return err
	}
	if r.message(head) {
		return r.whole()
	}
	start, err := r.indent()
	if err != nil {
		return err
	}
	next, err := r.in.Peek(1)
	if err != nil {
		return err
	}
	c, isValues := next[0], false
	switch c {
	case '{':
		start, isValues, err = r.object(start)
	case '[':
		start, isValues, err = r.list(start)
	}
	if err != nil {
		return err
	}
	if isValues {
		r.values = &values{
			in:  bufio.NewReaderSize(io.MultiReader(bytes.NewReader(start), r.in), 64<<10),
			max: r.opt.MaxRecord, line: r.line + 1,
		}
		return nil
	}
	if c != '{' && (binary(head) || magicOf(head) != nil) {
		return refuse(r.line+1, head, nil) // it may have no lines
	}
	first, err := r.endLine(start)
	if err != nil {
		return err
	}
	if c != '{' {
		return r.preface(first, head)
	}
	r.held = []Record{first}
	return nil
}

// indent passes over blank lines, and returns what is blank in the next before its text.
func (r *Reader) indent() (start []byte, err error) {
	for {
		c, err := r.in.ReadByte()
		if err != nil {
			return nil, err
		}
		switch c {
		case '\n':
			r.line++
			start = start[:0]
		case ' ', '\t', '\r':
			if len(start) < prefaceBytes { // more is no indentation
				start = append(start, c)
			}
		default:
			return start, r.in.UnreadByte()
		}
	}
}

// object reads the first object behind start, as far as it takes to tell whether the
// input is lines, of which this is the first, or values wherever they end.
func (r *Reader) object(start []byte) (read []byte, isValues bool, err error) {
	var s scanner
	for len(start) <= r.opt.MaxRecord {
		c, err := r.in.ReadByte()
		if errors.Is(err, io.EOF) {
			return start, false, nil
		}
		if err != nil {
			return nil, false, err
		}
		if c == '\n' {
			isValues, err := r.goesOn(&s)
			return start, isValues, err
		}
		if c == 0 && len(start) > 0 && start[len(start)-1] == '{' {
			return nil, false, refuse(r.line+1, []byte("{\x00"), nil)
		}
		start = append(start, c)
		if s.step(c) {
			return r.behindObject(start)
		}
	}
	return start, false, nil
}

// goesOn reports whether an object goes on behind the end of the line that was read
// last, which it puts back.
func (r *Reader) goesOn(s *scanner) (bool, error) {
	if err := r.in.UnreadByte(); err != nil || s.str { // no string goes over lines
		return false, err
	}
	next, err := r.in.Peek(2)
	switch {
	case errors.Is(err, io.EOF):
		return false, nil
	case err != nil:
		return false, err
	}
	return next[1] != '{' || s.mayOpen(), nil
}

// behindObject tells by what stands behind an object on its line.
func (r *Reader) behindObject(start []byte) (read []byte, isValues bool, err error) {
	for len(start) <= r.opt.MaxRecord {
		c, err := r.in.ReadByte()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, false, err
		}
		if c != ' ' && c != '\t' && c != '\r' {
			return start, c == '{' || c == ',', r.in.UnreadByte()
		}
		start = append(start, c)
	}
	return start, false, nil
}

// list reads the bracket behind start. A list of objects, or of lists, is values; log lines
// begin so too: [INFO] ...
func (r *Reader) list(start []byte) (read []byte, isValues bool, err error) {
	begins := len(start) // with the bracket
	for len(start) <= prefaceBytes {
		c, err := r.in.ReadByte()
		if errors.Is(err, io.EOF) {
			return start, true, nil
		}
		if err != nil {
			return nil, false, err
		}
		switch {
		case len(start) == begins, c == ' ', c == '\t', c == '\r':
			start = append(start, c)
		case c == '\n', c == '{', c == '[', c == ']':
			return start, true, r.in.UnreadByte()
		default:
			return start, false, r.in.UnreadByte()
		}
	}
	return start, true, nil
}

// endLine returns the line that begins with start, and goes on with what is read next.
func (r *Reader) endLine(start []byte) (Record, error) {
	rec, err := r.nextLine()
	if errors.Is(err, io.EOF) {
		r.line++
		rec, err = Record{Line: r.line}, nil
	}
	if err != nil {
		return Record{}, err
	}
	line := bytes.TrimRight(append(start, rec.Data...), "\r")
	if rec.TooLong || len(line) > r.opt.MaxRecord {
		return Record{Line: rec.Line, Size: int64(len(start)) + rec.Size, TooLong: true}, nil
	}
	return Record{Line: rec.Line, Data: line, Size: int64(len(line))}, nil
}

// head is how the text begins, as far as it is there.
func (r *Reader) head() ([]byte, error) {
	first, err := r.in.Peek(1)
	if err != nil {
		return nil, err
	}
	least := 1
	if c := first[0]; c == 0 || r.opt.Binary && c != '{' && c != '[' {
		least = binaryBytes
	}
	head, err := r.in.Peek(max(least, min(headBytes, r.in.Buffered())))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return bytes.Clone(head), nil
}

// message reports whether the input is one message, with nothing before it or behind:
// JSON or binary in the framing of a schema registry, or binary.
func (r *Reader) message(head []byte) bool {
	framed := len(head) > 5 && head[0] == 0 && (head[5] == '{' || head[5] == '[')
	return framed || r.opt.Binary && head[0] != '{' && head[0] != '[' && binary(head) && magicOf(head) == nil
}

// whole takes all of the input as one record.
func (r *Reader) whole() error {
	all, err := io.ReadAll(io.LimitReader(r.in, int64(r.opt.MaxRecord)+1))
	if err != nil {
		return err
	}
	rec := Record{Line: 1, Data: all, Size: int64(len(all))}
	if len(all) > r.opt.MaxRecord {
		rec.Data, rec.TooLong = nil, true
		r.in.Reset(bytes.NewReader(nil)) // what is behind it is of no use
	}
	r.held = []Record{rec}
	return nil
}

// preface reads on from a first line that is no JSON in search of one that is. There
// is none in a file of another kind.
func (r *Reader) preface(first Record, head []byte) error {
	if first.TooLong {
		return refuse(first.Line, head, nil)
	}
	if len(head) < len(first.Data) { // it came in pieces
		head = first.Data
	}
	held := []Record{first}
	size := len(first.Data)
	for !binary(head) && magicOf(head) == nil && head[0] != '<' && len(held) < prefaceLines && size < prefaceBytes {
		rec, err := r.nextLine()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		size += int(rec.Size)
		if rec.TooLong || blank(rec.Data) {
			continue
		}
		rec.Data = bytes.Clone(rec.Data)
		held = append(held, rec)
		if isObject(rec.Data) {
			r.held = held
			return nil
		}
	}
	return refuse(first.Line, head, held)
}

// isObject reports whether line is how an object begins.
func isObject(line []byte) bool {
	line = bytes.TrimLeft(line, " \t")
	if len(line) == 0 || line[0] != '{' {
		return false
	}
	line = bytes.TrimLeft(line[1:], " \t\r")
	return len(line) > 0 && (line[0] == '"' || line[0] == '}')
}
