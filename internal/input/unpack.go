package input

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// How files begin that are unpacked or converted.
const (
	gzipMagic = "\x1f\x8b\x08"
	zstdMagic = "\x28\xb5\x2f\xfd"
	skipMagic = "\x50\x2a\x4d\x18" // what several threads of zstd begin with
	bom       = "\xef\xbb\xbf"
)

// maxWindow is the window that zstd itself unpacks unless it is told to take a larger one.
const maxWindow = 128 << 20

// source is the underlying input. It counts, and tells its own errors from those of
// what stands in it.
type source struct {
	ctx     context.Context
	r       io.Reader
	before  func() error
	n       int64
	failed  error // of r
	stopped error // of who reads
}

func (s *source) Read(p []byte) (int, error) {
	if s.before != nil {
		if err := s.before(); err != nil {
			s.stopped = err
			return 0, err
		}
	}
	if err := s.check(); err != nil {
		return 0, err
	}
	n, err := s.r.Read(p)
	s.n += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		s.failed = err
	}
	return n, err
}

// check ends reading where nobody waits for it any more.
func (s *source) check() error {
	if err := s.ctx.Err(); err != nil {
		s.stopped = err
		return err
	}
	return nil
}

// open makes r.in a reader of text: unpacked, in UTF-8, without a byte order mark.
func (r *Reader) open() error {
	r.in = bufio.NewReaderSize(r.src, bufferBytes)
	kind := ""
	switch {
	case beginsWith(r.in, gzipMagic):
		kind = "gzip"
	case beginsWith(r.in, zstdMagic), beginsWith(r.in, skipMagic):
		kind = "zstd"
	}
	if kind != "" {
		r.pack = &unpacker{kind: kind, packed: r.in, src: r.src}
		r.in = bufio.NewReaderSize(r.pack, bufferBytes)
	}
	switch {
	case beginsWith(r.in, bom):
		_, err := r.in.Discard(len(bom))
		return err
	case beginsWith(r.in, "\xff\xfe\x00\x00"): // UTF-32 is refused
	case beginsWith(r.in, "\xff\xfe"), beginsWith(r.in, "\xfe\xff"):
		text := unicode.UTF16(unicode.BigEndian, unicode.ExpectBOM).NewDecoder()
		r.in = bufio.NewReaderSize(transform.NewReader(r.in, text), bufferBytes)
	}
	return nil
}

// beginsWith reports whether in begins with text, waiting for no more than it takes to tell.
func beginsWith(in *bufio.Reader, text string) bool {
	for i := range len(text) {
		head, err := in.Peek(i + 1)
		if err != nil || head[i] != text[i] {
			return false
		}
	}
	return true
}

// unpacker unpacks one stream behind the other.
type unpacker struct {
	kind   string
	packed *bufio.Reader
	src    *source
	gz     *gzip.Reader
	now    io.Reader // nil: at the beginning of a stream
	err    error     // what ended it: who peeks may ask again
}

var errTrailing = errors.New("something else follows")

func (u *unpacker) Read(p []byte) (n int, err error) {
	if u.err == nil {
		n, u.err = u.read(p)
	}
	return n, u.err
}

func (u *unpacker) read(p []byte) (int, error) {
	for {
		if err := u.src.check(); err != nil {
			return 0, err
		}
		if u.now == nil {
			if err := u.next(); err != nil {
				return 0, err
			}
		}
		n, err := u.now.Read(p)
		if errors.Is(err, io.EOF) {
			u.now, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// next begins the next stream. Only when it is asked for more: what the last one held
// is not kept waiting for it.
func (u *unpacker) next() error {
	if u.kind == "zstd" {
		if _, err := u.packed.Peek(1); err != nil {
			return err
		}
		z, err := zstd.NewReader(u.packed, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return err
		}
		u.now = z
		return nil
	}
	if u.gz == nil {
		u.gz = new(gzip.Reader)
	} else {
		if err := u.skipPadding(); err != nil {
			return err
		}
		if !beginsWith(u.packed, gzipMagic) {
			return errTrailing
		}
	}
	if err := u.gz.Reset(u.packed); err != nil {
		return cutOff(err)
	}
	u.gz.Multistream(false)
	u.now = u.gz
	return nil
}

// skipPadding passes over the zeros that tapes and block devices leave behind a stream.
func (u *unpacker) skipPadding() error {
	for {
		c, err := u.packed.ReadByte()
		if err != nil {
			return err
		}
		if c != 0 {
			return u.packed.UnreadByte()
		}
	}
}

// cutOff is err, which came up within a stream: an end is none of the input there.
func cutOff(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// explain says what is wrong with the stream, and where.
func (u *unpacker) explain(name string, line int64, err error) error {
	at := u.src.n - int64(u.packed.Buffered())
	e := &Error{Name: name, Line: line, cause: err}
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		e.What, e.Next = fmt.Sprintf("the %s stream is cut off at byte %d of the file", u.kind, at), "get the whole file"
	case errors.Is(err, zstd.ErrWindowSizeExceeded):
		e.What, e.Next = "the zstd stream needs a window of over 128 MiB", "unpack it first: zstd -dc --long=31 FILE"
	case errors.Is(err, errTrailing), errors.Is(err, zstd.ErrMagicMismatch):
		e.What, e.Next = fmt.Sprintf("what follows the %s stream, at byte %d of the file or shortly before, is no other one", u.kind, at), "unpack it first, and look at its end"
	default:
		e.What, e.Next = fmt.Sprintf("the %s stream is broken at byte %d of the file or shortly before (%v)", u.kind, at, err), "get the file again"
	}
	e.What += ", what stands before this line was taken"
	return e
}
