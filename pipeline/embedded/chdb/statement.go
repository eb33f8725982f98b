package chdb

import "strings"

// statement is what must be known of a statement before the engine sees it: the
// library takes an INSERT's rows apart from its text, and gives a SELECT's
// output in pieces only in formats where pieces can be joined. Everything else
// about a statement is the engine's business.
type statement struct {
	kind   kind
	format string // of the FORMAT clause; of an INSERT with VALUES: Values
	text   string // of an INSERT with rows: what stands before FORMAT or VALUES
	data   int    // of an INSERT with rows: where they start in the source
	end    int    // where the last token ends, semicolons not counted
	totals bool   // WITH TOTALS: output that is not one table
	refuse string // what the engine would do as a client, with the files of its machine
}

// refusal is the error for what a server does not do either.
func (st statement) refusal() error {
	switch st.refuse {
	case "":
		return nil
	case "OUTFILE":
		return newException(358, "INTO_OUTFILE_NOT_ALLOWED", "INTO OUTFILE is not allowed")
	case "INFILE":
		return newException(78, "UNKNOWN_TYPE_OF_QUERY", "Query has infile and was send directly to server")
	}
	return newException(62, "SYNTAX_ERROR", "Syntax error: failed at position 1 ("+st.refuse+")")
}

type kind int

const (
	other      kind = iota // anything that the engine answers in one piece
	selects                // SELECT and what begins like one
	insertRows             // INSERT whose rows follow
)

// parseStatement looks at the source text.
func parseStatement(src string) statement {
	l := &lexer{src: src}
	tok := l.next()
	depth := 0
	for ; tok.is("("); tok = l.next() {
		depth++
	}
	switch {
	case tok.kind != name:
		// A client has commands of its own (\i reads a file, ?? asks a model).
		return statement{refuse: tok.text, end: len(src)}
	case tok.word("INSERT"):
		return parseInsert(l)
	case tok.word("SELECT"), tok.word("WITH"), tok.word("FROM"):
		st := scan(l, depth)
		st.kind = selects
		return st
	}
	return scan(l, depth)
}

// scan goes over the rest of a statement without rows, so many parentheses deep.
func scan(l *lexer, depth int) statement {
	st := statement{end: l.pos}
	var before token
	for tok := l.next(); tok.kind != eof; tok = l.next() {
		depth += tok.nesting()
		switch {
		case tok.word("TOTALS") && before.word("WITH"):
			st.totals = true
		case tok.word("OUTFILE") && before.word("INTO"):
			st.refuse = "OUTFILE"
		case tok.word("INFILE") && before.word("FROM"):
			st.refuse = "INFILE"
		case depth == 0 && before.word("FORMAT") && tok.kind == name:
			st.format = tok.text
		}
		if !tok.is(";") {
			st.end = l.pos
		}
		before = tok
	}
	return st
}

func parseInsert(l *lexer) statement {
	before := token{kind: name, text: "INSERT"}
	depth := 0
	for tok := l.next(); ; tok = l.next() {
		// INSERT INTO format, INSERT INTO db.values: names, not clauses.
		named := before.word("INTO") || before.word("TABLE") || before.word("INSERT") || before.is(".")
		depth += tok.nesting()
		switch {
		case tok.kind == eof:
			return statement{kind: insertRows, text: l.src, data: len(l.src)}
		case depth != 0 || named:
		case tok.word("SELECT"), tok.word("WITH"), tok.word("FROM"), tok.word("WATCH"):
			l.pos = tok.start
			return scan(l, 0)
		case tok.word("VALUES"):
			return statement{kind: insertRows, format: "Values", text: l.src[:tok.start], data: l.pos}
		case tok.word("FORMAT"):
			format := l.next()
			return statement{kind: insertRows, format: format.text, text: l.src[:tok.start], data: skipLine(l.src, l.pos)}
		}
		before = tok
	}
}

