package jsonscan

import (
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"

	"github.com/plumbline-sec/plumbline/schemas"
)

// Arena hands out memory for strings that can't share that of their record. What
// it handed out is never written again, so that the strings live as long as
// someone holds them.
type Arena struct{ free []byte }

const arenaBlock = 16 << 10

// Take returns an empty slice with room for n bytes, which may be appended to
// beyond that; Done says what became of it.
func (a *Arena) Take(n int) []byte {
	if cap(a.free) < n {
		if n > arenaBlock/4 {
			return make([]byte, 0, n)
		}
		a.free = make([]byte, 0, arenaBlock)
	}
	return a.free[:0:n]
}

// Done makes a string of what was appended to a slice that Take returned.
func (a *Arena) Done(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	if cap(a.free) > 0 && unsafe.SliceData(b) == unsafe.SliceData(a.free) { //nolint:gosec // compared, not followed
		a.free = a.free[len(b):len(b):cap(a.free)]
	}
	return Alias(b)
}

// Alias makes a string that shares b's memory, which nobody writes again.
func Alias(b []byte) string {
	return unsafe.String(unsafe.SliceData(b), len(b)) //nolint:gosec // records and Arena blocks are immutable
}

// Text is the value of a string, or more than schemas.MaxStringBytes of it.
// replaced: something in it was not UTF-8 and became U+FFFD.
func (a *Arena) Text(b []byte, t Token) (s string, replaced bool) {
	raw := b[t.Start:t.End]
	if !t.Escaped && (!t.high || utf8.Valid(raw)) {
		return Alias(raw), false
	}
	if !t.Escaped {
		return a.Valid(Alias(raw))
	}
	return a.Valid(a.Done(AppendUnescaped(a.Take(min(len(raw), schemas.MaxStringBytes+utf8.UTFMax)), raw, schemas.MaxStringBytes)))
}

// Valid is s with U+FFFD for what in it is not UTF-8, as far as an event may hold
// it.
func (a *Arena) Valid(s string) (v string, replaced bool) {
	if utf8.ValidString(s) {
		return s, false
	}
	out := a.Take(min(len(s), schemas.MaxStringBytes+utf8.UTFMax))
	for i := 0; i < len(s) && len(out) <= schemas.MaxStringBytes; {
		r, n := utf8.DecodeRuneInString(s[i:])
		replaced = replaced || (r == utf8.RuneError && n == 1)
		out = utf8.AppendRune(out, r)
		i += n
	}
	return a.Done(out), replaced
}

// Join is s, t and u as one string.
func (a *Arena) Join(s, t, u string) string {
	return a.Done(append(append(append(a.Take(len(s)+len(t)+len(u)), s...), t...), u...))
}

// AppendUnescaped appends the value of the string raw, whose escapes are well
// formed, or more than most bytes of it, which end with a character. A lone
// surrogate becomes a byte that is not UTF-8, for which the event is flagged later.
func AppendUnescaped(dst, raw []byte, most int) []byte {
	for i := 0; i < len(raw) && (len(dst) <= most || !utf8.RuneStart(raw[i])); {
		switch {
		case raw[i] != '\\':
			dst = append(dst, raw[i])
			i++
		case raw[i+1] == 'u':
			r, n := unescapeUnicode(raw[i:])
			if r < 0 {
				dst = append(dst, 0xff)
			} else {
				dst = utf8.AppendRune(dst, r)
			}
			i += n
		default:
			dst = append(dst, unescapeByte(raw[i+1]))
			i += 2
		}
	}
	return dst
}

func unescapeByte(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return c
}

// unescapeUnicode reads the \uXXXX, or the pair of them, that b begins with; the
// rune is -1 for a lone surrogate.
func unescapeUnicode(b []byte) (r rune, n int) {
	r, _ = hex4(b)
	if !utf16.IsSurrogate(r) {
		return r, 6
	}
	if low, ok := hex4(b[6:]); ok {
		if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
			return pair, 12
		}
	}
	return -1, 6
}

// hex4 reads the \uXXXX that b begins with.
func hex4(b []byte) (r rune, ok bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	for _, c := range b[2:6] {
		switch {
		case IsDigit(c):
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// Compact returns the text of a valid JSON value without white space, as a
// string of at most schemas.MaxStringBytes. Escapes stay as they are.
func (a *Arena) Compact(raw string) (s string, cut, replaced bool) {
	const limit = schemas.MaxStringBytes
	out := a.Take(min(len(raw), limit))
	inString := false
	for i := 0; i < len(raw); {
		c := raw[i]
		switch {
		case !inString && (c == ' ' || c == '\t' || c == '\n' || c == '\r'):
			i++
			continue
		case c == '"':
			inString = !inString
		case c == '\\' && inString:
			if len(out)+1 <= limit {
				out = append(out, c)
			}
			i++
			c = raw[i]
		}
		r, n := rune(c), 1
		if c >= utf8.RuneSelf {
			r, n = utf8.DecodeRuneInString(raw[i:])
		}
		if len(out)+utf8.RuneLen(r) > limit {
			cut = true
			break
		}
		replaced = replaced || (r == utf8.RuneError && n == 1)
		out = utf8.AppendRune(out, r)
		i += n
	}
	return a.Done(out), cut, replaced
}
