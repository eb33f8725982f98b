package chdb_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/embedded/chdb/chdbtest"
)

const (
	secretName = "PLUMBLINE_TEST_PASSWORD"
	secret     = "correct-horse-battery"
	canary     = "what-nobody-may-read"
)

// hostile are statements that would read a file, the environment or the process, reach
// the network, run or stop something, each by a way of its own. CANARY is a file's path.
var hostile = []string{
	"SELECT file('CANARY')",
	"SELECT FILE('CANARY')",
	"SELECT file ('CANARY')",
	"SELECT file/**/('CANARY')",
	"SELECT file -- why\n('CANARY')",
	"SELECT file // why\n('CANARY')",
	"SELECT file # why\n('CANARY')",
	"SELECT \"file\"('CANARY')",
	"SELECT `file`('CANARY')",
	"SELECT `\\x66ile`('CANARY')",
	"SELECT \"f\\x69le\"('CANARY')",
	"SELECT “file”(‘CANARY’)",
	"SELECT file(‘CANARY’)",
	"SELECT\u00a0file('CANARY')",
	"SELECT\u2003file\u00a0('CANARY')",
	"SELECT file($a$CANARY$a$)",
	"SELECT 1, $a$ ' $a$, file('CANARY') -- '",
	"SELECT $'$ x' $'$, file('CANARY')",
	"SELECT x'\\', file('CANARY') --'",
	"SELECT b'\\', file('CANARY') --'",
	"SELECT '\\', file(\\'', file('CANARY')",
	"SELECT 'it''s', file('CANARY')",
	"SELECT /* /* */ 1, file('CANARY') /* */ */",
	"SELECT 1 /* */, file('CANARY')",
	"SELECT arrayMap(file, ['CANARY'])",
	"SELECT arrayMap(`file`, ['CANARY'])",
	"SELECT arrayMap(x -> file(x), ['CANARY'])",
	"SELECT * APPLY file FROM (SELECT 'CANARY')",
	"SELECT * APPLY(file) FROM (SELECT 'CANARY')",
	"SELECT COLUMNS('a') APPLY(x -> file(x)) FROM (SELECT 'CANARY' AS a)",
	"WITH file('CANARY') AS x SELECT x",
	"WITH (x -> file(x)) AS f SELECT f('CANARY')",
	"FROM numbers(1) SELECT file('CANARY')",
	"((SELECT file('CANARY')))",
	"SELECT 1 UNION ALL SELECT length(file('CANARY'))",
	"SELECT * FROM view(SELECT file('CANARY'))",
	"SELECT * FROM loop(view(SELECT file('CANARY'))) LIMIT 1",
	"SELECT * FROM viewIfPermitted(SELECT file('CANARY') AS x ELSE null('x String'))",
	"SELECT * FROM values('a String', (file('CANARY')))",
	"SELECT * FROM format(Values, 'a String', '(file(\\'CANARY\\'))')",
	"SELECT * FROM format('Values', 'a String', $$(file('CANARY'))$$)",
	"SELECT * FROM format(concat('Val', 'ues'), 'a String', $$(file('CANARY'))$$)",
	"SELECT * FROM eval('SELECT file(\\'CANARY\\')') SETTINGS allow_experimental_eval_table_function = 1",
	"SELECT count() SETTINGS additional_result_filter = 'file(\\'CANARY\\') != \\'\\''",
	"SELECT * FROM system.one SETTINGS additional_table_filters = {'system.one': 'length(file(\\'CANARY\\')) > 0'}",
	"SELECT 1 SETTINGS max_execution_time = 1e-5, additional_result_filter = '1'",
	"SELECT 1 SETTINGS max_threads = 1, `dialect` = 'kusto'",
	"EXPLAIN SELECT file('CANARY')",
	"EXPLAIN PLAN actions = 1 SELECT file('CANARY')",
	"DESCRIBE TABLE file('CANARY', LineAsString)",
	"DESC (SELECT file('CANARY'))",
	"SELECT * FROM (EXPLAIN SELECT file('CANARY'))",
	"SELECT * FROM viewExplain('EXPLAIN', '', (SELECT file('CANARY')))",
	"SELECT * FROM file('CANARY', LineAsString)",
	"SELECT * FROM \"file\"('CANARY', LineAsString)",
	"SELECT * FROM filesystem('/etc')",
	"SELECT * FROM 'CANARY'",
	"SELECT * FROM \"CANARY\"",
	"SELECT * FROM system.one, \"CANARY\"",
	"EXISTS TABLE \"CANARY\"",
	"SHOW CREATE TABLE `CANARY`",
	"DROP TABLE `CANARY`",
	"RENAME TABLE victim TO `CANARY`",
	"EXCHANGE TABLES `CANARY` AND victim",
	"INSERT INTO `CANARY` VALUES (1)",
	"SELECT * FROM icebergLocal('/etc')",
	"SELECT * FROM deltaLakeLocal('/etc')",
	"SELECT * FROM sqlite('CANARY', 't')",
	"SELECT * FROM executable('id', TSV, 'a String')",
	"SELECT * FROM url('http://127.0.0.1:PORT/ping', LineAsString)",
	"SELECT * FROM s3('http://127.0.0.1:PORT/a/b', LineAsString)",
	"SELECT * FROM remote('127.0.0.1:PORT', system.one)",
	"SELECT * FROM cluster('default', system.one)",
	"SELECT * FROM mysql('127.0.0.1:PORT', 'd', 't', 'u', 'p')",
	"SELECT * FROM postgresql('127.0.0.1:PORT', 'd', 't', 'u', 'p')",
	"SELECT * FROM redis('127.0.0.1:PORT', 'k', 'k String')",
	"SELECT * FROM prometheusQuery('t', 'up', now())",
	"SELECT * FROM dictionary('d')",
	"SELECT * FROM fuzzQuery('SELECT 1')",
	"SELECT hasColumnInTable('127.0.0.1:PORT', 'u', 'p', 'd', 't', 'c')",
	"SELECT catboostEvaluate('CANARY', 1)",
	"SELECT aiGenerate('x', 'y')",
	"SELECT addressToLine(0), demangle('x') SETTINGS allow_introspection_functions = 1",
	"SELECT getServerSetting('path')",
	"SELECT getMacro('x')",
	"SELECT logTrace('x')",
	"SELECT generateSerialID('x')",
	"SELECT dictGet('d', 'a', 1)",
	"SELECT showCertificate()",
	"SELECT * FROM system.stack_trace",
	"SELECT * FROM `system`.`stack_trace`",
	"SELECT * FROM merge('system', 'stack')",
	"CREATE TABLE h (thread_id UInt64) ENGINE = Merge('system', 'stack')",
	"CREATE TABLE h AS system.stack_trace ENGINE = Buffer('system', 'stack_trace', 1, 1, 1, 1, 1, 1, 1)",
	"CREATE VIEW h AS SELECT * FROM system.stack_trace",
	"SELECT * FROM system.user_directories",
	"SELECT * FROM system.server_settings",
	"INSERT INTO victim VALUES (file('CANARY'))",
	"INSERT INTO victim VALUES ('x'), (arrayMap(`file`, ['CANARY'])[1])",
	"INSERT INTO victim SELECT file('CANARY')",
	"INSERT INTO victim FROM INFILE 'CANARY' FORMAT LineAsString",
	"INSERT INTO FUNCTION file('/tmp/plumbline-hostile', LineAsString) SELECT 'x'",
	"INSERT INTO TABLE FUNCTION url('http://127.0.0.1:PORT/', LineAsString) SELECT 'x'",
	"INSERT INTO FUNCTION file('/tmp/plumbline-hostile', 'TSV', 'a String') VALUES ('x')",
	"INSERT INTO victim SETTINGS input_format_values_interpret_expressions = 1 VALUES (concat('a', 'b'))",
	"INSERT INTO victim SETTINGS format_schema = 'CANARY' FORMAT CapnProto x",
	"INSERT INTO victim SETTINGS input_format_record_errors_file_path = '/tmp/plumbline-hostile' FORMAT TSV\nx",
	"SELECT 1 INTO OUTFILE '/tmp/plumbline-hostile'",
	"SELECT 1 FORMAT Template SETTINGS format_template_row = 'CANARY'",
	"SELECT 1 FORMAT \"Template\"",
	"CREATE TABLE h (a String) ENGINE = File(CSV, 'CANARY')",
	"CREATE TABLE h (a String) ENGINE File(CSV, 'CANARY')",
	"CREATE TABLE h (a String) ENGINE = `File`(CSV, 'CANARY')",
	"CREATE TABLE h (a String) ENGINE = URL('http://127.0.0.1:PORT/', CSV)",
	"CREATE TABLE h (a String) ENGINE = Kafka",
	"CREATE TABLE h AS file('CANARY', LineAsString)",
	"CREATE TABLE h ENGINE = Memory AS SELECT file('CANARY') AS a",
	"CREATE TABLE h (a String DEFAULT file('CANARY')) ENGINE = Memory",
	"CREATE TABLE h (a String, b String MATERIALIZED file(a)) ENGINE = Memory",
	"CREATE TABLE h (a UInt64) ENGINE = MergeTree ORDER BY a SETTINGS disk = disk(type = local, path = '/tmp/plumbline-hostile/')",
	"CREATE TABLE h (a UInt64) ENGINE = MergeTree ORDER BY a SETTINGS index_granularity = 8192, disk = 'default'",
	"CREATE TABLE h (a UInt64) ENGINE = MergeTree ORDER BY a SETTINGS storage_policy = 'default'",
	"CREATE TABLE h (a UInt64) ENGINE = Log SETTINGS disk = disk(type = local, path = '/tmp/plumbline-hostile/')",
	"CREATE VIEW h AS SELECT file('CANARY')",
	"CREATE MATERIALIZED VIEW h TO victim AS SELECT file(a) AS a FROM victim",
	"CREATE DATABASE h ENGINE = Filesystem('/etc')",
	"CREATE DATABASE h ENGINE = SQLite('CANARY')",
	"CREATE DATABASE h ENGINE = MySQL('127.0.0.1:PORT', 'd', 'u', 'p')",
	"CREATE DICTIONARY h (a UInt64, b String) PRIMARY KEY a SOURCE(FILE(PATH 'CANARY' FORMAT CSV)) LAYOUT(FLAT()) LIFETIME(0)",
	"CREATE FUNCTION h AS (x) -> file(x)",
	"CREATE FUNCTION h AS (x) -> x",
	"CREATE NAMED COLLECTION h AS a = 'b'",
	"CREATE USER h",
	"CREATE OR REPLACE TEMPORARY FUNCTION h AS x -> x",
	"ALTER TABLE victim UPDATE a = file('CANARY') WHERE 1",
	"ALTER TABLE victim ADD COLUMN b String DEFAULT file('CANARY')",
	"ALTER TABLE victim MODIFY SETTING disk = 'default'",
	"ALTER TABLE victim FREEZE",
	"ALTER TABLE victim FETCH PARTITION tuple() FROM '/x'",
	"DELETE FROM victim WHERE file('CANARY') != ''",
	"UPDATE victim SET a = file('CANARY') WHERE 1",
	"ATTACH TABLE h FROM '/etc' (a UInt64) ENGINE = MergeTree ORDER BY a",
	"DETACH TABLE victim",
	"BACKUP TABLE victim TO File('/tmp/plumbline-hostile')",
	"RESTORE TABLE victim FROM File('/tmp/plumbline-hostile')",
	"BACKUP TABLE victim TO Disk('default', 'x')",
	"SYSTEM SHUTDOWN",
	"SYSTEM KILL",
	"SYSTEM RELOAD CONFIG",
	"SYSTEM RELOAD USERS",
	"SYSTEM ENABLE FAILPOINT x",
	"SYSTEM START LISTEN TCP",
	"SYSTEM RESTART DISK default",
	"GRANT ALL ON *.* TO default",
	"REVOKE SELECT ON *.* FROM default",
	"EXECUTE AS default SELECT 1",
	"SET dialect = 'kusto'",
	"SET max_threads = 1, dialect = 'prql'",
	"SET \"dialect\" = 'kusto'",
	"SET param_f = 'file'",
	"SET ROLE ALL",
	"DROP TABLE IF EXISTS nothere PARALLEL WITH SYSTEM SHUTDOWN",
	"SELECT 1; SYSTEM SHUTDOWN",
	"SELECT 1;\n\nSELECT file('CANARY')",
	"\\i CANARY",
	"?? read me CANARY",
	"file('CANARY')",
	"SELECT file('/proc/self/environ')",
	"SELECT * FROM file('/proc/self/environ', RawBLOB)",
	"SELECT nosuchfunctionyet('CANARY')",
	"SELECT w.file('CANARY')",
	"SELECT arrayMap(x -> `file`(x), ['CANARY'])",
	"SELECT arrayMap((file), ['CANARY'])",
	"SELECT arrayMap(file AS f, ['CANARY'])",
	"SELECT 1e5, .5file('CANARY')",
	"CREATE TABLE h (a Array(String) DEFAULT arrayMap(file, ['CANARY'])) ENGINE = Memory",
	"CREATE TABLE h (a String, INDEX i file(a) TYPE minmax) ENGINE = MergeTree ORDER BY a",
	"CREATE TABLE h (a String, PROJECTION p (SELECT file(a) ORDER BY a)) ENGINE = MergeTree ORDER BY a",
	"CREATE TABLE h (a String, CONSTRAINT c CHECK file(a) != '') ENGINE = Memory",
	"CREATE TABLE h (a DateTime) ENGINE = MergeTree ORDER BY a TTL a + toIntervalDay(length(file('CANARY')))",
}

