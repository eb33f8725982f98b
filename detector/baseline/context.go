package baseline

import "github.com/plumbline-sec/plumbline/detector/internal/wire"

// MaxContexts bounds the tools of a group that are told apart.
const MaxContexts = 128

// Tool is what a group knows of one tool: how much its calls move, and how often
// it brings something new, against what is expected of it.
type Tool struct {
	hash           uint64
	calls          float32
	sent, received offset
	seen, expected [touched]float32
}

type offset struct{ n, mean float32 }

// learn moves the mean of the size, by at most 4 at once.
func (o *offset) learn(size float64) {
	if size == 0 {
		return
	}
	o.n = min(o.n+1, toolMemory)
	d := size - float64(o.mean)
	if o.n > 1 {
		d = min(max(d, -clipSigmas), clipSigmas)
	}
	o.mean = float32(float64(o.mean) + d/float64(o.n))
}

// What a call moves, on the scale of Size, before anything is known.
var (
	statedSent     = Size(statedSentBytes)
	statedReceived = Size(statedRecvBytes)
)

// Offsets returns what a call of tool t (nil: unknown) usually has, sent and received:
// its mean size among the peers, shrunk to that of all their tools, that to all of the
// fleet's, and that to what is stated.
func (ts *Tools) Offsets(t *Tool) (sent, received float64) {
	sent, received = statedSent, statedReceived
	if ts.fleet != nil {
		sent, received = ts.fleet.all.sent.shrunk(sent), ts.fleet.all.received.shrunk(received)
	}
	sent, received = ts.all.sent.shrunk(sent), ts.all.received.shrunk(received)
	if t != nil {
		sent, received = t.sent.shrunk(sent), t.received.shrunk(received)
	}
	return sent, received
}

func (o *offset) shrunk(prior float64) float64 {
	return (float64(o.n*o.mean) + float64(toolPseudoCalls*prior)) / (float64(o.n) + toolPseudoCalls)
}

// Learn takes one call of tool t (nil: there is no room for it), and its sizes.
func (ts *Tools) Learn(t *Tool, sent, received float64) {
	for _, e := range [...]*Tool{&ts.fleet.all, &ts.all, t} {
		if e != nil {
			e.calls++
			e.sent.learn(sent)
			e.received.learn(received)
		}
	}
}

// Tools is the bounded table of a group's tools.
type Tools struct {
	fleet *Tools
	all   Tool // every call, whatever its tool
	list  []Tool
	index map[uint64]int32 // by hash; never walked
}

// Get returns the tool with this hash, or nil where it is unknown.
func (ts *Tools) Get(h uint64) *Tool {
	if i, ok := ts.index[h]; ok {
		return &ts.list[i]
	}
	return nil
}

// Touch returns the tool with this hash and makes room for it where it can: when
// the table is full, a tool that was called once gives way. Nil: no room.
func (ts *Tools) Touch(h uint64) *Tool {
	if i, ok := ts.index[h]; ok {
		return &ts.list[i]
	}
	if ts.index == nil {
		ts.index = make(map[uint64]int32)
	}
	if len(ts.list) < MaxContexts {
		ts.index[h] = int32(len(ts.list))
		ts.list = append(ts.list, Tool{hash: h})
		return &ts.list[len(ts.list)-1]
	}
	for i := range ts.list {
		if ts.list[i].calls < minToolCalls {
			delete(ts.index, ts.list[i].hash)
			ts.index[h] = int32(i)
			ts.list[i] = Tool{hash: h}
			return &ts.list[i]
		}
	}
	return nil
}

// Bytes returns the memory of the table.
func (ts *Tools) Bytes() int { return 100 * cap(ts.list) }

func (ts *Tools) endDay() {
	d := float32(Decay(24, halfLifeNovelty))
	for i := range ts.list {
		e := &ts.list[i]
		e.calls *= d
		for k := range e.seen {
			e.seen[k] *= d
			e.expected[k] *= d
		}
	}
}

// Code encodes or decodes t.
func (ts *Tools) Code(c *wire.Coder) {
	n := c.Len("list", len(ts.list), MaxContexts, 8)
	if c.Reading() {
		*ts = Tools{fleet: ts.fleet}
		if n > 0 {
			ts.list, ts.index = make([]Tool, n), make(map[uint64]int32, n)
		}
	}
	c.Scope("all", ts.all.code)
	c.In("list")
	for i := range ts.list {
		e := &ts.list[i]
		c.At(i)
		e.code(c)
		if !c.Reading() {
			continue
		}
		if _, twice := ts.index[e.hash]; twice {
			c.Fail("tool %d of a group", i)
			return
		}
		ts.index[e.hash] = int32(i)
	}
	c.Out()
}

func (t *Tool) code(c *wire.Coder) {
	c.Fixed64("hash", &t.hash)
	c.F32("calls", &t.calls)
	c.F32("sent.n", &t.sent.n)
	c.F32("sent.mean", &t.sent.mean)
	c.F32("received.n", &t.received.n)
	c.F32("received.mean", &t.received.mean)
	c.F32s("seen", t.seen[:])
	c.F32s("expected", t.expected[:])
	wire.NotNegative(c, "counts of a tool", t.sent.n, t.received.n)
	wire.NotNegative(c, "counts of a tool", t.seen[:]...)
	wire.NotNegative(c, "counts of a tool", t.expected[:]...)
}
