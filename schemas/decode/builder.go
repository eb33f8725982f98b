package decode

import (
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/plumbline-sec/plumbline/schemas"
)

// builder makes one event out of the values that a form has found. Limits, flags
// and refusals are here and nowhere else, so that they are the same whatever form
// an event came in.
//
// Invariants:
//  1. An event is refused only for its identity: there is none, or one that
//     nothing repairs. All else is kept, cut or set aside, and flagged.
//  2. What is not understood is not lost: the value of an invalid field stands in
//     the attributes under the field's name.
//  3. Of a field that is set twice the last value counts; of an attribute too.
//  4. Strings of the event share memory with what was set, or with memory that is
//     never written again. Only the Activity and its slices are reused.
//
// Of an event that is a part of a record the size has no limit of its own: its
// long strings are cut, and the record is bounded by Kafka.
type builder struct {
	ev        schemas.Activity
	mem       arena
	canonical bool // route has settled the times
	trace     func(field, path string)

	refusal *Refusal          // of the first identity that nothing repairs
	seen    uint64            // bit f: field f stood in the event
	invalid uint64            // bit f: field f is invalid
	noted   uint64            // bit f: route noted that field f was invalid
	held    [fieldCount]value // of invalid fields
	touched int               // resources that were there
	more    int               // attributes beyond schemas.MaxAttributes
	names   nameIndex         // of the attributes, once they are many
}

// value is a value of a source.
type value struct {
	kind     byte   // " a text, 0 a number, t f n { [ as JSON text begins
	replaced bool   // something in the text was not UTF-8 and became U+FFFD
	text     string // what a text says, or more than schemas.MaxStringBytes of it; of anything else its JSON
}

// begin starts the next event.
func (b *builder) begin() {
	b.ev.Reset()
	if b.invalid != 0 {
		clear(b.held[:]) // they would keep the record in memory
	}
	b.refusal, b.seen, b.invalid, b.noted, b.touched, b.more = nil, 0, 0, 0, 0, 0
	b.names.reset()
}

// emit finishes the event, the index-th of its record.
func (b *builder) emit(rec *Record, index int32, emit emitFunc) {
	if b.refusal == nil && b.ev.AgentID == "" {
		b.refusal = &Refusal{Reason: ReasonNoAgentID, Field: "agent_id", Detail: "absent or empty"}
	}
	if b.refusal != nil {
		emit(index, nil, b.refusal)
		return
	}
	b.finish(rec, index)
	b.setAside()
	emit(index, &b.ev, nil)
}

// text sets a field to a text of any bytes. The empty one is no value.
func (b *builder) text(f field, s string) {
	if s != "" {
		v := value{kind: '"'}
		v.text, v.replaced = b.mem.valid(s)
		b.set(f, &v)
	}
}

// count sets a field to a number. 0 is no value.
func (b *builder) count(f field, n uint64) {
	if n != 0 {
		b.again(f)
		*countOf(&b.ev, f) = n
	}
}

// millis sets the time to one that is usable; 0 is no value.
func (b *builder) millis(t uint64) {
	if t != 0 {
		b.again(fTime)
		b.ev.Time = schemas.Millis(t)
	}
}

// set takes v as the value of a field that has one.
func (b *builder) set(f field, v *value) {
	if f <= fAgentID {
		if b.refusal == nil {
			b.refusal = b.identity(f, v)
		}
		return
	}
	b.again(f)
	if v.kind == 'n' {
		return
	}
	ev := &b.ev
	valid := false
	if to := textOf(ev, f); to != nil {
		if valid = v.kind == '"'; valid {
			*to = b.str(v)
		}
	} else if to := countOf(ev, f); to != nil {
		if v.kind == '0' {
			*to, valid = parseUint(v.text)
		}
	} else {
		switch f {
		case fTime:
			valid = setTime(&ev.Time, v, true)
		case fRecordedAt:
			valid = setTime(&ev.RecordedAt, v, true)
		case fCredentialExpires:
			valid = setTime(&ev.CredentialExpires, v, false)
		case fAccess:
			valid = setEnum(&ev.Access, v, schemas.AccessRead, schemas.AccessWrite, schemas.AccessSend, schemas.AccessExecute, schemas.AccessDelete)
		case fOutcome:
			valid = setEnum(&ev.Outcome, v, schemas.OutcomeSuccess, schemas.OutcomeFailure, schemas.OutcomeDenied)
		}
	}
	if !valid {
		b.hold(f, v)
	}
}

