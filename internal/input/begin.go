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
	var first Record
	for {
		if first, err = r.nextLine(); err != nil {
			return err
		}
		if first.TooLong || !blank(first.Data) {
			break
		}
	}
	if first.TooLong {
		if start := head[0]; start != '{' && start != '[' && start > ' ' {
			return refuse(r.line, head, nil)
		}
		r.held = []Record{first}
		return nil
	}
	first.Data = bytes.Clone(first.Data) // looking further overwrites it
	if bytes.IndexByte(first.Data[:min(len(first.Data), 2)], 0) >= 0 {
		return refuse(r.line, head, nil) // UTF-16
	}
	switch text := bytes.TrimLeft(first.Data, " \t"); {
	case text[0] == '{':
		if r.lines(text) {
			r.held = []Record{first}
			return nil
		}
	case !isList(text):
		return r.preface(first, head)
	}
	r.values = &values{
		in:  bufio.NewReaderSize(io.MultiReader(bytes.NewReader(append(first.Data, '\n')), r.in), 64<<10),
		max: r.opt.MaxRecord, line: first.Line,
	}
	return nil
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

// lines reports whether an input is JSON lines that begins with this line, which
// begins with a brace: it holds one object, or a broken one.
func (r *Reader) lines(first []byte) bool {
	var s scanner
	for i, c := range first {
		if s.step(c) {
			rest := bytes.TrimLeft(first[i+1:], " \t\r")
			return len(rest) == 0 || rest[0] != '{' && rest[0] != ','
		}
	}
	if s.str {
		return true // no string goes over lines
	}
	next, err := r.in.Peek(1)
	return err != nil || next[0] == '{' && !s.mayOpen()
}

// isList reports whether text is how a list of objects begins. (So do log lines: [INFO] ...)
func isList(text []byte) bool {
	if text[0] != '[' {
		return false
	}
	text = bytes.TrimLeft(text[1:], " \t\r")
	return len(text) == 0 || bytes.IndexByte([]byte("{[]"), text[0]) >= 0
}

// preface reads on from a first line that is no JSON in search of one that is. There
// is none in a file of another kind.
func (r *Reader) preface(first Record, head []byte) error {
	held := []Record{first}
	size := len(first.Data)
	if len(head) < size { // it came in pieces
		head = first.Data
	}
	for !binary(head) && magicOf(head) == nil && first.Data[0] != '<' && len(held) < prefaceLines && size < prefaceBytes {
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
