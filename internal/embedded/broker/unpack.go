package broker

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// The codecs, as the lowest three bits of a batch's attributes name them.
const (
	codecNone   = 0
	codecGzip   = 1
	codecSnappy = 2
	codecLZ4    = 3
	codecZstd   = 4
)

// Bounds on a batch. What the broker takes, pipeline/kafka must be able to read, or a
// producer could fill a topic with what stops its readers: the same bounds stand in
// pipeline/kafka/batch.go.
const (
	// maxPacked is what a batch may have as it is sent. The topics of the service take
	// 10 MiB and 64 KiB; a topic that somebody lets take more gets no more than this.
	maxPacked = 16 << 20
	// maxUnpacked is what the batches of one produce request may unpack to, together:
	// unpacking takes time as well. A batch of a common client was smaller than
	// max.message.bytes before it was compressed.
	maxUnpacked = 128 << 20
	maxRecords  = 2 << 20
	maxHeaders  = 2 << 20
	// maxWindow is the zstd window that every decoder must have (RFC 8878); only the
	// levels that the format calls ultra have more, and those take turns.
	maxWindow = 8 << 20
)

var (
	errTooLarge = errors.New("too large")
	errRecords  = errors.New("malformed records")
)

// unpacker reads the records of one batch as a stream: what it holds does not depend
// on what the batch unpacks to.
type unpacker struct {
	src     io.Reader
	buf     []byte
	r, w    int
	came    int64
	budget  int64        // bytes that may still come
	slow    func() error // called once where much comes; may be nil
	moved   bool         // a record has another time than the batch
	release func()
	err     error
}

var unpackBuffers = sync.Pool{New: func() any { return new([64 << 10]byte) }}

// newUnpacker reads packed, of which at most budget bytes may come.
func newUnpacker(codec byte, packed []byte, budget int64) (*unpacker, error) {
	src, release, err := stream(codec, packed)
	if err != nil {
		return nil, err
	}
	buf, ok := unpackBuffers.Get().(*[64 << 10]byte)
	if !ok {
		buf = new([64 << 10]byte)
	}
	return &unpacker{src: src, buf: buf[:], budget: budget, release: func() {
		unpackBuffers.Put(buf)
		release()
	}}, nil
}

// stream is packed in the clear. What a codec needs is given back by release.
func stream(codec byte, packed []byte) (r io.Reader, release func(), err error) {
	switch codec {
	case codecNone:
		return bytes.NewReader(packed), func() {}, nil
	case codecGzip:
		z, ok := gzipReaders.Get().(*gzip.Reader)
		if !ok {
			z = new(gzip.Reader)
		}
		if err := z.Reset(bytes.NewReader(packed)); err != nil {
			return nil, nil, fmt.Errorf("%w: gzip: %w", errRecords, err)
		}
		return z, func() { gzipReaders.Put(z) }, nil
	case codecSnappy:
		return newSnappy(packed), func() {}, nil
	case codecLZ4:
		z, ok := lz4Readers.Get().(*lz4.Reader)
		if !ok {
			z = lz4.NewReader(nil)
		}
		z.Reset(bytes.NewReader(packed))
		return z, func() { lz4Readers.Put(z) }, nil
	case codecZstd:
		return zstdStream(packed)
	}
	return nil, nil, fmt.Errorf("%w: unknown compression %d", errRecords, codec)
}

var gzipReaders, lz4Readers, zstdReaders sync.Pool

// wideZstd lets one decoder with a window of more than maxWindow work at a time.
var wideZstd sync.Mutex

func zstdStream(packed []byte) (io.Reader, func(), error) {
	var h zstd.Header
	if err := h.Decode(packed); err == nil && max(h.WindowSize, h.FrameContentSize) > maxWindow {
		if max(h.WindowSize, h.FrameContentSize) > maxUnpacked {
			return nil, nil, fmt.Errorf("%w: zstd announces %d bytes", errTooLarge, max(h.WindowSize, h.FrameContentSize))
		}
		wideZstd.Lock()
		z, err := newZstd(maxUnpacked)
		if err == nil {
			err = z.Reset(bytes.NewReader(packed))
		}
		if err != nil {
			wideZstd.Unlock()
			return nil, nil, fmt.Errorf("%w: zstd: %w", errRecords, err)
		}
		return z, func() { z.Close(); wideZstd.Unlock() }, nil
	}
	z, ok := zstdReaders.Get().(*zstd.Decoder)
	if !ok {
		var err error
		if z, err = newZstd(maxWindow); err != nil {
			return nil, nil, fmt.Errorf("%w: zstd: %w", errRecords, err)
		}
	}
	if err := z.Reset(bytes.NewReader(packed)); err != nil {
		return nil, nil, fmt.Errorf("%w: zstd: %w", errRecords, err)
	}
	return z, func() {
		if z.Reset(nil) == nil { // forgets the batch
			zstdReaders.Put(z)
		}
	}, nil
}