// identity sets tenant_id or agent_id, the two fields that nothing repairs.
func (b *builder) identity(f field, v *value) *Refusal {
	if refusal := b.twice(f); refusal != nil {
		return refusal
	}
	invalid := func(reason Reason, detail string) *Refusal {
		return &Refusal{Reason: reason, Field: fieldNames[f], Detail: detail}
	}
	b.seen |= 1 << f
	switch s := v.text; {
	case v.kind == 'n':
	case v.kind != '"':
		return invalid(ReasonInvalidIdentity, "is not a string")
	case v.replaced:
		return invalid(ReasonInvalidIdentity, "is not UTF-8")
	case len(s) > schemas.MaxIdentityBytes:
		return invalid(ReasonIdentityTooLong, "is over "+strconv.Itoa(schemas.MaxIdentityBytes)+" bytes")
	case hasControl(s):
		return invalid(ReasonInvalidIdentity, "has a control character")
	case f == fAgentID:
		b.ev.AgentID = s
	case s != "" && !schemas.ValidTenant(s):
		return invalid(ReasonInvalidIdentity, "is not 1 to 64 of A-Z a-z 0-9 . _ -")
	default:
		b.ev.TenantID = s
	}
	return nil
}

// twice refuses an identity that was set before.
func (b *builder) twice(f field) *Refusal {
	if b.seen>>f&1 == 1 {
		return &Refusal{Reason: ReasonDuplicateIdentity, Field: fieldNames[f], Detail: "stands twice"}
	}
	return nil
}

func hasControl(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == 0x7f {
			return true
		}
		if s[i] >= utf8.RuneSelf {
			return strings.ContainsFunc(s[i:], unicode.IsControl)
		}
	}
	return false
}

// again notes that f is set, and undoes what an earlier value of it did.
func (b *builder) again(f field) {
	if b.seen>>f&1 == 0 {
		b.seen |= 1 << f
		return
	}
	ev := &b.ev
	if b.invalid>>f&1 == 1 {
		b.invalid &^= 1 << f
		b.held[f] = value{}
	}
	if to := textOf(ev, f); to != nil {
		*to = ""
	} else if to := countOf(ev, f); to != nil {
		*to = 0
	}
	switch f {
	case fTime:
		ev.Time = 0
	case fRecordedAt:
		ev.RecordedAt = 0
	case fCredentialExpires:
		ev.CredentialExpires = 0
	case fAccess:
		ev.Access = ""
	case fOutcome:
		ev.Outcome = ""
	case fResources:
		ev.Resources, ev.Flags.ResourcesCut, b.touched = ev.Resources[:0], 0, 0
	}
}

// hold sets the value of an invalid field aside.
func (b *builder) hold(f field, v *value) {
	b.invalid |= 1 << f
	b.held[f] = *v
}

// limit cuts s to the longest string that an event may hold.
func (b *builder) limit(s string) string {
	if len(s) <= schemas.MaxStringBytes {
		return s
	}
	b.ev.Flags.StringsCut++
	return truncate(s, schemas.MaxStringBytes)
}

// str is what a text says, cut as needed.
func (b *builder) str(v *value) string {
	if v.replaced {
		b.ev.Flags.UTF8Replaced = true
	}
	return b.limit(v.text)
}

func setTime(to *schemas.Millis, v *value, number bool) (valid bool) {
	var t schemas.Millis
	switch {
	case v.kind == '"' && v.text == "":
		return true
	case v.kind == '"':
		t, valid = parseTime(v.text)
	case v.kind == '0' && number && isDigit(v.text[0]):
		var n uint64
		n, valid = parseUint(v.text)
		t, valid = schemas.Millis(n), valid && n <= uint64(maxTime) && n > 0
	}
	if valid {
		*to = t
	}
	return valid
}

// setEnum keeps the constant and not the record's bytes.
func setEnum(to *string, v *value, values ...string) (valid bool) {
	if v.kind != '"' {
		return false
	}
	if i := slices.Index(values, v.text); i >= 0 {
		*to = values[i]
		return true
	}
	return v.text == ""
}

// resource adds one resource. The empty text is none.
func (b *builder) resource(v *value) {
	if v.text == "" {
		return
	}
	ev := &b.ev
	if b.touched++; b.touched > schemas.MaxResources {
		ev.Flags.ResourcesCut = b.touched
		return
	}
	ev.Flags.UTF8Replaced = ev.Flags.UTF8Replaced || v.replaced
	ev.Resources = append(ev.Resources, b.ofKind(v.text))
}

// touch adds the resource `kind:id`. The empty id is none.
func (b *builder) touch(kind, id string) {
	if id == "" {
		return
	}
	if kind != "" {
		id = b.mem.join(kind, ":", id)
	}
	v := value{kind: '"'}
	v.text, v.replaced = b.mem.valid(id)
	b.resource(&v)
}

