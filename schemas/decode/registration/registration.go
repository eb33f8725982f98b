// Package registration reads what is said about agents by who is accountable for them: one
// JSON object a record, or what an inventory exports, by paths in the options.
//
// It imports schemas, decode and jsonscan.
package registration

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
)

// decoder reads registrations.
//
// Invariants:
//  1. A record is one registration, or as many as the list that it is, or that stands at
//     `registrations`, has elements.
//  2. What is wrong with a field refuses the registration, since half a grant is another
//     grant. An unknown field is kept as a label, and named.
//  3. What it reads in the canonical form, it reads as it was.
//
// It is not safe for concurrent use: one goroutine, one decoder.
type decoder struct {
	list      path
	fields    map[string][]place // nil: the contract's own names
	labels    map[string][]place
	values    map[string]map[string]string
	canonical bool
}

// NewCanonical returns a decoder of registrations as route writes them.
func NewCanonical() decode.Decoder { return &decoder{canonical: true} }

// Decode implements decode.Decoder.
func (d *decoder) Decode(rec *decode.Record, emit decode.EmitFunc) {
	index := int32(0)
	refuse := func(r *decode.Refusal) {
		emit(index, nil, r)
		index++
	}
	root, refusal := parse(rec.Value)
	if refusal != nil {
		refuse(refusal)
		return
	}
	records := []any{root}
	if len(d.list) > 0 {
		records = d.list.find(root)
		if len(records) == 0 {
			refuse(&decode.Refusal{Reason: decode.ReasonNoEvents, Field: d.list.String(), Detail: "absent"})
			return
		}
	}
	for _, r := range records {
		list, ok := r.([]any)
		if !ok {
			list = []any{r}
		}
		for _, one := range list {
			ev, refusal := d.one(one, rec, index)
			if refusal != nil {
				refuse(refusal)
				continue
			}
			emit(index, ev, nil)
			index++
		}
	}
}

// one reads a registration.
func (d *decoder) one(v any, rec *decode.Record, index int32) (*schemas.Activity, *decode.Refusal) {
	o, ok := v.(object)
	if !ok {
		return nil, &decode.Refusal{Reason: decode.ReasonNotJSON, Detail: "a registration is no object"}
	}
	r := reader{d: d, of: o, reg: &schemas.Registration{}}
	r.read()
	if r.refusal != nil {
		return nil, r.refusal
	}
	reg := r.reg
	if reg.TenantID == "" {
		reg.TenantID = schemas.DefaultTenant
	}
	recorded := rec.Time
	if recorded <= 0 {
		recorded = max(reg.Time, 1)
	}
	// What is said for later would hold its place against all that is said until then.
	if reg.Time == 0 || reg.Time > recorded+schemas.MaxClockAhead && !d.canonical {
		reg.Time = recorded
	}
	if n := len(schemas.AppendRegistration(nil, reg)); n > schemas.MaxRegistrationBytes {
		return nil, &decode.Refusal{Reason: decode.ReasonTooLarge, Detail: strconv.Itoa(n) + " bytes, at most " + strconv.Itoa(schemas.MaxRegistrationBytes)}
	}
	return &schemas.Activity{
		EventID: decode.EventID(rec, index), Time: reg.Time, TenantID: reg.TenantID, AgentID: reg.AgentID,
		RecordedAt: recorded, Registration: reg,
	}, nil
}

// reader reads one registration.
type reader struct {
	d       *decoder
	of      object
	reg     *schemas.Registration
	refusal *decode.Refusal // the first mistake
}

func (r *reader) wrong(field, detail string) {
	if r.refusal == nil {
		r.refusal = &decode.Refusal{Reason: decode.ReasonInvalidRegistration, Field: field, Detail: detail}
	}
}

func (r *reader) read() {
	reg := r.reg
	reg.TenantID, reg.AgentID = r.identity("tenant_id"), r.identity("agent_id")
	if reg.AgentID == "" && r.refusal == nil {
		r.refusal = &decode.Refusal{Reason: decode.ReasonNoAgentID, Field: "agent_id", Detail: "absent or empty"}
	}
	if t := reg.TenantID; t != "" && !schemas.ValidTenant(t) {
		r.invalidIdentity("tenant_id", "is not 1 to 64 of A-Z a-z 0-9 . _ -")
	}
	reg.Time = r.time("time")
	reg.Status = r.oneOf("status", schemas.StatusActive, schemas.StatusSuspended, schemas.StatusDecommissioned)
	reg.Name, reg.Owner, reg.Contact = r.text("name"), r.text("owner"), r.text("contact")
	reg.Purpose, reg.Environment, reg.Vendor = r.text("purpose"), r.text("environment"), r.text("vendor")
	reg.Criticality = r.oneOf("criticality", schemas.CriticalityLow, schemas.CriticalityNormal, schemas.CriticalityHigh)
	reg.PeerGroup = r.text("peer_group")
	if reg.TimeZone = r.text("time_zone"); reg.TimeZone != "" && !zoneName.MatchString(reg.TimeZone) {
		r.wrong("time_zone", strconv.Quote(reg.TimeZone)+" is no name of the IANA database, such as Europe/Berlin")
	}
	reg.ValidUntil = r.time("valid_until")
	reg.Versions = r.texts("versions")
	reg.Credentials = r.credentials()
	reg.Tools, reg.Destinations, reg.Agents = r.patterns("tools"), r.patterns("destinations"), r.patterns("agents")
	if reg.PublicKey = r.text("public_key"); reg.PublicKey != "" {
		if key, err := base64.StdEncoding.DecodeString(reg.PublicKey); err != nil || len(key) != ed25519Bytes {
			r.wrong("public_key", "is not the base64 of the 32 bytes of an Ed25519 key")
		}
	}
	r.readLabels()
}

