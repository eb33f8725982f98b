package otlp

import "google.golang.org/protobuf/encoding/protowire"

// bounds are where a message stands in the record.
type bounds struct{ start, end uint32 }

// spanID identifies a span in a record.
type spanID struct {
	trace [16]byte
	span  [8]byte
}

// node is a span or a log record that may become an event.
type node struct {
	item      bounds
	resource  bounds
	id        spanID
	parent    [8]byte
	index     int32
	malformed int32 // the node stands for so many parts that can't be read
	own       int32 // its place in agents when it is an agent span, or one of the below
	enclosing int32 // the agent span around it, or one of the below
}

const (
	unresolved int32 = -1 - iota
	resolving
	noAgent
)

// index finds the spans or log records of a batch.
func (d *decoder) index() {
	r := wireReader{b: d.wire}
	var f wireField
	found := false
	for r.next(&f) {
		if f.is(1) {
			found = true
			d.indexResource(f.data)
		}
	}
	if r.bad || len(d.wire) > 0 && !found {
		d.malformed(d.place())
	}
	if len(d.nodes) < 2 || d.logs {
		return
	}
	for i := range d.nodes {
		n := &d.nodes[i]
		if n.id.span == [8]byte{} {
			continue
		}
		if _, twice := d.byID[n.id]; !twice {
			d.byID[n.id] = int32(i)
		}
	}
}

// indexResource reads a ResourceSpans or ResourceLogs.
func (d *decoder) indexResource(b []byte) {
	var resource []byte
	r := wireReader{b: b}
	var f wireField
	for r.next(&f) {
		if f.is(1) {
			resource = f.data
		}
	}
	r = wireReader{b: b}
	for r.next(&f) {
		if !f.is(2) {
			continue
		}
		scope := wireReader{b: f.data}
		var g wireField
		for scope.next(&g) {
			if g.is(2) {
				d.indexItem(g.data, resource)
			}
		}
		if scope.bad {
			d.malformed(d.place())
		}
	}
	if r.bad {
		d.malformed(d.place())
	}
}

// bodyOfMembers begins a body that is a map: what a log record says may stand there.
const bodyOfMembers = kindMap<<3 | byte(protowire.BytesType)

// indexItem reads of a Span or a LogRecord where it stands in its trace. One
// without any attribute can't be agent activity, and takes no memory.
func (d *decoder) indexItem(b, resource []byte) {
	index := d.place()
	n := node{
		item: d.bounds(b), resource: d.bounds(resource), index: index,
		own: unresolved, enclosing: unresolved,
	}
	attributes, worth := int32(9), false
	if d.logs {
		attributes = 6
	}
	r := wireReader{b: b}
	var f wireField
	for r.next(&f) {
		if f.is(1) && !d.logs {
			n.id.trace = fixed16(f.data)
		} else if f.is(2) && !d.logs {
			n.id.span = fixed8(f.data)
		} else if f.is(4) && !d.logs {
			n.parent = fixed8(f.data)
		} else if f.num == attributes && len(f.data) > 0 || d.logs && f.is(5) && len(f.data) > 0 && f.data[0] == bodyOfMembers {
			worth = true
		}
	}
	if r.bad {
		d.malformed(index)
		return
	}
	if !worth && (d.logs || n.id.span == [8]byte{}) {
		d.skipped++
		d.shapes[shapePlain]++
		return
	}
	d.nodes = append(d.nodes, n)
}

// place counts what stands in the batch.
func (d *decoder) place() int32 {
	d.count++
	return d.count - 1
}

// malformed notes that something could not be read. What follows directly on
// another such thing is noted with it, so that a flood of them stays small.
func (d *decoder) malformed(index int32) {
	if last := len(d.nodes) - 1; last >= 0 && d.nodes[last].malformed > 0 {
		d.nodes[last].malformed++
		return
	}
	d.nodes = append(d.nodes, node{index: index, malformed: 1, own: noAgent, enclosing: noAgent})
}

// bounds says where b, a part of d.wire, stands in it.
func (d *decoder) bounds(b []byte) bounds {
	if len(b) == 0 {
		return bounds{}
	}
	start := uint32(cap(d.wire) - cap(b))
	return bounds{start, start + uint32(len(b))}
}

func (d *decoder) bytes(at bounds) []byte { return d.wire[at.start:at.end] }

// fixed8 and fixed16 take an id; one of another length is none.
func fixed8(b []byte) (id [8]byte) {
	if len(b) == len(id) {
		copy(id[:], b)
	}
	return id
}

func fixed16(b []byte) (id [16]byte) {
	if len(b) == len(id) {
		copy(id[:], b)
	}
	return id
}

// enclosing returns the agent span around node i: its place in agents, or
// noAgent. Every node is looked at once, however long the chains are; a circle of
// parents is noticed and encloses nothing.
func (d *decoder) enclosing(i int32) int32 {
	if d.logs || len(d.byID) == 0 {
		return noAgent
	}
	// Up to a node whose answer is known, ...
	found, at := noAgent, i
	for {
		n := &d.nodes[at]
		if n.enclosing != unresolved {
			if n.enclosing != resolving {
				found = n.enclosing
			}
			break
		}
		n.enclosing = resolving
		up, ok := d.byID[spanID{n.id.trace, n.parent}]
		if !ok || n.parent == [8]byte{} || up == at {
			break
		}
		if own := d.ownAgent(up); own != noAgent {
			found = own
			break
		}
		at = up
	}
	// ... and down again with it.
	for at = i; d.nodes[at].enclosing == resolving; {
		n := &d.nodes[at]
		n.enclosing = found
		up, ok := d.byID[spanID{n.id.trace, n.parent}]
		if !ok {
			break
		}
		at = up
	}
	return d.nodes[i].enclosing
}

// ownAgent returns the place in agents of node i if it is an agent span with a
// name, or noAgent.
func (d *decoder) ownAgent(i int32) int32 {
	n := &d.nodes[i]
	if n.own != unresolved {
		return n.own
	}
	n.own = noAgent
	set := &d.around
	item := d.readItem(n, set)
	if !isAgentSpan(set, &item) {
		return noAgent
	}
	if a := d.agentOf(set, &item); a.id != "" {
		n.own = int32(len(d.agents))
		d.agents = append(d.agents, a)
	}
	return n.own
}