// startWithCanary puts the file where the kernel lets the engine read: it is the list
// that is tested here.
func startWithCanary(t *testing.T) (addr, file string) {
	t.Helper()
	dir := t.TempDir()
	file = filepath.Join(dir, "canary")
	require.NoError(t, os.WriteFile(file, []byte(canary), 0o600))
	return chdbtest.Start(t, chdbtest.WithDataDir(dir)), file
}

func TestHostileStatementsAreRefusedByEveryWayIn(t *testing.T) {
	t.Setenv(secretName, secret)
	addr, file := startWithCanary(t)
	w := newWeb(t, addr)
	w.must("CREATE TABLE victim (a String) ENGINE = MergeTree ORDER BY tuple()")
	_, port, _ := strings.Cut(addr, ":")
	fill := strings.NewReplacer("CANARY", file, "PORT", port)
	for _, sql := range hostile {
		sql = fill.Replace(sql)
		half := strings.Index(sql, "(")
		if half < 0 {
			half = len(sql)
		}
		for way, a := range map[string]answer{
			"posted":           w.post(sql),
			"got":              w.get("query", sql),
			"half in the URL":  w.post(sql[half:], "query", sql[:half]),
			"in a session":     w.post(sql, "session_id", "s"),
			"got in a session": w.get("query", sql, "session_id", "s"),
			"in pieces":        w.post(sql, "default_format", "JSONEachRow"),
		} {
			assert.NotEqual(t, http.StatusOK, a.status, "%s, %s: %s", sql, way, a.body)
			assert.NotContains(t, a.body, canary, "%s, %s", sql, way)
			assert.NotContains(t, a.body, secret, "%s, %s", sql, way)
			assert.NotEmpty(t, a.head.Get("X-ClickHouse-Exception-Code"), "%s, %s", sql, way)
		}
	}
	assert.NoFileExists(t, "/tmp/plumbline-hostile")
	assert.Equal(t, "0\n", w.must("SELECT count() FROM victim"))
	assert.Equal(t, "victim\n", w.must("SHOW TABLES"))
}