const ed25519Bytes = 32

var zoneName = regexp.MustCompile(`^[A-Za-z0-9_+-]{1,32}(/[A-Za-z0-9_+-]{1,32}){0,2}$`)

// known are the fields of the contract.
var known = []string{
	"record", "tenant_id", "agent_id", "time", "status", "name", "owner", "contact", "purpose", "environment", "vendor",
	"criticality", "peer_group", "time_zone", "valid_until", "versions", "credentials", "tools", "destinations", "agents",
	"public_key", "labels",
}

// values are what stands where a field is looked for, place by place: a field that takes
// one value takes the first, a list takes all.
func (r *reader) values(field string) []any {
	if r.d.fields == nil {
		if v, ok := r.of[field]; ok && v != nil {
			return []any{v}
		}
		return nil
	}
	return r.at(r.d.fields[field], r.d.values[field])
}

func (r *reader) at(places []place, means map[string]string) (out []any) {
	for _, p := range places {
		found := p.in(r.of)
		if means != nil {
			for i, v := range found {
				s, _ := scalar(v)
				if m, ok := means[s]; ok {
					found[i] = m
				} else if m, ok := means["*"]; ok {
					found[i] = m
				}
			}
		}
		out = append(out, slices.DeleteFunc(found, func(v any) bool { return v == nil || v == "" })...)
	}
	return out
}

// text is the value of a field that takes one text.
func (r *reader) text(field string) string {
	found := r.values(field)
	if len(found) == 0 {
		return ""
	}
	s, ok := found[0].(string)
	if r.d.fields != nil && !ok {
		s, ok = scalar(found[0])
	}
	if !ok {
		r.wrong(field, "is not a text")
		return ""
	}
	r.bounded(field, s)
	return s
}

func (r *reader) bounded(field, s string) {
	if len(s) > schemas.MaxRegistrationText {
		r.wrong(field, strconv.Itoa(len(s))+" bytes, at most "+strconv.Itoa(schemas.MaxRegistrationText))
	}
}

func (r *reader) identity(field string) string {
	s := r.text(field)
	switch {
	case len(s) > schemas.MaxIdentityBytes:
		if r.refusal == nil || r.refusal.Field == field {
			r.refusal = &decode.Refusal{Reason: decode.ReasonIdentityTooLong, Field: field, Detail: "is over " + strconv.Itoa(schemas.MaxIdentityBytes) + " bytes"}
		}
	case decode.HasControl(s):
		r.invalidIdentity(field, "has a control character")
	}
	return s
}

func (r *reader) invalidIdentity(field, detail string) {
	if r.refusal == nil {
		r.refusal = &decode.Refusal{Reason: decode.ReasonInvalidIdentity, Field: field, Detail: detail}
	}
}

func (r *reader) oneOf(field string, allowed ...string) string {
	s := r.text(field)
	if s != "" && !slices.Contains(allowed, s) {
		r.wrong(field, "is "+strconv.Quote(s)+", and must be one of "+strings.Join(allowed, ", "))
	}
	return s
}

func (r *reader) time(field string) schemas.Millis {
	found := r.values(field)
	if len(found) == 0 {
		return 0
	}
	t, ok := decode.ParseTime(fmt.Sprint(found[0]))
	if n, isNumber := found[0].(number); isNumber {
		ms, err := strconv.ParseUint(string(n), 10, 63)
		t, ok = schemas.Millis(ms), err == nil && ms > 0 && schemas.Millis(ms) <= decode.MaxTime
	}
	if !ok {
		r.wrong(field, "is neither a time of RFC 3339 nor milliseconds since 1970")
	}
	return t
}

// elements are the values of a field that takes a list: nil where it is absent.
func (r *reader) elements(field string) []any {
	var out []any
	found := r.values(field)
	for _, v := range found {
		list, ok := v.([]any)
		switch {
		case ok:
			out = append(out, list...)
		case r.d.fields != nil:
			out = append(out, v)
		default:
			r.wrong(field, "is not a list")
			return nil
		}
	}
	if len(found) > 0 && out == nil {
		return []any{}
	}
	if len(out) > schemas.MaxRegistrationList {
		r.wrong(field, strconv.Itoa(len(out))+" elements, at most "+strconv.Itoa(schemas.MaxRegistrationList))
	}
	return out
}

