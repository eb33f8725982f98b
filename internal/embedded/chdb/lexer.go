package chdb

import (
	"strings"
	"unicode/utf8"
)

type tokenKind int

const (
	eof        tokenKind = iota
	name                 // a bare word
	quotedName           // a name in backquotes or double quotes
	text                 // a string, a heredoc
	number               // what begins with a digit
	sign                 // one character
	broken               // what has no business in a statement, or is not closed
)

type token struct {
	kind  tokenKind
	text  string // as it stands in the source
	start int
	value string // of names: without quotes and escapes
}

func (t token) word(upper string) bool { return t.kind == name && strings.EqualFold(t.text, upper) }
func (t token) is(s string) bool       { return t.kind == sign && t.text == s }
func (t token) names() bool            { return t.kind == name || t.kind == quotedName }

func (t token) nesting() int {
	if t.kind != sign {
		return 0
	}
	switch t.text {
	case "(", "[", "{":
		return 1
	case ")", "]", "}":
		return -1
	}
	return 0
}

// lexer cuts ClickHouse SQL into tokens, without comments and blanks. It cuts as
// the engine does (a test compares them); where the engine is more lenient, with
// the quotes and blanks of word processors, it says broken.
type lexer struct {
	src      string
	pos      int
	tokens   []token
	comments [][2]int
}

func (l *lexer) next() token {
	tok := l.cut()
	if tok.kind != eof {
		l.tokens = append(l.tokens, tok)
	}
	return tok
}

// unread puts the last token back.
func (l *lexer) unread(tok token) {
	l.pos = tok.start
	l.tokens = l.tokens[:len(l.tokens)-1]
}

func (l *lexer) cut() token {
	l.skipBlanks()
	start := l.pos
	if start >= len(l.src) {
		return token{kind: eof, start: start}
	}
	c := l.src[start]
	kind := sign
	switch {
	case c == '\'':
		kind = l.skipQuoted(c, text)
	case c == '"' || c == '`':
		kind = l.skipQuoted(c, quotedName)
	case c == '$':
		kind = l.skipHeredoc()
	case isDigit(c):
		kind = l.skipNumber()
	case c == '.' && l.skipFraction():
		kind = number
		if l.pos < len(l.src) && isWord(l.src[l.pos]) {
			kind = broken
		}
	case isWord(c):
		kind = l.skipWord()
	case c >= utf8.RuneSelf:
		_, n := utf8.DecodeRuneInString(l.src[start:])
		l.pos += n
		kind = broken
	case c < ' ' || c == 0x7f || c == '#' || c == '\\':
		l.pos++
		kind = broken
	default:
		l.pos++
	}
	tok := token{kind: kind, text: l.src[start:l.pos], start: start}
	if kind == name {
		tok.value = tok.text
	}
	if kind == quotedName {
		var ok bool
		if tok.value, ok = unquote(tok.text); !ok {
			tok.kind = broken
		}
	}
	return tok
}

