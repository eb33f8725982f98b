package otlp

import (
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode/jsonscan"
)

// classified is what kind of activity a span or log record is.
type classified struct {
	action string // empty: it is none
	tool   string
	from   nameSlot // the attribute that named the tool
	access string
	agent  bool // the run of an agent
	model  bool // a call of a model
	denied bool
	failed bool
}

// event builds node i, or reports that it is no agent activity.
func (d *decoder) event(i int32) bool {
	n := &d.nodes[i]
	item := d.readItem(n, &d.own)
	class := d.classify(&item)
	class.from = d.own.last
	around := noAgent
	if class.action != "" || d.opt.Other != otherSkip {
		if around = d.enclosing(i); around >= 0 && around == n.own {
			around = noAgent // a circle of parents
		}
	}
	if class.action == "" && !d.logs {
		if d.opt.Other == otherAll || around >= 0 && (item.kind == spanClient || item.kind == spanProducer) {
			class = d.otherSpan(&item)
		}
	}
	if class.action == "" {
		return false
	}
	d.readResource(n.resource)
	d.res.used = [4]uint64{}
	d.b.Begin()
	direct := d.direct()
	if direct>>schemas.FieldEventID&1 == 0 {
		d.eventID(&item)
	}
	d.identity(&item, &class, around, direct)
	d.facts(&item, &class, direct)
	d.attributes(n, &item)
	return true
}

// direct writes the fields that attributes set by their name, plumbline.FIELD, and
// returns which. Peer group and version may be said once for the whole process.
func (d *decoder) direct() (set uint64) {
	for f := schemas.FieldEventID; f < schemas.FieldAttributes; f++ {
		from := &d.own
		slot := aFields + nameSlot(f)
		if !from.has(slot) {
			if from = &d.res; !from.has(slot) || f != schemas.FieldPeerGroup && f != schemas.FieldAgentVersion {
				continue
			}
		}
		v := &from.values[slot]
		if v.kind == kindNone || v.kind == kindText && len(v.text) == 0 {
			continue
		}
		from.use(slot)
		from.last = slot
		d.note(f, from)
		set |= 1 << f
		switch {
		case f == schemas.FieldResources:
			d.directResources(v)
		case v.kind == kindBool || v.kind == kindInt || v.kind == kindDouble:
			d.b.Set(f, v.scalar())
		default:
			d.b.Text(f, v.string())
		}
	}
	return set
}

func (d *decoder) directResources(v *anyValue) {
	if v.kind == kindText {
		d.b.Touch("", v.string())
		return
	}
	v.each(func(_ []byte, e *anyValue) bool {
		d.b.Touch("", e.string())
		return true
	})
}

// eventID takes the id of the span, which activity.md names. A log record has
// none, unless the producer gave it one.
func (d *decoder) eventID(item *entry) {
	if d.logs {
		d.b.Text(schemas.FieldEventID, d.own.text(aRecordID))
		d.note(schemas.FieldEventID, &d.own)
		return
	}
	if fixed8(item.span) != [8]byte{} {
		d.b.Text(schemas.FieldEventID, d.hex(item.span))
		d.b.From(schemas.FieldEventID, "spanId")
	}
}

func (d *decoder) hex(id []byte) string {
	return d.b.Mem.Done(hex.AppendEncode(d.b.Mem.Take(2*len(id)), id))
}

