package siem

import (
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/plumbline-sec/plumbline/schemas"
)

// line writes the forms of one line that have no quotes: CEF and LEEF. A form says
// how a character of a value is written; what is treacherous is written as \uXXXX.
type line struct {
	buf  []byte
	sep  byte // between pairs
	char func(dst []byte, c byte) []byte
	head bool // no pair yet

	visible []byte // a value before it is escaped, reused
}

// pair writes key=value, the value at most that many bytes long before it is
// escaped; nothing for an empty one.
func (l *line) pair(key, value string, most int) {
	if value = strings.Trim(value, " "); value == "" {
		return
	}
	if !l.head {
		l.buf = append(l.buf, l.sep)
	}
	l.head = false
	l.buf = append(append(l.buf, key...), '=')
	l.value(value, most)
}

func (l *line) value(v string, most int) {
	visible := l.visible[:0]
	end := 0 // where a cut leaves room for the ellipsis
	for len(v) > 0 && len(visible) <= most {
		if len(visible) <= most-len(ellipsis) {
			end = len(visible)
		}
		r, n := utf8.DecodeRuneInString(v)
		v = v[n:]
		if r != '\n' && r != '\r' && r != '\t' && (r < ' ' || r == 0x7f || r >= utf8.RuneSelf && treacherous(r)) {
			visible = fmt.Appendf(visible, `\u%04x`, r)
		} else {
			visible = utf8.AppendRune(visible, r) // what is not UTF-8 becomes U+FFFD
		}
	}
	if len(visible) > most {
		visible = append(visible[:end], ellipsis...)
	}
	for _, c := range visible {
		l.buf = l.char(l.buf, c)
	}
	l.visible = visible
}

func (l *line) number(key string, v float64) {
	l.pair(key, decimal(v), 400)
}

// finite returns ErrNotFinite if a number of the alert is none: no form takes one.
func finite(a *schemas.Alert) error {
	bad := ""
	check := func(name string, v float64) {
		if bad == "" && (math.IsNaN(v) || math.IsInf(v, 0)) {
			bad = name
		}
	}
	check("score", a.Score)
	check("expected_per_agent_day", a.ExpectedPerAgentDay)
	check("confidence", a.Confidence)
	check("score", a.Episode.Score)
	for i := range a.Signals {
		s := &a.Signals[i]
		check("observed", s.Observed)
		check("expected", s.Expected)
		check("low", s.Low)
		check("high", s.High)
		check("p", s.P)
		check("baseline_samples", s.BaselineSamples)
	}
	if bad != "" {
		return fmt.Errorf("encode alert: %s: %w", bad, ErrNotFinite)
	}
	return nil
}

// eventID is ruleID with nothing in it that a header would have to escape.
func eventID(a *schemas.Alert) string {
	id := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '_', r == ':', r == '-':
			return r
		}
		return '_'
	}, ruleID(a))
	return id[:min(len(id), 255)]
}

// techniques are all ids, separated by commas.
func techniques(a *schemas.Alert) string {
	var all []string
	for _, ids := range [][]string{a.Tags.Attack, a.Tags.ATLAS, a.Tags.OwaspASI} {
		all = append(all, ids[:min(len(ids), maxTags)]...)
	}
	return strings.Join(all, ",")
}

func tools(a *schemas.Alert) string {
	return strings.Join(a.Evidence.Tools[:min(len(a.Evidence.Tools), schemas.MaxEvidence)], ",")
}
