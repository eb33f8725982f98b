package chdb_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/embedded/chdb/chdbtest"
)

const endless = "SELECT max(sipHash64(number)) FROM numbers(100000000000)"

// start sends a statement and returns when the engine has it.
func (w *web) start(body, id string, pairs ...string) <-chan answer {
	w.t.Helper()
	out := make(chan answer, 1)
	go func() { out <- w.post(body, append(pairs, "query_id", id)...) }()
	require.Eventually(w.t, func() bool { return w.runs(id) }, 10*time.Second, 10*time.Millisecond)
	return out
}

func (w *web) runs(id string) bool {
	w.t.Helper()
	return w.must("SELECT count() FROM system.processes WHERE query_id = {id:String}", "param_id", id) == "1\n"
}

func TestAStatementHasTheIDThatItsClientGave(t *testing.T) {
	w := newWeb(t, chdbtest.Start(t))
	const id = `it's "mine" \o/`
	for _, name := range []string{"queryID()", "query_id()", "currentQueryID()", "initialQueryID()", "initial_query_id( )"} {
		assert.Equal(t, strings.ReplaceAll(name, " ", "")+"\n"+id+"\n", w.must("SELECT "+name+" FORMAT TSVRawWithNames", "query_id", id), name)
	}
	assert.Equal(t, "1\n", w.must("SELECT count() FROM numbers(3) WHERE queryID() = {id:String} AND number = 1", "query_id", id, "param_id", id))
	a := w.post("SELECT queryID() AS q, q = currentQueryID()")
	assert.Equal(t, a.head.Get("X-ClickHouse-Query-Id")+"\t1\n", a.body, "one that it did not give is ours")
	assert.Equal(t, "h\n", w.must("SELECT queryID()", "header:X-ClickHouse-Query-Id", "h"))
	w.post("SELECT 1", "query_id", strings.Repeat("x", 257)).fails(t, "36")

	for _, sql := range []string{
		"SELECT query_id FROM system.processes",
		"SELECT processes.query_id FROM system.processes",
		"SELECT p.query_id FROM system.processes AS p",
		"SELECT p.query_id FROM `system`.processes p WHERE p.initial_query_id = 'x1'",
		"SELECT query_id FROM numbers(1) AS n, system.processes",
		"SELECT query_id FROM numbers(1) AS n JOIN system.processes AS p ON p.query_id = 'x1' WHERE 1",
		"WITH x AS (SELECT * FROM system.processes) SELECT query_id FROM x",
		"SELECT query_id FROM (SELECT * FROM system.processes) SETTINGS max_threads = 1",
	} {
		assert.Equal(t, "x1\n", w.must(sql, "query_id", "x1"), sql)
	}
	assert.Contains(t, w.must("SHOW PROCESSLIST", "query_id", "x2"), "x2")
	assert.Contains(t, w.must("SHOW PROCESSLIST FORMAT JSONEachRow", "query_id", "x3"), `"query_id":"x3"`)
	row := w.must("SELECT query, Settings FROM system.processes FORMAT Vertical", "max_threads", "3")
	assert.Contains(t, row, "max_threads':'3'")
	assert.Regexp(t, `query: +SELECT query, Settings FROM system.processes FORMAT`, row)
	assert.NotContains(t, strings.SplitN(row, "Settings:", 2)[1], "promql_table", "it is how ids get through")
	assert.Equal(t, "query_id\n", w.must("SELECT name FROM system.columns WHERE database = 'system' AND table = 'processes' AND name = 'query_id'"))
}

