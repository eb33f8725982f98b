package chdb_test

import (
	"encoding/base64"
	"net/http"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/embedded/chdb"
	"github.com/plumbline-sec/plumbline/internal/embedded/chdb/chdbtest"
)

const readersPassword = "it's <a> secret"

func startWithReader(t *testing.T) *web {
	t.Helper()
	return newWeb(t, chdbtest.Start(t, func(c *chdb.Config) { c.ReaderPassword, c.Database = readersPassword, "pl" }))
}

func basic(user, password string) []string {
	return []string{"header:Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))}
}

func TestWhoIsNotKnownIsNotAnswered(t *testing.T) {
	w := startWithReader(t)
	for name, tc := range map[string]struct {
		pairs  []string
		code   string
		status int
	}{
		"nobody named":                     {nil, "", 200},
		"default":                          {basic("default", ""), "", 200},
		"default in the headers":           {[]string{"header:X-ClickHouse-User", "default"}, "", 200},
		"default with any password":        {basic("default", "x"), "", 200},
		"another name":                     {basic("nobody", ""), "516", 403},
		"another name, in the URL":         {[]string{"user", "nobody"}, "516", 403},
		"the reader":                       {basic("reader", readersPassword), "", 200},
		"the reader, in the URL":           {[]string{"user", "reader", "password", readersPassword}, "", 200},
		"the reader, in headers":           {[]string{"header:X-ClickHouse-User", "reader", "header:X-ClickHouse-Key", readersPassword}, "", 200},
		"the reader with another password": {basic("reader", "x"), "516", 403},
		"the reader without one":           {basic("reader", ""), "516", 403},
		"two ways at once":                 {append(basic("reader", readersPassword), "user", "default"), "194", 401},
		"a token":                          {[]string{"header:Authorization", "Bearer x"}, "516", 403},
		"a role":                           {[]string{"role", "warehouse"}, "511", 404},
		"a role of the reader's":           {append(basic("reader", readersPassword), "role", "warehouse"), "511", 404},
	} {
		t.Run(name, func(t *testing.T) {
			w := &web{t: t, addr: w.addr, client: w.client}
			a := w.post("SELECT 1", tc.pairs...)
			assert.Equal(t, tc.status, a.status, a.body)
			assert.Equal(t, tc.code, a.head.Get("X-ClickHouse-Exception-Code"))
			assert.NotContains(t, a.body, readersPassword)
		})
	}
	without := newWeb(t, chdbtest.Start(t))
	assert.Equal(t, http.StatusForbidden, without.post("SELECT 1", basic("reader", "")...).status, "there is none without a password")
}

func TestTheReaderReadsItsDatabaseAndNothingElse(t *testing.T) {
	w := startWithReader(t)
	w.must("CREATE DATABASE pl")
	w.must("CREATE TABLE pl.t (a UInt8) ENGINE = MergeTree ORDER BY a")
	w.must("CREATE VIEW pl.v AS SELECT a + 1 AS b FROM pl.t")
	w.must("CREATE TABLE mine (a UInt8) ENGINE = MergeTree ORDER BY a")
	w.must("INSERT INTO pl.t VALUES (1)")
	for _, more := range [][]string{nil, {"session_id", "r"}} {
		as := append(basic("reader", readersPassword), more...)
		assert.Equal(t, "2\n", w.must("SELECT b FROM v", append(as, "database", "pl")...))
		assert.Equal(t, "1\treader\n", w.must("SELECT getSetting('readonly'), currentRoles()[1]", as...))
		assert.Equal(t, "pl\n", w.must("SHOW DATABASES", as...))
		assert.Equal(t, "t\nv\n", w.must("SHOW TABLES FROM pl", as...))
		for sql, code := range map[string]string{
			"SELECT * FROM default.mine":                  "497",
			"INSERT INTO pl.t VALUES (2)":                 "164",
			"INSERT INTO pl.t SELECT 2":                   "164",
			"CREATE TABLE pl.u (a UInt8) ENGINE = Memory": "164",
			"CREATE TEMPORARY TABLE u (a UInt8)":          "164",
			"DROP TABLE pl.t":                             "164",
			"ALTER TABLE pl.t DELETE WHERE 1":             "164",
			"KILL QUERY WHERE 1":                          "164",
			"SYSTEM FLUSH LOGS":                           "164",
			"SET max_threads = 1":                         "164",
			"SET readonly = 0":                            "164",
			"SET ROLE ALL":                                "164",
			"SELECT 1 SETTINGS max_threads = 1":           "164",
			"SELECT 1 SETTINGS readonly = 0":              "164",
			"SELECT * FROM file('/etc/passwd')":           "497",
		} {
			w.post(sql, as...).fails(t, code, sql)
		}
		w.post("SELECT 1", append(as, "max_threads", "1")...).fails(t, "164")
		w.post("SELECT 1", append(as, "readonly", "0")...).fails(t, "164")
		assert.Equal(t, "1\n", w.must("SELECT 1", append(as, "max_execution_time", "0", "readonly", "1")...), "what stands so may be said again")
		w.post(endless, append(as, "max_execution_time", "0.2", "enable_http_compression", "1")...).fails(t, "159")
		assert.Contains(t, w.must("SELECT 1 FORMAT JSON", as...), `"rows": 1`)
	}
	assert.Equal(t, "1\n", w.must("SELECT count() FROM pl.t"))

	// Each has sessions of its own.
	w.must("CREATE TEMPORARY TABLE hidden (a UInt8)", "session_id", "same")
	w.post("SELECT * FROM hidden", append(basic("reader", readersPassword), "session_id", "same")...).fails(t, "60")

	running := w.start(endless, "d")
	w.post("SELECT 1", append(basic("reader", readersPassword), "query_id", "d", "replace_running_query", "1")...).fails(t, "216")
	assert.True(t, w.runs("d"), "nor does it end another's statement")
	w.must("KILL QUERY WHERE query_id = 'd'")
	<-running
}

func TestAPageInABrowserOnlyReads(t *testing.T) {
	w := newWeb(t, chdbtest.Start(t))
	page := []string{"header:Sec-Fetch-Site", "same-origin", "header:Origin", "http://" + w.addr}
	assert.Equal(t, "1\n", w.post("SELECT 1", page...).body)
	for _, sql := range []string{"KILL QUERY WHERE 1", "CREATE TABLE t (a UInt8) ENGINE = Memory", "SET max_threads = 1", "CREATE TEMPORARY TABLE t (a UInt8)"} {
		for _, more := range [][]string{nil, {"session_id", "s"}, {"readonly", "0"}} {
			w.post(sql, append(page, more...)...).fails(t, "164", sql)
		}
	}
	require.Empty(t, w.must("SHOW TABLES"))
}

func TestTheReaderDoesNotSeeWhatOthersAsk(t *testing.T) {
	w := startWithReader(t)
	reader := basic("reader", readersPassword)
	for _, sql := range []string{"SHOW PROCESSLIST", "SELECT query FROM system.processes", "SELECT * FROM system.user_processes", "SELECT * FROM `system`.`processes`", "SELECT last_error_message FROM system.errors"} {
		w.post(sql, reader...).fails(t, "497", sql)
		assert.Equal(t, http.StatusOK, w.post(sql).status, sql)
	}
	w.post("SELECT * FROM system.{t:Identifier}", append(reader, "param_t", "processes")...).fails(t, "497")
	for _, sql := range []string{"SELECT name FROM system.databases", "SELECT count() FROM system.tables", "SELECT count() FROM system.columns", "SELECT count() FROM system.functions", "SELECT count() FROM system.settings", "SELECT 1 FROM system.one"} {
		assert.Equal(t, http.StatusOK, w.post(sql, reader...).status, sql)
	}
}

func TestTheReaderLeavesSessionsToOthers(t *testing.T) {
	w := startWithReader(t)
	reader := basic("reader", readersPassword)
	codes := map[string]int{}
	for i := range 501 {
		codes[w.post("SELECT 1", append(reader, "session_id", strconv.Itoa(i))...).head.Get("X-ClickHouse-Exception-Code")]++
	}
	assert.Equal(t, map[string]int{"": 500, "202": 1}, codes)
	assert.Equal(t, http.StatusOK, w.post("SELECT 1", "session_id", "s").status)
}
