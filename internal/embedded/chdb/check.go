package chdb

import (
	"strconv"
	"strings"
)

// The engine can do more than a warehouse needs: it reads files, opens connections,
// runs programs and shuts itself down. Most of that needs a right that the user has not
// (config.go), but not all: file('/etc/passwd') needs none as a function, and some
// settings hold SQL of their own. So a statement is looked at before the engine sees it,
// and what is not known to be harmless is refused:
//
//   - it begins with one of verbs, and by GET with one that only reads;
//   - whatever stands before a parenthesis is a permitted function, table function, type
//     or word of the language, and no refused function is named elsewhere either, since
//     arrayMap(file, ...) and APPLY file call one without a parenthesis;
//   - settings, formats, engines and system tables are permitted ones;
//   - outside of quotes it is ASCII: the engine takes the quotes and blanks of word
//     processors too, in which a name could be hidden.
//
// Comments are blanked before the engine reads the statement: there is nothing in one
// that it could see and this could not. That nothing else is read otherwise than the
// engine reads it, a test asks its tokenizer.
//
// This is one wall of two: sandbox_linux_amd64.go has the other.

// verbs are what a statement may begin with. True: it changes nothing, and may come by
// GET. Within CREATE, ALTER, DROP and SYSTEM the engine's grants decide.
var verbs = map[string]bool{
	"SELECT": true, "WITH": true, "FROM": true, "SHOW": true, "DESCRIBE": true, "DESC": true, "EXISTS": true, "EXPLAIN": true,
	"INSERT": false, "CREATE": false, "REPLACE": false, "ALTER": false, "DROP": false, "TRUNCATE": false, "RENAME": false, "EXCHANGE": false,
	"OPTIMIZE": false, "DELETE": false, "UPDATE": false, "SYSTEM": false, "KILL": false, "USE": false, "SET": false, "CHECK": false, "UNDROP": false,
}

// objects are what CREATE makes here.
var objects = words("TABLE VIEW MATERIALIZED DATABASE")

// beforeParenthesis are the words of the language that may stand before a parenthesis.
// Functions with a syntax of their own (CAST, EXTRACT) are in the list of functions.
var beforeParenthesis = words(`ALIAS ALL AND ANTI ANY APPLY AS ASC ASOF ASSUME BETWEEN BY CASE CHECK CODEC COLUMN COLUMNS CONSTRAINT CUBE DEFAULT DELETE
	DESC DESCRIBE DISTINCT DIV ELSE EPHEMERAL EXCEPT EXISTS EXPLAIN EXPRESSION EXTRACT FILTER FROM GRANULARITY GROUP HAVING ILIKE IN INDEX INNER INTERPOLATE
	INTERSECT INTERVAL INTO IS JOIN KEY LEFT LIKE LIMIT MATERIALIZED MOD NOT OFFSET ON OR ORDER OVER PARTITION PLAN PREWHERE PRIMARY PROJECTION QUALIFY
	DATEADD DATESUB DATE_ADD DATE_SUB TIMESTAMPADD TIMESTAMPSUB TIMESTAMP_ADD TIMESTAMP_SUB GROUPING RECURSIVE REGEXP REPLACE RIGHT ROLLUP SAMPLE SELECT SEMI SET SETS SIZE STATISTICS STEP SUBSTRING SYNTAX TABLE THEN TIES TO TOP TREE TRIM TTL
	TYPE UNION UNTUPLE UPDATE USING VALUE VALUES WHEN WHERE WITH XOR
	AST ESTIMATE PIPELINE QUERY
	BLOOM_FILTER HYPOTHESIS MINMAX NGRAMBF_V1 TOKENBF_V1 TEXT VECTOR_SIMILARITY SPARSE_GRAMS SPARSEGRAMS NGRAMS SPLITBYSTRING SPLITBYNONALPHA ARRAY UNICODEWORD
	ALP DELTA DOUBLEDELTA FPC GCD GORILLA LZ4 LZ4HC NONE QUANTIZED T64 ZSTD ZXC
	COUNTMIN TDIGEST UNIQ`)

func words(s string) map[string]bool {
	set := map[string]bool{}
	for word := range strings.FieldsSeq(s) {
		set[word] = true
	}
	return set
}