func TestWhatStandsBesideAStatementIsLookedAtToo(t *testing.T) {
	addr, file := startWithCanary(t)
	w := newWeb(t, addr)
	for name, pairs := range map[string][]string{
		"a function as a parameter":        {"query", "SELECT arrayMap({f:Identifier}, ['" + file + "'])", "param_f", "file"},
		"one in quotes":                    {"query", "SELECT arrayMap({ f : Identifier }, ['" + file + "'])", "param_f", "`file`"},
		"a path as a parameter":            {"query", "SELECT * FROM {t:Identifier}", "param_t", file},
		"a system table as a parameter":    {"query", "SELECT * FROM {t:Identifier}", "param_t", "system.stack_trace"},
		"a function among values":          {"query", "INSERT INTO FUNCTION null('a Array(String)') VALUES (arrayMap({f:Identifier}, ['" + file + "']))", "param_f", "file"},
		"another language":                 {"query", "SELECT 1", "dialect", "kusto"},
		"a filter that is SQL":             {"query", "SELECT 1", "additional_result_filter", "file('" + file + "') = ''"},
		"expressions among values":         {"query", "SELECT * FROM format(Values, 'a String', $$(file('" + file + "'))$$)", "input_format_values_interpret_expressions", "1"},
		"templates of them":                {"query", "SELECT * FROM format(Values, 'a String', $$(file('" + file + "'))$$)", "input_format_values_deduce_templates_of_expressions", "1"},
		"a template":                       {"query", "SELECT 1", "default_format", "Template", "format_template_row", file},
		"a format of the URL":              {"query", "SELECT 1", "default_format", "Template"},
		"a schema":                         {"query", "SELECT 1", "format_schema", file},
		"a path for errors":                {"query", "SELECT 1", "input_format_record_errors_file_path", "/tmp/x"},
		"a refused setting in other case":  {"query", "SELECT 1", "Dialect", "kusto"},
		"a setting that nobody decided on": {"query", "SELECT 1", "no_such_setting", "1"},
	} {
		for _, session := range []string{"", "s"} {
			if session != "" {
				pairs = append(pairs, "session_id", session)
			}
			for way, a := range map[string]answer{"got": w.get(pairs...), "posted": w.post("", pairs...)} {
				assert.NotEqual(t, http.StatusOK, a.status, "%s, %s: %s", name, way, a.body)
				assert.NotContains(t, a.body, canary, "%s, %s", name, way)
			}
		}
	}
}

func TestManyRowsAreValuesAndNoExpressions(t *testing.T) {
	w := newWeb(t, chdbtest.Start(t))
	w.must("CREATE TABLE t (a String) ENGINE = MergeTree ORDER BY tuple()")
	many := strings.Repeat("('it''s'),", 200_000)
	w.must("INSERT INTO t VALUES " + many + "('last')")
	assert.Equal(t, "200001\n", w.must("SELECT count() FROM t"))
	a := w.post("INSERT INTO t VALUES " + many + "(concat('a', 'b'))")
	assert.NotEqual(t, http.StatusOK, a.status)
	a = w.post("INSERT INTO t VALUES "+many+"(concat('a', 'b'))", "session_id", "s")
	assert.NotEqual(t, http.StatusOK, a.status)
	w.must("INSERT INTO t VALUES (concat('a', 'b'))", "session_id", "s")
	a = w.post("SELECT * FROM format(Values, 'a String', '(concat(\\'a\\', \\'b\\'))')", "session_id", "s")
	assert.NotEqual(t, http.StatusOK, a.status, "what an insert was permitted does not stay with its session")
}
