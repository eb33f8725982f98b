package schemas

import (
	"encoding/binary"
	"strconv"
	"unicode/utf8"
	"unsafe"
)

// ValidTenant reports whether s can be a tenant_id: 1 to MaxTenantBytes of the
// characters A-Z, a-z, 0-9, dot, underscore and hyphen.
func ValidTenant(s string) bool {
	if s == "" || len(s) > MaxTenantBytes {
		return false
	}
	for i := range len(s) {
		c := s[i]
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// AppendActivity appends the canonical JSON form of a, one line without a line
// end: keys in a fixed order, absent fields left out, times as RFC 3339 with
// milliseconds. Whatever the strings hold, the form is valid JSON in UTF-8.
func AppendActivity(dst []byte, a *Activity) []byte {
	w := objectWriter{buf: append(dst, '{')}
	w.text(`"event_id":`, a.EventID)
	w.time(`"time":`, a.Time)
	w.text(`"tenant_id":`, a.TenantID)
	w.text(`"agent_id":`, a.AgentID)
	w.text(`"agent_name":`, a.AgentName)
	w.text(`"agent_version":`, a.AgentVersion)
	w.text(`"peer_group":`, a.PeerGroup)
	w.text(`"session_id":`, a.SessionID)
	w.text(`"on_behalf_of":`, a.OnBehalfOf)
	w.text(`"action":`, a.Action)
	w.text(`"tool":`, a.Tool)
	w.text(`"access":`, a.Access)
	if len(a.Resources) > 0 {
		w.key(`"resources":[`)
		for i, r := range a.Resources {
			if i > 0 {
				w.buf = append(w.buf, ',')
			}
			w.buf = AppendString(w.buf, r)
		}
		w.buf = append(w.buf, ']')
	}
	w.text(`"target_agent_id":`, a.TargetAgentID)
	w.count(`"bytes_sent":`, a.BytesSent)
	w.count(`"bytes_received":`, a.BytesReceived)
	w.count(`"tokens_in":`, a.TokensIn)
	w.count(`"tokens_out":`, a.TokensOut)
	w.text(`"outcome":`, a.Outcome)
	w.count(`"duration_ms":`, a.DurationMS)
	w.text(`"model":`, a.Model)
	w.text(`"credential_id":`, a.CredentialID)
	w.text(`"credential_type":`, a.CredentialType)
	w.time(`"credential_expires":`, a.CredentialExpires)
	w.text(`"source_ip":`, a.SourceIP)
	if len(a.Attributes) > 0 {
		w.key(`"attributes":{`)
		for i := range a.Attributes {
			if i > 0 {
				w.buf = append(w.buf, ',')
			}
			w.buf = append(AppendString(w.buf, a.Attributes[i].Key), ':')
			w.buf = AppendString(w.buf, a.Attributes[i].Value)
		}
		w.buf = append(w.buf, '}')
	}
	w.time(`"recorded_at":`, a.RecordedAt)
	w.flags(&a.Flags)
	return append(w.buf, '}')
}

// objectWriter appends members to an object and leaves out those without value.
// Names are passed as they stand in JSON, with quotes and colon.
type objectWriter struct{ buf []byte }

func (w *objectWriter) key(name string) {
	if c := w.buf[len(w.buf)-1]; c != '{' && c != '[' {
		w.buf = append(w.buf, ',')
	}
	w.buf = append(w.buf, name...)
}

func (w *objectWriter) text(name, v string) {
	if v != "" {
		w.key(name)
		w.buf = AppendString(w.buf, v)
	}
}

func (w *objectWriter) count(name string, v uint64) {
	if v != 0 {
		w.key(name)
		w.buf = strconv.AppendUint(w.buf, v, 10)
	}
}

func (w *objectWriter) time(name string, v Millis) {
	if v != 0 {
		w.key(name)
		w.buf = append(w.buf, '"')
		w.buf = append(v.AppendRFC3339(w.buf), '"')
	}
}

func (w *objectWriter) flags(f *Flags) {
	if !f.isSet() {
		return
	}
	w.key(`"flags":[`)
	for name, says := range f.Each {
		w.key(`"`)
		w.buf = append(w.buf, name...)
		if says != "" {
			w.buf = appendEscaped(append(w.buf, ':'), says)
		}
		w.buf = append(w.buf, '"')
	}
	w.buf = append(w.buf, ']')
}

// AppendString appends s as a JSON string: only quotes, backslashes and control
// characters under U+0020 are escaped, and what is not UTF-8 becomes U+FFFD.
func AppendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	if plain(s) || (printable(s) && utf8.ValidString(s)) {
		dst = append(dst, s...)
	} else {
		dst = appendEscaped(dst, s)
	}
	return append(dst, '"')
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// plain reports whether every byte of s stands for itself in a JSON string and is
// ASCII.
func plain(s string) bool {
	b := unsafe.Slice(unsafe.StringData(s), len(s)) //nolint:gosec // only read
	for len(b) >= 8 {
		w := binary.LittleEndian.Uint64(b)
		q, e := w^(ones*'"'), w^(ones*'\\')
		if ((q-ones)&^q|(e-ones)&^e|(w-ones*' ')&^w|w)&highs != 0 {
			return false
		}
		b = b[8:]
	}
	for _, c := range b {
		if c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// printable reports whether no byte of s needs an escape.
func printable(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// AppendEscape appends the escape of a quote, a backslash or a control character
// under U+0020.
func AppendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\n':
		return append(dst, `\n`...)
	case '\r':
		return append(dst, `\r`...)
	case '\t':
		return append(dst, `\t`...)
	}
	const hex = "0123456789abcdef"
	return append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
}

func appendEscaped(dst []byte, s string) []byte {
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				dst = append(dst, s[start:i]...)
				dst = append(dst, "\uFFFD"...)
				start = i + 1
			}
			i += n
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		dst = append(dst, s[start:i]...)
		dst = AppendEscape(dst, c)
		i++
		start = i
	}
	return append(dst, s[start:]...)
}
