package otlp

import "google.golang.org/protobuf/encoding/protowire"

// entry is what a span or a log record holds besides its attributes.
type entry struct {
	name          []byte // of the span, or of the log record's event
	body          anyValue
	trace         []byte
	span          []byte
	kind          uint64
	start, end    uint64 // nanoseconds; of a log record end is its time
	observed      uint64
	failed        bool
	statusMessage []byte
}

// Kinds of spans.
const (
	spanServer   = 2
	spanClient   = 3
	spanProducer = 4
)

const (
	statusError   = 2
	severityError = 17
)

// readItem reads node n, its known attributes into set.
func (d *decoder) readItem(n *node, set *attributeSet) (item entry) {
	set.clear()
	r := wireReader{b: d.bytes(n.item)}
	var f wireField
	for r.next(&f) {
		if d.logs {
			d.logField(&f, &item, set)
		} else {
			d.spanField(&f, &item, set)
		}
	}
	return item
}

func (d *decoder) spanField(f *wireField, item *entry, set *attributeSet) {
	switch f.num {
	case 1:
		item.trace = f.data
	case 2:
		item.span = f.data
	case 5:
		item.name = f.data
	case 6:
		item.kind = f.bits
	case 7:
		item.start = f.bits
	case 8:
		item.end = f.bits
	case 9:
		if f.is(9) {
			d.known(f.data, set)
		}
	case 15:
		r := wireReader{b: f.data}
		var g wireField
		for r.next(&g) {
			if g.is(2) {
				item.statusMessage = g.data
			} else if g.num == 3 && g.typ == protowire.VarintType {
				item.failed = g.bits == statusError
			}
		}
	}
}

func (d *decoder) logField(f *wireField, item *entry, set *attributeSet) {
	switch f.num {
	case 1:
		item.end = f.bits
	case 2:
		item.failed = f.bits >= severityError
	case 5:
		item.body, _ = readValue(f.data)
	case 6:
		if f.is(6) {
			d.known(f.data, set)
		}
	case 9:
		item.trace = f.data
	case 10:
		item.span = f.data
	case 11:
		item.observed = f.bits
	case 12:
		item.name = f.data
	}
}

// known keeps an attribute that has a slot; of two of one name the last counts.
func (d *decoder) known(b []byte, set *attributeSet) {
	slot := noSlot
	if key, v, ok := readAttribute(b); ok {
		if slot, ok = d.table.slots[string(key)]; ok {
			set.have[slot>>6] |= 1 << (slot & 63)
			set.values[slot] = v
		} else {
			slot = noSlot
		}
	}
	set.slots = append(set.slots, slot)
}

// readResource reads the attributes of the resource unless they are still there.
func (d *decoder) readResource(at bounds) {
	if d.at == at && at != (bounds{}) {
		return
	}
	d.at = at
	d.res.clear()
	r := wireReader{b: d.bytes(at)}
	var f wireField
	for r.next(&f) {
		if f.is(1) {
			d.known(f.data, &d.res)
		}
	}
}
