package chdb_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/embedded/chdb/chdbtest"
)

const (
	slow    = "SELECT number, sleepEachRow(0.1) FROM numbers(10) SETTINGS max_block_size = 1"
	slowBad = "SELECT throwIf(number = 9), sleepEachRow(0.1) FROM numbers(10) SETTINGS max_block_size = 1"
)

func TestProgressIsToldWhileAStatementRuns(t *testing.T) {
	addr := chdbtest.Start(t)
	w := newWeb(t, addr)
	assert.Empty(t, w.post(slow).head.Values("X-ClickHouse-Progress"), "nobody asked")
	assert.Len(t, w.post("SELECT 1", "send_progress_in_http_headers", "1").head.Values("X-ClickHouse-Progress"), 1)

	told := []string{"send_progress_in_http_headers", "1", "http_headers_progress_interval_ms", "50"}
	for _, more := range [][]string{nil, {"wait_end_of_query", "1"}, {"session_id", "s"}, {"header:Accept-Encoding", "zstd"}, {"enable_http_compression", "0"}} {
		a := w.post(slow, append(told, more...)...)
		assert.Equal(t, http.StatusOK, a.status)
		assert.Greater(t, len(a.head.Values("X-ClickHouse-Progress")), 2)
		assert.Regexp(t, `^{"read_rows":"\d+","read_bytes":"\d+","total_rows_to_read":"\d+","elapsed_ns":"\d+"}$`, a.head.Values("X-ClickHouse-Progress")[0])
		assert.NotEmpty(t, a.head.Get("X-ClickHouse-Summary"))
		if a.head.Get("Content-Encoding") == "" {
			assert.Equal(t, 10, strings.Count(a.body, "\n"))
		}
	}

	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	_, err = io.WriteString(conn, "GET /?send_progress_in_http_headers=1&http_headers_progress_interval_ms=50&query="+url.QueryEscape(strings.Replace(slow, "numbers(10)", "numbers(10000)", 1))+" HTTP/1.1\r\nHost: "+addr+"\r\n\r\n")
	require.NoError(t, err)
	in := bufio.NewReader(conn)
	for line := ""; !strings.HasPrefix(line, "X-ClickHouse-Progress: "); {
		line, err = in.ReadString('\n')
		require.NoError(t, err)
	}
	// Its statement would run for a quarter of an hour: it ends with its client.
	require.NoError(t, conn.Close())
	require.Eventually(t, func() bool {
		return w.must("SELECT count() FROM system.processes WHERE query LIKE 'SELECT number, sleep%'") == "0\n"
	},
		10*time.Second, 10*time.Millisecond)
}

func TestAnErrorAfterProgressWasToldIsMarked(t *testing.T) {
	w := newWeb(t, chdbtest.Start(t))
	for _, whole := range []string{"0", "1"} {
		a := w.post(slowBad, "send_progress_in_http_headers", "1", "http_headers_progress_interval_ms", "50", "wait_end_of_query", whole)
		assert.Equal(t, http.StatusOK, a.status, "it is sent already")
		assert.True(t, strings.HasPrefix(a.body, "\r\n__exception__\r\n"+a.head.Get("X-ClickHouse-Exception-Tag")+"\r\nCode: 395"), a.body)
	}
}

func TestAnErrorInTheMidstIsAPieceOfItsOwn(t *testing.T) {
	addr := chdbtest.Start(t)
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	_, err = io.WriteString(conn, "GET /?query="+url.QueryEscape("SELECT throwIf(number = 2900000) FROM numbers(3000000)")+" HTTP/1.1\r\nHost: "+addr+"\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n")
	require.NoError(t, err)
	answer, err := io.ReadAll(conn)
	require.NoError(t, err)
	// What was compressed before it is flushed, and the next chunk is the last.
	assert.Regexp(t, "(?s)\\x00\\x00\\xff\\xff\r\n[0-9a-f]{2,3}\r\n.{100,400}\r\n0\r\n\r\n$", latin1(answer))
}

// latin1 is the bytes as runes, for a regular expression.
func latin1(b []byte) string {
	runes := make([]rune, len(b))
	for i, c := range b {
		runes[i] = rune(c)
	}
	return string(runes)
}
