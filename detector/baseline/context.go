package baseline

import (
	"math"

	"github.com/plumbline-sec/plumbline/detector/internal/wire"
)

// MaxContexts bounds the tools of a group that are told apart.
const MaxContexts = 128

// Tool is what a group knows of one tool: how much its calls move, and how often
// it brings something new, against what is expected of it.
type Tool struct {
	hash           uint64
	calls          float32
	sent, received offset
	seen, expected [ItemKinds]float32
}

type offset struct{ n, mean float32 }

// learn moves the mean of the size, by at most 4 at once.
func (o *offset) learn(bytes uint64) {
	if bytes == 0 {
		return
	}
	o.n = min(o.n+1, 1024)
	d := Size(float64(bytes)) - float64(o.mean)
	if o.n > 1 {
		d = math.Min(math.Max(d, -clip), clip)
	}
	o.mean = float32(float64(o.mean) + d/float64(o.n))
}

// Sent returns the offset of log1p(bytes sent); it grows in with the evidence.
func (t *Tool) Sent() float64 { return t.sent.value() }

// Received returns the offset of log1p(bytes received).
func (t *Tool) Received() float64 { return t.received.value() }

func (o *offset) value() float64 { return float64(o.mean) }

// Learn takes one call.
func (t *Tool) Learn(sent, received uint64) {
	t.calls++
	t.sent.learn(sent)
	t.received.learn(received)
}

// Tools is the bounded table of a group's tools.
type Tools struct {
	list  []Tool
	index map[uint64]int32 // by hash; never walked
}

// Get returns the tool with this hash, or nil where it is unknown.
func (t *Tools) Get(h uint64) *Tool {
	if i, ok := t.index[h]; ok {
		return &t.list[i]
	}
	return nil
}

// Touch returns the tool with this hash and makes room for it where it can: when
// the table is full, a tool that was called once gives way. Nil: no room.
func (t *Tools) Touch(h uint64) *Tool {
	if i, ok := t.index[h]; ok {
		return &t.list[i]
	}
	if t.index == nil {
		t.index = make(map[uint64]int32)
	}
	if len(t.list) < MaxContexts {
		t.index[h] = int32(len(t.list))
		t.list = append(t.list, Tool{hash: h})
		return &t.list[len(t.list)-1]
	}
	for i := range t.list {
		if t.list[i].calls < 2 {
			delete(t.index, t.list[i].hash)
			t.index[h] = int32(i)
			t.list[i] = Tool{hash: h}
			return &t.list[i]
		}
	}
	return nil
}

// Bytes returns the memory of the table.
func (t *Tools) Bytes() int { return 100 * cap(t.list) }

func (t *Tools) endDay() {
	d := float32(Decay(24, halfLifeNovelty))
	for i := range t.list {
		e := &t.list[i]
		e.calls *= d
		for k := range e.seen {
			e.seen[k] *= d
			e.expected[k] *= d
		}
	}
}

// Code encodes or decodes t.
func (t *Tools) Code(c *wire.Coder) {
	n := c.Len(len(t.list), MaxContexts, 8)
	if c.Reading() {
		*t = Tools{}
		if n > 0 {
			t.list, t.index = make([]Tool, n), make(map[uint64]int32, n)
		}
	}
	for i := range t.list {
		e := &t.list[i]
		c.Fixed64(&e.hash)
		for _, f := range []*float32{&e.calls, &e.sent.n, &e.sent.mean, &e.received.n, &e.received.mean} {
			c.F32(f)
		}
		c.F32s(e.seen[:])
		c.F32s(e.expected[:])
		if !c.Reading() {
			continue
		}
		if _, twice := t.index[e.hash]; twice || e.sent.n < 0 || e.received.n < 0 || lowest(e.seen[:]) < 0 || lowest(e.expected[:]) < 0 {
			c.Fail("tool %d of a group", i)
			return
		}
		t.index[e.hash] = int32(i)
	}
}

func lowest(v []float32) float32 {
	low := v[0]
	for _, x := range v[1:] {
		low = min(low, x)
	}
	return low
}
