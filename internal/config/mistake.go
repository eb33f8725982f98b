package config

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Mistake is one thing that is wrong in a config.
type Mistake struct {
	File   string `json:"file,omitempty"`   // empty: the config was not read from a file
	Line   int    `json:"line,omitempty"`   // 1-based; 0: what is wrong doesn't stand in the file
	Column int    `json:"column,omitempty"` // 1-based, in characters
	Key    string `json:"key,omitempty"`    // dotted, as in sources[1].topic; empty: the file as a whole
	// Problem says what is wrong, Fix what to write instead.
	Problem string `json:"problem"`
	Fix     string `json:"fix,omitempty"`
	Source  string `json:"source,omitempty"` // the line, secrets masked
}

// Error returns the mistake with its position, and the line below it.
func (m Mistake) Error() string {
	var b strings.Builder
	switch {
	case m.Line > 0:
		fmt.Fprintf(&b, "%s:%d:%d: ", m.File, m.Line, m.Column)
	case m.File != "":
		b.WriteString(m.File + ": ")
	}
	if m.Key != "" {
		b.WriteString(m.Key + ": ")
	}
	b.WriteString(m.Problem)
	if m.Fix != "" {
		b.WriteString("; " + m.Fix)
	}
	if m.Line > 0 {
		number := fmt.Sprintf("%5d | ", m.Line)
		b.WriteString("\n" + number + m.Source)
		b.WriteString("\n" + strings.Repeat(" ", len(number)+min(m.Column-1, utf8.RuneCountInString(m.Source))) + "^")
	}
	return b.String()
}

// Error is all that is wrong in a config.
type Error struct{ Mistakes []Mistake }

// Error returns the mistakes in the order of the file.
func (e *Error) Error() string {
	parts := make([]string, len(e.Mistakes))
	for i, m := range e.Mistakes {
		parts[i] = m.Error()
	}
	return strings.Join(parts, "\n")
}

// secretInLine finds what looks like a secret and its value: an error message is
// logged and pasted into tickets.
var secretInLine = regexp.MustCompile(`(?i)([\w-]*(?:passw|passphrase|pwd|secret|token)[\w-]*["']?\s*:\s*)(\S.*)$`)

// notSecret matches a value that only says where the secret is.
var notSecret = regexp.MustCompile(`^(["']?(\$\{[A-Za-z_][A-Za-z0-9_]*\}|file:[^\s"',}]+)["']?[\s},]*(#.*)?|[|>][+-]?\s*)$`)

// sourceLine returns a line of the file as an error may show it.
func sourceLine(line string) string {
	line = strings.ReplaceAll(strings.TrimRight(line, "\r"), "\t", " ")
	m := secretInLine.FindStringSubmatchIndex(line)
	if m == nil {
		return line
	}
	if notSecret.MatchString(line[m[4]:]) {
		return line
	}
	return line[:m[4]] + masked // and whatever follows on the line
}

// distance is the Damerau-Levenshtein distance (optimal string alignment): the
// number of insertions, deletions, substitutions and swaps of neighbours.
func distance(a, b string) int {
	prev2, prev := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur := make([]int, len(b)+1)
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], prev2[j-2]+1)
			}
		}
		prev2, prev = prev, cur
	}
	return prev[len(b)]
}

// Closest returns the candidate that was most probably meant, or "".
func Closest(word string, candidates []string) string {
	best, at := "", max(1, len(word)/3)+1
	for _, c := range candidates {
		if d := distance(strings.ToLower(word), c); d < at {
			best, at = c, d
		}
	}
	return best
}

// oneOf says what may be written, the closest first where one is close.
func oneOf(word string, allowed []string) string {
	if c := Closest(word, allowed); c != "" {
		return "write " + c
	}
	if len(allowed) == 1 {
		return "write " + allowed[0]
	}
	return "write one of " + strings.Join(allowed, ", ")
}
