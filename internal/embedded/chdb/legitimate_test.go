package chdb_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/embedded/chdb"
	"github.com/plumbline-sec/plumbline/internal/embedded/chdb/chdbtest"
	"github.com/plumbline-sec/plumbline/internal/seeded"
)

// legitimate are statements as people, clients, dashboards and migrations send them, in
// this order.
var legitimate = []string{
	"CREATE DATABASE IF NOT EXISTS w",
	"CREATE DATABASE a ENGINE = Atomic",
	"CREATE TABLE IF NOT EXISTS w.t (id UInt64, at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)), kind LowCardinality(String) DEFAULT 'x', tags Array(String), m Map(String, UInt64), " +
		"j JSON(a.b UInt32), d Decimal(18, 4), e Enum8('a' = 1, 'b' = 2), n Nested(x UInt8), u UInt64 MATERIALIZED id * 2, " +
		"INDEX i (kind, id) TYPE bloom_filter(0.01) GRANULARITY 4, INDEX g kind TYPE ngrambf_v1(3, 256, 2, 0), PROJECTION p (SELECT kind, count() GROUP BY kind), CONSTRAINT c CHECK (id >= 0)) " +
		"ENGINE = ReplacingMergeTree(at) PARTITION BY toYYYYMM(at) PRIMARY KEY (kind) ORDER BY (kind, id) TTL toDateTime(at) + INTERVAL 1 YEAR DELETE " +
		"SETTINGS index_granularity = 8192, deduplicate_merge_projection_mode = 'drop', materialize_ttl_recalculate_only = 1 COMMENT 'what is stored'",
	"CREATE TABLE w.plain (a UInt64, `b-c` String) ENGINE = MergeTree ORDER BY a",
	"CREATE TABLE w.copy AS w.plain",
	"CREATE TABLE w.mem (a UInt64) ENGINE = Memory SETTINGS max_rows_to_keep = 100",
	"CREATE TABLE w.log ENGINE = Log AS SELECT number AS a FROM numbers(3)",
	"CREATE OR REPLACE TABLE w.nul (a UInt64) ENGINE = Null",
	"CREATE TABLE w.j (k UInt64, v String) ENGINE = Join(ANY, LEFT, k)",
	"CREATE OR REPLACE VIEW w.v AS SELECT kind, count() AS n FROM w.t FINAL GROUP BY kind SETTINGS do_not_merge_across_partitions_select_final = 1",
	"CREATE VIEW w.pv AS SELECT * FROM w.plain WHERE a = {a:UInt64}",
	"CREATE TABLE w.sums (kind String, n SimpleAggregateFunction(sum, UInt64), u AggregateFunction(uniq, UInt64)) ENGINE = AggregatingMergeTree ORDER BY kind",
	"CREATE MATERIALIZED VIEW w.mv TO w.sums AS SELECT kind, toUInt64(count()) AS n, uniqState(id) AS u FROM w.t GROUP BY kind",
	"INSERT INTO w.t (id, at, kind, tags, m) VALUES (1, now64(3), 'a', ['x', 'it''s'], map('k', 1)), (2, toDateTime64('2026-01-01 00:00:00', 3, 'UTC'), concat('b', 'c'), [], map())",
	"INSERT INTO w.t (id, at) FORMAT JSONEachRow {\"id\": 3, \"at\": \"2026-01-01 00:00:00\"}",
	"INSERT INTO w.t (id, at, kind) SELECT number, now64(3), 'n' FROM numbers(10)",
	"INSERT INTO `w`.`plain` (`a`, `b-c`) VALUES (1, 'file(\\'/etc/passwd\\')')",
	"INSERT INTO w.plain SELECT number, randomPrintableASCII(8) FROM numbers_mt(10) SETTINGS max_threads = 1, async_insert = 0",
	"INSERT INTO FUNCTION null('a UInt64') VALUES (1)",
	"INSERT INTO w.j VALUES (1, 'one')",
	"SELECT version(), timezone(), currentDatabase(), currentUser(), hostName(), uptime() >= 0",
	"SELECT 'the function file is not called', \"b-c\", `a` FROM w.plain -- file('/etc/passwd')",
	"SELECT /* file('/etc/passwd') /* nested */ */ 1 # file(\n",
	"SELECT t.a FROM w.plain AS t ANY LEFT JOIN w.mem USING (a) WHERE t.a IN (1, 2) AND NOT (a = 3) OR (a BETWEEN (1) AND (2))",
	"SELECT uniqExact(kind), countIf(id > 1), quantile(0.99)(id), quantilesTDigestIf(0.5, 0.9)(id, 1), sumMap(m), argMax(kind, id), groupUniqArray(5)(kind), avgOrNull(id), anyLastOrDefaultIf(kind, 1) FROM w.t",
	"SELECT kind, sum(n), uniqMerge(u) FROM w.sums GROUP BY kind WITH TOTALS ORDER BY kind LIMIT 10 BY kind",
	"SELECT arrayMap(x -> x * 2, [1, 2]), arrayFilter((x, y) -> y, [1, 2], [0, 1]), arrayJoin(tags), tags[1], m['k'], tuple(1, 'a').1, CAST(1 AS String), 1::UInt8, '2026-01-01'::Date FROM w.t",
	"SELECT * APPLY toString, * EXCEPT (a), * REPLACE (a + 1 AS a), COLUMNS('a') FROM w.plain",
	"SELECT toStartOfInterval(at, INTERVAL 5 MINUTE) AS bucket, count() FROM w.t WHERE at >= now() - INTERVAL 1 DAY GROUP BY bucket ORDER BY bucket WITH FILL STEP INTERVAL 5 MINUTE",
	"SELECT a, row_number() OVER (PARTITION BY a ORDER BY a ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS r, sum(a) OVER win FROM w.plain WINDOW win AS (ORDER BY a)",
	"WITH x AS (SELECT 1 AS a), y AS (SELECT a FROM x) SELECT (SELECT max(a) FROM y), EXISTS(SELECT 1), CASE WHEN (a = 1) THEN (2) ELSE (3) END FROM y",
	"WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 3) SELECT * FROM r",
	"SELECT EXTRACT(YEAR FROM now()), SUBSTRING('abc', 1, 2), TRIM(BOTH ' ' FROM ' x '), POSITION('b' IN 'abc'), DATE_ADD(DAY, 1, today()), dateDiff('day', today(), today() + 1), INTERVAL 1 DAY",
	"SELECT if(1, 2, 3), multiIf(1, 'a', 'b'), coalesce(NULL, 1), greatest(1, 2), round(1.5e-3, 4), 0x1F, 1e5, -1.5, .5, NOT (1), formatReadableSize(1024), bar(1, 0, 10, 5), LEFT('ab', 1), format('{} {}', 'a', 'b')",
	"SELECT JSONExtractString('{\"a\":\"b\"}', 'a'), simpleJSONExtractInt('{\"a\":1}', 'a'), splitByChar(',', 'a,b'), match('a', '^a$'), replaceRegexpAll('a', 'a', 'b'), hex(MD5('a')), base64Encode('a'), cityHash64('a'), UUIDStringToNum('61f0c404-5cb3-11e7-907b-a6006ad3dba0')",
	"SELECT kind, count() FROM w.t GROUP BY GROUPING SETS ((kind), ()) ORDER BY (kind) LIMIT 1 OFFSET 0",
	"SELECT kind, count() FROM w.t GROUP BY ROLLUP(kind) HAVING (count() > 0)",
	"SELECT count() FROM w.t PREWHERE (id > 0) WHERE (kind != '') SETTINGS max_threads = 2, max_execution_time = 1e1, optimize_move_to_prewhere = 0 FORMAT JSON",
	"SELECT DISTINCT ON (kind) kind FROM w.t QUALIFY (1)",
	"(SELECT 1 AS a) UNION DISTINCT (SELECT 2) EXCEPT (SELECT 3) INTERSECT (SELECT 1)",
	"FROM w.plain SELECT a LIMIT 1",
	"SELECT * FROM w.pv(a = 1)",
	"SELECT * FROM values('a UInt8, b String', (1, 'x'), (2, 'y'))",
	"SELECT * FROM generateRandom('a UInt8, b Array(String)') LIMIT 1",
	"SELECT * FROM generate_series(1, 3) AS a, zeros(1) AS b, numbers(1) AS c, view(SELECT 1 AS one) AS d, null('x Int8') AS e",
	"SELECT * FROM format(JSONEachRow, 'a UInt8', '{\"a\": 1}')",
	"SELECT untuple((1, 2))",
	"SELECT settings, `format` FROM (SELECT 1 AS settings, 2 AS `format`)",
	"SELECT joinGet('w.j', 'v', toUInt64(1))",
	"SELECT name, engine, total_rows FROM system.tables WHERE database = 'w' AND engine = 'Memory'",
	"SELECT name, type, position FROM system.columns WHERE database = 'w' AND table = 't' ORDER BY position",
	"SELECT database, table, sum(bytes_on_disk), sum(rows) FROM system.parts WHERE active GROUP BY database, table",
	"SELECT name FROM system.databases UNION ALL SELECT name FROM system.functions LIMIT 3",
	"SELECT query_id, elapsed, query FROM system.processes",
	"SELECT name, value FROM system.settings WHERE changed",
	"SELECT metric, value FROM system.metrics LIMIT 1",
	"SELECT event, value FROM system.events LIMIT 1",
	"SELECT * FROM system.one, system.numbers LIMIT 1",
	"SELECT table_name FROM information_schema.tables WHERE table_schema = 'w'",
	"SHOW DATABASES",
	"SHOW TABLES FROM w LIKE '%'",
	"SHOW CREATE TABLE w.t",
	"SHOW COLUMNS FROM t FROM w",
	"SHOW PROCESSLIST",
	"SHOW FUNCTIONS LIKE 'sum'",
	"SHOW GRANTS",
	"DESCRIBE TABLE w.t",
	"DESC (SELECT 1 AS a)",
	"EXISTS TABLE w.t",
	"EXPLAIN SELECT count() FROM w.t",
	"EXPLAIN indexes = 1, actions = 1 SELECT count() FROM w.t",
	"EXPLAIN SYNTAX SELECT 1",
	"EXPLAIN PIPELINE SELECT count() FROM w.t",
	"EXPLAIN AST SELECT 1",
	"ALTER TABLE w.plain ADD COLUMN c String DEFAULT upper('c') AFTER a, MODIFY COLUMN a COMMENT 'it', ADD INDEX ic c TYPE set(100) GRANULARITY 1",
	"ALTER TABLE w.plain ADD PROJECTION pp (SELECT c, count() GROUP BY c)",
	"ALTER TABLE w.plain MATERIALIZE PROJECTION pp SETTINGS mutations_sync = 2",
	"ALTER TABLE w.plain UPDATE c = concat(c, 'x') WHERE a IN (1, 2) SETTINGS mutations_sync = 2",
	"ALTER TABLE w.plain DELETE WHERE (a = 1) SETTINGS mutations_sync = 2",
	"ALTER TABLE w.plain DROP PROJECTION pp, DROP INDEX ic",
	"ALTER TABLE w.plain RENAME COLUMN c TO cc, MODIFY SETTING parts_to_throw_insert = 1000, fsync_after_insert = 1",
	"ALTER TABLE w.plain RESET SETTING parts_to_throw_insert",
	"ALTER TABLE w.plain MODIFY COMMENT 'x'",
	"ALTER TABLE w.t MODIFY TTL toDateTime(least(at + toIntervalDay(30 + 1), toDateTime64('2106-01-01 00:00:00', 3, 'UTC')), 'UTC')",
	"ALTER TABLE w.t MODIFY QUERY SELECT 1",
	"ALTER TABLE w.t DROP PARTITION 202601",
	"ALTER TABLE w.log COMMENT COLUMN a 'b'",
	"DELETE FROM w.plain WHERE a = 2",
	"OPTIMIZE TABLE w.t FINAL DEDUPLICATE",
	"SYSTEM STOP TTL MERGES w.t",
	"SYSTEM START MERGES w.t",
	"SYSTEM FLUSH LOGS",
	"SYSTEM DROP MARK CACHE",
	"TRUNCATE TABLE w.mem",
	"RENAME TABLE w.copy TO w.copied",
	"EXCHANGE TABLES w.copied AND w.plain",
	"CHECK TABLE w.plain",
	"KILL QUERY WHERE query_id = 'nobody' SYNC",
	"KILL MUTATION WHERE database = 'nobody'",
	"USE w",
	"SET max_threads = 2, join_use_nulls = 1",
	"DROP VIEW w.mv",
	"DROP TABLE IF EXISTS w.t SYNC",
	"DROP DATABASE w",
}

