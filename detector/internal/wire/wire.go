// Package wire reads and writes the detector's binary state.
//
// One Coder walks a value in one order for both directions: what is written and
// what is read can't drift apart.
//
//  1. Integers are varints (unsigned, or zig-zag), floats are their IEEE 754 bits
//     in little-endian order, strings and lists stand behind their length.
//  2. Reading never panics and never allocates more than the input could hold.
//  3. The first error sticks; what is read after it is zero.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// ErrCorrupt is wrapped by every error of a Coder that reads.
var ErrCorrupt = errors.New("state is corrupt")

// Newest is the version of the format that is written.
const Newest = 3

// Coder encodes to, or decodes from, a byte slice.
type Coder struct {
	// Version is the format: the newest, unless what is decoded says that it is older.
	Version int

	buf  []byte
	read bool
	err  error
}

// Encoder returns a Coder that appends to dst.
func Encoder(dst []byte) *Coder { return &Coder{Version: Newest, buf: dst} }

// Decoder returns a Coder that reads src. What it returns shares no memory with
// src.
func Decoder(src []byte) *Coder { return &Coder{Version: Newest, buf: src, read: true} }

// Reading reports whether c decodes.
func (c *Coder) Reading() bool { return c.read }

// Bytes returns what was encoded, or what is left to decode.
func (c *Coder) Bytes() []byte { return c.buf }

// Err returns the first error.
func (c *Coder) Err() error { return c.err }

// Fail records an error that the caller found in what it read.
func (c *Coder) Fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf("%w: %s", ErrCorrupt, fmt.Sprintf(format, args...))
	}
	if c.read {
		c.buf = nil
	}
}

// U64 codes an unsigned integer.
func (c *Coder) U64(v *uint64) {
	if !c.read {
		c.buf = binary.AppendUvarint(c.buf, *v)
		return
	}
	x, n := binary.Uvarint(c.buf)
	if n <= 0 {
		*v = 0
		c.Fail("integer cut off")
		return
	}
	*v, c.buf = x, c.buf[n:]
}

// Uint returns a small unsigned integer that is at most limit.
func (c *Coder) Uint(v, limit uint64) uint64 {
	c.U64(&v)
	if c.read && v > limit {
		c.Fail("integer %d is over %d", v, limit)
		return 0
	}
	return v
}

// U32 codes an unsigned integer.
func (c *Coder) U32(v *uint32) { *v = uint32(c.Uint(uint64(*v), math.MaxUint32)) }

// U16 codes an unsigned integer.
func (c *Coder) U16(v *uint16) { *v = uint16(c.Uint(uint64(*v), math.MaxUint16)) }

// U8 codes an unsigned integer.
func (c *Coder) U8(v *uint8) { *v = uint8(c.Uint(uint64(*v), math.MaxUint8)) }

// I64 codes a signed integer.
func (c *Coder) I64(v *int64) {
	u := uint64(*v<<1) ^ uint64(*v>>63)
	c.U64(&u)
	*v = int64(u>>1) ^ -int64(u&1)
}

// Bool codes a truth value.
func (c *Coder) Bool(v *bool) {
	var u uint64
	if *v {
		u = 1
	}
	*v = c.Uint(u, 1) == 1
}

// F64 codes a finite number.
func (c *Coder) F64(v *float64) {
	if !c.read {
		c.buf = binary.LittleEndian.AppendUint64(c.buf, math.Float64bits(*v))
		return
	}
	*v = 0
	if len(c.buf) < 8 {
		c.Fail("number cut off")
		return
	}
	x := math.Float64frombits(binary.LittleEndian.Uint64(c.buf))
	c.buf = c.buf[8:]
	if math.IsNaN(x) || math.IsInf(x, 0) {
		c.Fail("number is not finite")
		return
	}
	*v = x
}

// F32 codes a finite number.
func (c *Coder) F32(v *float32) {
	if !c.read {
		c.buf = binary.LittleEndian.AppendUint32(c.buf, math.Float32bits(*v))
		return
	}
	*v = 0
	if len(c.buf) < 4 {
		c.Fail("number cut off")
		return
	}
	x := math.Float32frombits(binary.LittleEndian.Uint32(c.buf))
	c.buf = c.buf[4:]
	if f := float64(x); math.IsNaN(f) || math.IsInf(f, 0) {
		c.Fail("number is not finite")
		return
	}
	*v = x
}

// Fixed64 codes the 8 bytes of a hash.
func (c *Coder) Fixed64(v *uint64) {
	if !c.read {
		c.buf = binary.LittleEndian.AppendUint64(c.buf, *v)
		return
	}
	*v = 0
	if len(c.buf) < 8 {
		c.Fail("hash cut off")
		return
	}
	*v, c.buf = binary.LittleEndian.Uint64(c.buf), c.buf[8:]
}

// Fixed32 codes the 4 bytes of a hash.
func (c *Coder) Fixed32(v *uint32) {
	if !c.read {
		c.buf = binary.LittleEndian.AppendUint32(c.buf, *v)
		return
	}
	*v = 0
	if len(c.buf) < 4 {
		c.Fail("hash cut off")
		return
	}
	*v, c.buf = binary.LittleEndian.Uint32(c.buf), c.buf[4:]
}

// Len codes the length of a list whose elements take at least size bytes each
// and which has at most limit of them.
func (c *Coder) Len(n, limit, size int) int {
	n = int(c.Uint(uint64(n), uint64(limit)))
	if c.read && n > len(c.buf)/max(size, 1) {
		c.Fail("list of %d does not fit into %d bytes", n, len(c.buf))
		return 0
	}
	return n
}

// String codes a string of at most limit bytes.
func (c *Coder) String(v *string, limit int) {
	n := c.Len(len(*v), limit, 1)
	if !c.read {
		c.buf = append(c.buf, *v...)
		return
	}
	*v, c.buf = string(c.buf[:n]), c.buf[n:]
}

// Raw codes bytes, at most limit of them.
func (c *Coder) Raw(v *[]byte, limit int) {
	n := c.Len(len(*v), limit, 1)
	if !c.read {
		c.buf = append(c.buf, *v...)
		return
	}
	*v = append((*v)[:0], c.buf[:n]...)
	c.buf = c.buf[n:]
}

// Strings codes a list of strings.
func (c *Coder) Strings(v *[]string, limit, bytes int) {
	n := c.Len(len(*v), limit, 1)
	if c.read {
		*v = nil
		if n > 0 {
			*v = make([]string, n)
		}
	}
	for i := range *v {
		c.String(&(*v)[i], bytes)
	}
}

// F32s codes the numbers of a fixed list.
func (c *Coder) F32s(v []float32) {
	for i := range v {
		c.F32(&v[i])
	}
}

// F64s codes the numbers of a fixed list.
func (c *Coder) F64s(v []float64) {
	for i := range v {
		c.F64(&v[i])
	}
}
