package decode

import (
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode/jsonscan"
)

// Builder makes one event out of the values that a form has found. Limits, flags
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
type Builder struct {
	Mem jsonscan.Arena // of strings that the event is given

	ev        schemas.Activity
	canonical bool // route has settled the times
	trace     func(field, path string)

	refusal *Refusal                           // of the first identity that nothing repairs
	seen    uint64                             // bit f: field f stood in the event
	invalid uint64                             // bit f: field f is invalid
	noted   uint64                             // bit f: route noted that field f was invalid
	held    [schemas.FieldCount]jsonscan.Value // of invalid fields
	touched int                                // resources that were there
	more    int                                // attributes beyond schemas.MaxAttributes
	names   nameIndex                          // of the attributes, once they are many
}

// Trace makes the builder call note for each field that From names.
func (b *Builder) Trace(note func(field, path string)) { b.trace = note }

// Traced reports whether somebody wants to know where fields come from.
func (b *Builder) Traced() bool { return b.trace != nil }

// From notes that a field came from path.
func (b *Builder) From(f schemas.Field, path string) {
	if b.trace != nil {
		b.trace(f.String(), path)
	}
}

// Begin starts the next event.
func (b *Builder) Begin() {
	b.ev.Reset()
	if b.invalid != 0 {
		clear(b.held[:]) // they would keep the record in memory
	}
	b.refusal, b.seen, b.invalid, b.noted, b.touched, b.more = nil, 0, 0, 0, 0, 0
	b.names.reset()
}

