package chdb_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/ch-go/compress"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/embedded/chdb"
	"github.com/plumbline-sec/plumbline/internal/embedded/chdb/chdbtest"
)

type answer struct {
	status int
	head   http.Header
	body   string
}

// fails says that the engine answered with the error of this code.
func (a answer) fails(t *testing.T, code string, what ...any) {
	t.Helper()
	assert.Equal(t, code, a.head.Get("X-ClickHouse-Exception-Code"), "%v %s", what, a.body)
}

// web sends requests as curl does.
type web struct {
	t      *testing.T
	addr   string
	client *http.Client
}

func newWeb(t *testing.T, addr string) *web {
	t.Helper()
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &web{t: t, addr: addr, client: &http.Client{Transport: transport, Timeout: time.Minute}}
}

// do sends a request. pairs are URL parameters; those that start with "header:"
// are headers.
func (w *web) do(method, path, body string, pairs ...string) answer {
	w.t.Helper()
	query := url.Values{}
	head := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		if name, ok := strings.CutPrefix(pairs[i], "header:"); ok {
			head.Set(name, pairs[i+1])
		} else {
			query.Set(pairs[i], pairs[i+1])
		}
	}
	req, err := http.NewRequestWithContext(w.t.Context(), method, "http://"+w.addr+path+"?"+query.Encode(), strings.NewReader(body))
	require.NoError(w.t, err)
	req.Header = head
	if host := head.Get("Host"); host != "" {
		req.Host = host
	}
	resp, err := w.client.Do(req)
	require.NoError(w.t, err)
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	require.NoError(w.t, err)
	return answer{resp.StatusCode, resp.Header, string(data)}
}

func (w *web) post(body string, pairs ...string) answer {
	w.t.Helper()
	return w.do(http.MethodPost, "/", body, pairs...)
}

func (w *web) get(pairs ...string) answer {
	w.t.Helper()
	return w.do(http.MethodGet, "/", "", pairs...)
}

// must is a statement that has to succeed.
func (w *web) must(body string, pairs ...string) string {
	w.t.Helper()
	a := w.post(body, pairs...)
	require.Equal(w.t, http.StatusOK, a.status, "%s: %s", body, a.body)
	return a.body
}

func TestHealthIsAnsweredWithoutAStatement(t *testing.T) {
	w := newWeb(t, chdbtest.Start(t))
	for _, path := range []string{"/ping", "/replicas_status", "/"} {
		a := w.do(http.MethodGet, path, "")
		assert.Equal(t, http.StatusOK, a.status)
		assert.Equal(t, "Ok.\n", a.body)
	}
	assert.Equal(t, http.StatusNotFound, w.do(http.MethodGet, "/nowhere", "").status)
	assert.Equal(t, http.StatusMethodNotAllowed, w.do(http.MethodPut, "/", "SELECT 1").status)
}

func TestEveryWayOfAskingGetsTheSameAnswer(t *testing.T) {
	w := newWeb(t, chdbtest.Start(t))
	sql := "SELECT number + 1 AS n, 'x' AS s FROM numbers(2)"
	want := "2\tx\n"
	assert.Equal(t, "1\tx\n"+want, w.get("query", sql).body)
	assert.Equal(t, "1\tx\n"+want, w.post(sql).body)
	assert.Equal(t, "1\tx\n"+want, w.post("", "query", sql).body)
	assert.Equal(t, "1\tx\n"+want, w.post("FROM numbers(2)", "query", "SELECT number + 1 AS n, 'x' AS s").body, "the body goes on where the URL ends")
	assert.Equal(t, "1\tx\n"+want, w.do(http.MethodPost, "/query", sql).body)
	assert.Equal(t, "1\tx\n"+want, w.post("  /* why */ ("+sql+") -- so;\n;").body)
	assert.Equal(t, "[1, \"x\"]\n[2, \"x\"]\n", w.post(sql, "default_format", "JSONCompactEachRow").body)
	assert.Equal(t, "1,\"x\"\n2,\"x\"\n", w.post(sql, "header:X-ClickHouse-Format", "CSV").body)
	assert.Equal(t, "1,\"x\"\n2,\"x\"\n", w.post(sql+" FORMAT CSV", "default_format", "JSON").body, "the statement's format wins")
	assert.Equal(t, "1\tx\n"+want, w.post(sql, "wait_end_of_query", "1").body)
}

