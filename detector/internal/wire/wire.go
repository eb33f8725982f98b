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
const Newest = 4

// Coder encodes to, or decodes from, a byte slice. Every field has a name, which is
// not written: it is for Trace.
type Coder struct {
	// Version is the format: the newest, unless what is decoded says that it is older.
	Version int

	buf   []byte
	read  bool
	err   error
	trace *trace // nil: nobody asks what is read
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

// NotNegative refuses numbers below zero in what was read.
func NotNegative[T float32 | float64](c *Coder, of string, numbers ...T) {
	if !c.read {
		return
	}
	for _, n := range numbers {
		if n < 0 {
			c.Fail("negative %s", of)
		}
	}
}

// uint reads an unsigned integer that is at most limit.
func (c *Coder) uint(limit uint64) uint64 {
	v, n := binary.Uvarint(c.buf)
	switch {
	case n <= 0:
		c.Fail("integer cut off")
		return 0
	case v > limit:
		c.Fail("integer %d is over %d", v, limit)
		return 0
	}
	c.buf = c.buf[n:]
	return v
}

// int reads a signed integer.
func (c *Coder) int() int64 {
	u := c.uint(math.MaxUint64)
	return int64(u>>1) ^ -int64(u&1)
}

func zigzag(v int64) uint64 { return uint64(v<<1) ^ uint64(v>>63) }

// fixed64 reads 8 bytes.
func (c *Coder) fixed64(what string) uint64 {
	if len(c.buf) < 8 {
		c.Fail("%s cut off", what)
		return 0
	}
	v := binary.LittleEndian.Uint64(c.buf)
	c.buf = c.buf[8:]
	return v
}

// fixed32 reads 4 bytes.
func (c *Coder) fixed32(what string) uint32 {
	if len(c.buf) < 4 {
		c.Fail("%s cut off", what)
		return 0
	}
	v := binary.LittleEndian.Uint32(c.buf)
	c.buf = c.buf[4:]
	return v
}

// f64 reads a finite number.
func (c *Coder) f64() float64 {
	x := math.Float64frombits(c.fixed64("number"))
	if math.IsNaN(x) || math.IsInf(x, 0) {
		c.Fail("number is not finite")
		return 0
	}
	return x
}

// f32 reads a finite number.
func (c *Coder) f32() float32 {
	x := math.Float32frombits(c.fixed32("number"))
	if f := float64(x); math.IsNaN(f) || math.IsInf(f, 0) {
		c.Fail("number is not finite")
		return 0
	}
	return x
}

// size reads the length of a list of at most limit elements of size bytes or more.
func (c *Coder) size(limit, size int) int {
	n := int(c.uint(uint64(limit)))
	if n > len(c.buf)/max(size, 1) {
		c.Fail("list of %d does not fit into %d bytes", n, len(c.buf))
		return 0
	}
	return n
}

// text reads bytes, at most limit of them.
func (c *Coder) text(limit int) []byte {
	n := c.size(limit, 1)
	b := c.buf[:n]
	c.buf = c.buf[n:]
	return b
}

// saw tells a tracer of a field that was read. (Generic, so that nothing is boxed where
// nobody asks.)
func saw[T any](c *Coder, name string, v T) {
	if c.trace != nil {
		c.trace.saw(c, name, v)
	}
}

// unsigned codes an unsigned integer.
func unsigned[T uint8 | uint16 | uint32 | uint64](c *Coder, name string, v *T) {
	if !c.read {
		c.buf = binary.AppendUvarint(c.buf, uint64(*v))
		return
	}
	*v = T(c.uint(uint64(^T(0))))
	saw(c, name, *v)
}

// U64 codes an unsigned integer.
func (c *Coder) U64(name string, v *uint64) { unsigned(c, name, v) }

// U32 codes an unsigned integer.
func (c *Coder) U32(name string, v *uint32) { unsigned(c, name, v) }

// U16 codes an unsigned integer.
func (c *Coder) U16(name string, v *uint16) { unsigned(c, name, v) }

// U8 codes an unsigned integer.
func (c *Coder) U8(name string, v *uint8) { unsigned(c, name, v) }

// Uint returns a small unsigned integer that is at most limit.
func (c *Coder) Uint(name string, v, limit uint64) uint64 {
	if !c.read {
		c.buf = binary.AppendUvarint(c.buf, v)
		return v
	}
	v = c.uint(limit)
	saw(c, name, v)
	return v
}

// I64 codes a signed integer.
func (c *Coder) I64(name string, v *int64) {
	if !c.read {
		c.buf = binary.AppendUvarint(c.buf, zigzag(*v))
		return
	}
	*v = c.int()
	saw(c, name, *v)
}

// Bool codes a truth value.
func (c *Coder) Bool(name string, v *bool) {
	if !c.read {
		b := byte(0)
		if *v {
			b = 1
		}
		c.buf = append(c.buf, b)
		return
	}
	*v = c.uint(1) == 1
	saw(c, name, *v)
}

// F64 codes a finite number.
func (c *Coder) F64(name string, v *float64) {
	if !c.read {
		c.buf = binary.LittleEndian.AppendUint64(c.buf, math.Float64bits(*v))
		return
	}
	*v = c.f64()
	saw(c, name, *v)
}

// F32 codes a finite number.
func (c *Coder) F32(name string, v *float32) {
	if !c.read {
		c.buf = binary.LittleEndian.AppendUint32(c.buf, math.Float32bits(*v))
		return
	}
	*v = c.f32()
	saw(c, name, *v)
}

// Fixed64 codes the 8 bytes of a hash.
func (c *Coder) Fixed64(name string, v *uint64) {
	if !c.read {
		c.buf = binary.LittleEndian.AppendUint64(c.buf, *v)
		return
	}
	*v = c.fixed64("hash")
	saw(c, name, hash64(*v))
}

// Fixed32 codes the 4 bytes of a hash.
func (c *Coder) Fixed32(name string, v *uint32) {
	if !c.read {
		c.buf = binary.LittleEndian.AppendUint32(c.buf, *v)
		return
	}
	*v = c.fixed32("hash")
	saw(c, name, hash32(*v))
}

// Len codes the length of a list whose elements take at least size bytes each
// and which has at most limit of them.
func (c *Coder) Len(name string, n, limit, size int) int {
	if !c.read {
		c.buf = binary.AppendUvarint(c.buf, uint64(n))
		return n
	}
	n = c.size(limit, size)
	if c.trace != nil {
		c.trace.saw(c, name+".len", n)
	}
	return n
}

// String codes a string of at most limit bytes.
func (c *Coder) String(name string, v *string, limit int) {
	if !c.read {
		c.buf = appendText(c.buf, *v)
		return
	}
	*v = string(c.text(limit))
	saw(c, name, *v)
}

func appendText[T string | []byte](dst []byte, v T) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(v)))
	return append(dst, v...)
}

