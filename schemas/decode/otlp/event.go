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

	handoff   bool   // to another agent,
	target    string // which is this one
	assistant *assistant
}

// event builds node i, or reports that it is no agent activity.
func (d *decoder) event(i int32) bool {
	n := &d.nodes[i]
	d.current = i
	item := d.readItem(n, &d.own)
	class, looks := d.classify(&item)
	if class.action == "" && item.body.kind == kindMap && (looks == shapePlain || looks == shapeUnknown) {
		d.readBody(&item, &d.own) // of a log record that says it there
		class, looks = d.classify(&item)
	}
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
		d.passed(looks, &item)
		return false
	}
	if item.events {
		d.readEvents(n, &item, &d.own)
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
	text(schemas.FieldModel, strings.Trim(own.textOf(&modelSlots), `"`))
	text(schemas.FieldSourceIP, own.text(aLocalAddress))
	own.last = noSlot // what follows is concluded from more than one attribute
	text(schemas.FieldAction, class.action)
	text(schemas.FieldAccess, class.access)
	text(schemas.FieldOutcome, d.outcome(item, class))
	if class.target != "" && direct>>schemas.FieldTargetAgentID&1 == 0 {
		b.Text(schemas.FieldTargetAgentID, class.target)
	}
	tokens, ok := own.countOf(&tokensInSlots)
	if !ok && own.any(&usageSlots) {
		tokens = d.usage("input", "input_tokens", "prompt_tokens")
	}
	count(schemas.FieldTokensIn, tokens)
	tokens, ok = own.countOf(&tokensOutSlots)
	if !ok && own.any(&usageSlots) {
		tokens = d.usage("output", "output_tokens", "completion_tokens")
	}
	count(schemas.FieldTokensOut, tokens)
	moved := func(f schemas.Field, of *[families]uint64, names *[families][]byte, said ...nameSlot) {
		if n, ok := own.count(said...); ok {
			count(f, n)
		} else if n, name := largest(of, names); n > 0 && direct>>f&1 == 0 {
			b.Count(f, n)
			if b.Traced() {
				b.From(f, jsonscan.Alias(name))
			}
		}
	}
	moved(schemas.FieldBytesSent, &own.sizes.sent, &own.sizes.sentName, aToolBytesIn, aHTTPBytesOut, aHTTPBytesOut2)
	back := []nameSlot{aToolBytesOut, aHTTPBytesIn, aHTTPBytesIn2, aContentLength}
	if class.assistant == nil {
		back = back[:3]
	}
	moved(schemas.FieldBytesReceived, &own.sizes.received, &own.sizes.receivedAt, back...)
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

// usage returns the first of the counts in what Langfuse and MLflow say was used.
func (d *decoder) usage(names ...string) uint64 {
	for _, slot := range usageSlots.slots {
		if d.own.has(slot) {
			if n := countIn(&d.own.values[slot], names...); n > 0 {
				d.own.last = slot
				return n
			}
		}
	}
	d.own.last = noSlot
	return 0
}

// countIn returns the first of the members that is a number of an object, or of a
// JSON text of one.
func countIn(v *anyValue, names ...string) (n uint64) {
	best := len(names)
	take := func(name string, of uint64, ok bool) {
		for i, known := range names[:best] {
			if ok && known == name {
				best, n = i, of
			}
		}
	}
	if v.kind == kindMap {
		v.each(func(key []byte, e *anyValue) bool {
			of, ok := e.number()
			take(jsonscan.Alias(key), of, ok)
			return true
		})
		return n
	}
	jsonscan.Members(v.text, func(name string, value []byte) {
		if len(value) > 0 && jsonscan.IsDigit(value[0]) {
			of, ok := jsonscan.ParseUint(jsonscan.Alias(value))
			take(name, of, ok)
		}
	})
	return n
}

// outcome is what the span says of its end: an error, and whether it is a denial.
func (d *decoder) outcome(item *entry, class *classified) string {
	own := &d.own
	failed := class.failed || item.failed || own.peek(aError) != "" || own.peek(aErrorCode) != "" ||
		strings.EqualFold(own.peek(aLevelLangfuse), "error")
	denied := class.denied || failed && (denies(own.peek(aError)) || denies(own.peek(aErrorCode)) || denies(jsonscan.Alias(clip(item.exception))))
	for _, slot := range [...]nameSlot{aError, aHTTPStatus, aHTTPStatus2, aStatusClaude, aGRPCStatus, aRPCStatus} {
		switch v := own.peek(slot); v {
		case "":
		case "401", "403":
			denied = true
		case "7", "16":
			denied = denied || slot == aGRPCStatus || slot == aRPCStatus
		default:
			denied = denied || slot == aRPCStatus && denies(v)
			if class.model && class.assistant == nil && slot != aError && len(v) == 3 && (v[0] == '4' || v[0] == '5') {
				failed = true
			}
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

// denies reports whether a kind of error is that somebody may not: the name of an
// exception or a code, as languages, clouds and RPC systems call them.
func denies(kind string) bool {
	if kind == "" {
		return false
	}
	kind = strings.ToLower(kind[strings.LastIndexAny(kind, ".:/")+1:])
	kind = strings.NewReplacer("_", "", "-", "", " ", "").Replace(kind)
	switch kind {
	case "permissionerror", "401", "403", "securityexception", "eacces", "eperm":
		return true
	}
	for _, part := range [...]string{
		"accessdenied", "permissiondenied", "notauthorized", "unauthorized", "unauthorised", "unauthenticated", "forbidden", "notpermitted",
		"authenticationerror", "authenticationfailed", "authenticationexception", "authorizationerror", "authorizationexception", "insufficientprivileges",
		"insufficientpermission", "insufficientscope", "invalidcredential", "expiredtoken", "invalidtoken", "approvaldenied", "rejected",
	} {
		if strings.Contains(kind, part) {
			return true
		}
	}
	return false
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
		const name = "otel.status_description"
		d.open(name, d.table.infos[name].content, &anyValue{kind: kindText, text: item.statusMessage})
	}
	if len(item.name) > 0 {
		name := "span.name"
		if d.logs {
			name = "event.name"
		}
		d.open(name, content{}, &anyValue{kind: kindText, text: item.name})
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
		info := d.own.infos[i]
		i++
		if info.slot != noSlot && d.own.isUsed(info.slot) {
			continue
		}
		if info.content.rule >= ruleHeld && info.content.rule != ruleError && !info.content.guessed && !d.opt.Content {
			continue
		}
		key, v, ok := readAttribute(f.data)
		if !ok {
			b.Open("otlp.malformed_attribute", strconv.Itoa(len(f.data))+" bytes")
			continue
		}
		d.open(jsonscan.Alias(clip(key)), info.content, &v)
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

// open keeps an attribute under an open name, unless it may hold content and that is
// not wanted: then it says how much that was.
func (d *decoder) open(name string, c content, v *anyValue) {
	if !d.opt.Content && c.rule != ruleKept && (v.kind == kindText || v.kind >= kindList) {
		if n := v.size(0); n > 0 && (c.rule != ruleShort || n > maxShort) {
			d.b.Open(name, "withheld, "+strconv.FormatUint(n, 10)+" bytes")
			return
		}
	}
	d.b.Open(name, v.string())
}
