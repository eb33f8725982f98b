package main

import (
	"io"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/plumbline-sec/plumbline/pipeline/terminal"
)

// Names, paths and arguments are the agents' to choose, and a terminal obeys more
// than ESC: U+009B begins a sequence like ESC [, U+202E turns a line around, U+FEFF
// and the tag characters hide what stands there. What a command prints therefore
// passes through here, whichever command it is and however it prints.

// treacherous reports whether a terminal would obey or hide r: control and format
// characters, line and paragraph separators.
func treacherous(r rune) bool {
	return r < ' ' || r >= 0x7f && r <= 0x9f || r == 0x2028 || r == 0x2029 || unicode.Is(unicode.Cf, r)
}

// visible writes to w, with each treacherous character as \uXXXX: the same text for
// who reads JSON, and a harmless one for people. Line ends, tabs and what the commands
// themselves move the cursor with (ESC, CR) pass: text that others chose has those
// escaped before it comes here, by its JSON or by terminal.Escape.
type visible struct {
	w      io.Writer
	strict bool // ESC and CR are others' too
	mu     sync.Mutex
	// held is the beginning of a character whose end was not written yet.
	held []byte
}

// Write implements io.Writer.
func (v *visible) Write(p []byte) (int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.held) == 0 && harmless(p, v.strict) {
		return v.w.Write(p)
	}
	text := append(v.held, p...) //nolint:gocritic // it is taken apart below
	v.held = nil
	out := make([]byte, 0, len(text)+16)
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		switch {
		case r == utf8.RuneError && n == 1 && !utf8.FullRune(text):
			v.held = append(v.held, text...)
			n = len(text)
		case r == utf8.RuneError && n == 1:
			out = append(out, "\ufffd"...)
		case r == '\n', r == '\t', !v.strict && (r == '\r' || r == '\x1b'), !treacherous(r):
			out = append(out, text[:n]...)
		default:
			out = terminal.AppendRune(out, r)
		}
		text = text[n:]
	}
	if _, err := v.w.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}

// flush writes what was held back: a character that never ended.
func (v *visible) flush() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.held) > 0 {
		_, _ = io.WriteString(v.w, "\ufffd") // the command has ended
		v.held = nil
	}
}

// harmless reports whether all of p is printable ASCII, line ends and the like.
func harmless(p []byte, strict bool) bool {
	for _, c := range p {
		if c >= 0x7f || c < ' ' && c != '\n' && c != '\t' && (strict || c != '\r' && c != '\x1b') {
			return false
		}
	}
	return true
}