// denied is the refusal of what a name stands for.
func denied(what, advice string) error {
	return newException(497, "ACCESS_DENIED", what+" is not served by the embedded ClickHouse; "+advice)
}

const instead = "a ClickHouse server of your own can serve it (clickhouse.addr)"

// checker looks at the tokens of one statement.
type checker struct {
	*lists
	tokens []token
	verb   string
	depth  int
	header bool // of a CREATE: before its SELECT
	sets   bool // settings may stand from here on
}

// check refuses the statement, or returns nil. readOnly: it came by GET. parses: the
// engine's parser gets through it; where it does not, its error says more than ours.
func (st statement) check(readOnly, parses bool) error {
	c := &checker{lists: readLists(), tokens: st.tokens}
	for _, tok := range c.tokens {
		if tok.kind == broken {
			return newException(62, "SYNTAX_ERROR", "Syntax error: failed at position "+strconv.Itoa(tok.start+1)+" ("+strconv.Quote(shortened(tok.text))+
				"): outside of quotes a statement is ASCII, text stands in '...', names stand in `...` or \"...\" without escapes, and quotes are closed")
		}
	}
	if err := c.checkVerb(readOnly, parses); err != nil {
		return err
	}
	c.header = c.verb == "CREATE" || c.verb == "REPLACE"
	for i, tok := range c.tokens {
		c.depth += tok.nesting()
		c.sets = c.sets || tok.word("SET") || tok.word("SETTINGS") || tok.word("SETTING")
		if err := c.checkToken(i); err != nil {
			return err
		}
	}
	return nil
}

// checkRows does the same for the rows of an INSERT ... VALUES, in which expressions may
// stand. It reports whether they are understood.
func checkRows(rows string) (understood bool, err error) {
	l := &lexer{src: rows, tokens: make([]token, 0, len(rows)/3+8)}
	for tok := l.next(); tok.kind != eof; tok = l.next() {
		if tok.kind == broken {
			return false, nil
		}
	}
	c := &checker{lists: readLists(), tokens: l.tokens, verb: "VALUES"}
	for i, tok := range c.tokens {
		if tok.is("{") && c.at(i+1).names() && c.at(i+2).is(":") {
			return false, nil // a parameter, which may be a name
		}
		if err := c.checkToken(i); err != nil {
			return true, err
		}
	}
	return len(l.comments) == 0, nil
}

// checkParameters refuses values of the URL that a statement takes for names, as
// {x:Identifier}, and that name what may not be named.
func (st statement) checkParameters(params []pair) error {
	names := map[string]bool{}
	for i, tok := range st.tokens {
		if tok.word("Identifier") && i > 1 && st.tokens[i-1].is(":") {
			names[st.tokens[i-2].text] = true
			names[st.tokens[i-2].value] = true
		}
	}
	for _, p := range params {
		if names[p.name] && refusedName(p.value) {
			return denied("The name "+strconv.Quote(shortened(p.value))+" as a parameter", "write it into the statement, in backquotes")
		}
	}
	return nil
}

// refusedName: the value, or a part of it, names what may not be named, or hides what it
// names.
func refusedName(value string) bool {
	for part := range strings.FieldsFuncSeq(value, func(r rune) bool { return strings.ContainsRune(".`\"' \t\r\n", r) }) {
		if readLists().functions.refuses(part) || readLists().systemTables.refuses(part) {
			return true
		}
	}
	return strings.ContainsAny(value, "\\/")
}

func shortened(s string) string {
	if len(s) > 40 {
		return s[:40] + "..."
	}
	return s
}

// at is the token i, or one that is nothing.
func (c *checker) at(i int) token {
	if i < 0 || i >= len(c.tokens) {
		return token{}
	}
	return c.tokens[i]
}

// onlyReads says what makes a request one that only reads.
const onlyReads = "the user is a reader, the setting readonly is on, a page in a browser asks, or the method is GET. For queries over HTTP, method GET implies readonly. You should use method POST for modifying queries"