// skipLine skips blanks and one line end: the rows of INSERT ... FORMAT start
// after that, and a second line end belongs to them.
func skipLine(src string, pos int) int {
	for pos < len(src) && (src[pos] == ' ' || src[pos] == '\t' || src[pos] == '\f') {
		pos++
	}
	if pos < len(src) && src[pos] == '\r' {
		pos++
	}
	if pos < len(src) && src[pos] == '\n' {
		pos++
	}
	return pos
}

type tokenKind int

const (
	eof    tokenKind = iota
	name             // a bare word
	quoted           // a string, a quoted name, a number
	sign             // one character
)

type token struct {
	kind  tokenKind
	text  string
	start int
}

func (t token) word(upper string) bool { return t.kind == name && strings.EqualFold(t.text, upper) }
func (t token) is(s string) bool       { return t.kind == sign && t.text == s }

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

// lexer cuts ClickHouse SQL into tokens, without comments and blanks.
type lexer struct {
	src string
	pos int
}

func (l *lexer) next() token {
	l.skipBlanks()
	start := l.pos
	if start >= len(l.src) {
		return token{kind: eof, start: start}
	}
	c := l.src[start]
	switch {
	case c == '\'' || c == '"' || c == '`':
		l.skipQuoted(c)
		return token{kind: quoted, text: l.src[start:l.pos], start: start}
	case c == '$' && l.skipHeredoc():
		return token{kind: quoted, text: l.src[start:l.pos], start: start}
	case isWord(c):
		for l.pos < len(l.src) && (isWord(l.src[l.pos]) || l.src[l.pos] == '$') {
			l.pos++
		}
		kind := name
		if c >= '0' && c <= '9' {
			kind = quoted
		}
		return token{kind: kind, text: l.src[start:l.pos], start: start}
	}
	l.pos++
	return token{kind: sign, text: l.src[start:l.pos], start: start}
}

func isWord(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c >= 0x80
}

func (l *lexer) skipBlanks() {
	for l.pos < len(l.src) {
		rest := l.src[l.pos:]
		switch {
		case rest[0] == ' ' || rest[0] >= '\t' && rest[0] <= '\r':
			l.pos++
		case strings.HasPrefix(rest, "--"), strings.HasPrefix(rest, "# "), strings.HasPrefix(rest, "#!"):
			l.pos += lengthTo(rest, "\n")
		case strings.HasPrefix(rest, "/*"):
			l.pos += 2 + lengthTo(rest[2:], "*/")
		default:
			return
		}
	}
}

// lengthTo is the length up to and with end, or all of s.
func lengthTo(s, end string) int {
	if i := strings.Index(s, end); i >= 0 {
		return i + len(end)
	}
	return len(s)
}

// skipQuoted skips a literal. A doubled quote needs no care: it ends one literal
// and starts the next, with the same text skipped.
func (l *lexer) skipQuoted(quote byte) {
	for l.pos++; l.pos < len(l.src); l.pos++ {
		switch l.src[l.pos] {
		case '\\':
			l.pos++
		case quote:
			l.pos++
			return
		}
	}
	l.pos = len(l.src) // a backslash at the end may have stepped over it
}

// skipHeredoc skips $tag$ ... $tag$, and reports whether there is one.
func (l *lexer) skipHeredoc() bool {
	rest := l.src[l.pos:]
	tag := 1
	for tag < len(rest) && isWord(rest[tag]) {
		tag++
	}
	if tag >= len(rest) || rest[tag] != '$' {
		return false
	}
	tag++
	end := strings.Index(rest[tag:], rest[:tag])
	if end < 0 {
		return false
	}
	l.pos += tag + end + tag
	return true
}

// joinable are the formats whose output of a table is the output of its parts
// one after the other.
var joinable = map[string]bool{
	"native": true, "rowbinary": true, "null": true,
	"tabseparated": true, "tsv": true, "tabseparatedraw": true, "tsvraw": true, "raw": true,
	"csv": true, "tskv": true, "lineasstring": true, "rawblob": true,
	"jsoneachrow": true, "jsonlines": true, "ndjson": true, "jsonstringseachrow": true,
	"jsoncompacteachrow": true, "jsoncompactstringseachrow": true,
}