func TestAStatementIsKilledByItsID(t *testing.T) {
	w := newWeb(t, chdbtest.Start(t))
	w.must("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
	for name, tc := range map[string]struct {
		sql, kill string
		pairs     []string
	}{
		"before its first row": {endless, "KILL QUERY WHERE query_id = 'k'", nil},
		"and waited for":       {endless, "KILL QUERY WHERE `query_id` IN ('j', 'k') SYNC", nil},
		"in one piece":         {endless + " FORMAT JSON", "/* JDBC's */ kill query where query_id='k'", nil},
		"in a session":         {endless, "KILL QUERY WHERE query_id = 'k' AND user = currentUser()", []string{"session_id", "s", "max_threads", "1"}},
		"a long text":          {endless + " WHERE '" + strings.Repeat("x", 200<<10) + "' != ''", "KILL QUERY WHERE query_id = 'k'", nil},
		"an insert":            {"INSERT INTO t SELECT number FROM numbers(100000000000)", "KILL QUERY WHERE query_id = 'k'", nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := &web{t: t, addr: w.addr, client: w.client}
			other := w.start(endless, "other")
			killed := w.start(tc.sql, "k", tc.pairs...)
			assert.Equal(t, http.StatusInternalServerError, w.get("query", tc.kill).status, "not by GET")
			w.must(tc.kill)
			a := <-killed
			assert.Equal(t, "394", a.head.Get("X-ClickHouse-Exception-Code"), a.body)
			assert.Contains(t, a.body, "(QUERY_WAS_CANCELLED)")
			assert.True(t, w.runs("other"))
			if tc.pairs != nil {
				assert.NotEqual(t, "1\n", w.must("SELECT getSetting('max_threads')", "session_id", "s"), "the session goes on as it was")
			}
			w.must("KILL QUERY WHERE query_id = 'other' SYNC")
			<-other
		})
	}
}

func TestAnInsertWhoseRowsStillComeIsKilledToo(t *testing.T) {
	w := newWeb(t, chdbtest.Start(t))
	w.must("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
	more := make(chan string)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+w.addr+"/?query_id=i&query="+url.QueryEscape("INSERT INTO t FORMAT TSV"), chanReader(more))
	require.NoError(t, err)
	done := make(chan string, 1)
	go func() {
		resp, err := w.client.Do(req)
		if err != nil {
			done <- err.Error()
			return
		}
		defer func() { _ = resp.Body.Close() }()
		done <- resp.Header.Get("X-ClickHouse-Exception-Code")
	}()
	more <- "1\n"
	require.Eventually(t, func() bool { return w.runs("i") }, 5*time.Second, 10*time.Millisecond)
	w.must("KILL QUERY WHERE query_id = 'i'")
	for sent := false; !sent; {
		select {
		case more <- strings.Repeat("2\n", 100_000):
		case code := <-done:
			assert.Equal(t, "394", code)
			sent = true
		}
	}
	close(more)
	assert.Equal(t, "0\n", w.must("SELECT count() FROM t"))
}

// chanReader is a body out of a channel.
type chanReader <-chan string

func (c chanReader) Read(p []byte) (int, error) {
	text, ok := <-c
	if !ok {
		return 0, http.ErrBodyReadAfterClose
	}
	return copy(p, text), nil
}

func TestAnIDIsTakenWhileItsStatementRuns(t *testing.T) {
	w := newWeb(t, chdbtest.Start(t))
	first := w.start(endless, "same")
	w.post("SELECT 1", "query_id", "same").fails(t, "216")
	a := w.post("SELECT 2", "query_id", "same", "replace_running_query", "1")
	assert.Equal(t, "2\n", a.body)
	a = <-first
	assert.Equal(t, "394", a.head.Get("X-ClickHouse-Exception-Code"), a.body)
	assert.Equal(t, "3\n", w.must("SELECT 3", "query_id", "same"))
}

func TestAClientThatGoesAtOnceLeavesNothingBehind(t *testing.T) {
	w := newWeb(t, chdbtest.Start(t))
	for i := range 20 {
		// Some of them go before the engine has the statement.
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*time.Millisecond)
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+w.addr+"/", strings.NewReader(endless))
		require.NoError(t, err)
		_, err = w.client.Do(req) //nolint:bodyclose // there is none
		require.ErrorIs(t, err, context.DeadlineExceeded)
		cancel()
	}
	require.Eventually(t, func() bool {
		return w.must("SELECT count() FROM system.processes WHERE query LIKE '%100000000000%' AND query NOT LIKE '%processes%'") == "0\n"
	},
		10*time.Second, 20*time.Millisecond)
}

func TestAStatementAsksForWhatRunsABoundedNumberOfTimes(t *testing.T) {
	w := newWeb(t, chdbtest.Start(t))
	sql := "SELECT 1 FROM system.processes" + strings.Repeat(", system.processes", 6000)
	started := time.Now()
	a := w.post(sql, "readonly", "1")
	assert.Equal(t, "62", a.head.Get("X-ClickHouse-Exception-Code"))
	assert.Contains(t, a.body, "asks too often")
	assert.Less(t, time.Since(started), 10*time.Second)
}