func TestLegitimateStatementsPass(t *testing.T) {
	w := newWeb(t, chdbtest.Start(t))
	for _, sql := range legitimate {
		a := w.post(sql)
		if sql == "ALTER TABLE w.t MODIFY QUERY SELECT 1" { // it is the engine that says no, to what is no view
			assert.NotContains(t, a.body, "ACCESS_DENIED")
			continue
		}
		assert.Equal(t, http.StatusOK, a.status, "%s: %s", sql, a.body)
	}
}

// TestEverythingThatTheEngineHasIsDecided fails where an engine of another version brings
// something new: write it into its list, with a + where it reads no file, asks nobody and
// looks into nothing, else with a -.
func TestEverythingThatTheEngineHasIsDecided(t *testing.T) {
	w := newWeb(t, chdbtest.Start(t))
	for list, sql := range map[string]string{
		"functions":       "SELECT name FROM system.functions",
		"table_functions": "SELECT name FROM system.table_functions",
		"engines":         "SELECT name FROM system.table_engines",
		"formats":         "SELECT name FROM system.formats",
		"settings":        "SELECT name FROM system.settings UNION DISTINCT SELECT name FROM system.merge_tree_settings",
		"system_tables":   "SELECT name FROM system.tables WHERE database = 'system'",
	} {
		decided := chdb.Decided(list)
		n := 0
		for name := range strings.Lines(w.must(sql + " FORMAT TSVRaw")) {
			n++
			_, ok := decided[strings.ToLower(strings.TrimSpace(name))]
			assert.True(t, ok, "%s: %s is new: decide", list, name)
		}
		assert.Greater(t, n, 50, list)
	}
	for name := range strings.Lines(w.must("SELECT name FROM system.functions WHERE is_aggregate AND alias_to = '' FORMAT TSVRaw")) {
		name = strings.TrimSpace(name)
		permitted := chdb.Decided("functions")[strings.ToLower(name)]
		assert.Equal(t, permitted, permitted && chdb.Aggregates(name), "%s is an aggregate function", name)
	}
	for line := range strings.Lines(w.must("SELECT name, alias_for FROM system.settings WHERE alias_for != '' FORMAT TSVRaw")) {
		name, other, _ := strings.Cut(strings.TrimSpace(line), "\t")
		assert.Equal(t, chdb.Decided("settings")[other], chdb.Decided("settings")[name], "%s is %s", name, other)
	}
}