func (c *checker) checkVerb(readOnly, parses bool) error {
	i := 0
	for c.at(i).is("(") {
		i++
	}
	if c.at(i).kind != name {
		return nil // nothing but a comment, or what parseStatement refuses
	}
	c.verb = strings.ToUpper(c.at(i).text)
	reads, known := verbs[c.verb]
	switch {
	case !known && parses:
		return denied("The statement "+c.verb, instead)
	case known && readOnly && !reads:
		return newException(164, "READONLY", "Cannot execute "+c.verb+" in readonly mode: "+onlyReads)
	}
	if c.verb != "CREATE" {
		return nil
	}
	for i++; c.at(i).word("OR") || c.at(i).word("REPLACE") || c.at(i).word("TEMPORARY"); i++ {
		continue
	}
	if object := strings.ToUpper(c.at(i).text); c.at(i).kind == name && !objects[object] {
		return denied("CREATE "+object, instead)
	}
	return nil
}

func (c *checker) checkToken(i int) error {
	tok := c.tokens[i]
	if tok.is("(") {
		return c.checkCall(i)
	}
	if !tok.names() {
		return nil
	}
	before, after := c.at(i-1), c.at(i+1)
	switch {
	case tok.word("SELECT") && c.depth == 0:
		c.header = false
	case tok.word("OUTFILE") && before.word("INTO"), tok.word("INFILE") && before.word("FROM"):
		return denied(strings.ToUpper(before.text+" "+tok.text), "read the answer, or send the rows, over HTTP")
	case tok.word("PARALLEL") && after.word("WITH"):
		return denied("PARALLEL WITH", "send one statement a request")
	case tok.word("SETTINGS"), tok.word("SETTING") && (before.word("MODIFY") || before.word("RESET")), i == 0 && tok.word("SET"):
		return c.checkSettings(i + 1)
	case tok.word("FORMAT") && after.names() && !before.is("."):
		return c.checkFormat(i + 1)
	case tok.word("ENGINE") && c.header:
		return c.checkEngine(i + 1)
	}
	if strings.Contains(tok.value, "/") && tok.kind == quotedName && namesTable(before) {
		// The engine would look for a file of this path, and say whether there is one.
		return denied("The table "+strconv.Quote(shortened(tok.value)), "a path is not the name of one")
	}
	if c.systemTables.refuses(tok.value) {
		return denied("The table system."+tok.value, instead)
	}
	if before.is(".") {
		return nil
	}
	if c.functions.refuses(tok.value) {
		return denied("The function "+tok.value, instead+". A column of this name is written with its table: t."+tok.value)
	}
	// Wherever in a list of settings: what comes before it is not understood in full.
	if c.sets && (after.is("=") || after.is(",") || after.is(")") || after.is(";") || after.kind == eof) && c.settings.refuses(tok.value) {
		return denied("The setting "+tok.value, "leave it as it is")
	}
	return nil
}

// namesTable reports whether the name of a table, or of its database, may follow.
func namesTable(before token) bool {
	return before.is(",") || before.is(".") || before.kind == name && tableFollows[strings.ToUpper(before.text)]
}

var tableFollows = words("FROM JOIN INTO TABLE TABLES VIEW EXISTS DESCRIBE DESC IN TO DATABASE USE TRUNCATE OPTIMIZE UPDATE CHECK")

// checkCall looks at what stands before the parenthesis at i.
func (c *checker) checkCall(i int) error {
	tok := c.at(i - 1)
	if !tok.names() {
		if tok.kind == number || tok.is("}") && c.verb != "INSERT" && !c.header {
			return newException(62, "SYNTAX_ERROR", "Syntax error: failed at position "+strconv.Itoa(c.tokens[i].start+1)+" ((): a function is called by its name")
		}
		return nil
	}
	refused := c.functions.refuses(tok.value) || c.tableFunctions.refuses(tok.value)
	switch {
	case refused:
		return denied("The function "+tok.value, instead)
	case tok.kind == name && beforeParenthesis[strings.ToUpper(tok.text)]:
		return nil
	case c.functions.permits(tok.value), c.tableFunctions.permits(tok.value), c.types.permits(tok.value), c.combined(tok.value):
		return nil
	case c.header && c.engines.permits(tok.value), c.declared(i - 1):
		return nil
	case c.at(i - 2).is("."):
		return nil // a view with parameters: no function has a dot
	}
	return newException(46, "UNKNOWN_FUNCTION", "Function with name `"+tok.value+"` is not among those that the embedded ClickHouse serves. "+
		"The table system.functions lists the engine's; user defined ones are not served; a view with parameters is written with its database: plumbline.view(x = 1)")
}

