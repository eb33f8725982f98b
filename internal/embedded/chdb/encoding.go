package chdb

import (
	"bufio"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/ClickHouse/ch-go/compress"
	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// chooseEncoding picks the compression of the answer, "" for none. Only what the
// client names is taken: a star gets nothing compressed.
func chooseEncoding(accept, enable string) string {
	if enable == "0" || accept == "" {
		return ""
	}
	offered := map[string]bool{}
	for part := range strings.SplitSeq(accept, ",") {
		name, q, _ := strings.Cut(strings.TrimSpace(part), ";")
		weight, err := strconv.ParseFloat(strings.TrimPrefix(strings.TrimSpace(q), "q="), 64)
		offered[strings.ToLower(strings.TrimSpace(name))] = err != nil || weight > 0
	}
	for _, name := range []string{"zstd", "gzip", "lz4", "br", "deflate"} {
		if offered[name] {
			return name
		}
	}
	return ""
}

func newEncoder(w io.Writer, encoding string) (io.WriteCloser, error) {
	switch encoding {
	case "gzip":
		return gzip.NewWriter(w), nil
	case "zstd":
		encoder, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
		if err != nil {
			return nil, fmt.Errorf("start zstd: %w", err)
		}
		return encoder, nil
	case "lz4":
		return lz4.NewWriter(w), nil
	case "br":
		return brotli.NewWriterLevel(w, brotli.BestSpeed), nil
	case "deflate":
		return zlib.NewWriter(w), nil
	}
	return nil, fmt.Errorf("unknown compression %q", encoding)
}

// decodeBody undoes HTTP's compression and then, if blocks, ClickHouse's own.
func decodeBody(body io.Reader, encoding string, blocks bool) (io.Reader, error) {
	var err error
	src := body
	switch strings.ToLower(encoding) {
	case "", "identity":
	case "gzip", "x-gzip":
		body = &lazy{open: func() (io.Reader, error) { return gzip.NewReader(src) }}
	case "deflate":
		body = &lazy{open: func() (io.Reader, error) { return zlib.NewReader(src) }}
	case "br":
		body = brotli.NewReader(body)
	case "lz4":
		body = lz4.NewReader(body)
	case "zstd":
		body, err = zstd.NewReader(body, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(256<<20))
	default:
		return nil, newException(48, "NOT_IMPLEMENTED", "Unknown compression of the body: Content-Encoding: "+encoding)
	}
	if err != nil {
		return nil, fmt.Errorf("start decompression: %w", err)
	}
	if blocks {
		in := bufio.NewReaderSize(body, 64<<10)
		body = &blockReader{in: in, blocks: compress.NewReader(in)}
	}
	return body, nil
}

// lazy opens a decoder at the first read: some read the body's head to start,
// which an empty body does not have.
type lazy struct {
	open func() (io.Reader, error)
	r    io.Reader
}

func (l *lazy) Read(p []byte) (int, error) {
	if l.r == nil {
		r, err := l.open()
		if err != nil {
			return 0, err
		}
		l.r = r
	}
	return l.r.Read(p) //nolint:wrapcheck // io.EOF must stay io.EOF
}

// blockReader reads ClickHouse's compressed blocks and tells the end between two
// blocks, which is proper, from one within a block.
type blockReader struct {
	in     *bufio.Reader
	blocks *compress.Reader
	end    error // it stays: asked again, blocks gives its last block a second time
}

func (b *blockReader) Read(p []byte) (int, error) {
	if b.end != nil {
		return 0, b.end
	}
	n, err := b.blocks.Read(p)
	if err == nil {
		return n, nil
	}
	b.end = newException(271, "CANNOT_DECOMPRESS", "Cannot decompress the body: "+err.Error())
	if _, end := b.in.Peek(1); errors.Is(err, io.EOF) && errors.Is(end, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		b.end = io.EOF
	}
	return n, b.end
}
