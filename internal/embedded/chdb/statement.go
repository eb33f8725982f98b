package chdb

// statement is what must be known of a statement before the engine sees it: the
// library takes an INSERT's rows apart from its text, and gives a SELECT's
// output in pieces only in formats where pieces can be joined. What it may do is
// decided over its tokens, in check.go.
type statement struct {
	tokens []token // what was read of it; the rows of an INSERT are not
	source string  // the source, comments blanked
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

// begins reports whether the statement's first word is this one.
func (st statement) begins(upper string) bool { return len(st.tokens) > 0 && st.tokens[0].word(upper) }

// settingsSet are the names that the statement SETs.
func (st statement) settingsSet() []string {
	var names []string
	for i := 1; i+1 < len(st.tokens) && st.begins("SET"); i++ {
		if before := st.tokens[i-1]; st.tokens[i].names() && st.tokens[i+1].is("=") && (i == 1 || before.is(",")) {
			names = append(names, st.tokens[i].value)
		}
	}
	return names
}

// hasSettings reports whether the statement has a clause SETTINGS.
func (st statement) hasSettings() bool {
	for i, tok := range st.tokens {
		if tok.word("SETTINGS") && i+2 < len(st.tokens) && st.tokens[i+1].names() && st.tokens[i+2].is("=") {
			return true
		}
	}
	return false
}

type kind int

const (
	other      kind = iota // anything that the engine answers in one piece
	selects                // SELECT and what begins like one
	insertRows             // INSERT whose rows follow
)

// parseStatement looks at the source text.
func parseStatement(src string) statement {
	l := &lexer{src: src, tokens: make([]token, 0, 32)}
	st := l.statement()
	st.tokens, st.source = l.tokens, l.blanked()
	if st.kind == insertRows {
		st.text = st.source[:len(st.text)]
	}
	return st
}

func (l *lexer) statement() statement {
	tok := l.next()
	depth := 0
	for ; tok.is("("); tok = l.next() {
		depth++
	}
	switch {
	case tok.kind != name:
		// A client has commands of its own (\i reads a file, ?? asks a model).
		return statement{refuse: tok.text, end: len(l.src)}
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
		case depth == 0 && before.word("FORMAT") && tok.names():
			st.format = tok.value
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
			l.unread(tok)
			return scan(l, 0)
		case tok.word("VALUES"):
			return statement{kind: insertRows, format: "Values", text: l.src[:tok.start], data: l.pos}
		case tok.word("FORMAT"):
			format := l.next()
			return statement{kind: insertRows, format: format.value, text: l.src[:tok.start], data: skipLine(l.src, l.pos)}
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

// joinable are the formats whose output of a table is the output of its parts
// one after the other.
var joinable = map[string]bool{
	"native": true, "rowbinary": true, "null": true,
	"tabseparated": true, "tsv": true, "tabseparatedraw": true, "tsvraw": true, "raw": true,
	"csv": true, "tskv": true, "lineasstring": true, "rawblob": true,
	"jsoneachrow": true, "jsonlines": true, "ndjson": true, "jsonstringseachrow": true,
	"jsoncompacteachrow": true, "jsoncompactstringseachrow": true,
}
