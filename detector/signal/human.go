package signal

import (
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const halfDigit = 0.05 // of what is written with one digit

// Bytes writes a number of bytes for people: 41.2 MiB.
func Bytes(b float64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	i := 0
	for b >= 1024-halfDigit && i < len(units)-1 {
		b /= 1024
		i++
	}
	if i == 0 {
		return strconv.FormatFloat(math.Round(b), 'f', 0, 64) + " B"
	}
	return strconv.FormatFloat(b, 'f', 1, 64) + " " + units[i]
}

// BytesDown is Bytes, rounded down: a bound must not be above what it bounds.
func BytesDown(b float64) string {
	unit := 1.0
	for b/unit >= 1024 && unit < 1<<60 {
		unit *= 1024
	}
	if unit > 1 {
		b = math.Floor(b/unit*10) / 10 * unit
	} else {
		b = math.Floor(b)
	}
	return Bytes(b)
}

// Count writes a number for people: 12,345; 3.4 below ten.
func Count(n float64) string {
	if n < 10 && n != math.Trunc(n) {
		return strconv.FormatFloat(n, 'f', 1, 64)
	}
	s := strconv.FormatFloat(math.Round(n), 'f', 0, 64)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Every writes the mean time between two of something, in days.
func Every(days float64) string {
	switch {
	case days < 2:
		return "about " + Count(1/days) + " times a day"
	case days < 730:
		return "once in " + Count(days) + " days"
	case days < 1_000_000*365:
		return "once in " + Count(days/365) + " years"
	}
	return "less than once in a million years"
}

// Plural writes a count and its noun.
func Plural(n float64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return Count(n) + " " + many
}

// Quote writes a name that came from outside: what is not plainly printable
// (control characters, line ends, invisible and direction-changing characters) is
// escaped, and what is long is cut.
func Quote(s string) string {
	cut := false
	if len(s) > maxQuoted {
		n := maxQuoted
		for n > 0 && !utf8.RuneStart(s[n]) {
			n--
		}
		s, cut = s[:n], true
	}
	plain := strings.IndexFunc(s, func(r rune) bool {
		return r == utf8.RuneError || !unicode.IsPrint(r)
	}) < 0
	if !plain {
		q := strconv.Quote(s)
		s = q[1 : len(q)-1]
	}
	if cut {
		s += "…"
	}
	return s
}