func TestNoNameIsPermittedByOneListAndRefusedByAnother(t *testing.T) {
	lists := []string{"functions", "table_functions", "types"}
	for _, a := range append(lists, "words") {
		for name, permitted := range chdb.Decided(a) {
			for _, b := range lists {
				if other, ok := chdb.Decided(b)[name]; ok {
					assert.Equal(t, permitted, other, "%s in %s and in %s", name, a, b)
				}
			}
		}
	}
}

// TestAStatementIsCutAsTheEngineCutsIt compares the lexer with the engine's, on texts of
// pieces in which a name could be hidden: where ours understands a text at all, names and
// strings must begin and end where the engine's do.
func TestAStatementIsCutAsTheEngineCutsIt(t *testing.T) {
	w := newWeb(t, chdbtest.Start(t))
	rng := seeded.Rand(t)
	pieces := []string{
		"'", "'", "\"", "`", "\\", "''", "\\'", "$", "$a$", "$$", "$ $", "--", "//", "# ", "#!", "#", "/*", "*/", "\n", "\r", "\t", "\v", "\f", " ", " ", "x'", "b'", "X'", "0x", "1e-5", "1.5", ".5", "1_0", "1a",
		"file", "a", "_", "(", ")", ",", ".", ";", "-", "/", "*", "->", "::", "{x:UInt8}", "[", "]", "“", "”", "‘", "’", "\u00a0", "\u2003", "é", "\x00", "@", "@@", "?", "|", "||", "!", "=", "<>", "\\x66",
	}
	texts := append([]string{}, hostile...)
	texts = append(texts, legitimate...)
	for range 20_000 {
		var b strings.Builder
		for range 1 + rng.IntN(12) {
			b.WriteString(pieces[rng.IntN(len(pieces))])
		}
		texts = append(texts, b.String())
	}
	var body strings.Builder
	for i, text := range texts {
		row, err := json.Marshal(map[string]any{"i": i, "s": text})
		require.NoError(t, err)
		fmt.Fprintf(&body, "%s\n", row)
	}
	w.must("CREATE TABLE texts (i UInt64, s String) ENGINE = Memory")
	a := w.post(body.String(), "query", "INSERT INTO texts FORMAT JSONEachRow")
	require.Equal(t, http.StatusOK, a.status, a.body)
	out := w.must("SELECT i, s, arrayMap(t -> (toUInt64(t.1), toUInt64(t.2), toString(t.3)), tokenizeQuery(s)) FROM texts ORDER BY i FORMAT JSONCompactEachRow", "output_format_json_quote_64bit_integers", "0")
	compared := 0
	scanner := bufio.NewScanner(strings.NewReader(out))
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		var row []json.RawMessage
		require.NoError(t, json.Unmarshal(scanner.Bytes(), &row))
		var text string
		var tokens [][]any
		require.NoError(t, json.Unmarshal(row[1], &text))
		require.NoError(t, json.Unmarshal(row[2], &tokens))
		ours, understood := chdb.Cut(text)
		if !understood {
			continue
		}
		compared++
		var theirs []string
		for _, tok := range tokens {
			if kind := tok[2].(string); kind == "BareWord" && !strings.ContainsAny(text[int(tok[0].(float64)):][:1], "0123456789") || kind == "QuotedIdentifier" || kind == "StringLiteral" || kind == "HereDoc" {
				theirs = append(theirs, text[int(tok[0].(float64)):int(tok[1].(float64))])
			}
		}
		require.Equal(t, theirs, ours, "%q", text)
	}
	require.NoError(t, scanner.Err())
	assert.Greater(t, compared, 2000)
	t.Logf("%d of %d texts compared", compared, len(texts))
}

func TestTheChildHasNoSecretsInItsEnvironment(t *testing.T) {
	t.Setenv(secretName, secret)
	s := chdbtest.StartServer(t)
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", s.Pid()))
	require.NoError(t, err)
	assert.NotEmpty(t, env)
	assert.NotContains(t, string(env), secret)
	assert.NotContains(t, string(env), "HOME=")
}
