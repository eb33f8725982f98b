package decode

import (
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/plumbline-sec/plumbline/schemas"
)

// otlpClass is what kind of activity a span or log record is.
type otlpClass struct {
	action string // empty: it is none
	tool   string
	from   otlpSlot // the attribute that named the tool
	access string
	agent  bool // the run of an agent
	model  bool // a call of a model
	denied bool
	failed bool
}

// event builds node i, or reports that it is no agent activity.
func (d *OTLPDecoder) event(i int32) bool {
	n := &d.nodes[i]
	item := d.readItem(n, &d.own)
	class := d.classify(&item)
	class.from = d.own.last
	around := noAgent
	if class.action != "" || d.opt.Other != OTLPSkip {
		if around = d.enclosing(i); around >= 0 && around == n.own {
			around = noAgent // a circle of parents
		}
	}
	if class.action == "" && !d.logs {
		if d.opt.Other == OTLPAll || around >= 0 && (item.kind == spanClient || item.kind == spanProducer) {
			class = d.otherSpan(&item)
		}
	}
	if class.action == "" {
		return false
	}
	d.readResource(n.resource)
	d.res.used = [4]uint64{}
	d.b.begin()
	direct := d.direct()
	if direct>>fEventID&1 == 0 {
		d.eventID(&item)
	}
	d.identity(&item, &class, around, direct)
	d.facts(&item, &class, direct)
	d.attributes(n, &item)
	return true
}

// direct writes the fields that attributes set by their name, plumbline.FIELD, and
// returns which. Peer group and version may be said once for the whole process.
func (d *OTLPDecoder) direct() (set uint64) {
	for f := fEventID; f < fAttributes; f++ {
		from := &d.own
		slot := aFields + f
		if !from.has(slot) {
			if from = &d.res; !from.has(slot) || f != fPeerGroup && f != fAgentVersion {
				continue
			}
		}
		v := &from.values[slot]
		if v.kind == otlpNone || v.kind == otlpText && len(v.text) == 0 {
			continue
		}
		from.use(slot)
		from.last = slot
		d.note(f, from)
		set |= 1 << f
		switch {
		case f == fResources:
			d.directResources(v)
		case v.kind == otlpBool || v.kind == otlpInt || v.kind == otlpDouble:
			d.b.set(f, v.scalar())
		default:
			d.b.text(f, v.string())
		}
	}
	return set
}

func (d *OTLPDecoder) directResources(v *otlpValue) {
	if v.kind == otlpText {
		d.b.touch("", v.string())
		return
	}
	v.each(func(_ []byte, e *otlpValue) bool {
		d.b.touch("", e.string())
		return true
	})
}

// eventID takes the id of the span, which activity.md names. A log record has
// none, unless the producer gave it one.
func (d *OTLPDecoder) eventID(item *otlpItem) {
	if d.logs {
		d.b.text(fEventID, d.own.text(aRecordID))
		d.note(fEventID, &d.own)
		return
	}
	if fixed8(item.span) != [8]byte{} {
		d.b.text(fEventID, d.hex(item.span))
		d.noteFrom(fEventID, "spanId")
	}
}

func (d *OTLPDecoder) hex(id []byte) string {
	return d.b.mem.done(hex.AppendEncode(d.b.mem.take(2*len(id)), id))
}

// facts writes what was done.
func (d *OTLPDecoder) facts(item *otlpItem, class *otlpClass, direct uint64) {
	own, b := &d.own, &d.b
	text := func(f field, value string) {
		if direct>>f&1 == 0 && value != "" {
			b.text(f, value)
			d.note(f, own)
		}
	}
	count := func(f field, n uint64) {
		if direct>>f&1 == 0 && n > 0 {
			b.count(f, n)
			d.note(f, own)
		}
	}
	d.times(item, direct)
	own.last = class.from
	text(fTool, class.tool)
	text(fModel, own.text(aModel, aModel2, aModel3, aModelClaude))
	text(fSourceIP, own.text(aLocalAddress))
	own.last = noSlot // what follows is concluded from more than one attribute
	text(fAction, class.action)
	text(fAccess, class.access)
	text(fOutcome, d.outcome(item, class))
	tokens, _ := own.count(aTokensIn, aTokensIn2, aTokensIn3, aTokensInClaude)
	count(fTokensIn, tokens)
	tokens, _ = own.count(aTokensOut, aTokensOut2, aTokensOut3, aTokensOutClaude)
	count(fTokensOut, tokens)
	sent, ok := own.count(aToolBytesIn, aHTTPBytesOut, aHTTPBytesOut2)
	if !ok {
		sent = own.first(aArguments, aArguments2, aArguments3, aToolInput, aToolParameters)
		if class.model || sent == 0 {
			sent = max(sent, own.size(aMessagesIn, aInstructions), own.first(aInput, aEntityInput))
		}
	}
	count(fBytesSent, sent)
	received, ok := own.count(aToolBytesOut, aHTTPBytesIn, aHTTPBytesIn2)
	if !ok {
		received = max(own.size(aResult, aMessagesOut), own.first(aOutput, aEntityOutput))
	}
	count(fBytesReceived, received)
	if direct>>fResources&1 == 0 {
		d.touched(item, class)
	}
}

