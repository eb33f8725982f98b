// Package terminal makes text that others chose fit for a terminal: names, paths and
// arguments are the agents' to choose, and a terminal obeys more than ESC. It is what
// the printed rows of ClickHouse and the commands share, and imports neither.
package terminal

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/width"

	"github.com/plumbline-sec/plumbline/schemas"
)

const hexDigits = "0123456789abcdef"

// Escape is s on one line that moves no cursor and turns no text around: what does not
// print stands there as JSON writes it, a byte that is no UTF-8 as \xNN.
func Escape(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }) {
		return s
	}
	return string(AppendEscaped(nil, s))
}

// AppendEscaped appends what Escape returns.
func AppendEscaped(dst []byte, s string) []byte {
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c < 0x7f {
			dst = append(dst, c)
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			dst = append(dst, '\\', 'x', hexDigits[c>>4], hexDigits[c&15])
		} else {
			dst = AppendRune(dst, r)
		}
		i += n
	}
	return dst
}

// AppendRune appends r where it prints, and else as JSON does: \n, \uXXXX or two of those.
func AppendRune(dst []byte, r rune) []byte {
	switch {
	case unicode.IsPrint(r):
		return utf8.AppendRune(dst, r)
	case r == '\n':
		return append(dst, `\n`...)
	case r == '\r':
		return append(dst, `\r`...)
	case r == '\t':
		return append(dst, `\t`...)
	case r > 0xffff:
		r -= 0x10000
		dst = AppendRune(dst, 0xd800+r>>10)
		r = 0xdc00 + r&0x3ff
	}
	return append(dst, '\\', 'u', hexDigits[r>>12&15], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
}

// Cells is how many columns of a terminal s takes.
func Cells(s string) int {
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

// Pad fills s up with spaces to n cells.
func Pad(s string, n int) string { return s + strings.Repeat(" ", max(0, n-Cells(s))) }

// Cut shortens s to limit cells, the last one being an ellipsis.
func Cut(s string, limit int) string {
	if len(s) <= limit || prefix(s, limit) == len(s) {
		return s
	}
	return s[:prefix(s, limit-1)] + "…"
}

// prefix is how many bytes of s fit into limit cells.
func prefix(s string, limit int) int {
	n := 0
	for i, r := range s {
		if r < utf8.RuneSelf {
			n++
		} else {
			n += runeCells(r)
		}
		if n > limit {
			return i
		}
	}
	return len(s)
}

// Wrap breaks s into lines of at most width cells, behind spaces where there are some;
// what would take more than most lines is cut.
func Wrap(s string, width, most int) (lines []string) {
	for end := prefix(s, width); end < len(s); end = prefix(s, width) {
		if len(lines) == most-1 {
			return append(lines, Cut(s, width))
		}
		if end == 0 { // not even one character fits: it is not torn
			_, end = utf8.DecodeRuneInString(s)
		}
		if space := strings.LastIndexByte(s[:min(end+1, len(s))], ' '); space > 0 && Cells(s[:space]) > width/2 {
			end = space
		}
		lines = append(lines, s[:end])
		s = strings.TrimLeft(s[end:], " ")
	}
	return append(lines, s)
}

// Fold breaks s at its spaces into lines of at most width cells. A word that is longer
// stays whole, so that it can be copied; without a width all of s does.
func Fold(s string, width int) (lines []string) {
	if width <= 0 {
		return []string{s}
	}
	for end := prefix(s, width); end < len(s); end = prefix(s, width) {
		if space := strings.LastIndexByte(s[:end+1], ' '); space > 0 {
			end = space
		} else if space := strings.IndexByte(s[end:], ' '); space >= 0 {
			end += space
		} else {
			break
		}
		lines = append(lines, strings.TrimRight(s[:end], " "))
		s = strings.TrimLeft(s[end:], " ")
	}
	return append(lines, s)
}

// Paint colours text that is harmless already, where there is colour.
func Paint(color bool, style, text string) string {
	if !color || style == "" {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}

// SeverityStyle is how a severity is painted.
func SeverityStyle(name string) string {
	switch name {
	case schemas.SeverityCritical:
		return "1;37;41"
	case schemas.SeverityHigh:
		return "31"
	case schemas.SeverityMedium:
		return "33"
	}
	return ""
}

// ShellWord is a word as a shell takes it, whatever stands in it.
func ShellWord(word string) string {
	if word != "" && !strings.ContainsFunc(word, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=@%+,", r)
	}) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
