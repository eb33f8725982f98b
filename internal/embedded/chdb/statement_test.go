package chdb

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestAStatementIsReadAsFarAsItMustBe(t *testing.T) {
	for _, want := range []struct {
		src    string
		kind   kind
		format string
		text   string // what is left of it: an insert's text, another's up to its end
		rows   string
		refuse string
		totals bool
	}{
		{src: "SELECT 1", kind: selects, text: "SELECT 1"},
		{src: "select 1 format JSON ; -- x", kind: selects, format: "JSON", text: "select 1 format JSON"},
		{src: "(((SELECT 1))) FORMAT CSV SETTINGS a = 1", kind: selects, format: "CSV", text: "(((SELECT 1))) FORMAT CSV SETTINGS a = 1"},
		{src: "WITH 1 AS x SELECT x", kind: selects, text: "WITH 1 AS x SELECT x"},
		{src: "FROM t SELECT a", kind: selects, text: "FROM t SELECT a"},
		{src: "SELECT 'FORMAT JSON'", kind: selects, text: "SELECT 'FORMAT JSON'"},
		{src: "SELECT \"FORMAT\" JSON", kind: selects, text: "SELECT \"FORMAT\" JSON"},
		{src: "SELECT 1 -- FORMAT JSON", kind: selects, text: "SELECT 1"},
		{src: "SELECT 1 /* FORMAT JSON */", kind: selects, text: "SELECT 1"},
		{src: "SELECT $x$ FORMAT JSON $x$ FORMAT CSV", kind: selects, format: "CSV", text: "SELECT $x$ FORMAT JSON $x$ FORMAT CSV"},
		{src: "SELECT 'it''s \\' FORMAT JSON' FORMAT TSV", kind: selects, format: "TSV", text: "SELECT 'it''s \\' FORMAT JSON' FORMAT TSV"},
		{src: "SELECT a FROM (SELECT 1 AS a FORMAT JSON)", kind: selects, text: "SELECT a FROM (SELECT 1 AS a FORMAT JSON)"},
		{src: "SELECT a, count() FROM t GROUP BY a WITH TOTALS", kind: selects, totals: true, text: "SELECT a, count() FROM t GROUP BY a WITH TOTALS"},
		{src: "SHOW TABLES FORMAT JSON", kind: other, format: "JSON", text: "SHOW TABLES FORMAT JSON"},
		{src: "CREATE TABLE t (a UInt8) ENGINE = Memory;", kind: other, text: "CREATE TABLE t (a UInt8) ENGINE = Memory"},
		{src: "DESCRIBE", kind: other, text: "DESCRIBE"},
		{src: "INSERT INTO t VALUES (1), (2)", kind: insertRows, format: "Values", text: "INSERT INTO t ", rows: " (1), (2)"},
		{src: "INSERT INTO t(a, b)VALUES(1)", kind: insertRows, format: "Values", text: "INSERT INTO t(a, b)", rows: "(1)"},
		{src: "INSERT INTO t FORMAT CSV\n1,2\n", kind: insertRows, format: "CSV", text: "INSERT INTO t ", rows: "1,2\n"},
		{src: "INSERT INTO t FORMAT CSV \r\n\n1", kind: insertRows, format: "CSV", text: "INSERT INTO t ", rows: "\n1"},
		{src: "INSERT INTO t FORMAT JSONEachRow {\"a\":1}", kind: insertRows, format: "JSONEachRow", text: "INSERT INTO t ", rows: "{\"a\":1}"},
		{src: "INSERT INTO t (a) SETTINGS x = 1 FORMAT TSV\n1", kind: insertRows, format: "TSV", text: "INSERT INTO t (a) SETTINGS x = 1 ", rows: "1"},
		{src: "INSERT INTO t", kind: insertRows, text: "INSERT INTO t"},
		{src: "INSERT INTO format FORMAT TSV\nx", kind: insertRows, format: "TSV", text: "INSERT INTO format ", rows: "x"},
		{src: "INSERT INTO TABLE values VALUES (1)", kind: insertRows, format: "Values", text: "INSERT INTO TABLE values ", rows: " (1)"},
		{src: "INSERT INTO db.select FORMAT TSV\nx", kind: insertRows, format: "TSV", text: "INSERT INTO db.select ", rows: "x"},
		{src: "INSERT INTO t (values, format) FORMAT TSV\nx", kind: insertRows, format: "TSV", text: "INSERT INTO t (values, format) ", rows: "x"},
		{src: "INSERT INTO FUNCTION null('a Int8') FORMAT TSV\n1", kind: insertRows, format: "TSV", text: "INSERT INTO FUNCTION null('a Int8') ", rows: "1"},
		{src: "INSERT INTO t SELECT 1;", kind: other, text: "INSERT INTO t SELECT 1"},
		{src: "INSERT INTO t (a) WITH 1 AS x SELECT x", kind: other, text: "INSERT INTO t (a) WITH 1 AS x SELECT x"},
		{src: "SELECT 1 INTO /* */ OUTFILE 'x'", kind: selects, refuse: "OUTFILE", text: "SELECT 1 INTO /* */ OUTFILE 'x'"},
		{src: "(SELECT 1 INTO OUTFILE 'x')", kind: selects, refuse: "OUTFILE", text: "(SELECT 1 INTO OUTFILE 'x')"},
		{src: "INSERT INTO t FROM INFILE 'x' FORMAT CSV", kind: other, refuse: "INFILE", format: "CSV", text: "INSERT INTO t FROM INFILE 'x' FORMAT CSV"},
		{src: "SELECT 'into' outfile", kind: selects, text: "SELECT 'into' outfile"},
		{src: `\i /etc/passwd`, refuse: `\`, text: `\i /etc/passwd`},
		{src: "?? how many agents", refuse: "?", text: "?? how many agents"},
		{src: "'x'", refuse: "'x'", text: "'x'"},
		{src: "/* only a comment", refuse: "", text: "/* only a comment"},
		{src: "SELECT 'not closed", kind: selects, text: "SELECT 'not closed"},
		{src: "SELECT 'backslash at the end\\", kind: selects, text: "SELECT 'backslash at the end\\"},
		{src: "SELECT $not a heredoc$ FORMAT CSV", kind: selects, format: "CSV", text: "SELECT $not a heredoc$ FORMAT CSV"},
		{src: "SELECT 1 # comment\n FORMAT\tCSV #! another", kind: selects, format: "CSV", text: "SELECT 1 # comment\n FORMAT\tCSV"},
	} {
		t.Run(want.src, func(t *testing.T) {
			st := parseStatement(want.src)
			assert.Equal(t, want.kind, st.kind)
			assert.Equal(t, want.format, st.format)
			assert.Equal(t, want.totals, st.totals)
			assert.Equal(t, want.refuse, st.refuse)
			if st.kind == insertRows {
				assert.Equal(t, want.text, st.text)
				assert.Equal(t, want.rows, want.src[st.data:])
				return
			}
			assert.Equal(t, want.text, want.src[:st.end])
		})
	}
}

// FuzzParseStatement: whatever comes, the parser ends, and cuts within the text.
func FuzzParseStatement(f *testing.F) {
	for _, seed := range []string{"SELECT 1 FORMAT JSON", "INSERT INTO t (a) FORMAT CSV\n1", "INSERT INTO t VALUES (1)", "/*", "--", "'\\", "$a$b$a$", "((", "\\i", "INSERT INTO", "SELECT a SETTINGS x = 1e-5, y = {'a':1}, z", "CREATE TABLE a.b (c Int8) ENGINE = Log", "/* /* */ */ SELECT x'41' # c\n, $t$ $t$"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, src string) {
		st := parseStatement(src)
		if st.end < 0 || st.end > len(src) || st.data < 0 || st.data > len(src) {
			t.Fatalf("cut at %d and %d of %d", st.end, st.data, len(src))
		}
		if st.kind == insertRows && !strings.HasPrefix(st.source, st.text) {
			t.Fatalf("the text %q is not the start of %q", st.text, st.source)
		}
		if len(st.source) != len(src) || st.kind == insertRows && st.source[st.data:] != src[st.data:] {
			t.Fatalf("%q became %q", src, st.source)
		}
		// What the engine reads has no comments left, and is cut as the source was.
		understood := !slices.ContainsFunc(st.tokens, func(tok token) bool { return tok.kind == broken })
		if again := parseStatement(st.source); understood && len(again.tokens) != len(st.tokens) {
			t.Fatalf("%q has %d tokens, with its comments %d", st.source, len(again.tokens), len(st.tokens))
		}
		_ = st.check(true, true)
		_, _ = checkRows(src)
		if tail := src[min(st.end, len(src)):]; st.refuse == "" && st.kind != insertRows && strings.Trim(tail, "; \t\n\v\f\r") != "" {
			// Only comments and semicolons may be left away.
			l := lexer{src: tail}
			for tok := l.next(); tok.kind != eof; tok = l.next() {
				if !tok.is(";") {
					t.Fatalf("%q is left away of %q", tail, src)
				}
			}
		}
	})
}
