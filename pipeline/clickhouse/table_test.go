package clickhouse

import (
	"bufio"
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/pipeline/terminal"
)

// shown is what a printer makes of rows.
func shown(t *testing.T, make func(*bufio.Writer) printer, rows ...[]resultColumn) string {
	t.Helper()
	var out bytes.Buffer
	w := bufio.NewWriter(&out)
	p := make(w)
	p.columns(rows[0])
	for _, r := range rows {
		require.NoError(t, p.row(r))
	}
	require.NoError(t, p.end())
	require.NoError(t, w.Flush())
	return out.String()
}

func ofWidth(n int) func(*bufio.Writer) printer {
	return func(w *bufio.Writer) printer { return &tablePrinter{w: w, width: n} }
}

func storyRow(agent string, n uint64, summary string) []resultColumn {
	return []resultColumn{
		{"time", "DateTime64(3, 'UTC')", reflect.ValueOf("2026-03-14T13:13:38.022Z")},
		{"agent_id", "LowCardinality(String)", reflect.ValueOf(agent)},
		{"events", "UInt64", reflect.ValueOf(n)},
		{"summary", "String", reflect.ValueOf(summary)},
	}
}

const story = "Agent contract-analyst-16 sent 15.3 MiB in one call; 99.9 % of its calls stay under 76.1 KiB, 9.7 KiB expected; it also reached url:https://paste-2f10b2.example.net/u, the first time for it or any of its 16 peers."

func TestATableFitsTheTerminalAndLosesNothing(t *testing.T) {
	for _, width := range []int{72, 80, 120, 160, 400} {
		got := shown(t, ofWidth(width), storyRow("contract-analyst-16", 12, story), storyRow("日本語のエージェント", 1234567, "short"))
		for line := range strings.Lines(got) {
			require.LessOrEqual(t, terminal.Cells(strings.TrimSuffix(line, "\n")), width, "%d:\n%s", width, got)
		}
		if width == 80 {
			golden(t, "table80.golden.txt", []byte(got))
		}
		letters := func(s string) string { return strings.Join(strings.Fields(s), "") }
		if width == 400 {
			require.Contains(t, got, story)
			require.Equal(t, 4, strings.Count(got, "\n"))
		}
		var column strings.Builder // the last one
		for line := range strings.Lines(got) {
			if at := strings.Index(strings.SplitN(got, "\n", 2)[0], "summary"); len(line) > at && !strings.Contains(line, "本") {
				column.WriteString(line[at:])
			}
		}
		require.Contains(t, letters(column.String()), letters(story), "%d:\n%s", width, got)
	}
}

func TestATableThatIsTooWideForTheTerminalBecomesVertical(t *testing.T) {
	rows := [][]resultColumn{storyRow("a", 1, story), storyRow("b", 2, "")}
	want := shown(t, func(w *bufio.Writer) printer { return &verticalPrinter{w: w} }, rows...)
	require.Equal(t, want, shown(t, ofWidth(40), rows...))
	golden(t, "vertical.golden.txt", []byte(want))
}

func TestWithoutATerminalNothingIsCut(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	got := shown(t, ofWidth(0), storyRow("a", 1, long))
	require.Contains(t, got, long)
	got = shown(t, func(w *bufio.Writer) printer { return &verticalPrinter{w: w} }, storyRow("a", 1, long))
	require.Contains(t, got, long)
}

func TestFewRowsAreHeldWhereTheyAreLarge(t *testing.T) {
	p := &tablePrinter{w: bufio.NewWriter(&bytes.Buffer{})}
	row := storyRow("a", 1, strings.Repeat("x", alignBytes/4))
	p.columns(row)
	for range 5 {
		require.NoError(t, p.row(row))
	}
	require.True(t, p.known)
	require.Empty(t, p.held)
}

