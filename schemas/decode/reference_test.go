package decode_test

import (
	"bytes"
	"encoding/json"
	"math/big"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/plumbline-sec/plumbline/schemas"
)

// reference reads the public form with the standard library, slowly and in the
// plainest way, as a second opinion for the fuzzer. It returns nil for what is to
// be refused. It does not tell Flags.UTF8Replaced: encoding/json does not say.
func reference(value []byte, recorded schemas.Millis, eventID string) *schemas.Activity {
	if len(value) > schemas.MaxEventBytes || !json.Valid(value) || depth(value) > schemas.MaxDepth {
		return nil
	}
	members := object(value)
	if members == nil {
		return nil
	}
	r := refEvent{last: map[string]json.RawMessage{}}
	repeated := false
	for _, m := range members {
		if _, again := r.last[m.key]; again {
			if m.key == "tenant_id" || m.key == "agent_id" {
				return nil
			}
			repeated = repeated || known(m.key)
		}
		r.last[m.key] = m.value
		switch {
		case m.key == "attributes" && m.value[0] == '{':
			for _, a := range object(m.value) {
				r.attribute(a.key, a.value)
			}
		case !known(m.key):
			r.attribute(m.key, m.value)
		}
	}
	if !r.identity() {
		return nil
	}
	r.fields()
	for _, name := range fieldOrder {
		if slices.Contains(r.ev.Flags.FieldsInvalid, name) {
			r.attribute(name, r.last[name])
		}
	}
	if r.ev.EventID == "" {
		r.ev.EventID = eventID
	}
	if n := len(r.ev.Attributes) + r.more; r.more > 0 {
		r.ev.Flags.AttributesCut = n
	}
	r.ev.RecordedAt = recorded
	switch {
	case r.ev.Time == 0:
		r.ev.Time = recorded
	case r.ev.Time-recorded > schemas.MaxClockAhead:
		r.ev.Time, r.ev.Flags.TimeClamped = recorded, true
	case recorded-r.ev.Time > schemas.OldAfter:
		r.ev.Flags.Old = true
	}
	if repeated {
		r.ev.Flags.StringsCut = -1
	}
	return &r.ev
}

// differences compares what the decoder read with the reference, without what
// the reference does not tell: whether UTF-8 was replaced, and how many strings
// were cut where the value of a repeated field was dropped for a later one.
func differences(want, got *schemas.Activity) string {
	if want != nil && got != nil {
		g := *got
		g.Flags.UTF8Replaced = false
		if want.Flags.StringsCut < 0 {
			g.Flags.StringsCut = -1
		}
		got = &g
	}
	return cmp.Diff(want, got)
}

// fieldOrder are the fields that an agent writes, but for the identity.
var fieldOrder = func() (names []string) {
	for f := schemas.FieldEventID; f < schemas.FieldRecordedAt; f++ {
		names = append(names, f.String())
	}
	return names
}()

func known(key string) bool {
	return key == "tenant_id" || key == "agent_id" || slices.Contains(fieldOrder, key)
}

type member struct {
	key   string
	value json.RawMessage
}

// object returns the members of an object in order, nil if it is none.
func object(value []byte) []member {
	dec := json.NewDecoder(bytes.NewReader(value))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil
	}
	members := []member{}
	for dec.More() {
		var m member
		key, err := dec.Token()
		if err != nil {
			return nil
		}
		m.key = key.(string)
		if err := dec.Decode(&m.value); err != nil {
			return nil
		}
		members = append(members, m)
	}
	return members
}

func depth(value []byte) (deepest int) {
	dec := json.NewDecoder(bytes.NewReader(value))
	dec.UseNumber()
	for d := 0; ; {
		t, err := dec.Token()
		if err != nil {
			return deepest
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			d++
		case json.Delim('}'), json.Delim(']'):
			d--
		}
		deepest = max(deepest, d)
	}
}

type refEvent struct {
	ev   schemas.Activity
	last map[string]json.RawMessage
	more int
}

func (r *refEvent) identity() bool {
	for name, to := range map[string]*string{"tenant_id": &r.ev.TenantID, "agent_id": &r.ev.AgentID} {
		raw, ok := r.last[name]
		if !ok || string(raw) == "null" {
			continue
		}
		var s string
		if raw[0] != '"' || json.Unmarshal(raw, &s) != nil || replacedIn(raw) {
			return false
		}
		if len(s) > schemas.MaxIdentityBytes || strings.ContainsFunc(s, unicode.IsControl) {
			return false
		}
		*to = s
	}
	if r.ev.TenantID == "" {
		r.ev.TenantID = "default"
	}
	for _, c := range r.ev.TenantID {
		if !strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-", c) {
			return false
		}
	}
	return r.ev.AgentID != "" && len(r.ev.TenantID) <= 64
}

