package decode

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/plumbline-sec/plumbline/schemas"
)

// otlpItem is what a span or a log record holds besides its attributes.
type otlpItem struct {
	name          []byte // of the span, or of the log record's event
	body          otlpValue
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

// otlpAgent is who an agent span says that it is.
type otlpAgent struct{ id, name, version, session, onBehalf string }

// otlpClass is what kind of activity a span or log record is.
type otlpClass struct {
	action string // empty: it is none
	tool   string
	access string
	agent  bool // the run of an agent
	model  bool // a call of a model
	denied bool
	failed bool
}

// readItem reads node n, its known attributes into set.
func (d *OTLPDecoder) readItem(n *otlpNode, set *otlpSet) (item otlpItem) {
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

func (d *OTLPDecoder) spanField(f *wireField, item *otlpItem, set *otlpSet) {
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
		d.known(f.data, set)
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

func (d *OTLPDecoder) logField(f *wireField, item *otlpItem, set *otlpSet) {
	switch f.num {
	case 1:
		item.end = f.bits
	case 2:
		item.failed = f.bits >= severityError
	case 5:
		item.body, _ = readOTLPValue(f.data)
	case 6:
		d.known(f.data, set)
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
func (d *OTLPDecoder) known(b []byte, set *otlpSet) {
	key, v, ok := readOTLPAttribute(b)
	if !ok {
		return
	}
	if slot, ok := d.table.slots[string(key)]; ok {
		set.have[slot>>6] |= 1 << (slot & 63)
		set.values[slot] = v
	}
}

// readResource reads the attributes of the resource unless they are still there.
func (d *OTLPDecoder) readResource(at otlpBounds) {
	if d.at == at && at != (otlpBounds{}) {
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

// event writes node i into the draft, or reports that it is no agent activity.
func (d *OTLPDecoder) event(i int32) bool {
	n := &d.nodes[i]
	item := d.readItem(n, &d.own)
	class := d.classify(&item)
	around := noAgent
	if class.action != "" || d.opt.Other == OTLPInside {
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
	d.w.begin()
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
// returns which.
func (d *OTLPDecoder) direct() (set uint64) {
	for _, f := range otlpDirect {
		from := &d.own
		slot := aFields + f
		if !from.has(slot) {
			if from = &d.res; !from.has(slot) || f != fPeerGroup && f != fAgentVersion {
				continue
			}
		}
		v := &from.values[slot]
		from.use(slot)
		set |= 1 << f
		switch {
		case f == fAgentID: // identity has it
		case f == fResources:
			d.directResources(v)
		case v.kind == otlpBool || v.kind == otlpInt || v.kind == otlpDouble:
			d.w.raw(fieldNames[f], v.appendJSON(nil, 0))
		default:
			d.w.text(fieldNames[f], v.string())
		}
	}
	return set
}

func (d *OTLPDecoder) directResources(v *otlpValue) {
	if v.kind == otlpText {
		d.w.resource("", v.string())
		return
	}
	v.each(func(_ []byte, e *otlpValue) bool {
		d.w.resource("", e.string())
		return true
	})
}

// eventID takes the id of the span, which activity.md names. A log record has
// none, unless the producer gave it one.
func (d *OTLPDecoder) eventID(item *otlpItem) {
	if d.logs {
		d.w.text("event_id", d.own.text(aRecordID))
		return
	}
	if fixed8(item.span) != [8]byte{} {
		d.w.text("event_id", hexOf(item.span))
	}
}

func hexOf(b []byte) string {
	const digits = "0123456789abcdef"
	out := make([]byte, 0, 32)
	for _, c := range b {
		out = append(out, digits[c>>4], digits[c&15])
	}
	return alias(out)
}

// agentOf reads who an agent span is.
func (d *OTLPDecoder) agentOf(set *otlpSet, item *otlpItem) (a otlpAgent) {
	for _, slot := range d.agent {
		if slot == noSlot {
			continue
		}
		if v := set.peek(slot); usableID(v) {
			a.id = v
			break
		}
	}
	if a.id == "" {
		a.id = nameOfAgent(set, item)
	}
	a.name = set.text(aAgentName, aAgentName2, aTraceloopName)
	a.version = set.text(aAgentVersion)
	a.session = set.text(aConversation, aSession, aTraceloopSession)
	a.onBehalf = set.text(aEndUser, aUserEmail, aUserID)
	return a
}

// nameOfAgent finds the name of an agent span that has none of the attributes
// that name it: Traceloop's own, or behind the operation in the span's name.
func nameOfAgent(set *otlpSet, item *otlpItem) string {
	if v := set.peek(aTraceloopName); usableID(v) {
		return v
	}
	if v, ok := strings.CutPrefix(alias(clip(item.name)), "invoke_agent "); ok && usableID(v) {
		return v
	}
	return ""
}

// usableID reports whether v can identify an agent: otherwise the next one in the
// order is asked.
func usableID(v string) bool {
	return v != "" && len(v) <= schemas.MaxIdentityBytes && utf8.ValidString(v) && !hasControl(v)
}

// resolveAgent returns the agent's id; enclosed is whether it is the agent around.
func (d *OTLPDecoder) resolveAgent(class *otlpClass, item *otlpItem, around int32) (id string, enclosed bool) {
	if d.own.has(aFields + fAgentID) {
		if v := d.own.peek(aFields + fAgentID); usableID(v) {
			return v, false
		}
	}
	unusable := ""
	for _, slot := range d.agent {
		if slot == noSlot {
			if around >= 0 {
				return d.agents[around].id, true
			}
			continue
		}
		for _, set := range []*otlpSet{&d.own, &d.res} {
			v := set.peek(slot)
			if usableID(v) {
				set.use(slot)
				return v, false
			}
			if unusable == "" {
				unusable = v
			}
		}
		if slot == aAgentName2 && class.agent {
			// Before it comes to what the whole process is called.
			if v := nameOfAgent(&d.own, item); v != "" {
				return v, false
			}
		}
	}
	if class.agent {
		if v := nameOfAgent(&d.own, item); v != "" {
			return v, false
		}
	}
	return unusable, false
}

// identity writes who acted, for whom, and in which session.
func (d *OTLPDecoder) identity(item *otlpItem, class *otlpClass, around int32, direct uint64) {
	own, res, w := &d.own, &d.res, d.w
	id, enclosed := d.resolveAgent(class, item, around)
	w.text("agent_id", id)
	if d.tenant != noSlot {
		w.text("tenant_id", res.text(d.tenant))
	}
	var agent otlpAgent
	if enclosed {
		agent = d.agents[around]
		if class.agent {
			class.action = "delegate"
			if direct>>fTargetAgentID&1 == 0 {
				w.text("target_agent_id", d.agentOf(own, item).id)
			}
		}
	} else {
		agent.name = own.text(aAgentName, aAgentName2)
		agent.version = own.text(aAgentVersion)
	}
	if agent.version == "" {
		agent.version = own.text(aAppVersion)
	}
	if agent.version == "" {
		agent.version = res.text(aServiceVersion)
	}
	session := own.text(aConversation, aSession, aTraceloopSession, aMCPSession)
	if session == "" {
		session = agent.session
	}
	onBehalf := own.text(aEndUser, aUserEmail, aUserID)
	if onBehalf == "" {
		onBehalf = res.text(aEndUser, aUserEmail, aUserID)
	}
	if onBehalf == "" {
		onBehalf = agent.onBehalf
	}
	for _, v := range []struct {
		f     field
		value string
	}{{fAgentName, agent.name}, {fAgentVersion, agent.version}, {fSessionID, session}, {fOnBehalfOf, onBehalf}} {
		if direct>>v.f&1 == 0 && d.afford(len(v.value)) {
			w.text(fieldNames[v.f], v.value)
		}
	}
}

// afford reports whether the record may repeat n more bytes in its events.
func (d *OTLPDecoder) afford(n int) bool {
	if d.inherited+n > maxInherited {
		return false
	}
	d.inherited += n
	return true
}

// facts writes what was done.
func (d *OTLPDecoder) facts(item *otlpItem, class *otlpClass, direct uint64) {
	own, w := &d.own, d.w
	text := func(f field, value string) {
		if direct>>f&1 == 0 {
			w.text(fieldNames[f], value)
		}
	}
	count := func(f field, n uint64) {
		if direct>>f&1 == 0 {
			w.count(fieldNames[f], n)
		}
	}
	d.times(item, direct)
	text(fAction, class.action)
	text(fTool, class.tool)
	text(fAccess, class.access)
	text(fModel, own.text(aModel, aModel2, aModel3, aModelClaude))
	text(fSourceIP, own.text(aLocalAddress))
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
	end := item.end
	for _, t := range []uint64{item.start, item.observed} {
		if end == 0 {
			end = t
		}
	}
	if direct>>fTime&1 == 0 {
		d.w.count("time", end/nano)
	}
	if direct>>fDurationMS&1 == 0 {
		if item.start > 0 && item.end > item.start {
			d.w.count("duration_ms", item.end/nano-item.start/nano)
		} else if ms, ok := d.own.count(aDuration); ok {
			d.w.count("duration_ms", ms)
		}
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
	w := d.w
	if len(item.trace) == 16 && fixed16(item.trace) != [16]byte{} {
		w.attribute("trace_id", hexOf(item.trace))
	}
	if len(item.statusMessage) > 0 {
		w.attribute("otel.status_description", alias(clip(item.statusMessage)))
	}
	if len(item.name) > 0 {
		name := "span.name"
		if d.logs {
			name = "event.name"
		}
		w.attribute(name, alias(clip(item.name)))
	}
	num := int32(9)
	if d.logs {
		num = 6
	}
	r := wireReader{b: d.bytes(n.item)}
	var f wireField
	for r.next(&f) {
		if !f.is(num) {
			continue
		}
		key, v, ok := readOTLPAttribute(f.data)
		if !ok {
			w.attribute("otlp.malformed_attribute", strconv.Itoa(len(f.data))+" bytes")
			continue
		}
		name := alias(clip(key))
		if slot, known := d.table.slots[name]; known && d.own.isUsed(slot) || !d.opt.Content && d.table.content(name) {
			continue
		}
		w.attribute(name, v.string())
	}
	for _, slot := range d.inherit {
		if v := d.res.peek(slot); v != "" && !d.res.isUsed(slot) {
			if !d.afford(len(v)) {
				w.attribute("otlp.resource_attributes", "cut")
				break
			}
			w.attribute(d.table.names[slot], v)
		}
	}
}