func TestOutputInPiecesIsTheOutputInOnePiece(t *testing.T) {
	w := newWeb(t, chdbtest.Start(t))
	sql := "SELECT number, toString(number) AS s, toLowCardinality('l') AS l, [number] AS a FROM numbers(1000) SETTINGS max_block_size = 100"
	for _, format := range []string{
		"TSV", "TabSeparated", "TSVRaw", "CSV", "TSKV", "JSONEachRow", "JSONLines", "NDJSON", "JSONStringsEachRow",
		"JSONCompactEachRow", "JSONCompactStringsEachRow", "RowBinary", "Null",
		"TSVWithNames", "CSVWithNames", "JSON", "JSONCompact", "Pretty", "PrettyCompact", "Vertical", "XML", "Values", "Markdown",
	} {
		t.Run(format, func(t *testing.T) {
			pieces := w.must(sql, "default_format", format)
			whole := w.must(sql, "default_format", format, "wait_end_of_query", "1")
			const time = `("elapsed": |<elapsed>)[0-9.e-]+` // JSON and XML say how long it took
			pieces, whole = regexp.MustCompile(time).ReplaceAllString(pieces, ""), regexp.MustCompile(time).ReplaceAllString(whole, "")
			assert.Equal(t, whole, pieces)
			if format != "Null" {
				assert.Contains(t, pieces, "999")
			}
		})
	}
	withTotals := "SELECT number % 2 AS k, count() FROM numbers(10) GROUP BY k WITH TOTALS ORDER BY k"
	assert.Equal(t, "0\t5\n1\t5\n\n0\t10\n", w.must(withTotals))
}

// packed is a text in ClickHouse's own compressed blocks.
func packed(text string) string {
	w := compress.NewWriter(compress.LevelZero, compress.LZ4)
	if err := w.Compress([]byte(text)); err != nil {
		panic(err)
	}
	return string(w.Data)
}

