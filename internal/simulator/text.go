package simulator

import (
	"strconv"
	"strings"
)

const textChunk = 32 << 10

// text builds many small strings with few allocations: they are slices of
// chunks that are appended to and never changed. A string that is kept keeps its
// chunk: what lives long is cloned.
type text struct {
	b    strings.Builder
	from int
}

// begin starts a string of at most size bytes.
func (t *text) begin(size int) {
	if t.b.Cap()-t.b.Len() < size {
		t.b = strings.Builder{}
		t.b.Grow(max(size, textChunk))
	}
	t.from = t.b.Len()
}

func (t *text) str(s string) { t.b.WriteString(s) }

func (t *text) num(n uint64) {
	var buf [20]byte
	t.b.Write(strconv.AppendUint(buf[:0], n, 10))
}

// two writes n in two digits.
func (t *text) two(n int) {
	t.b.WriteByte(byte('0' + n/10%10))
	t.b.WriteByte(byte('0' + n%10))
}

// hex writes the lowest digits of n, at most 16.
func (t *text) hex(n uint64, digits int) {
	const alphabet = "0123456789abcdef"
	for i := digits - 1; i >= 0; i-- {
		t.b.WriteByte(alphabet[n>>(4*i)&15])
	}
}

// end returns what was written since begin.
func (t *text) end() string { return t.b.String()[t.from:] }
