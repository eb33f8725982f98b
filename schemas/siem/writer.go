package siem

import (
	"errors"
	"math"
	"strconv"
	"unicode"
	"unicode/utf8"

	"github.com/plumbline-sec/plumbline/schemas"
)

// ErrNotFinite is what encoding an alert with a NaN or an infinity returns.
var ErrNotFinite = errors.New("number is not finite")

// limits are how many bytes a string may take in its encoded form. The first is
// over what any string of an event may grow to by escaping; the next ones are for
// alerts in which too many strings are that long.
var limits = [...]int{6 * schemas.MaxStringBytes, 2 << 10, 256}

const (
	identityLimit = 6 * schemas.MaxIdentityBytes
	maxSignals    = 32 // more than there are signals; metric:NAME has no bound of its own
	maxTags       = 32
	ellipsis      = "…"
)

// jsonForm is a form that is a JSON object; write writes its members.
type jsonForm struct {
	name  string
	write func(w *writer, a *schemas.Alert)
}

func (f *jsonForm) Name() string { return f.name }

func (f *jsonForm) Append(dst []byte, a *schemas.Alert) ([]byte, error) {
	if err := finite(a); err != nil {
		return dst, err
	}
	return bounded(dst, func(w *writer) {
		w.buf = append(w.buf, '{')
		f.write(w, a)
		w.buf = append(w.buf, '}')
	}), nil
}

// bounded appends what encode writes, with the widest limit on its strings that
// keeps the record within MaxRecordBytes.
func bounded(dst []byte, encode func(*writer)) []byte {
	for _, limit := range limits[:len(limits)-1] {
		w := writer{buf: dst, limit: limit, end: len(dst) + MaxRecordBytes}
		encode(&w)
		if len(w.buf) <= w.end {
			return w.buf
		}
	}
	w := writer{buf: dst, limit: limits[len(limits)-1], end: math.MaxInt}
	encode(&w)
	return w.buf
}

// writer appends JSON. It puts the commas; the caller opens and closes.
type writer struct {
	buf   []byte
	limit int
	end   int    // where it is futile to write on, because the record is too long
	cut   bool   // a string was cut
	ocsf  string // version
}

// comma separates a key or an element from the one before it. Strings end with a
// quote, so that the last byte tells.
func (w *writer) comma() {
	if n := len(w.buf); n > 0 {
		if c := w.buf[n-1]; c != '{' && c != '[' && c != ':' {
			w.buf = append(w.buf, ',')
		}
	}
}

func (w *writer) key(name string) {
	w.comma()
	w.buf = append(w.buf, '"')
	w.buf = append(w.buf, name...)
	w.buf = append(w.buf, '"', ':')
}

// object writes {...} as the value of name, or as an element where name is empty.
func (w *writer) object(name string, members func()) { w.nest(name, '{', '}', members) }

func (w *writer) array(name string, elements func()) { w.nest(name, '[', ']', elements) }

func (w *writer) nest(name string, open, end byte, inside func()) {
	if name != "" {
		w.key(name)
	} else {
		w.comma()
	}
	w.buf = append(w.buf, open)
	inside()
	w.buf = append(w.buf, end)
}

// text writes a string, cut to the limit.
func (w *writer) text(name, v string) {
	w.key(name)
	w.value(v, w.limit)
}

// some writes a string unless it is empty.
func (w *writer) some(name, v string) {
	if v != "" {
		w.text(name, v)
	}
}

// id writes an identifier: it keeps its full length whatever else must be cut.
func (w *writer) id(name, v string) {
	w.key(name)
	w.value(v, identityLimit)
}

func (w *writer) element(v string) {
	w.comma()
	w.value(v, w.limit)
}

// list writes at most max strings.
func (w *writer) list(name string, values []string, most int) {
	w.array(name, func() {
		for _, v := range values[:min(len(values), most)] {
			w.element(v)
		}
	})
}

func (w *writer) integer(name string, v int64) {
	w.key(name)
	w.buf = strconv.AppendInt(w.buf, v, 10)
}

// port writes a port unless none is named.
func (w *writer) port(v int) {
	if v != 0 {
		w.integer("port", int64(v))
	}
}

func (w *writer) boolean(name string, v bool) {
	w.key(name)
	w.buf = strconv.AppendBool(w.buf, v)
}

// float writes the shortest decimal that reads back as v.
func (w *writer) float(name string, v float64) {
	w.key(name)
	w.buf = appendFloat(w.buf, v)
}

func appendFloat(dst []byte, v float64) []byte {
	format := byte('f')
	if abs := math.Abs(v); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(dst, v, format, -1, 64)
}

// time writes RFC 3339 with milliseconds.
func (w *writer) time(name string, t schemas.Millis) {
	w.key(name)
	w.buf = append(w.buf, '"')
	w.buf = append(t.AppendRFC3339(w.buf), '"')
}

// value appends s as a JSON string of at most limit bytes between its quotes,
// the ellipsis that marks a cut not counted.
func (w *writer) value(s string, limit int) {
	w.buf = append(w.buf, '"')
	start := len(w.buf)
	for i := 0; i < len(s) && start <= w.end; {
		before := len(w.buf)
		n := w.char(s[i:])
		if len(w.buf)-start > limit {
			w.buf = append(w.buf[:before], ellipsis...)
			w.cut = true
			break
		}
		i += n
	}
	w.buf = append(w.buf, '"')
}

// char appends the character that s begins with and returns its length in s.
func (w *writer) char(s string) int {
	c := s[0]
	if c < utf8.RuneSelf {
		switch {
		case c < ' ' || c == '"' || c == '\\':
			w.buf = schemas.AppendEscape(w.buf, c)
		case c == 0x7f:
			w.unicode(rune(c))
		default:
			w.buf = append(w.buf, c)
		}
		return 1
	}
	r, n := utf8.DecodeRuneInString(s)
	if treacherous(r) {
		w.unicode(r)
	} else {
		w.buf = utf8.AppendRune(w.buf, r) // what is not UTF-8 becomes U+FFFD
	}
	return n
}

// treacherous reports whether r changes how what surrounds it is displayed, or
// can't be seen: C1 controls, line and paragraph separators, bidirectional
// controls, zero-width and tag characters.
func treacherous(r rune) bool {
	return r <= 0x9f || r == 0x2028 || r == 0x2029 || unicode.Is(unicode.Cf, r)
}

// unicode appends r as one \uXXXX or two.
func (w *writer) unicode(r rune) {
	if r >= 0x10000 {
		r -= 0x10000
		w.unicode(0xd800 + r>>10)
		r = 0xdc00 + r&0x3ff
	}
	const hex = "0123456789abcdef"
	w.buf = append(w.buf, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
}
