package otlp

import (
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/plumbline-sec/plumbline/schemas/decode/jsonscan"
)

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
	events        bool // there are span events
	exception     []byte
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
	case 11:
		item.events = item.events || f.is(11)
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
	info := nameInfo{slot: noSlot}
	if key, v, ok := readAttribute(b); ok {
		info = d.table.info(key)
		if slot := info.slot; slot != noSlot {
			set.have[slot>>6] |= 1 << (slot & 63)
			set.values[slot] = v
		}
		if info.content.rule >= ruleSent && (!info.content.guessed || v.kind >= kindList || v.kind == kindText) {
			set.sizes.add(info.content.rule, info.content.family, key, v.size(0))
		}
	}
	set.infos = append(set.infos, info)
}

// readBody takes the members of a log record's body for attributes that it has not.
func (d *decoder) readBody(item *entry, set *attributeSet) {
	item.body.each(func(key []byte, v *anyValue) bool {
		info := d.table.info(key)
		if slot := info.slot; slot != noSlot && !set.has(slot) {
			set.have[slot>>6] |= 1 << (slot & 63)
			set.values[slot] = *v
		}
		if info.content.rule >= ruleSent && !info.content.guessed {
			set.sizes.add(info.content.rule, info.content.family, key, v.size(0))
		}
		return true
	})
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

// readEvents reads the events of a span: messages and results that a convention
// keeps there, and what went wrong. It comes back with their sizes in set.
func (d *decoder) readEvents(n *node, item *entry, set *attributeSet) {
	r := wireReader{b: d.bytes(n.item)}
	var f wireField
	for r.next(&f) {
		if f.is(11) {
			d.readEvent(f.data, item, set)
		}
	}
}

func (d *decoder) readEvent(b []byte, item *entry, set *attributeSet) {
	rule := ruleShort
	r := wireReader{b: b}
	var f wireField
	for r.next(&f) {
		if f.is(2) {
			rule = messageEvent(jsonscan.Alias(f.data))
		}
	}
	r = wireReader{b: b}
	for r.next(&f) {
		if !f.is(3) {
			continue
		}
		key, v, ok := readAttribute(f.data)
		if !ok {
			continue
		}
		switch info := d.table.info(key); {
		case string(key) == "exception.type" && v.kind == kindText:
			item.exception = v.text
		case rule >= ruleSent && (info.content.rule >= ruleSent || string(key) == "content" || string(key) == "message" || string(key) == "tool_calls"):
			set.sizes.add(rule, famEvents, key, v.size(0))
		case info.content.rule >= ruleSent && !info.content.guessed:
			set.sizes.add(info.content.rule, info.content.family, key, v.size(0))
		}
	}
}

// messageEvent says whether an event of that name holds a message, and of which
// way.
func messageEvent(name string) contentRule {
	switch name {
	case "gen_ai.choice", "gen_ai.content.completion", "gen_ai.content.reasoning":
		return ruleReceived
	case "gen_ai.content.prompt":
		return ruleSent
	}
	if strings.HasPrefix(name, "gen_ai.") && strings.HasSuffix(name, ".message") {
		return ruleSent
	}
	return ruleShort
}