// ofKind gives a bare id the kind "other". What comes out of it goes through it
// unchanged.
func (b *builder) ofKind(s string) string {
	cut := b.limit(s)
	if strings.IndexByte(cut, ':') > 0 {
		return cut
	}
	named := b.mem.join("other", ":", cut)
	if len(cut) == len(s) {
		return b.limit(named)
	}
	return truncate(named, schemas.MaxStringBytes)
}

// attribute keeps a value under an open name: a text is what it says, anything
// else its JSON text, null is nothing.
func (b *builder) attribute(name string, v *value) {
	var s string
	switch v.kind {
	case 'n':
		return
	case '"':
		s = b.str(v)
	case '{', '[':
		var cut, replaced bool
		if s, cut, replaced = b.mem.compact(v.text); cut {
			b.ev.Flags.StringsCut++
		}
		b.ev.Flags.UTF8Replaced = b.ev.Flags.UTF8Replaced || replaced
	default:
		s = b.limit(v.text)
	}
	b.keep(b.limit(name), s)
}

// open keeps a text of any bytes under a name of any bytes. The empty one is no
// value.
func (b *builder) open(name, s string) {
	if s == "" {
		return
	}
	v := value{kind: '"'}
	v.text, v.replaced = b.mem.valid(s)
	name, replaced := b.mem.valid(name)
	b.ev.Flags.UTF8Replaced = b.ev.Flags.UTF8Replaced || replaced
	b.attribute(name, &v)
}

func (b *builder) keep(name, s string) {
	attrs := b.ev.Attributes
	if i := b.names.find(attrs, name); i >= 0 {
		attrs[i].Value = s
		return
	}
	if len(attrs) == schemas.MaxAttributes {
		b.more++
		return
	}
	b.names.added(len(attrs))
	b.ev.Attributes = append(b.ev.Attributes, schemas.Attribute{Key: name, Value: s})
}

// finish fills in what the event left out.
func (b *builder) finish(rec *Record, index int32) {
	ev := &b.ev
	if ev.TenantID == "" {
		ev.TenantID = schemas.DefaultTenant
	}
	if ev.PeerGroup == "" {
		ev.PeerGroup = schemas.DefaultPeerGroup
	}
	if ev.Outcome == "" {
		ev.Outcome = schemas.OutcomeSuccess
	}
	if ev.EventID == "" {
		ev.EventID = b.limit(b.mem.done(appendOwnID(b.mem.take(len(rec.Topic)+42), rec, index)))
	}
	if e := rec.Event; e != nil {
		if ev.Time == 0 {
			ev.Time = e.Time
		}
		for _, a := range [...]schemas.Attribute{{Key: "ce_source", Value: e.Source}, {Key: "ce_type", Value: e.Type}, {Key: "ce_subject", Value: e.Subject}} {
			if a.Value != "" {
				b.keep(a.Key, a.Value)
			}
		}
	}
	if b.canonical {
		resolveCanonicalTime(ev, rec.Time)
	} else {
		resolveTime(ev, rec.Time)
	}
}

// setAside flags the invalid fields, and makes attributes of their values.
func (b *builder) setAside() {
	ev := &b.ev
	for f := field(0); (b.invalid|b.noted)>>f != 0; f++ {
		if (b.invalid|b.noted)>>f&1 == 1 {
			ev.Flags.FieldsInvalid = append(ev.Flags.FieldsInvalid, fieldNames[f])
		}
		if b.invalid>>f&1 == 1 {
			b.attribute(fieldNames[f], &b.held[f])
		}
	}
	if b.more > 0 {
		ev.Flags.AttributesCut = max(ev.Flags.AttributesCut, len(ev.Attributes)+b.more)
	}
}

// flag takes what route noted.
func (b *builder) flag(v string) {
	f := &b.ev.Flags
	name, arg, _ := strings.Cut(v, ":")
	number := func() int {
		n, err := strconv.Atoi(arg)
		if err != nil || n < 0 {
			return 0
		}
		return n
	}
	switch name {
	case "time_clamped":
		f.TimeClamped = true
	case "old":
		f.Old = true
	case "utf8_replaced":
		f.UTF8Replaced = true
	case "resources_cut":
		f.ResourcesCut = max(f.ResourcesCut, number())
	case "attributes_cut":
		f.AttributesCut = max(f.AttributesCut, number())
	case "strings_cut":
		f.StringsCut = max(f.StringsCut, number())
	case "fields_invalid":
		for field := range strings.SplitSeq(arg, ",") {
			if known := lookup(field); known != unknown {
				b.noted |= 1 << known
			}
		}
	}
}