func (r *reader) texts(field string) []string {
	elements := r.elements(field)
	if elements == nil {
		return nil
	}
	out := make([]string, 0, len(elements))
	for i, v := range elements {
		s, ok := v.(string)
		if !ok || s == "" {
			r.wrong(fmt.Sprintf("%s[%d]", field, i), "is not a text, or empty")
			return nil
		}
		r.bounded(field, s)
		out = append(out, s)
	}
	return out
}

// patterns are names, or beginnings of names and one * at the end.
func (r *reader) patterns(field string) []string {
	out := r.texts(field)
	for i, s := range out {
		if star := strings.IndexByte(s, '*'); star >= 0 && star < len(s)-1 {
			r.wrong(fmt.Sprintf("%s[%d]", field, i), strconv.Quote(s)+" has a * that is not at its end")
		}
	}
	return out
}

func (r *reader) credentials() []schemas.Credential {
	elements := r.elements("credentials")
	if elements == nil {
		return nil
	}
	out := make([]schemas.Credential, 0, len(elements))
	for i, v := range elements {
		field := fmt.Sprintf("credentials[%d]", i)
		o, ok := v.(object)
		if id, text := v.(string); text && r.d.fields != nil {
			o, ok = object{"id": id}, true
		}
		if !ok {
			r.wrong(field, "is not an object with id, type, expires, max_age_days")
			return nil
		}
		of := reader{d: &decoder{}, of: o}
		if d := r.d; d.fields != nil && d.fields[credentialFields[0]] != nil {
			of.d = &decoder{fields: make(map[string][]place)}
			for _, f := range credentialFields {
				of.d.fields[strings.TrimPrefix(f, "credentials.")] = d.fields[f]
			}
		}
		c := schemas.Credential{ID: of.text("id"), Type: of.text("type"), Expires: of.time("expires")}
		for _, v := range of.values("max_age_days") {
			n, _ := v.(number)
			days, err := strconv.ParseUint(string(n), 10, 16)
			if err != nil {
				of.wrong("max_age_days", "is not a number of days")
			}
			c.MaxAgeDays = int(days)
		}
		if c.ID == "" {
			of.wrong("id", "is absent")
		}
		for _, name := range o.names() {
			if of.d.fields == nil && !slices.Contains(credentialFields, "credentials."+name) {
				of.wrong(name, "is no field of a credential")
			}
		}
		if of.refusal != nil {
			r.wrong(field+"."+of.refusal.Field, of.refusal.Detail)
			return nil
		}
		out = append(out, c)
	}
	return out
}

// credentialFields are what the options of a mapping may say of each element of
// credentials.
var credentialFields = []string{"credentials.id", "credentials.type", "credentials.expires", "credentials.max_age_days"}

func (r *reader) readLabels() {
	reg := r.reg
	label := func(name string, v any) {
		s, ok := scalar(v)
		if !ok {
			s = text(v)
		}
		if len(name) > schemas.MaxRegistrationText {
			r.wrong("labels", "a name has "+strconv.Itoa(len(name))+" bytes, at most "+strconv.Itoa(schemas.MaxRegistrationText))
			return
		}
		r.bounded("labels."+name, s)
		if slices.ContainsFunc(reg.Labels, func(a schemas.Attribute) bool { return a.Key == name }) {
			return // a label of that name was given: an unknown field does not replace it
		}
		reg.Labels = append(reg.Labels, schemas.Attribute{Key: name, Value: s})
	}
	if r.d.fields != nil {
		for name, places := range r.d.labels {
			for _, v := range r.at(places, nil) {
				label(name, v)
				break
			}
		}
	} else {
		if v, ok := r.of["labels"]; ok && v != nil {
			o, ok := v.(object)
			if !ok {
				r.wrong("labels", "is not an object")
				return
			}
			for _, name := range o.names() {
				if _, ok := o[name].(string); !ok {
					r.wrong("labels."+name, "is not a text")
				}
				label(name, o[name])
			}
		}
		for _, name := range r.of.names() {
			switch {
			case slices.Contains(known, name):
			case name == "":
				r.wrong("", "a field has no name")
			case r.d.canonical && name == "fields_unknown":
				reg.Unknown = r.texts(name)
			case r.of[name] != nil:
				label(name, r.of[name])
				reg.Unknown = append(reg.Unknown, name)
			}
		}
		if what := r.text("record"); what != "" && what != schemas.RecordRegistration {
			r.wrong("record", "is "+strconv.Quote(what)+", and must be "+strconv.Quote(schemas.RecordRegistration))
		}
	}
	if len(reg.Labels) > schemas.MaxRegistrationList {
		r.wrong("labels", strconv.Itoa(len(reg.Labels))+" of them, at most "+strconv.Itoa(schemas.MaxRegistrationList))
	}
	slices.SortFunc(reg.Labels, func(a, b schemas.Attribute) int { return strings.Compare(a.Key, b.Key) })
}

// utf8Only refuses what is not UTF-8: a registration is not guessed at.
func utf8Only(b []byte) *decode.Refusal {
	if utf8.Valid(b) {
		return nil
	}
	return &decode.Refusal{Reason: decode.ReasonNotJSON, Detail: "is not UTF-8"}
}
