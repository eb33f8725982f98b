package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
)

// corpus is some events as bytes, outside of the Go heap.
type corpus struct {
	mem  []byte
	used int
	recs []span
}

// span says where the parts of a record lie: key, value and origin end where the
// next begins. It holds no pointer, so that the collector does not look at it.
type span struct {
	time                      schemas.Millis
	start, key, value, origin uint64
}

// newCorpus makes room for n events of ordinary size.
func newCorpus(n int) (*corpus, error) {
	mem, err := syscall.Mmap(-1, 0, n*1400+1<<20, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("map memory for %d events: %w", n, err)
	}
	return &corpus{mem: mem, recs: make([]span, 0, n)}, nil
}

// free gives the memory back; nothing may refer to the events any more.
func (c *corpus) free() {
	_ = syscall.Munmap(c.mem)
	c.mem, c.recs = nil, nil
}

func (c *corpus) reset() { c.used, c.recs = 0, c.recs[:0] }

func (c *corpus) len() int { return len(c.recs) }

func (c *corpus) value(i int) []byte {
	r := &c.recs[i]
	return c.mem[r.key:r.value:r.value]
}

func (c *corpus) key(i int) []byte {
	r := &c.recs[i]
	return c.mem[r.start:r.key:r.key]
}

func (c *corpus) origin(i int) []byte {
	r := &c.recs[i]
	return c.mem[r.value:r.origin:r.origin]
}

// meanBytes is the mean size of a value.
func (c *corpus) meanBytes() float64 {
	n := uint64(0)
	for i := range c.recs {
		n += c.recs[i].value - c.recs[i].key
	}
	return float64(n) / float64(max(1, len(c.recs)))
}

var errRoom = errors.New("events are larger than the room that was made for them")

// take copies a record in; offset is the one in the source topic that its origin
// names.
func (c *corpus) take(rec *frame, offset int64) error {
	if len(c.mem)-c.used < len(rec.key)+len(rec.value)+64 {
		return errRoom
	}
	s := span{time: rec.time, start: uint64(c.used)}
	c.used += copy(c.mem[c.used:], rec.key)
	s.key = uint64(c.used)
	c.used += copy(c.mem[c.used:], rec.value)
	s.value = uint64(c.used)
	o := schemas.Origin{Source: "default", Incarnation: 1, Topic: sourceTopic, Offset: offset}
	c.used += len(o.AppendTo(c.mem[c.used:c.used]))
	s.origin = uint64(c.used)
	c.recs = append(c.recs, s)
	return nil
}

// fill replaces the content by the next n events of the feed.
func (c *corpus) fill(f *feed, n int) error {
	c.reset()
	for range n {
		rec, err := f.next()
		if err != nil {
			return err
		}
		if err := c.take(rec, f.read-1); err != nil {
			return err
		}
	}
	return nil
}

// decodeAll decodes every event; f, where given, gets each.
func (c *corpus) decodeAll(d decode.Decoder, f func(ev *schemas.Activity)) error {
	refused := 0
	emit := func(_ int32, ev *schemas.Activity, refusal *decode.Refusal) {
		if refusal != nil {
			refused++
			return
		}
		if f != nil {
			f(ev)
		}
	}
	in := decode.Record{Topic: sourceTopic}
	for i := range c.recs {
		in.Offset, in.Time, in.Value = int64(i), c.recs[i].time, c.value(i)
		d.Decode(&in, emit)
	}
	if refused > 0 {
		return fmt.Errorf("%d of %d simulated events were refused", refused, len(c.recs))
	}
	return nil
}

// frame is one event on the way from the generator.
type frame struct {
	time       schemas.Millis
	key, value []byte
}

// appendFrame appends: time (uvarint), length and bytes of key and value.
func appendFrame(dst []byte, f *frame) []byte {
	dst = binary.AppendUvarint(dst, uint64(f.time))
	dst = binary.AppendUvarint(dst, uint64(len(f.key)))
	dst = append(dst, f.key...)
	dst = binary.AppendUvarint(dst, uint64(len(f.value)))
	return append(dst, f.value...)
}

// frameReader reads what appendFrame wrote; it reuses its memory.
type frameReader struct {
	r *bufio.Reader
	f frame
}

func (r *frameReader) next() (*frame, error) {
	at, err := binary.ReadUvarint(r.r)
	if err != nil {
		return nil, fmt.Errorf("read event: %w", err)
	}
	r.f.time = schemas.Millis(at)
	for _, part := range []*[]byte{&r.f.key, &r.f.value} {
		n, err := binary.ReadUvarint(r.r)
		if err != nil || n > 16<<20 {
			return nil, fmt.Errorf("read event: %d bytes: %w", n, errors.Join(err, io.ErrUnexpectedEOF))
		}
		if uint64(cap(*part)) < n {
			*part = make([]byte, n, 2*n)
		}
		*part = (*part)[:n]
		if _, err := io.ReadFull(r.r, *part); err != nil {
			return nil, fmt.Errorf("read event: %w", err)
		}
	}
	return &r.f, nil
}