// declared reports whether the name at i is one that the statement gives or describes,
// not one that it calls: a table before its columns, an index, a projection, an alias.
func (c *checker) declared(i int) bool {
	for c.at(i-1).is(".") && (c.at(i-2).names() || c.at(i-2).is("}")) {
		i -= 2
	}
	before := c.at(i - 1)
	switch {
	case before.word("AS"), before.word("WITH"), before.word("RECURSIVE"):
		return true
	case c.verb == "INSERT" && i <= 5:
		return before.word("INTO") || before.word("TABLE") || before.word("INSERT")
	case c.header:
		return before.word("TABLE") || before.word("VIEW") || before.word("EXISTS") || before.word("TO") || before.word("CLUSTER") || before.word("PROJECTION") || before.word("INDEX")
	case c.verb == "ALTER":
		return before.word("EXISTS") || before.word("PROJECTION") || before.word("INDEX") || before.word("STATISTICS")
	}
	return false
}

// checkSettings looks at the names in: name = value, name = value.
func (c *checker) checkSettings(i int) error {
	for {
		tok, after := c.at(i), c.at(i+1)
		if i == 1 && c.verb == "SET" && !after.is("=") {
			return denied("SET "+tok.text, "set settings by their names: SET max_threads = 4")
		}
		if !tok.names() || !after.is("=") && !after.is(",") && !after.is(")") && !after.is(";") && after.kind != eof {
			return nil // a column of the name settings, or a word that is none
		}
		if err := checkSetting(tok.value); err != nil {
			return err
		}
		i++
		if after.is("=") {
			i = c.afterValue(i + 1)
		}
		if !c.at(i).is(",") {
			return nil
		}
		i++
	}
}

// afterValue is where the value that begins at i has ended.
func (c *checker) afterValue(i int) int {
	depth := 0
	for ; i < len(c.tokens); i++ {
		tok := c.tokens[i]
		if depth == 0 && (tok.is(",") || tok.is(";") || tok.nesting() < 0) {
			return i
		}
		depth += tok.nesting()
		if depth == 0 && c.endsValue(i) {
			return i + 1
		}
	}
	return i
}

// endsValue: behind the token at i the value is complete. A sign goes on, and so does a
// name with a parenthesis.
func (c *checker) endsValue(i int) bool {
	tok, after := c.tokens[i], c.at(i+1)
	return (tok.kind != sign || tok.nesting() < 0) && !after.is("(") && !after.is(".")
}

// checkSetting refuses a setting that the engine has and may not be changed. One that it
// has not, it refuses itself.
func checkSetting(name string) error {
	if strings.HasPrefix(strings.ToLower(name), "param_") {
		return denied("A parameter as a setting", "give it in the URL, as param_x=...")
	}
	permitted, known := readLists().settings.decided(name)
	switch {
	case permitted:
		return nil
	case known:
		return denied("The setting "+name, "leave it as it is")
	}
	return newException(115, "UNKNOWN_SETTING", "Setting "+name+" is not among those that the embedded ClickHouse serves")
}

func (c *checker) checkFormat(i int) error {
	after := c.at(i + 1)
	if after.kind == eof || after.is(";") || after.is(")") || after.word("SETTINGS") || after.word("INTO") {
		return checkFormat(c.tokens[i].value)
	}
	return nil // a column of the name format
}

// checkFormat refuses a format that the engine has and is not served.
func checkFormat(name string) error {
	if readLists().formats.refuses(name) {
		return denied("The format "+name, "take another, as JSONEachRow or Native")
	}
	return nil
}

// databaseEngines are those that hold nothing but tables of their own.
var databaseEngines = words("ATOMIC MEMORY")

func (c *checker) checkEngine(i int) error {
	if c.at(i).is("=") {
		i++
	}
	tok := c.at(i)
	if !tok.names() {
		return nil
	}
	if c.at(1).word("DATABASE") {
		if !databaseEngines[strings.ToUpper(tok.value)] {
			return denied("The database engine "+tok.value, "leave the clause ENGINE away")
		}
		return nil
	}
	if c.engines.refuses(tok.value) {
		return denied("The table engine "+tok.value, "take one of the MergeTree family")
	}
	return nil
}