func TestEveryFormOfInsertIsStored(t *testing.T) {
	w := newWeb(t, chdbtest.Start(t))
	w.must("CREATE TABLE t (a UInt64, b String) ENGINE = MergeTree ORDER BY a")
	native := w.must("SELECT toUInt64(1) AS a, 'one' AS b FORMAT Native")
	var zipped bytes.Buffer
	zip := gzip.NewWriter(&zipped)
	_, err := io.WriteString(zip, "1\tone\n")
	require.NoError(t, err)
	require.NoError(t, zip.Close())
	coder, err := zstd.NewWriter(nil)
	require.NoError(t, err)
	for name, send := range map[string]func() answer{
		"rows in the body, statement in the URL": func() answer { return w.post(`{"a":1,"b":"one"}`, "query", "INSERT INTO t FORMAT JSONEachRow") },
		"both in the body":                       func() answer { return w.post("INSERT INTO t FORMAT CSV\n1,\"one\"\n") },
		"values":                                 func() answer { return w.post("INSERT INTO t VALUES (1, concat('o', 'ne'))") },
		"values of a column list":                func() answer { return w.post("INSERT INTO t (b, a) VALUES ('one', 2 - 1);") },
		"values in the URL":                      func() answer { return w.post("", "query", "INSERT INTO t VALUES (1, 'one')") },
		"values, half in the URL":                func() answer { return w.post(" (1, 'one')", "query", "INSERT INTO t VALUES") },
		"no format, which means values":          func() answer { return w.post("(1, 'one')", "query", "INSERT INTO t") },
		"no format, but a default":               func() answer { return w.post("1\tone\n", "query", "INSERT INTO t", "default_format", "TSV") },
		"native":                                 func() answer { return w.post(native, "query", "INSERT INTO t FORMAT Native") },
		"settings before the format":             func() answer { return w.post("1\tone\n", "query", "INSERT INTO t SETTINGS max_threads = 1 FORMAT TSV") },
		"gzip": func() answer {
			return w.post(zipped.String(), "query", "INSERT INTO t FORMAT TSV", "header:Content-Encoding", "gzip")
		},
		"zstd": func() answer {
			return w.post(string(coder.EncodeAll([]byte("1\tone\n"), nil)), "query", "INSERT INTO t FORMAT TSV", "header:Content-Encoding", "zstd")
		},
		"in compressed blocks": func() answer { return w.post(packed("(1, 'one')"), "query", "INSERT INTO t VALUES", "decompress", "1") },
		"all in compressed blocks": func() answer {
			return w.post(packed("INSERT INTO t VALUES (1, 'one')"), "decompress", "1")
		},
		"two parameters": func() answer {
			return w.post("INSERT INTO {table:Identifier} SELECT 1, {b:String} WHERE {c:String} = '\\\\'", "param_table", "t", "param_b", "one", "param_c", `\\`)
		},
		"parameters": func() answer {
			return w.post("1\tone\n", "query", "INSERT INTO {table:Identifier} FORMAT TSV", "param_table", "t")
		},
		"from a select": func() answer { return w.post("INSERT INTO t SELECT 1, 'one'") },
		"asynchronous": func() answer {
			return w.post("INSERT INTO t VALUES (1, 'one')", "async_insert", "1", "wait_for_async_insert", "0")
		},
		"with a comment":   func() answer { return w.post("/* x */ INSERT /* y */ INTO t -- VALUES\n FORMAT TSV\n1\tone\n") },
		"in a block's end": func() answer { return w.post("INSERT INTO default.t(a,b)FORMAT TSV\r\n1\tone\n") },
	} {
		t.Run(name, func(t *testing.T) {
			w := &web{t: t, addr: w.addr, client: w.client}
			w.must("TRUNCATE TABLE t")
			a := send()
			require.Equal(t, http.StatusOK, a.status, a.body)
			assert.Equal(t, "1\tone\n", w.must("SELECT * FROM t"))
			var summary map[string]string
			require.NoError(t, json.Unmarshal([]byte(a.head.Get("X-ClickHouse-Summary")), &summary))
			assert.Equal(t, "1", summary["written_rows"])
		})
	}
}

