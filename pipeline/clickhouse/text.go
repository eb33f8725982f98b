package clickhouse

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/width"
)

const hexDigits = "0123456789abcdef"

// appendEscaped appends s so that it is one line and moves no cursor: what an agent
// wrote into its events must not paint a terminal or turn its text around. Bytes
// that are no UTF-8 become \xNN, what does not print \n, \t, \xNN, \u{NNNN}.
func appendEscaped(dst []byte, s string) []byte {
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c < 0x7f {
			dst = append(dst, c)
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '\n':
			dst = append(dst, `\n`...)
		case r == '\t':
			dst = append(dst, `\t`...)
		case r == '\r':
			dst = append(dst, `\r`...)
		case r == utf8.RuneError && n == 1, r < 0x80:
			dst = append(dst, '\\', 'x', hexDigits[c>>4], hexDigits[c&15])
		case !unicode.IsPrint(r):
			dst = append(dst, `\u{`...)
			dst = appendHex(dst, uint32(r))
			dst = append(dst, '}')
		default:
			dst = append(dst, s[i:i+n]...)
		}
		i += n
	}
	return dst
}

func appendHex(dst []byte, v uint32) []byte {
	started := false
	for shift := 28; shift >= 0; shift -= 4 {
		d := v >> shift & 15
		if d != 0 || started || shift <= 12 {
			started = true
			dst = append(dst, hexDigits[d])
		}
	}
	return dst
}

// cells is how many columns of a terminal s takes.
func cells(s string) int {
	n := 0
	for i := 0; i < len(s); {
		if s[i] < utf8.RuneSelf {
			n++
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		n += runeCells(r)
		i += size
	}
	return n
}

func runeCells(r rune) int {
	if unicode.In(r, unicode.Mn, unicode.Me) {
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	case width.Neutral, width.EastAsianAmbiguous, width.EastAsianNarrow, width.EastAsianHalfwidth:
		return 1
	}
	return 1
}

// cut shortens s to limit cells, the last one being an ellipsis.
func cut(s string, limit int) string {
	if len(s) <= limit || cells(s) <= limit {
		return s
	}
	return s[:prefix(s, limit-1)] + "…"
}

// prefix is how many bytes of s fit into limit cells.
func prefix(s string, limit int) int {
	n := 0
	for i, r := range s {
		if n += runeCells(r); n > limit {
			return i
		}
	}
	return len(s)
}

// wrap breaks s into lines of at most width cells, behind spaces where there are some;
// what would take more than most lines is cut.
func wrap(s string, width, most int) (lines []string) {
	for cells(s) > width {
		if len(lines) == most-1 {
			return append(lines, cut(s, width))
		}
		end := max(prefix(s, width), 1)
		if space := strings.LastIndexByte(s[:min(end+1, len(s))], ' '); space > 0 && cells(s[:space]) > width/2 {
			end = space
		}
		lines = append(lines, s[:end])
		s = strings.TrimLeft(s[end:], " ")
	}
	return append(lines, s)
}