// Emit finishes the event, the index-th of its record.
func (b *Builder) Emit(rec *Record, index int32, emit EmitFunc) {
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

// Text sets a field to a text of any bytes. The empty one is no value.
func (b *Builder) Text(f schemas.Field, s string) {
	if s != "" {
		v := jsonscan.Value{Kind: '"'}
		v.Text, v.Replaced = b.Mem.Valid(s)
		b.Set(f, &v)
	}
}

// Count sets a field to a number. 0 is no value.
func (b *Builder) Count(f schemas.Field, n uint64) {
	if n != 0 {
		b.again(f)
		*f.Of(&b.ev).(*uint64) = n
	}
}

// Millis sets the time to one that is usable; 0 is no value.
func (b *Builder) Millis(t uint64) {
	if t != 0 {
		b.again(schemas.FieldTime)
		b.ev.Time = schemas.Millis(t)
	}
}

// Set takes v as the value of a field that has one.
func (b *Builder) Set(f schemas.Field, v *jsonscan.Value) {
	if f <= schemas.FieldAgentID {
		if b.refusal == nil {
			b.refusal = b.identity(f, v)
		}
		return
	}
	b.again(f)
	if v.Kind == 'n' {
		return
	}
	valid := false
	switch to := f.Of(&b.ev).(type) {
	case *string:
		if values := f.Values(); values != nil {
			valid = setEnum(to, v, values)
		} else if valid = v.Kind == '"'; valid {
			*to = b.str(v)
		}
	case *uint64:
		if v.Kind == '0' {
			*to, valid = jsonscan.ParseUint(v.Text)
		}
	case *schemas.Millis:
		valid = setTime(to, v, f != schemas.FieldCredentialExpires)
	}
	if !valid {
		b.hold(f, v)
	}
}

// identity sets tenant_id or agent_id, the two fields that nothing repairs.
func (b *Builder) identity(f schemas.Field, v *jsonscan.Value) *Refusal {
	if refusal := b.twice(f); refusal != nil {
		return refusal
	}
	invalid := func(reason Reason, detail string) *Refusal {
		return &Refusal{Reason: reason, Field: f.String(), Detail: detail}
	}
	b.seen |= 1 << f
	switch s := v.Text; {
	case v.Kind == 'n':
	case v.Kind != '"':
		return invalid(ReasonInvalidIdentity, "is not a string")
	case v.Replaced:
		return invalid(ReasonInvalidIdentity, "is not UTF-8")
	case len(s) > schemas.MaxIdentityBytes:
		return invalid(ReasonIdentityTooLong, "is over "+strconv.Itoa(schemas.MaxIdentityBytes)+" bytes")
	case HasControl(s):
		return invalid(ReasonInvalidIdentity, "has a control character")
	case f == schemas.FieldAgentID:
		b.ev.AgentID = s
	case s != "" && !schemas.ValidTenant(s):
		return invalid(ReasonInvalidIdentity, "is not 1 to 64 of A-Z a-z 0-9 . _ -")
	default:
		b.ev.TenantID = s
	}
	return nil
}

// twice refuses an identity that was set before.
func (b *Builder) twice(f schemas.Field) *Refusal {
	if b.seen>>f&1 == 1 {
		return &Refusal{Reason: ReasonDuplicateIdentity, Field: f.String(), Detail: "stands twice"}
	}
	return nil
}

// HasControl reports whether s has a control character.
func HasControl(s string) bool {
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
func (b *Builder) again(f schemas.Field) {
	if b.seen>>f&1 == 0 {
		b.seen |= 1 << f
		return
	}
	b.undo(f)
}

func (b *Builder) undo(f schemas.Field) {
	if b.invalid>>f&1 == 1 {
		b.invalid &^= 1 << f
		b.held[f] = jsonscan.Value{}
	}
	switch to := f.Of(&b.ev).(type) {
	case *string:
		*to = ""
	case *uint64:
		*to = 0
	case *schemas.Millis:
		*to = 0
	case *[]string:
		*to, b.ev.Flags.ResourcesCut, b.touched = (*to)[:0], 0, 0
	}
}

// hold sets the value of an invalid field aside.
func (b *Builder) hold(f schemas.Field, v *jsonscan.Value) {
	b.invalid |= 1 << f
	b.held[f] = *v
}

// limit cuts s to the longest string that an event may hold.
func (b *Builder) limit(s string) string {
	if len(s) <= schemas.MaxStringBytes {
		return s
	}
	b.ev.Flags.StringsCut++
	return truncate(s, schemas.MaxStringBytes)
}

// str is what a text says, cut as needed.
func (b *Builder) str(v *jsonscan.Value) string {
	if v.Replaced {
		b.ev.Flags.UTF8Replaced = true
	}
	return b.limit(v.Text)
}

func setTime(to *schemas.Millis, v *jsonscan.Value, number bool) (valid bool) {
	var t schemas.Millis
	switch {
	case v.Kind == '"' && v.Text == "":
		return true
	case v.Kind == '"':
		t, valid = ParseTime(v.Text)
	case v.Kind == '0' && number && jsonscan.IsDigit(v.Text[0]):
		var n uint64
		n, valid = jsonscan.ParseUint(v.Text)
		t, valid = schemas.Millis(n), valid && n <= uint64(MaxTime) && n > 0
	}
	if valid {
		*to = t
	}
	return valid
}

// setEnum keeps the constant and not the record's bytes.
func setEnum(to *string, v *jsonscan.Value, values []string) (valid bool) {
	if v.Kind != '"' {
		return false
	}
	if i := slices.Index(values, v.Text); i >= 0 {
		*to = values[i]
		return true
	}
	return v.Text == ""
}

// resource adds one resource. The empty text is none.
func (b *Builder) resource(v *jsonscan.Value) {
	if v.Text == "" {
		return
	}
	ev := &b.ev
	if b.touched++; b.touched > schemas.MaxResources {
		ev.Flags.ResourcesCut = b.touched
		return
	}
	ev.Flags.UTF8Replaced = ev.Flags.UTF8Replaced || v.Replaced
	ev.Resources = append(ev.Resources, b.ofKind(v.Text))
}

// Touch adds the resource `kind:id`. The empty id is none.
func (b *Builder) Touch(kind, id string) {
	if id == "" {
		return
	}
	if kind != "" {
		id = b.Mem.Join(kind, ":", id)
	}
	v := jsonscan.Value{Kind: '"'}
	v.Text, v.Replaced = b.Mem.Valid(id)
	b.resource(&v)
}

// ofKind gives a bare id the kind "other". What comes out of it goes through it
// unchanged.
func (b *Builder) ofKind(s string) string {
	cut := b.limit(s)
	if strings.IndexByte(cut, ':') > 0 {
		return cut
	}
	named := b.Mem.Join("other", ":", cut)
	if len(cut) == len(s) {
		return b.limit(named)
	}
	return truncate(named, schemas.MaxStringBytes)
}

// attribute keeps a value under an open name: a text is what it says, anything
// else its JSON text, null is nothing.
func (b *Builder) attribute(name string, v *jsonscan.Value) {
	var s string
	switch v.Kind {
	case 'n':
		return
	case '"':
		s = b.str(v)
	case '{', '[':
		var cut, replaced bool
		if s, cut, replaced = b.Mem.Compact(v.Text); cut {
			b.ev.Flags.StringsCut++
		}
		b.ev.Flags.UTF8Replaced = b.ev.Flags.UTF8Replaced || replaced
	default:
		s = b.limit(v.Text)
	}
	b.keep(b.limit(name), s)
}

// Open keeps a text of any bytes under a name of any bytes. The empty one is no
// value.
func (b *Builder) Open(name, s string) {
	if s == "" {
		return
	}
	v := jsonscan.Value{Kind: '"'}
	v.Text, v.Replaced = b.Mem.Valid(s)
	name, replaced := b.Mem.Valid(name)
	b.ev.Flags.UTF8Replaced = b.ev.Flags.UTF8Replaced || replaced
	b.attribute(name, &v)
}

func (b *Builder) keep(name, s string) {
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
func (b *Builder) finish(rec *Record, index int32) {
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
		ev.EventID = b.limit(b.Mem.Done(appendOwnID(b.Mem.Take(len(rec.Topic)+42), rec, index)))
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
func (b *Builder) setAside() {
	ev := &b.ev
	for f := schemas.Field(0); (b.invalid|b.noted)>>f != 0; f++ {
		if (b.invalid|b.noted)>>f&1 == 1 {
			ev.Flags.FieldsInvalid = append(ev.Flags.FieldsInvalid, f.String())
		}
		if b.invalid>>f&1 == 1 {
			b.attribute(f.String(), &b.held[f])
		}
	}
	if b.more > 0 {
		ev.Flags.AttributesCut = max(ev.Flags.AttributesCut, len(ev.Attributes)+b.more)
	}
}

// flag takes what route noted.
func (b *Builder) flag(v string) {
	name, says, _ := strings.Cut(v, ":")
	switch to := b.ev.Flags.Of(name).(type) {
	case *bool:
		*to = true
	case *int:
		if n, err := strconv.Atoi(says); err == nil {
			*to = max(*to, n)
		}
	case *[]string:
		for name := range strings.SplitSeq(says, ",") {
			if f := schemas.LookupField(name); f != schemas.FieldCount {
				b.noted |= 1 << f
			}
		}
	}
}

// truncate cuts s, which is UTF-8, to at most n bytes without tearing a rune.
func truncate(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