func TestErrorsHaveTheStatusAndTheCodeOfAServer(t *testing.T) {
	w := newWeb(t, chdbtest.Start(t))
	w.must("CREATE TABLE t (a UInt64, b DateTime) ENGINE = MergeTree ORDER BY a")
	for name, tc := range map[string]struct {
		send         func() answer
		status, code int
		says         string
	}{
		"a syntax error":                   {func() answer { return w.post("SELEC 1") }, 400, 62, "failed at position 7 (1): 1. Expected"},
		"a syntax error at the end":        {func() answer { return w.post("SELECT 1 AS") }, 400, 62, "failed at position 12 (end of query): ."},
		"an empty statement":               {func() answer { return w.post(" ") }, 400, 62, "Empty query"},
		"two statements":                   {func() answer { return w.post("SELECT 1; SELECT 2") }, 400, 62, "Multi-statements are not allowed"},
		"an unknown table":                 {func() answer { return w.post("SELECT * FROM nowhere") }, 404, 60, "(UNKNOWN_TABLE)"},
		"an unknown table in an insert":    {func() answer { return w.post("INSERT INTO nowhere VALUES (1)") }, 404, 60, "(UNKNOWN_TABLE)"},
		"an unknown column":                {func() answer { return w.post("SELECT z FROM t") }, 404, 47, "(UNKNOWN_IDENTIFIER)"},
		"an unknown database":              {func() answer { return w.post("SELECT 1", "database", "nowhere") }, 404, 81, "(UNKNOWN_DATABASE)"},
		"an unknown function":              {func() answer { return w.post("SELECT nofunction(1)") }, 404, 46, "(UNKNOWN_FUNCTION)"},
		"an unknown format":                {func() answer { return w.post("SELECT 1 FORMAT Nope") }, 404, 73, "(UNKNOWN_FORMAT)"},
		"an unknown setting":               {func() answer { return w.post("SELECT 1", "max_thread", "1") }, 404, 115, "max_thread"},
		"a setting's wrong value":          {func() answer { return w.post("SELECT 1", "max_threads", "many") }, 400, 27, "many"},
		"a missing parameter":              {func() answer { return w.post("SELECT {x:UInt8}") }, 500, 456, "`x`"},
		"a parameter of another type":      {func() answer { return w.post("SELECT {x:UInt8}", "param_x", "y") }, 500, 457, "(BAD_QUERY_PARAMETER)"},
		"a type mismatch in JSON":          {func() answer { return w.post(`{"a":"x"}`, "query", "INSERT INTO t FORMAT JSONEachRow") }, 400, 27, "(at row 1)"},
		"a type mismatch in CSV":           {func() answer { return w.post("1,yesterday\n", "query", "INSERT INTO t FORMAT CSV") }, 400, 41, "row 1"},
		"a type mismatch in values":        {func() answer { return w.post("INSERT INTO t VALUES ([1], 2)") }, 500, 43, "ILLEGAL_TYPE_OF_ARGUMENT"},
		"half a native block":              {func() answer { return w.post("\x02\x01\x01a\x06UInt64", "query", "INSERT INTO t FORMAT Native") }, 500, 33, "CANNOT_READ_ALL_DATA"},
		"a write by GET":                   {func() answer { return w.get("query", "CREATE TABLE u (a UInt8) ENGINE = Memory") }, 500, 164, "(READONLY)"},
		"an insert by GET":                 {func() answer { return w.get("query", "INSERT INTO t VALUES (1, 0)") }, 500, 164, "(READONLY)"},
		"an output file":                   {func() answer { return w.post("SELECT 1 INTO OUTFILE '/tmp/out'") }, 500, 358, "INTO OUTFILE"},
		"an input file":                    {func() answer { return w.post("INSERT INTO t FROM INFILE '/etc/passwd' FORMAT CSV") }, 404, 78, "infile"},
		"a command of the client":          {func() answer { return w.post(`\i /etc/passwd`) }, 400, 62, "position 1"},
		"a file of the machine":            {func() answer { return w.post("SELECT * FROM file('/etc/passwd', LineAsString)") }, 403, 497, "The function file"},
		"a URL":                            {func() answer { return w.post("SELECT * FROM url('http://127.0.0.1/', LineAsString)") }, 403, 497, "The function url"},
		"a program":                        {func() answer { return w.post("SELECT * FROM executable('id', TSV, 'a String')") }, 403, 497, "The function executable"},
		"a table over a file":              {func() answer { return w.post("CREATE TABLE f (a String) ENGINE = File(CSV, '/etc/passwd')") }, 403, 497, "The table engine File"},
		"a file as a table":                {func() answer { return w.post("SELECT * FROM `/etc/passwd`") }, 403, 497, "a path is not the name"},
		"more than fits in memory":         {func() answer { return w.post("SELECT number, toString(number) FROM numbers(100000000) FORMAT JSON") }, 500, 396, "(TOO_MANY_ROWS_OR_BYTES)"},
		"a statement that is too long":     {func() answer { return w.post("SELECT '" + strings.Repeat("x", 300<<10) + "'") }, 400, 62, "Max query size exceeded"},
		"a body that is not compressed":    {func() answer { return w.post("1\t2\n", "query", "INSERT INTO t FORMAT TSV", "decompress", "1") }, 500, 271, "CANNOT_DECOMPRESS"},
		"a body of an unknown compression": {func() answer { return w.post("x", "header:Content-Encoding", "rar") }, 501, 48, "rar"},
		"a refused setting":                {func() answer { return w.post("SELECT 1", "dialect", "kusto") }, 403, 497, "The setting dialect"},
		"a refused format":                 {func() answer { return w.post("SELECT 1 FORMAT Template") }, 403, 497, "The format Template"},
		"a refused statement":              {func() answer { return w.post("GRANT ALL ON *.* TO default") }, 403, 497, "The statement GRANT"},
		"a kill by GET":                    {func() answer { return w.get("query", "KILL QUERY WHERE 1") }, 500, 164, "(READONLY)"},
		"a quote of a word processor":      {func() answer { return w.post("SELECT “a”") }, 400, 62, "failed at position 8 (\"“\")"},
		"a timeout": {func() answer {
			return w.post("SELECT sleepEachRow(0.1) FROM numbers(30) FORMAT JSON", "max_execution_time", "0.3", "max_block_size", "1")
		}, 408, 159, "(TIMEOUT_EXCEEDED)"},
		"a session's timeout that is no time": {func() answer { return w.post("SELECT 1", "session_id", "s", "session_timeout", "soon") }, 500, 374, "soon"},
	} {
		t.Run(name, func(t *testing.T) {
			a := tc.send()
			assert.Equal(t, tc.status, a.status, a.body)
			assert.Equal(t, strconv.Itoa(tc.code), a.head.Get("X-ClickHouse-Exception-Code"))
			assert.True(t, strings.HasPrefix(a.body, "Code: "+strconv.Itoa(tc.code)+". DB::Exception: "), a.body)
			assert.Contains(t, a.body, tc.says)
			assert.Regexp(t, `\(version 26\.[0-9.]+\)\n$`, a.body)
			assert.NotContains(t, a.body, "/* request")
		})
	}
	assert.Equal(t, "0\n", w.must("SELECT count() FROM t"), "none of them stored anything")
	assert.Equal(t, "t\n", w.must("SHOW TABLES"))
	assert.Equal(t, "307200\n", w.must("SELECT length('"+strings.Repeat("x", 300<<10)+"')", "max_query_size", "400000"))
}

