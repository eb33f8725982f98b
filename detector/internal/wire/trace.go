package wire

import (
	"fmt"
	"strings"
)

// Field is one field of a record, as a Tracer has read it.
type Field struct {
	Name string // the scopes around it and its own, as in profile.rate.hour[3].s
	Text string // its value, on one line; what others chose is quoted
	Size int    // bytes it takes
}

// Tracer returns a Decoder that calls f with every field it has read. The fields
// in their order, each as many bytes as its Size, are the record.
func Tracer(src []byte, f func(Field)) *Coder {
	c := Decoder(src)
	c.trace = &trace{f: f, left: len(src)}
	return c
}

// In opens a scope: the names of all fields up to its Out stand behind its name.
func (c *Coder) In(name string) {
	if c.trace != nil {
		c.trace.scopes = append(c.trace.scopes, name)
	}
}

// At says that what follows belongs to element i of the list that the scope is.
func (c *Coder) At(i int) {
	if c.trace != nil {
		c.trace.at(i)
	}
}

// Out closes the scope that was opened last.
func (c *Coder) Out() {
	if c.trace != nil {
		c.trace.scopes = c.trace.scopes[:len(c.trace.scopes)-1]
	}
}

type trace struct {
	f      func(Field)
	scopes []string
	left   int // bytes, behind the last field
}

func (t *trace) at(i int) {
	last := &t.scopes[len(t.scopes)-1]
	name, _, _ := strings.Cut(*last, "[")
	*last = fmt.Sprintf("%s[%d]", name, i)
}

// saw reports a field; one that could not be read is none.
func (t *trace) saw(c *Coder, name string, v any) {
	if c.err != nil {
		return
	}
	size := t.left - len(c.buf)
	t.left = len(c.buf)
	t.f(Field{Name: t.path(name), Text: text(v), Size: size})
}

// path is the name behind its scopes; an element of a list has none of its own.
func (t *trace) path(name string) string {
	if name == "" {
		return strings.Join(t.scopes, ".")
	}
	return strings.Join(append(t.scopes, name), ".")
}

type (
	hash64  uint64
	hash32  uint32
	numbers []uint8 // no text
)

func text(v any) string {
	switch v := v.(type) {
	case string, []string, []byte:
		return fmt.Sprintf("%q", v)
	case hash64:
		return fmt.Sprintf("%016x", uint64(v))
	case hash32:
		return fmt.Sprintf("%08x", uint32(v))
	}
	return fmt.Sprint(v)
}
