package decode

import (
	"strconv"
	"unicode"
	"unicode/utf8"

	"github.com/plumbline-sec/plumbline/schemas"
)

// ActivityDecoder reads the activity event, one JSON object a record, as agents
// send it or as route writes it.
//
// Invariants:
//  1. Every record gives exactly one call of emit, with an event or a refusal.
//  2. An event is refused only where the text is not JSON, too deep, too large, or
//     without one usable identity. All else is kept, cut or set aside, and flagged.
//  3. What is not understood is not lost: an unknown field, and the value of an
//     invalid one, stand in the attributes under the field's name.
//  4. What an agent sends sets neither RecordedAt nor Flags.
//  5. Strings share memory with the record, or with memory of the decoder that
//     is never written again. Only the Activity and its slices are reused.
//
// Where the contract is silent: null and the empty string mean absent; of a
// repeated field the last one counts, a repeated "attributes" adds to the one
// before, and of a repeated attribute the last one counts; an element of
// resources that is no string is dropped and makes the field invalid; an access
// or an outcome that the contract does not name is an invalid field, and so is a
// time that is not after the first instant of 1970. An event without a usable
// time from a record without one (a replay) stands at the first millisecond of
// 1970: late for every baseline, yet scored for what it touches.
//
// It is not safe for concurrent use: one goroutine, one decoder.
type ActivityDecoder struct {
	canonical bool
	unbounded bool // the text was written by a draft, its size says nothing
	extra     int  // attributes that a draft left out

	s   scanner
	mem arena
	ev  schemas.Activity

	seen    uint64            // bit f: field f stood in the event
	invalid uint64            // bit f: field f is invalid
	noted   uint64            // bit f: route noted that field f was invalid
	raw     [fieldCount]int   // where the value of an invalid field begins
	attrs   map[string]uint16 // index of the attributes by key, once they are many
	more    int               // attributes beyond schemas.MaxAttributes
}

// maxCanonicalBytes bounds an event as route writes it: escaping makes up to six
// bytes of one, and the times, the flags and the defaults are added.
const maxCanonicalBytes = 6*schemas.MaxEventBytes + 64<<10

// NewActivity returns a decoder of the event as agents send it.
func NewActivity() *ActivityDecoder { return &ActivityDecoder{} }

// NewCanonical returns a decoder of the event as route writes it: the same form
// with recorded_at and flags, and a time that is already resolved.
func NewCanonical() *ActivityDecoder { return &ActivityDecoder{canonical: true} }

// Decode implements Decoder.
func (d *ActivityDecoder) Decode(rec *Record, emit func(index int32, ev *schemas.Activity, refusal *Refusal)) {
	if refusal := d.read(rec); refusal != nil {
		emit(0, nil, refusal)
		return
	}
	emit(0, &d.ev, nil)
}

func (d *ActivityDecoder) read(rec *Record) *Refusal {
	most := schemas.MaxEventBytes
	if d.canonical {
		most = maxCanonicalBytes
	}
	if n := len(rec.Value); n > most && !d.unbounded {
		return &Refusal{Reason: ReasonTooLarge, Detail: strconv.Itoa(n) + " bytes, at most " + strconv.Itoa(most)}
	}
	d.s.reset(rec.Value)
	d.ev.Reset()
	d.seen, d.invalid, d.noted, d.more = 0, 0, 0, d.extra
	if len(d.attrs) > 0 {
		clear(d.attrs)
	}
	if refusal := d.object(); refusal != nil {
		return refusal
	}
	if d.ev.AgentID == "" {
		return &Refusal{Reason: ReasonNoAgentID, Field: "agent_id", Detail: "absent or empty"}
	}
	d.finish(rec)
	return nil
}

// object reads the whole text.
func (d *ActivityDecoder) object() *Refusal {
	s := &d.s
	if s.peek() != '{' {
		s.fail = ReasonNotJSON
		return d.malformed("is not an object")
	}
	s.pos++
	if s.peek() == '}' {
		s.pos++
	} else if refusal := d.members(); refusal != nil {
		return refusal
	}
	if s.peek(); s.pos < len(s.b) {
		s.fail = ReasonNotJSON
		return d.malformed("goes on after the object")
	}
	return nil
}

func (d *ActivityDecoder) members() *Refusal {
	s := &d.s
	for {
		name, replaced, ok := d.key()
		if !ok {
			return d.malformed("")
		}
		f := lookup(name)
		if f >= fRecordedAt && !d.canonical {
			f = unknown
		}
		switch {
		case f == unknown:
			d.ev.Flags.UTF8Replaced = d.ev.Flags.UTF8Replaced || replaced
			ok = d.attribute(name, 1)
		case f <= fAgentID:
			if refusal := d.identity(f); refusal != nil {
				return refusal
			}
		default:
			ok = d.value(f)
		}
		if !ok {
			return d.malformed("")
		}
		switch s.peek() {
		case ',':
			s.pos++
		case '}':
			s.pos++
			return nil
		default:
			s.fail = ReasonNotJSON
			return d.malformed("")
		}
	}
}

func (d *ActivityDecoder) malformed(detail string) *Refusal {
	switch {
	case d.s.fail == ReasonTooDeep:
		detail = "deeper than " + strconv.Itoa(schemas.MaxDepth) + " at byte " + strconv.Itoa(d.s.pos)
	case d.s.pos >= len(d.s.b):
		detail = "ends too early"
	case detail == "":
		detail = "invalid at byte " + strconv.Itoa(d.s.pos)
	default:
		detail += " at byte " + strconv.Itoa(d.s.pos)
	}
	return &Refusal{Reason: d.s.fail, Detail: detail}
}