func TestTheCodesThatHaveAStatusAreTheEnginesCodes(t *testing.T) {
	w := newWeb(t, chdbtest.Start(t))
	for code, name := range chdb.StatusNames() {
		assert.Equal(t, name+"\n", w.must("SELECT errorCodeToName("+strconv.Itoa(code)+")"))
	}
}

func TestAnErrorInTheMidstOfTheOutputIsMarked(t *testing.T) {
	w := newWeb(t, chdbtest.Start(t))
	a := w.post("SELECT throwIf(number = 900000) FROM numbers(1000000)")
	assert.Equal(t, http.StatusOK, a.status, "it was too late for another")
	tag := a.head.Get("X-ClickHouse-Exception-Tag")
	require.NotEmpty(t, tag)
	_, text, found := strings.Cut(a.body, "\r\n__exception__\r\n"+tag+"\r\n")
	require.True(t, found)
	assert.Regexp(t, `^Code: 395\. DB::Exception: (.|\n)*\n\d+ `+tag+"\r\n__exception__\r\n$", text)

	// Clients go back from the end by the length, which counts the message's line end.
	message, rest, found := strings.Cut(text, ")\n")
	require.True(t, found)
	assert.Equal(t, strconv.Itoa(len(message)+len(")\n"))+" "+tag+"\r\n__exception__\r\n", rest)

	long := w.post("SELECT throwIf(number = 900000, '" + strings.Repeat("é", 20<<10) + "') FROM numbers(1000000)").body
	assert.Less(t, len(long)-strings.Index(long, "\r\n__exception__"), 17<<10, "a client looks at the last piece alone")
}