// Raw codes bytes, at most limit of them.
func (c *Coder) Raw(name string, v *[]byte, limit int) {
	if !c.read {
		c.buf = appendText(c.buf, *v)
		return
	}
	*v = append((*v)[:0], c.text(limit)...)
	saw(c, name, *v)
}

// Strings codes a list of strings.
func (c *Coder) Strings(name string, v *[]string, limit, bytes int) {
	if !c.read {
		c.buf = binary.AppendUvarint(c.buf, uint64(len(*v)))
		for _, s := range *v {
			c.buf = appendText(c.buf, s)
		}
		return
	}
	n := c.size(limit, 1)
	*v = nil
	if n > 0 {
		*v = make([]string, n)
	}
	for i := range *v {
		(*v)[i] = string(c.text(bytes))
	}
	saw(c, name, *v)
}

// F32s codes the numbers of a fixed list.
func (c *Coder) F32s(name string, v []float32) {
	if !c.read {
		for _, x := range v {
			c.buf = binary.LittleEndian.AppendUint32(c.buf, math.Float32bits(x))
		}
		return
	}
	for i := range v {
		v[i] = c.f32()
	}
	saw(c, name, v)
}

// F64s codes the numbers of a fixed list.
func (c *Coder) F64s(name string, v []float64) {
	if !c.read {
		for _, x := range v {
			c.buf = binary.LittleEndian.AppendUint64(c.buf, math.Float64bits(x))
		}
		return
	}
	for i := range v {
		v[i] = c.f64()
	}
	saw(c, name, v)
}

// I64s codes the numbers of a fixed list.
func (c *Coder) I64s(name string, v []int64) {
	if !c.read {
		for _, x := range v {
			c.buf = binary.AppendUvarint(c.buf, zigzag(x))
		}
		return
	}
	for i := range v {
		v[i] = c.int()
	}
	saw(c, name, v)
}

// unsigneds codes the numbers of a fixed list.
func unsigneds[T uint8 | uint16](c *Coder, v []T) {
	for i := range v {
		if c.read {
			v[i] = T(c.uint(uint64(^T(0))))
		} else {
			c.buf = binary.AppendUvarint(c.buf, uint64(v[i]))
		}
	}
}

// U16s codes the numbers of a fixed list.
func (c *Coder) U16s(name string, v []uint16) {
	if unsigneds(c, v); c.read {
		saw(c, name, v)
	}
}

// U8s codes the numbers of a fixed list.
func (c *Coder) U8s(name string, v []uint8) {
	if unsigneds(c, v); c.read {
		saw(c, name, numbers(v))
	}
}
