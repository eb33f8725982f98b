package chdb

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestAStatementIsReadAsFarAsItMustBe(t *testing.T) {
	for src, want := range map[string]struct {
		kind   kind
		format string
		text   string // what is left of it: an insert's text, another's up to its end
		rows   string
		refuse string
		totals bool
	}{
		"SELECT 1":                                        {kind: selects, text: "SELECT 1"},
		"select 1 format JSON ; -- x":                     {kind: selects, format: "JSON", text: "select 1 format JSON"},
		"(((SELECT 1))) FORMAT CSV SETTINGS a = 1":        {kind: selects, format: "CSV", text: "(((SELECT 1))) FORMAT CSV SETTINGS a = 1"},
		"WITH 1 AS x SELECT x":                            {kind: selects, text: "WITH 1 AS x SELECT x"},
		"FROM t SELECT a":                                 {kind: selects, text: "FROM t SELECT a"},
		"SELECT 'FORMAT JSON'":                            {kind: selects, text: "SELECT 'FORMAT JSON'"},
		"SELECT \"FORMAT\" JSON":                          {kind: selects, text: "SELECT \"FORMAT\" JSON"},
		"SELECT 1 -- FORMAT JSON":                         {kind: selects, text: "SELECT 1"},
		"SELECT 1 /* FORMAT JSON */":                      {kind: selects, text: "SELECT 1"},
		"SELECT $x$ FORMAT JSON $x$ FORMAT CSV":           {kind: selects, format: "CSV", text: "SELECT $x$ FORMAT JSON $x$ FORMAT CSV"},
		"SELECT 'it''s \\' FORMAT JSON' FORMAT TSV":       {kind: selects, format: "TSV", text: "SELECT 'it''s \\' FORMAT JSON' FORMAT TSV"},
		"SELECT a FROM (SELECT 1 AS a FORMAT JSON)":       {kind: selects, text: "SELECT a FROM (SELECT 1 AS a FORMAT JSON)"},
		"SELECT a, count() FROM t GROUP BY a WITH TOTALS": {kind: selects, totals: true, text: "SELECT a, count() FROM t GROUP BY a WITH TOTALS"},
		"SHOW TABLES FORMAT JSON":                         {kind: other, format: "JSON", text: "SHOW TABLES FORMAT JSON"},
		"CREATE TABLE t (a UInt8) ENGINE = Memory;":       {kind: other, text: "CREATE TABLE t (a UInt8) ENGINE = Memory"},
		"DESCRIBE":                                          {kind: other, text: "DESCRIBE"},
		"INSERT INTO t VALUES (1), (2)":                     {kind: insertRows, format: "Values", text: "INSERT INTO t ", rows: " (1), (2)"},
		"INSERT INTO t(a, b)VALUES(1)":                      {kind: insertRows, format: "Values", text: "INSERT INTO t(a, b)", rows: "(1)"},
		"INSERT INTO t FORMAT CSV\n1,2\n":                   {kind: insertRows, format: "CSV", text: "INSERT INTO t ", rows: "1,2\n"},
		"INSERT INTO t FORMAT CSV \r\n\n1":                  {kind: insertRows, format: "CSV", text: "INSERT INTO t ", rows: "\n1"},
		"INSERT INTO t FORMAT JSONEachRow {\"a\":1}":        {kind: insertRows, format: "JSONEachRow", text: "INSERT INTO t ", rows: "{\"a\":1}"},
		"INSERT INTO t (a) SETTINGS x = 1 FORMAT TSV\n1":    {kind: insertRows, format: "TSV", text: "INSERT INTO t (a) SETTINGS x = 1 ", rows: "1"},
		"INSERT INTO t":                                     {kind: insertRows, text: "INSERT INTO t"},
		"INSERT INTO format FORMAT TSV\nx":                  {kind: insertRows, format: "TSV", text: "INSERT INTO format ", rows: "x"},
		"INSERT INTO TABLE values VALUES (1)":               {kind: insertRows, format: "Values", text: "INSERT INTO TABLE values ", rows: " (1)"},
		"INSERT INTO db.select FORMAT TSV\nx":               {kind: insertRows, format: "TSV", text: "INSERT INTO db.select ", rows: "x"},
		"INSERT INTO t (values, format) FORMAT TSV\nx":      {kind: insertRows, format: "TSV", text: "INSERT INTO t (values, format) ", rows: "x"},
		"INSERT INTO FUNCTION null('a Int8') FORMAT TSV\n1": {kind: insertRows, format: "TSV", text: "INSERT INTO FUNCTION null('a Int8') ", rows: "1"},
		"INSERT INTO t SELECT 1;":                           {kind: other, text: "INSERT INTO t SELECT 1"},
		"INSERT INTO t (a) WITH 1 AS x SELECT x":            {kind: other, text: "INSERT INTO t (a) WITH 1 AS x SELECT x"},
		"SELECT 1 INTO /* */ OUTFILE 'x'":                   {kind: selects, refuse: "OUTFILE", text: "SELECT 1 INTO /* */ OUTFILE 'x'"},
		"(SELECT 1 INTO OUTFILE 'x')":                       {kind: selects, refuse: "OUTFILE", text: "(SELECT 1 INTO OUTFILE 'x')"},
		"INSERT INTO t FROM INFILE 'x' FORMAT CSV":          {kind: other, refuse: "INFILE", format: "CSV", text: "INSERT INTO t FROM INFILE 'x' FORMAT CSV"},
		"SELECT 'into' outfile":                             {kind: selects, text: "SELECT 'into' outfile"},
		`\i /etc/passwd`:                                    {refuse: `\`, text: `\i /etc/passwd`},
		"?? how many agents":                                {refuse: "?", text: "?? how many agents"},
		"'x'":                                               {refuse: "'x'", text: "'x'"},
		"/* only a comment":                                 {refuse: "", text: "/* only a comment"},
		"SELECT 'not closed":                                {kind: selects, text: "SELECT 'not closed"},
		"SELECT 'backslash at the end\\":                    {kind: selects, text: "SELECT 'backslash at the end\\"},
		"SELECT $not a heredoc$ FORMAT CSV":                 {kind: selects, format: "CSV", text: "SELECT $not a heredoc$ FORMAT CSV"},
		"SELECT\v1 # comment\n FORMAT\tCSV #! another":      {kind: selects, format: "CSV", text: "SELECT\v1 # comment\n FORMAT\tCSV"},
	} {
		t.Run(src, func(t *testing.T) {
			st := parseStatement(src)
			assert.Equal(t, want.kind, st.kind)
			assert.Equal(t, want.format, st.format)
			assert.Equal(t, want.totals, st.totals)
			assert.Equal(t, want.refuse, st.refuse)
			if st.kind == insertRows {
				assert.Equal(t, want.text, st.text)
				assert.Equal(t, want.rows, src[st.data:])
				return
			}
			assert.Equal(t, want.text, src[:st.end])
		})
	}
}

// FuzzParseStatement: whatever comes, the parser ends, and cuts within the text.
func FuzzParseStatement(f *testing.F) {
	for _, seed := range []string{"SELECT 1 FORMAT JSON", "INSERT INTO t (a) FORMAT CSV\n1", "INSERT INTO t VALUES (1)", "/*", "--", "'\\", "$a$b$a$", "((", "\\i", "INSERT INTO"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, src string) {
		st := parseStatement(src)
		if st.end < 0 || st.end > len(src) || st.data < 0 || st.data > len(src) {
			t.Fatalf("cut at %d and %d of %d", st.end, st.data, len(src))
		}
		if st.kind == insertRows && !strings.HasPrefix(src, st.text) {
			t.Fatalf("the text %q is not the start of %q", st.text, src)
		}
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