func TestAnErrorBeforeTheFirstMegabyteHasItsStatus(t *testing.T) {
	w := newWeb(t, chdbtest.Start(t))
	const late = "SELECT throwIf(number = 5), sleepEachRow(0.01) FROM numbers(10) SETTINGS max_block_size = 1"
	a := w.post(late)
	assert.Equal(t, http.StatusInternalServerError, a.status)
	assert.True(t, strings.HasPrefix(a.body, "Code: 395"), a.body)
	a = w.post(late, "buffer_size", "4")
	assert.Equal(t, http.StatusOK, a.status)
	assert.True(t, strings.HasPrefix(a.body, "0\t0\n"), a.body)

	var summary map[string]string
	require.NoError(t, json.Unmarshal([]byte(w.post("SELECT number FROM numbers(1000) SETTINGS max_block_size = 100").head.Get("X-ClickHouse-Summary")), &summary))
	assert.Equal(t, "1000", summary["read_rows"])
	assert.Equal(t, "1000", summary["result_rows"])
}

func TestAnAnswerIsCompressedAsTheClientAsks(t *testing.T) {
	w := newWeb(t, chdbtest.Start(t))
	sql := "SELECT number FROM numbers(10000)"
	want := w.must(sql)
	for _, accept := range []string{"gzip", "deflate, gzip;q=1.0, *;q=0.5"} {
		a := w.post(sql, "header:Accept-Encoding", accept)
		require.Equal(t, "gzip", a.head.Get("Content-Encoding"))
		assert.Less(t, len(a.body), len(want)/2)
		r, err := gzip.NewReader(strings.NewReader(a.body))
		require.NoError(t, err)
		data, err := io.ReadAll(r)
		require.NoError(t, err)
		assert.Equal(t, want, string(data))
	}
	assert.Empty(t, w.post(sql, "header:Accept-Encoding", "gzip;q=0").head.Get("Content-Encoding"))
	assert.Empty(t, w.post(sql, "header:Accept-Encoding", "gzip", "enable_http_compression", "0").head.Get("Content-Encoding"))
	assert.Empty(t, w.post("SELEC", "header:Accept-Encoding", "gzip").head.Get("Content-Encoding"), "an error is plain")
}

func TestASessionKeepsWhatARequestDoesNot(t *testing.T) {
	w := newWeb(t, chdbtest.Start(t))
	w.must("CREATE TEMPORARY TABLE mine (a UInt8)", "session_id", "s")
	w.must("INSERT INTO mine VALUES (7)", "session_id", "s")
	w.must("SET max_threads = 3", "session_id", "s")
	assert.Equal(t, "7\t3\n", w.must("SELECT a, getSetting('max_threads') FROM mine", "session_id", "s"))
	assert.Equal(t, http.StatusNotFound, w.post("SELECT * FROM mine").status)
	assert.Equal(t, http.StatusNotFound, w.post("SELECT * FROM mine", "session_id", "another").status)
	assert.Equal(t, http.StatusInternalServerError, w.get("query", "DROP TABLE mine", "session_id", "s").status, "a GET changes nothing here either")
	assert.Equal(t, "7\n", w.get("query", "SELECT a FROM mine", "session_id", "s").body)

	running := w.start("SELECT sleep(2)", "first", "session_id", "s")
	w.post("SELECT 1", "session_id", "s").fails(t, "373")
	<-running
}