func TestAFormatClauseIsFoundWhereClickHouseTakesOne(t *testing.T) {
	for sql, want := range map[string][2]string{
		"SELECT 1 FORMAT CSV":                               {"SELECT 1", "CSV"},
		"SELECT (1)\nformat\tJSONEachRow":                   {"SELECT (1)", "JSONEachRow"},
		"SELECT 1 FORMAT Vertical SETTINGS max_threads = 1": {"SELECT 1 SETTINGS max_threads = 1", "Vertical"},
		"SELECT\n1 FORMAT CSV":                              {"SELECT\n1", "CSV"},
		"SELECT\t(1) FORMAT CSV":                            {"SELECT\t(1)", "CSV"},
		"WITH(SELECT 1) AS x\r\nSELECT x FORMAT CSV":        {"WITH(SELECT 1) AS x\r\nSELECT x", "CSV"},
		"SHOW TABLES FORMAT TSV":                            {"SHOW TABLES", "TSV"},
		"SELECT 'a FORMAT CSV'":                             {},
		"SELECT ' FORMAT CSV SETTINGS ' AS x":               {},
		"SELECT \"a FORMAT CSV\" FROM t":                    {},
		"SELECT format FROM t":                              {},
		"SELECT 1 AS format":                                {},
		"SELECT 1 AS format SETTINGS max_threads = 1":       {},
		"SELECT x FROM t ORDER BY format DESC":              {},
		"SELECT x FROM format f":                            {},
		"SELECT 'it''s' FORMAT CSV":                         {"SELECT 'it''s'", "CSV"},
		"INSERT INTO t FORMAT CSV":                          {},
	} {
		if want[0] == "" {
			want[0] = sql
		}
		rest, format := cutFormat(sql)
		require.Equal(t, want, [2]string{rest, format}, sql)
	}
}

func TestAFormatOfTheEnginesGoesThroughByteForByte(t *testing.T) {
	db := migrated(t)
	raw := func(sql string) string {
		t.Helper()
		var out, rows, notes bytes.Buffer
		require.NoError(t, db.Show(t.Context(), sql, Display{Format: FormatText, Rows: &rows, Raw: &out, Notes: &notes, Parameters: map[string]string{"n": "it's", "i": "2"}}), sql)
		require.Empty(t, rows.String())
		require.Regexp(t, `^done in \d`, notes.String())
		return out.String()
	}
	require.Equal(t, "1,\"a\x1b\"\n2,\"a\x1b\"\n", raw("SELECT number + 1, 'a\x1b' FROM numbers(2) FORMAT CSV;"))
	require.Equal(t, "Row 1:\n──────\nx: it's\ny: 2\n", raw("SELECT {n:String} AS x, {i:UInt8} AS y FORMAT Vertical"))
	require.True(t, strings.HasPrefix(raw("SELECT 1 AS x FORMAT Parquet SETTINGS max_threads = 1"), "PAR1"))
	require.Equal(t, 200_000, strings.Count(raw("SELECT number FROM numbers(200000) FORMAT TSV"), "\n"))
	require.Empty(t, raw("SELECT 1 WHERE 0 FORMAT CSV"))

	for sql, says := range map[string]string{
		"SELECT nonsense FORMAT CSV":   "nonsense",
		"SELECT 1 FORMAT NoSuchFormat": "NoSuchFormat",
		"SELECT throwIf(number = 150000, 'in the middle') FROM numbers(200000) FORMAT CSV SETTINGS max_block_size = 1000": "in the middle",
	} {
		require.ErrorContains(t, db.Show(t.Context(), sql, Display{Format: FormatText, Rows: &bytes.Buffer{}}), says, sql)
	}
}

// parametersStay says that a value comes back as it was given, whatever stands in it.
func parametersStay(t *testing.T, db *DB) {
	t.Helper()
	for _, value := range []string{"", "plain", "it's", `a\tb\\c\`, "tab\tline\nreturn\r", `{x:String}") -- `, "日本語 \u202e"} {
		var out bytes.Buffer
		d := Display{Format: FormatJSON, Rows: &out, Parameters: map[string]string{"v": value, "n": "18446744073709551615"}}
		require.NoError(t, db.Show(t.Context(), "SELECT {v:String} AS v, {n:UInt64} AS n", d), "%q", value)
		var row struct {
			V string
			N uint64
		}
		require.NoError(t, json.Unmarshal(out.Bytes(), &row))
		require.Equal(t, value, row.V)
		require.Equal(t, uint64(18446744073709551615), row.N)
	}
}

func TestParametersStayAsTheyWereGiven(t *testing.T) { parametersStay(t, migrated(t)) }