func isWord(c byte) bool {
	return c == '_' || isDigit(c) || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isHex(c byte) bool { return isDigit(c) || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F' }

// skipWord skips a word. x'4142' and b'0101' are strings without
// escapes: a backslash in one would end it elsewhere than in any other string.
func (l *lexer) skipWord() tokenKind {
	start := l.pos
	for l.pos < len(l.src) && (isWord(l.src[l.pos]) || l.src[l.pos] == '$') {
		l.pos++
	}
	word := l.src[start:l.pos]
	switch {
	case strings.Contains(word, "$"):
		return broken
	case l.pos < len(l.src) && l.src[l.pos] == '\'' && (strings.EqualFold(word, "x") || strings.EqualFold(word, "b")):
		end := strings.IndexByte(l.src[l.pos+1:], '\'')
		digits := "01"
		if strings.EqualFold(word, "x") {
			digits = "0123456789abcdefABCDEF"
		}
		if end < 0 || strings.Trim(l.src[l.pos+1:l.pos+1+end], digits) != "" {
			return broken
		}
		l.pos += end + 2
		return text
	}
	return name
}

// skipNumber skips a number as the engine does, who takes 1e-5 for one and x.1.2 for
// places in tuples. A name that begins with a digit is one too, here. What goes on as a
// name behind a dot is broken: of x.5file the engine makes two tokens.
func (l *lexer) skipNumber() tokenKind {
	start, place := l.pos, l.previous().is(".")
	digit := isDigit
	if rest := l.src[l.pos:]; !place && len(rest) > 2 && rest[0] == '0' && (rest[1] == 'x' || rest[1] == 'X') && isHex(rest[2]) {
		digit = isHex
		l.pos += 2
	}
	l.skipDigits(digit)
	if !place && l.pos < len(l.src) && l.src[l.pos] == '.' {
		l.pos++
		l.skipDigits(digit)
	}
	if !place {
		l.skipExponent()
	}
	plain := strings.IndexFunc(l.src[start:l.pos], func(r rune) bool { return !isWord(byte(r)) }) < 0
	if l.pos < len(l.src) && (isWord(l.src[l.pos]) || l.src[l.pos] == '$') {
		if place || !plain {
			return broken
		}
		for l.pos < len(l.src) && isWord(l.src[l.pos]) {
			l.pos++
		}
		if l.pos < len(l.src) && l.src[l.pos] == '$' {
			return broken
		}
	}
	return number
}

// skipFraction skips .5, where the dot is not one between names or places, and reports
// whether it is there.
func (l *lexer) skipFraction() bool {
	before := l.previous()
	if l.pos+1 >= len(l.src) || !isDigit(l.src[l.pos+1]) || before.names() || before.kind == number || before.is(")") || before.is("]") || before.is("}") {
		return false
	}
	l.pos++
	l.skipDigits(isDigit)
	l.skipExponent()
	return true
}

func (l *lexer) skipDigits(digit func(byte) bool) {
	for l.pos < len(l.src) && (digit(l.src[l.pos]) || l.src[l.pos] == '_' && l.pos+1 < len(l.src) && digit(l.src[l.pos+1])) {
		l.pos++
	}
}

func (l *lexer) skipExponent() {
	if l.pos+1 >= len(l.src) || !strings.ContainsRune("eEpP", rune(l.src[l.pos])) {
		return
	}
	l.pos++
	if l.pos+1 < len(l.src) && (l.src[l.pos] == '-' || l.src[l.pos] == '+') {
		l.pos++
	}
	l.skipDigits(isDigit)
}

// previous is the token before, of no kind where there is none.
func (l *lexer) previous() token {
	if len(l.tokens) == 0 {
		return token{}
	}
	return l.tokens[len(l.tokens)-1]
}

func (l *lexer) skipBlanks() {
	for l.pos < len(l.src) {
		rest := l.src[l.pos:]
		n := 0
		switch {
		case rest[0] == ' ' || rest[0] >= '\t' && rest[0] <= '\r':
			l.pos++
			continue
		case strings.HasPrefix(rest, "--"), strings.HasPrefix(rest, "//"), strings.HasPrefix(rest, "# "), strings.HasPrefix(rest, "#!"):
			n = lengthTo(rest, "\n")
		case strings.HasPrefix(rest, "/*"):
			n = lengthOfComment(rest)
		default:
			return
		}
		l.comments = append(l.comments, [2]int{l.pos, l.pos + n})
		l.pos += n
	}
}

// lengthTo is the length up to and with end, or all of s.
func lengthTo(s, end string) int {
	if i := strings.Index(s, end); i >= 0 {
		return i + len(end)
	}
	return len(s)
}

// lengthOfComment is the length of a comment, and those within it.
func lengthOfComment(s string) int {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch {
		case strings.HasPrefix(s[i:], "/*"):
			depth++
			i++
		case strings.HasPrefix(s[i:], "*/"):
			depth--
			i++
			if depth == 0 {
				return i + 1
			}
		}
	}
	return len(s)
}

// skipQuoted skips a literal; a doubled quote does not end it.
func (l *lexer) skipQuoted(quote byte, kind tokenKind) tokenKind {
	for l.pos++; l.pos < len(l.src); l.pos++ {
		switch l.src[l.pos] {
		case '\\':
			l.pos++
		case quote:
			if l.pos+1 >= len(l.src) || l.src[l.pos+1] != quote {
				l.pos++
				return kind
			}
			l.pos++
		}
	}
	l.pos = len(l.src) // a backslash at the end may have stepped over it
	return broken
}

// skipHeredoc skips $tag$ ... $tag$.
func (l *lexer) skipHeredoc() tokenKind {
	rest := l.src[l.pos:]
	tag := 1
	for tag < len(rest) && isWord(rest[tag]) {
		tag++
	}
	if tag < len(rest) && rest[tag] == '$' {
		tag++
		if end := strings.Index(rest[tag:], rest[:tag]); end >= 0 {
			l.pos += tag + end + tag
			return text
		}
	}
	l.pos++
	return broken
}

// unquote is the name within quotes. Escapes that make another character of one
// are not taken: nobody needs them, but to hide a name.
func unquote(quoted string) (string, bool) {
	quote := quoted[:1]
	inner := quoted[1 : len(quoted)-1]
	var b strings.Builder
	for i := 0; i < len(inner); i++ {
		switch inner[i] {
		case '\\':
			i++
			if i >= len(inner) || isWord(inner[i]) {
				return "", false
			}
		case quote[0]:
			i++ // the second of two
		}
		b.WriteByte(inner[i])
	}
	return b.String(), true
}

// blanked is src with blanks in the place of comments, line ends kept:
// what the engine reads is what was looked at, and positions stay.
func (l *lexer) blanked() string {
	if len(l.comments) == 0 {
		return l.src
	}
	b := []byte(l.src)
	for _, c := range l.comments {
		for i := c[0]; i < c[1]; i++ {
			if b[i] != '\n' {
				b[i] = ' '
			}
		}
	}
	return string(b)
}