// facts writes what was done.
func (d *decoder) facts(item *entry, class *classified, direct uint64) {
	own, b := &d.own, &d.b
	text := func(f schemas.Field, value string) {
		if direct>>f&1 == 0 && value != "" {
			b.Text(f, value)
			d.note(f, own)
		}
	}
	count := func(f schemas.Field, n uint64) {
		if direct>>f&1 == 0 && n > 0 {
			b.Count(f, n)
			d.note(f, own)
		}
	}
	d.times(item, direct)
	own.last = class.from
	text(schemas.FieldTool, class.tool)
	text(schemas.FieldModel, own.text(aModel, aModel2, aModel3, aModelClaude))
	text(schemas.FieldSourceIP, own.text(aLocalAddress))
	own.last = noSlot // what follows is concluded from more than one attribute
	text(schemas.FieldAction, class.action)
	text(schemas.FieldAccess, class.access)
	text(schemas.FieldOutcome, d.outcome(item, class))
	tokens, _ := own.count(aTokensIn, aTokensIn2, aTokensIn3, aTokensInClaude)
	count(schemas.FieldTokensIn, tokens)
	tokens, _ = own.count(aTokensOut, aTokensOut2, aTokensOut3, aTokensOutClaude)
	count(schemas.FieldTokensOut, tokens)
	sent, ok := own.count(aToolBytesIn, aHTTPBytesOut, aHTTPBytesOut2)
	if !ok {
		sent = own.first(aArguments, aArguments2, aArguments3, aToolInput, aToolParameters)
		if class.model || sent == 0 {
			sent = max(sent, own.size(aMessagesIn, aInstructions), own.first(aInput, aEntityInput))
		}
	}
	count(schemas.FieldBytesSent, sent)
	received, ok := own.count(aToolBytesOut, aHTTPBytesIn, aHTTPBytesIn2)
	if !ok {
		received = max(own.size(aResult, aMessagesOut), own.first(aOutput, aEntityOutput))
	}
	count(schemas.FieldBytesReceived, received)
	if direct>>schemas.FieldResources&1 == 0 {
		d.touched(item, class)
	}
}

// times writes when it happened and how long it took. A log record that says how
// long it took was written at the end.
func (d *decoder) times(item *entry, direct uint64) {
	const nano = 1_000_000
	last := "endTimeUnixNano"
	if d.logs {
		last = "timeUnixNano"
	}
	for _, t := range []struct {
		at   uint64
		path string
	}{{item.end, last}, {item.start, "startTimeUnixNano"}, {item.observed, "observedTimeUnixNano"}} {
		if t.at > 0 && direct>>schemas.FieldTime&1 == 0 {
			d.b.Millis(t.at / nano)
			d.b.From(schemas.FieldTime, t.path)
			break
		}
	}
	if direct>>schemas.FieldDurationMS&1 == 1 {
		return
	}
	if item.start > 0 && item.end > item.start {
		d.b.Count(schemas.FieldDurationMS, item.end/nano-item.start/nano)
		d.b.From(schemas.FieldDurationMS, "startTimeUnixNano")
	} else if ms, ok := d.own.count(aDuration); ok {
		d.b.Count(schemas.FieldDurationMS, ms)
		d.note(schemas.FieldDurationMS, &d.own)
	}
}

// outcome is what the span says of its end: an error, and whether it is a denial.
func (d *decoder) outcome(item *entry, class *classified) string {
	own := &d.own
	failed := class.failed || item.failed || own.peek(aError) != ""
	denied := class.denied
	for _, slot := range []nameSlot{aError, aHTTPStatus, aHTTPStatus2, aStatusClaude, aGRPCStatus, aRPCStatus} {
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
func (d *decoder) attributes(n *node, item *entry) {
	b := &d.b
	if len(item.trace) == 16 && fixed16(item.trace) != [16]byte{} {
		b.Open("trace_id", d.hex(item.trace))
	}
	if d.logs && fixed8(item.span) != [8]byte{} {
		b.Open("span_id", d.hex(item.span))
	}
	if d.logs && d.opt.Content {
		b.Open("body", item.body.string())
	}
	if len(item.statusMessage) > 0 {
		b.Open("otel.status_description", jsonscan.Alias(clip(item.statusMessage)))
	}
	if len(item.name) > 0 {
		name := "span.name"
		if d.logs {
			name = "event.name"
		}
		b.Open(name, jsonscan.Alias(clip(item.name)))
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
		key, v, ok := readAttribute(f.data)
		if !ok {
			b.Open("otlp.malformed_attribute", strconv.Itoa(len(f.data))+" bytes")
			continue
		}
		name := jsonscan.Alias(clip(key))
		if !d.opt.Content && d.table.content(name) {
			continue
		}
		b.Open(name, v.string())
	}
	for _, slot := range d.inherit {
		if v := d.res.peek(slot); v != "" && !d.res.isUsed(slot) {
			if !d.afford(len(v)) {
				b.Open("otlp.resource_attributes", "cut")
				break
			}
			b.Open(d.table.names[slot], v)
		}
	}
}