// times writes when it happened and how long it took. A log record that says how
// long it took was written at the end.
func (d *OTLPDecoder) times(item *otlpItem, direct uint64) {
	const nano = 1_000_000
	last := "endTimeUnixNano"
	if d.logs {
		last = "timeUnixNano"
	}
	for _, t := range []struct {
		at   uint64
		path string
	}{{item.end, last}, {item.start, "startTimeUnixNano"}, {item.observed, "observedTimeUnixNano"}} {
		if t.at > 0 && direct>>fTime&1 == 0 {
			d.b.millis(t.at / nano)
			d.noteFrom(fTime, t.path)
			break
		}
	}
	if direct>>fDurationMS&1 == 1 {
		return
	}
	if item.start > 0 && item.end > item.start {
		d.b.count(fDurationMS, item.end/nano-item.start/nano)
		d.noteFrom(fDurationMS, "startTimeUnixNano")
	} else if ms, ok := d.own.count(aDuration); ok {
		d.b.count(fDurationMS, ms)
		d.note(fDurationMS, &d.own)
	}
}

// outcome is what the span says of its end: an error, and whether it is a denial.
func (d *OTLPDecoder) outcome(item *otlpItem, class *otlpClass) string {
	own := &d.own
	failed := class.failed || item.failed || own.peek(aError) != ""
	denied := class.denied
	for _, slot := range []otlpSlot{aError, aHTTPStatus, aHTTPStatus2, aStatusClaude, aGRPCStatus, aRPCStatus} {
		v := own.peek(slot)
		switch strings.ToUpper(v) {
		case "401", "403", "PERMISSION_DENIED", "UNAUTHENTICATED", "FORBIDDEN", "UNAUTHORIZED", "ACCESSDENIED", "ACCESS_DENIED", "ACCESSDENIEDEXCEPTION":
			denied = true
		case "7", "16":
			denied = denied || slot == aGRPCStatus || slot == aRPCStatus
		}
	}
	switch {
	case denied:
		return schemas.OutcomeDenied
	case failed:
		return schemas.OutcomeFailure
	}
	return ""
}

// attributes writes what no field has taken, and what the resource says.
func (d *OTLPDecoder) attributes(n *otlpNode, item *otlpItem) {
	b := &d.b
	if len(item.trace) == 16 && fixed16(item.trace) != [16]byte{} {
		b.open("trace_id", d.hex(item.trace))
	}
	if d.logs && fixed8(item.span) != [8]byte{} {
		b.open("span_id", d.hex(item.span))
	}
	if d.logs && d.opt.Content {
		b.open("body", item.body.string())
	}
	if len(item.statusMessage) > 0 {
		b.open("otel.status_description", alias(clip(item.statusMessage)))
	}
	if len(item.name) > 0 {
		name := "span.name"
		if d.logs {
			name = "event.name"
		}
		b.open(name, alias(clip(item.name)))
	}
	num := int32(9)
	if d.logs {
		num = 6
	}
	r := wireReader{b: d.bytes(n.item)}
	var f wireField
	for i := 0; r.next(&f); {
		if !f.is(num) {
			continue
		}
		slot := d.own.slots[i]
		i++
		if slot != noSlot && d.own.isUsed(slot) {
			continue
		}
		key, v, ok := readOTLPAttribute(f.data)
		if !ok {
			b.open("otlp.malformed_attribute", strconv.Itoa(len(f.data))+" bytes")
			continue
		}
		name := alias(clip(key))
		if !d.opt.Content && d.table.content(name) {
			continue
		}
		b.open(name, v.string())
	}
	for _, slot := range d.inherit {
		if v := d.res.peek(slot); v != "" && !d.res.isUsed(slot) {
			if !d.afford(len(v)) {
				b.open("otlp.resource_attributes", "cut")
				break
			}
			b.open(d.table.names[slot], v)
		}
	}
}