func TestAStatementEndsWithItsClient(t *testing.T) {
	w := newWeb(t, chdbtest.Start(t))
	for name, sql := range map[string]string{
		"before its first row": "SELECT max(sipHash64(number)) FROM numbers(100000000000)",
		"in one piece":         "SELECT max(sipHash64(number)) FROM numbers(100000000000) FORMAT JSON",
		"in the midst":         "SELECT sipHash64(number) FROM numbers(100000000000)",
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() {
				defer close(done)
				req, _ := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+w.addr+"/", strings.NewReader(sql))
				if resp, err := w.client.Do(req); err == nil {
					_, _ = io.CopyN(io.Discard, resp.Body, 1<<20)
					<-ctx.Done()
					_ = resp.Body.Close()
				}
			}()
			count := func() string {
				return w.must("SELECT count() FROM system.processes WHERE query LIKE '%100000000000%' AND query NOT LIKE '%processes%'")
			}
			require.Eventually(t, func() bool { return count() == "1\n" }, 10*time.Second, 10*time.Millisecond)
			cancel()
			<-done
			require.Eventually(t, func() bool { return count() == "0\n" }, 10*time.Second, 10*time.Millisecond)
		})
	}
}

func TestAnInsertThatBreaksOffStoresNothing(t *testing.T) {
	w := newWeb(t, chdbtest.Start(t))
	w.must("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
	body, feed := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+w.addr+"/?query=INSERT+INTO+t+FORMAT+TSV", body)
	require.NoError(t, err)
	go func() {
		for range 1000 {
			_, _ = io.WriteString(feed, strings.Repeat("1\n", 100))
		}
		_ = feed.CloseWithError(io.ErrClosedPipe)
	}()
	_, err = w.client.Do(req) //nolint:bodyclose // there is none
	require.ErrorIs(t, err, io.ErrClosedPipe)
	assert.Never(t, func() bool { return w.must("SELECT count() FROM t") != "0\n" }, 300*time.Millisecond, 20*time.Millisecond)
	assert.Equal(t, "0\n", w.must("SELECT count() FROM system.processes WHERE query LIKE 'INSERT%'"))
}

func TestOtherSitesAndOtherNamesAreRefused(t *testing.T) {
	w := newWeb(t, chdbtest.Start(t))
	assert.Equal(t, http.StatusForbidden, w.post("SELECT 1", "header:Origin", "http://evil.example").status)
	assert.Equal(t, http.StatusForbidden, w.post("SELECT 1", "header:Sec-Fetch-Site", "cross-site").status)
	assert.Equal(t, http.StatusForbidden, w.get("query", "SELECT 1", "header:Sec-Fetch-Site", "cross-site", "header:Sec-Fetch-Dest", "script").status)
	assert.Equal(t, http.StatusForbidden, w.do(http.MethodGet, "/ping", "", "header:Referer", "http://evil.example/").status)
	assert.Equal(t, http.StatusMisdirectedRequest, w.do(http.MethodGet, "/", "", "query", "SELECT 1", "header:Host", "evil.example").status)
	a := w.post("SELECT 1", "header:Host", "localhost:8123")
	assert.Equal(t, "1\n", a.body)
	assert.Equal(t, "nosniff", a.head.Get("X-Content-Type-Options"))
}

func TestTheServersDayIsUTC(t *testing.T) {
	t.Setenv("TZ", "Pacific/Kiritimati")
	w := newWeb(t, chdbtest.Start(t))
	a := w.post("SELECT timezone(), toDateTime(0)")
	assert.Equal(t, "UTC\t1970-01-01 00:00:00\n", a.body)
	assert.Equal(t, "UTC", a.head.Get("X-ClickHouse-Timezone"))
}

func TestDataStaysOnTheDiskBeforeAnInsertIsAnswered(t *testing.T) {
	w := newWeb(t, chdbtest.Start(t))
	assert.Equal(t, "fsync_after_insert\t1\nfsync_part_directory\t1\n",
		w.must("SELECT name, value FROM system.merge_tree_settings WHERE name IN ('fsync_after_insert', 'fsync_part_directory') ORDER BY name"))
}