// replacedIn reports whether encoding/json puts a U+FFFD where the text has none.
func replacedIn(raw []byte) bool {
	var s string
	if !utf8.Valid(raw) || json.Unmarshal(raw, &s) != nil {
		return true
	}
	there := strings.Count(string(raw), "\uFFFD")
	for i := 0; i+1 < len(raw); i++ {
		if raw[i] == '\\' {
			if raw[i+1] == 'u' && strings.EqualFold(string(raw[i+2:i+6]), "fffd") {
				there++
			}
			i++
		}
	}
	return strings.Count(s, "\uFFFD") != there
}

func (r *refEvent) cut(s string) string {
	if len(s) <= schemas.MaxStringBytes {
		return s
	}
	r.ev.Flags.StringsCut++
	end := 0
	for i := range s {
		if i > schemas.MaxStringBytes {
			break
		}
		end = i
	}
	return s[:end]
}

func (r *refEvent) attribute(key string, raw json.RawMessage) {
	var v string
	switch raw[0] {
	case 'n':
		return
	case '"':
		_ = json.Unmarshal(raw, &v)
	default:
		var compact bytes.Buffer
		_ = json.Compact(&compact, raw)
		v = string([]rune(compact.String()))
	}
	v = r.cut(v)
	key = r.cut(key)
	for i := range r.ev.Attributes {
		if r.ev.Attributes[i].Key == key {
			r.ev.Attributes[i].Value = v
			return
		}
	}
	if len(r.ev.Attributes) == schemas.MaxAttributes {
		r.more++
		return
	}
	r.ev.Attributes = append(r.ev.Attributes, schemas.Attribute{Key: key, Value: v})
}

func (r *refEvent) fields() {
	ev := &r.ev
	for _, name := range fieldOrder {
		raw, ok := r.last[name]
		if !ok || raw[0] == 'n' {
			continue
		}
		var valid bool
		switch to := schemas.LookupField(name).Of(ev).(type) {
		case *[]string:
			valid = r.resources(raw)
		case *[]schemas.Attribute:
			valid = raw[0] == '{'
		case *schemas.Millis:
			valid = r.time(name, to, raw)
		case *uint64:
			*to, valid = integer(raw)
		case *string:
			var s string
			valid = json.Unmarshal(raw, &s) == nil
			if allowed := map[string]string{"access": " read write delete send execute ", "outcome": " success failure denied "}[name]; allowed != "" {
				if valid = valid && (s == "" || strings.Contains(allowed, " "+s+" ") && !strings.Contains(s, " ")); !valid {
					s = ""
				}
			}
			*to = r.cut(s)
		}
		if !valid {
			ev.Flags.FieldsInvalid = append(ev.Flags.FieldsInvalid, name)
		}
	}
	if ev.Outcome == "" {
		ev.Outcome = "success"
	}
	if ev.PeerGroup == "" {
		ev.PeerGroup = "default"
	}
}

func (r *refEvent) resources(raw json.RawMessage) bool {
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		return false
	}
	valid, n := true, 0
	for _, item := range list {
		var s string // a null leaves it empty
		if json.Unmarshal(item, &s) != nil {
			valid = false
		}
		if s == "" {
			continue
		}
		if n++; n > schemas.MaxResources {
			continue
		}
		wasCut := len(s) > schemas.MaxStringBytes
		s = r.cut(s)
		if strings.Index(s, ":") < 1 {
			before := r.ev.Flags.StringsCut
			if s = r.cut("other:" + s); wasCut {
				r.ev.Flags.StringsCut = before
			}
		}
		r.ev.Resources = append(r.ev.Resources, s)
	}
	if n > schemas.MaxResources {
		r.ev.Flags.ResourcesCut = n
	}
	return valid
}

func (r *refEvent) time(name string, to *schemas.Millis, raw json.RawMessage) bool {
	const last = 253402300799999
	var s string
	if json.Unmarshal(raw, &s) == nil {
		if s == "" {
			return true
		}
		leap := 0
		if len(s) > 19 && s[17:19] == "60" {
			s, leap = s[:17]+"59"+s[19:], 1000
		}
		t, err := time.Parse(time.RFC3339, strings.ToUpper(s))
		ms := t.UnixMilli() + int64(leap)
		if err != nil || ms <= 0 || ms > last {
			return false
		}
		*to = schemas.Millis(ms)
		return true
	}
	ms, ok := integer(raw)
	if name != "time" || !ok || ms == 0 || ms > last || raw[0] == '-' {
		return false
	}
	*to = schemas.Millis(ms)
	return true
}

// integer reads a number by exact arithmetic.
func integer(raw json.RawMessage) (uint64, bool) {
	if raw[0] != '-' && (raw[0] < '0' || raw[0] > '9') {
		return 0, false
	}
	mantissa, exponent, _ := strings.Cut(strings.ToLower(string(raw)), "e")
	if !strings.ContainsAny(mantissa, "123456789") {
		return 0, true
	}
	if len(strings.TrimLeft(exponent, "+-0")) > 3 {
		// Only a fuzzer with thousands of digits could make this an integer.
		return 0, false
	}
	v, ok := new(big.Rat).SetString(string(raw))
	if !ok || !v.IsInt() || !v.Num().IsUint64() {
		return 0, false
	}
	return v.Num().Uint64(), true
}
