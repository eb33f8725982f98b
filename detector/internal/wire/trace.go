package wire

import (
	"fmt"
	"strconv"
	"strings"
)

// Field is one field of a record, as a Tracer has read it.
type Field struct {
	Scope string // what it is part of, as in profile.rate.hour[3]
	Name  string // its own; an element of a list has none
	Value any
	Size  int // bytes it takes
}

// Text is the value on one line. What others chose is quoted, with what a terminal
// would obey escaped.
func (f Field) Text() string {
	switch v := f.Value.(type) {
	case string, []string, []byte:
		return fmt.Sprintf("%q", v)
	case hash64:
		return fmt.Sprintf("%016x", uint64(v))
	case hash32:
		return fmt.Sprintf("%08x", uint32(v))
	}
	return fmt.Sprint(f.Value)
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
		c.trace.in(name)
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

// Scope codes a part of a value: the names of its fields stand behind its own.
func (c *Coder) Scope(name string, code func(*Coder)) {
	c.In(name)
	code(c)
	c.Out()
}

// Each codes the elements of a list whose length is known.
func Each[T any](c *Coder, name string, list []T, code func(*T, *Coder)) {
	c.In(name)
	for i := range list {
		c.At(i)
		code(&list[i], c)
	}
	c.Out()
}

// List codes a list of at most limit elements, which take at least size bytes each.
func List[T any](c *Coder, name string, list *[]T, limit, size int, code func(*T, *Coder)) {
	n := c.Len(name, len(*list), limit, size)
	if c.Reading() {
		*list = make([]T, n)
	}
	Each(c, name, *list, code)
}

type trace struct {
	f      func(Field)
	scopes []string // each with those around it
	left   int      // bytes, behind the last field
}

func (t *trace) in(name string) {
	if n := len(t.scopes); n > 0 {
		name = t.scopes[n-1] + "." + name
	}
	t.scopes = append(t.scopes, name)
}

func (t *trace) at(i int) {
	last := &t.scopes[len(t.scopes)-1]
	list := *last
	if strings.HasSuffix(list, "]") {
		list = list[:strings.LastIndexByte(list, '[')]
	}
	*last = list + "[" + strconv.Itoa(i) + "]"
}

// saw reports a field; one that could not be read is none.
func (t *trace) saw(c *Coder, name string, v any) {
	if c.err != nil {
		return
	}
	f := Field{Name: name, Value: v, Size: t.left - len(c.buf)}
	t.left = len(c.buf)
	if n := len(t.scopes); n > 0 {
		f.Scope = t.scopes[n-1]
	}
	t.f(f)
}

type (
	hash64  uint64
	hash32  uint32
	numbers []uint8 // no text
)