// identity reads tenant_id or agent_id, the two fields that nothing repairs.
func (d *ActivityDecoder) identity(f field) *Refusal {
	s, name := &d.s, fieldNames[f]
	if d.seen>>f&1 == 1 {
		return &Refusal{Reason: ReasonDuplicateIdentity, Field: name, Detail: "stands twice"}
	}
	d.seen |= 1 << f
	switch s.peek() {
	case '"':
	case 'n':
		if !s.literal("null") {
			return d.malformed("")
		}
		return nil
	default:
		if !s.skip(1) {
			return d.malformed("")
		}
		return &Refusal{Reason: ReasonInvalidIdentity, Field: name, Detail: "is not a string"}
	}
	v, replaced, ok := d.text()
	switch {
	case !ok:
		return d.malformed("")
	case replaced:
		return &Refusal{Reason: ReasonInvalidIdentity, Field: name, Detail: "is not UTF-8"}
	case len(v) > schemas.MaxIdentityBytes:
		return &Refusal{Reason: ReasonIdentityTooLong, Field: name, Detail: "is over " + strconv.Itoa(schemas.MaxIdentityBytes) + " bytes"}
	case hasControl(v):
		return &Refusal{Reason: ReasonInvalidIdentity, Field: name, Detail: "has a control character"}
	case f == fAgentID:
		d.ev.AgentID = v
	case v != "" && !schemas.ValidTenant(v):
		return &Refusal{Reason: ReasonInvalidIdentity, Field: name, Detail: "is not 1 to 64 of A-Z a-z 0-9 . _ -"}
	default:
		d.ev.TenantID = v
	}
	return nil
}

func hasControl(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == 0x7f {
			return true
		}
		if s[i] >= utf8.RuneSelf {
			for _, r := range s[i:] {
				if unicode.IsControl(r) {
					return true
				}
			}
			return false
		}
	}
	return false
}

// value reads the value of a known field that is not an identity.
func (d *ActivityDecoder) value(f field) bool {
	s, ev := &d.s, &d.ev
	if d.seen>>f&1 == 1 {
		d.forget(f)
	}
	d.seen |= 1 << f
	c := s.peek()
	if c == 'n' {
		return s.literal("null")
	}
	start := s.pos
	var valid, ok bool
	if to := textOf(ev, f); to != nil {
		valid, ok = d.textField(c, to)
	} else if to := countOf(ev, f); to != nil {
		valid, ok = d.countField(c, to)
	} else {
		switch f {
		case fTime:
			valid, ok = d.timeField(c, &ev.Time, true)
		case fRecordedAt:
			valid, ok = d.timeField(c, &ev.RecordedAt, true)
		case fCredentialExpires:
			valid, ok = d.timeField(c, &ev.CredentialExpires, false)
		case fAccess:
			valid, ok = d.enumField(c, &ev.Access, schemas.AccessRead, schemas.AccessWrite, schemas.AccessSend, schemas.AccessExecute, schemas.AccessDelete)
		case fOutcome:
			valid, ok = d.enumField(c, &ev.Outcome, schemas.OutcomeSuccess, schemas.OutcomeFailure, schemas.OutcomeDenied)
		case fResources:
			valid, ok = d.resources(c)
		case fAttributes:
			valid, ok = d.attributes(c)
		default:
			valid, ok = d.flags(c)
		}
	}
	if ok && !valid {
		d.invalid |= 1 << f
		d.raw[f] = start
	}
	return ok
}

// forget undoes what an earlier value of f did.
func (d *ActivityDecoder) forget(f field) {
	ev := &d.ev
	d.invalid &^= 1 << f
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
		ev.Resources, ev.Flags.ResourcesCut = ev.Resources[:0], 0
	default:
	}
}

// finish fills in what the event left out, and what the decoder found out.
func (d *ActivityDecoder) finish(rec *Record) {
	ev := &d.ev
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
		ev.EventID = d.mem.done(appendOwnID(d.mem.take(len(rec.Topic)+42), rec, 0))
	}
	if rec.Event != nil {
		d.envelope(rec.Event)
	}
	if d.canonical {
		resolveCanonicalTime(ev, rec.Time)
	} else {
		resolveTime(ev, rec.Time)
	}
	for f := field(0); (d.invalid|d.noted)>>f != 0; f++ {
		if (d.invalid|d.noted)>>f&1 == 1 {
			ev.Flags.FieldsInvalid = append(ev.Flags.FieldsInvalid, fieldNames[f])
		}
		if d.invalid>>f&1 == 1 {
			d.s.pos = d.raw[f]
			d.attribute(fieldNames[f], 1)
		}
	}
	if d.more > 0 {
		ev.Flags.AttributesCut = max(ev.Flags.AttributesCut, len(ev.Attributes)+d.more)
	}
}

// envelope takes what the CloudEvent around the record says.
func (d *ActivityDecoder) envelope(e *CloudEvent) {
	if d.ev.Time == 0 {
		d.ev.Time = e.Time
	}
	for _, a := range [...]schemas.Attribute{{Key: "ce_source", Value: e.Source}, {Key: "ce_type", Value: e.Type}, {Key: "ce_subject", Value: e.Subject}} {
		if a.Value != "" {
			d.keepAttribute(a.Key, a.Value)
		}
	}
}