// newZstd decodes without goroutines, in about as much memory as the window has.
func newZstd(window uint64) (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(window), zstd.WithDecoderMaxMemory(window))
}

// snappyStream unpacks snappy's blocks, one at a time: the whole of it, or the blocks
// in the framing of the Java library.
type snappyStream struct {
	rest   []byte
	framed bool
	plain  []byte
	block  []byte // plain is of it
}

// xerialMagic starts that framing: a header of 16 bytes, then blocks that each follow
// their length.
var xerialMagic = []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0}

const xerialHeader = 16

func newSnappy(packed []byte) *snappyStream {
	if len(packed) >= xerialHeader && bytes.HasPrefix(packed, xerialMagic) {
		return &snappyStream{rest: packed[xerialHeader:], framed: true}
	}
	return &snappyStream{rest: packed}
}

func (s *snappyStream) Read(p []byte) (int, error) {
	for len(s.plain) == 0 {
		if len(s.rest) == 0 {
			return 0, io.EOF
		}
		block := s.rest
		s.rest = nil
		if s.framed {
			if len(block) < 4 || uint64(binary.BigEndian.Uint32(block)) > uint64(len(block)-4) {
				return 0, fmt.Errorf("%w: snappy: cut off", errRecords)
			}
			n := binary.BigEndian.Uint32(block)
			block, s.rest = block[4:4+n], block[4+n:]
		}
		n, err := snappy.DecodedLen(block)
		if err != nil {
			return 0, fmt.Errorf("%w: snappy: %w", errRecords, err)
		}
		// A block announces its size; no block is more than about 22 times as large as
		// its input, so what claims more lies.
		if n > 32*len(block)+64 {
			return 0, fmt.Errorf("%w: snappy: %d bytes announced in %d", errRecords, n, len(block))
		}
		if n > maxUnpacked {
			return 0, fmt.Errorf("%w: snappy: a block of %d bytes", errTooLarge, n)
		}
		if s.block, err = snappy.Decode(s.block[:cap(s.block)], block); err != nil {
			return 0, fmt.Errorf("%w: snappy: %w", errRecords, err)
		}
		s.plain = s.block
	}
	n := copy(p, s.plain)
	s.plain = s.plain[n:]
	return n, nil
}

// fill gets more bytes; at the end of the records it returns io.EOF.
func (u *unpacker) fill() error {
	if u.err != nil {
		return u.err
	}
	u.r, u.w = 0, 0
	for range 100 { // a reader that gives nothing at all is no reader
		n, err := u.src.Read(u.buf)
		u.w = n
		u.came += int64(n)
		if u.budget -= int64(n); u.budget < 0 {
			u.err = errTooLarge
			return u.err
		}
		if u.came > slowUnpack && u.slow != nil {
			if u.err = u.slow(); u.err != nil {
				return u.err
			}
			u.slow = nil
		}
		switch {
		case errors.Is(err, io.EOF):
			u.err = io.EOF
		case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
			u.err = errTooLarge
		case errors.Is(err, errTooLarge), errors.Is(err, errRecords):
			u.err = err
		case err != nil:
			u.err = fmt.Errorf("%w: %w", errRecords, err)
		}
		if n > 0 {
			return nil // the error comes next time
		}
		if u.err != nil {
			return u.err
		}
	}
	u.err = fmt.Errorf("%w: %w", errRecords, io.ErrNoProgress)
	return u.err
}

// at is how many bytes were read.
func (u *unpacker) at() int64 { return u.came - int64(u.w-u.r) }

func (u *unpacker) byte() (byte, error) {
	if u.r == u.w {
		if err := u.fill(); err != nil {
			return 0, err
		}
	}
	b := u.buf[u.r]
	u.r++
	return b, nil
}

// skip passes over n bytes.
func (u *unpacker) skip(n int64) error {
	for n > int64(u.w-u.r) {
		n -= int64(u.w - u.r)
		if err := u.fill(); err != nil {
			return err
		}
	}
	u.r += int(n)
	return nil
}

// unpack is the whole of packed, which is known to be size bytes.
func unpack(codec byte, packed []byte, size int64) ([]byte, error) {
	u, err := newUnpacker(codec, packed, size)
	if err != nil {
		return nil, err
	}
	defer u.release()
	out := make([]byte, 0, size)
	for {
		if err := u.fill(); err != nil {
			if errors.Is(err, io.EOF) {
				return out, nil
			}
			return nil, err
		}
		out = append(out, u.buf[:u.w]...)
	}
}
