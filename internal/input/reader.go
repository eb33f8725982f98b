// Package input reads the files of records that commands are given: JSON lines above
// all, and what people have in their place. It owns how bytes become records; what is
// in a record is the decoders' business.
//
// Invariants:
//  1. A line of JSON lines comes out as it stands in the file, without its end, with
//     the number that an editor shows for it.
//  2. Whatever is in the file, memory is bounded by Options.MaxRecord and some MiB, for zstd
//     by its window of up to 128 MiB too. Time is proportional to what is unpacked.
//  3. What can be handed on is handed on before more is read: see Options.BeforeRead.
//  4. An input that can't be read to its end is an error that says how far it was
//     read, and comes after every record that stood before.
//
// The package imports no other of this module.
package input

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
)

const (
	bufferBytes = 1 << 20
	// maxSkipped is how much of a record that is too long is passed over in search of its end:
	// a few KiB unpack to as many GiB as somebody likes.
	maxSkipped = 1 << 30
)

// Options say what is read.
type Options struct {
	// MaxRecord bounds the bytes of a record. A longer one is reported without its bytes.
	MaxRecord int
	// Binary says that the records' form has a binary encoding: a file that is no text
	// is one such record.
	Binary bool
	// BeforeRead, where it is given, is called before each read of the underlying input,
	// which may wait: who collects records hands on now what they have. Its error ends reading.
	BeforeRead func() error
}

// Record is one record of an input.
type Record struct {
	Line    int64  // that it begins on, from 1
	Data    []byte // valid until the next call of Next; nil where it is too long
	Size    int64  // bytes, also where it is too long
	TooLong bool
}

// Reader reads the records of one input: its lines where these are JSON, however
// many of them are broken; the values where a JSON value spans lines, or several share
// one; the elements of lists; a whole binary message. What gzip or zstd packed is
// unpacked, UTF-16 with a byte order mark is converted.
type Reader struct {
	name string
	opt  Options
	src  *source
	in   *bufio.Reader // text
	pack *unpacker     // nil: nothing was packed

	line   int64 // lines that were read whole
	begun  bool
	held   []Record // read before it was known what the input is
	values *values  // nil: lines
	buf    []byte   // a line that no buffer holds
	err    error    // what ended it
}

// NewReader returns a reader of r. name stands in errors.
func NewReader(ctx context.Context, name string, r io.Reader, o Options) *Reader {
	return &Reader{name: name, opt: o, src: &source{ctx: ctx, r: r, before: o.BeforeRead}}
}

// Read returns how many bytes of the underlying input were read.
func (r *Reader) Read() int64 { return r.src.n }

// Next returns the next record. The error is io.EOF at the end, an *Error where the
// input is not one of records or is broken.
func (r *Reader) Next() (Record, error) {
	if r.err != nil {
		return Record{}, r.err
	}
	rec, err := r.next()
	if err != nil {
		if !errors.Is(err, io.EOF) {
			err = r.explain(err)
		}
		r.err = err
	}
	return rec, err
}

func (r *Reader) next() (Record, error) {
	if !r.begun {
		r.begun = true
		if err := r.begin(); err != nil {
			return Record{}, err
		}
	}
	if len(r.held) > 0 {
		rec := r.held[0]
		r.held = r.held[1:]
		return rec, nil
	}
	if r.values != nil {
		rec, err := r.values.next()
		r.line = r.values.line - 1
		return rec, err
	}
	for {
		rec, err := r.nextLine()
		if err != nil || rec.TooLong || !blank(rec.Data) {
			return rec, err
		}
	}
}

// nextLine returns the next line without its end, blank ones too.
func (r *Reader) nextLine() (Record, error) {
	data, err := r.in.ReadSlice('\n')
	size := int64(len(data))
	if errors.Is(err, bufio.ErrBufferFull) {
		data, size, err = r.longLine(data)
	}
	if err != nil && (!errors.Is(err, io.EOF) || size == 0) {
		return Record{}, err // the line is not whole
	}
	r.line++
	if size > int64(len(data)) { // it was cut off
		return Record{Line: r.line, Size: size, TooLong: true}, nil
	}
	data = trimmed(data)
	if len(data) > r.opt.MaxRecord {
		return Record{Line: r.line, Size: int64(len(data)), TooLong: true}, nil
	}
	return Record{Line: r.line, Data: data, Size: int64(len(data))}, nil
}

// longLine returns a line that begins with part, as far as it is not too long, and how
// long it is.
func (r *Reader) longLine(part []byte) (line []byte, size int64, err error) {
	r.buf = r.buf[:0]
	err = bufio.ErrBufferFull
	for {
		if size += int64(len(part)); size <= int64(r.opt.MaxRecord)+2 { // with \r\n
			r.buf = append(r.buf, part...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			break
		}
		if size > maxSkipped {
			return nil, size, errEndless
		}
		part, err = r.in.ReadSlice('\n')
	}
	if size > int64(len(r.buf)) && err == nil {
		size-- // the line's end
	}
	return r.buf, size, err
}

// explain says where in the input err came up.
func (r *Reader) explain(err error) error {
	line := r.line + 1
	var known *Error
	switch {
	case errors.As(err, &known):
		known.Name = r.name
		return known
	case errors.Is(err, errEndless):
		return &Error{Name: r.name, Line: line, What: "no end within 1 GiB", Next: "what is read is one record a line"}
	case r.src.stopped != nil:
		return r.src.stopped
	case r.src.failed != nil || r.pack == nil:
		return fmt.Errorf("read %s, line %d: %w", r.name, line, err)
	}
	return r.pack.explain(r.name, line, err)
}

var errEndless = errors.New("no end within 1 GiB")

// trimmed is a line without its end, and without the byte order mark that stands
// where files were joined.
func trimmed(line []byte) []byte {
	if len(line) >= len(bom) && line[0] == bom[0] {
		line = bytes.TrimPrefix(line, []byte(bom))
	}
	return bytes.TrimRight(line, "\r\n")
}

func blank(line []byte) bool {
	return len(line) == 0 || line[0] <= ' ' && len(bytes.TrimSpace(line)) == 0
}
