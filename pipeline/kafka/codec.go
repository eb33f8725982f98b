package kafka

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
	codecGzip   = 1
	codecSnappy = 2
	codecLZ4    = 3
	codecZstd   = 4
)

var errTooBig = errors.New("it decompresses to too much")

// decompress returns at most limit bytes, and an error where there would be more.
// It is quickest where hint is not less than what comes.
func decompress(codec uint16, src []byte, hint, limit int) ([]byte, error) {
	switch codec {
	case codecGzip:
		return gunzip(src, hint, limit)
	case codecSnappy:
		return unsnappy(src, limit)
	case codecLZ4:
		return unlz4(src, hint, limit)
	case codecZstd:
		return unzstd(src, hint, limit)
	}
	return nil, fmt.Errorf("unknown compression %d", codec)
}

// readBounded reads r to its end into memory that grows with what comes.
func readBounded(r io.Reader, hint, limit int) ([]byte, error) {
	out := make([]byte, 0, min(max(hint, 4<<10), limit)+1)
	for {
		if len(out) > limit {
			return nil, fmt.Errorf("%w: more than %d bytes", errTooBig, limit)
		}
		if len(out) == cap(out) {
			grown := make([]byte, len(out), min(2*cap(out), limit+1))
			copy(grown, out)
			out = grown
		}
		n, err := r.Read(out[len(out):cap(out)])
		out = out[:len(out)+n]
		if errors.Is(err, io.EOF) && len(out) <= limit {
			return out, nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
	}
}

var gzipReaders sync.Pool

func gunzip(src []byte, hint, limit int) ([]byte, error) {
	z, ok := gzipReaders.Get().(*gzip.Reader)
	if !ok {
		z = new(gzip.Reader)
	}
	defer gzipReaders.Put(z)
	if err := z.Reset(bytes.NewReader(src)); err != nil {
		return nil, fmt.Errorf("gzip: %w", err)
	}
	out, err := readBounded(z, hint, limit)
	if err != nil {
		return nil, fmt.Errorf("gzip: %w", err)
	}
	return out, nil
}

var lz4Readers sync.Pool

func unlz4(src []byte, hint, limit int) ([]byte, error) {
	z, ok := lz4Readers.Get().(*lz4.Reader)
	if !ok {
		z = lz4.NewReader(nil)
	}
	defer lz4Readers.Put(z)
	z.Reset(bytes.NewReader(src))
	out, err := readBounded(z, hint, limit)
	if err != nil {
		return nil, fmt.Errorf("lz4: %w", err)
	}
	return out, nil
}

// zstdDecoder is shared: DecodeAll may be called concurrently and starts no
// goroutine.
var zstdDecoder = sync.OnceValues(func() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderMaxMemory(maxBatch), zstd.WithDecoderConcurrency(0))
})

func unzstd(src []byte, hint, limit int) ([]byte, error) {
	z, err := zstdDecoder()
	if err != nil {
		return nil, fmt.Errorf("zstd: %w", err)
	}
	out, err := z.DecodeAll(src, make([]byte, 0, min(hint, limit)))
	switch {
	case errors.Is(err, zstd.ErrDecoderSizeExceeded), err == nil && len(out) > limit:
		return nil, fmt.Errorf("zstd: %w: more than %d bytes", errTooBig, limit)
	case err != nil:
		return nil, fmt.Errorf("zstd: %w", err)
	}
	return out, nil
}

// xerialMagic starts snappy data in the framing of the Java library: a header of
// 16 bytes, then blocks that each follow their length.
var xerialMagic = []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0}

const xerialHeader = 16

func unsnappy(src []byte, limit int) ([]byte, error) {
	if len(src) < xerialHeader || !bytes.HasPrefix(src, xerialMagic) {
		return unsnappyBlock(nil, src, limit)
	}
	var out []byte
	for rest := src[xerialHeader:]; len(rest) > 0; {
		if len(rest) < 4 {
			return nil, errors.New("snappy: cut off")
		}
		n := int64(binary.BigEndian.Uint32(rest))
		rest = rest[4:]
		if n > int64(len(rest)) {
			return nil, errors.New("snappy: cut off")
		}
		var err error
		if out, err = unsnappyBlock(out, rest[:n], limit); err != nil {
			return nil, err
		}
		rest = rest[n:]
	}
	return out, nil
}

// unsnappyBlock appends one block to dst.
func unsnappyBlock(dst, src []byte, limit int) ([]byte, error) {
	n, err := snappy.DecodedLen(src)
	if err != nil {
		return nil, fmt.Errorf("snappy: %w", err)
	}
	// A block announces its size; no block is more than about 22 times as large as
	// its input, so what claims more lies.
	if n > 32*len(src)+64 {
		return nil, fmt.Errorf("snappy: %d bytes announced in %d", n, len(src))
	}
	if len(dst)+n > limit {
		return nil, fmt.Errorf("snappy: %w: more than %d bytes", errTooBig, limit)
	}
	plain, err := snappy.Decode(nil, src)
	if err != nil {
		return nil, fmt.Errorf("snappy: %w", err)
	}
	if dst == nil {
		return plain, nil
	}
	return append(dst, plain...), nil
}
