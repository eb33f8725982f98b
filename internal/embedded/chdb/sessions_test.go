package chdb_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/embedded/chdb/chdbtest"
)

func TestWhatARequestAsksForEndsWithItInASessionToo(t *testing.T) {
	w := newWeb(t, chdbtest.Start(t))
	w.must("CREATE DATABASE other")
	w.must("CREATE TABLE other.t (a UInt8) ENGINE = MergeTree ORDER BY a")
	in := func(pairs ...string) []string { return append([]string{"session_id", "s"}, pairs...) }
	const ask = "SELECT getSetting('max_threads'), getSetting('max_execution_time'), getSetting('max_result_bytes'), getSetting('format_csv_delimiter'), getSetting('output_format_arrow_use_native_writer'), currentDatabase()"
	fresh := w.must(ask)
	require.Equal(t, fresh, w.must(ask, in()...))

	got := w.must(ask, in("max_threads", "7", "max_execution_time", "9", "max_result_bytes", "1000000", "format_csv_delimiter", "'", "output_format_arrow_use_native_writer", "1", "database", "other")...)
	assert.Equal(t, "7\t9\t1000000\t\\'\ttrue\tother\n", got)
	assert.Equal(t, fresh, w.must(ask, in()...))

	w.must("SELECT 1 FORMAT JSON", in()...)
	assert.Equal(t, fresh, w.must(ask, in()...), "nor what this side sets for an answer in one piece")

	w.post("SELECT sleepEachRow(0.1) FROM numbers(30)", in("max_execution_time", "0.3", "max_block_size", "1")...).fails(t, "159")
	assert.Equal(t, fresh, w.must(ask, in()...), "after an error too")
	assert.Equal(t, http.StatusBadRequest, w.post("SELECT 1", in("max_threads", "5", "max_block_size", "many")...).status)
	assert.Equal(t, fresh, w.must(ask, in()...), "after an error in the settings")
	assert.Equal(t, http.StatusNotFound, w.post("SELECT 1", in("max_threads", "5", "database", "nowhere")...).status)
	assert.Equal(t, fresh, w.must(ask, in()...), "after an error in the database")

	for _, level := range []string{"1", "2"} {
		w.post("INSERT INTO other.t VALUES (1)", in("readonly", level)...).fails(t, "164")
		assert.Equal(t, "1\n", w.must("SELECT 1", in("readonly", level)...))
		w.must("INSERT INTO other.t VALUES (2)", in()...)
	}
	w.post("SELECT 1 SETTINGS max_threads = 2", in("readonly", "1")...).fails(t, "164")
	assert.Equal(t, "1\n", w.must("SELECT 1 SETTINGS max_threads = 2", in("readonly", "2")...))
}

func TestWhatAStatementSetsStaysInItsSession(t *testing.T) {
	w := newWeb(t, chdbtest.Start(t))
	w.must("CREATE DATABASE other")
	in := func(pairs ...string) []string { return append([]string{"session_id", "s"}, pairs...) }
	const ask = "SELECT getSetting('max_threads'), getSetting('max_block_size'), currentDatabase()"
	w.must("SET max_threads = 3, max_block_size = 1000", in()...)
	w.must("USE other", in()...)
	assert.Equal(t, "3\t1000\tother\n", w.must(ask, in()...))
	assert.Equal(t, "5\t1000\tdefault\n", w.must(ask, in("max_threads", "5", "database", "default")...))
	assert.Equal(t, "3\t1000\tother\n", w.must(ask, in()...))

	w.must("SET max_threads = 6", in("max_threads", "5", "max_block_size", "2000")...)
	assert.Equal(t, "6\t1000\tother\n", w.must(ask, in()...), "the statement's word counts")
	assert.Equal(t, http.StatusBadRequest, w.post("SET max_threads = 'many'", in("max_threads", "5")...).status)
	assert.Equal(t, "6\t1000\tother\n", w.must(ask, in()...))
	w.must("USE default", in("database", "other")...)
	assert.Equal(t, "6\t1000\tdefault\n", w.must(ask, in()...))
	assert.NotContains(t, w.must(ask), "other", "and in no other one")
}

func TestASessionCanBeAskedForAndClosed(t *testing.T) {
	w := newWeb(t, chdbtest.Start(t))
	a := w.post("SELECT 1", "session_id", "s", "session_check", "1")
	assert.Equal(t, "372", a.head.Get("X-ClickHouse-Exception-Code"), a.body)
	w.must("CREATE TEMPORARY TABLE mine (a UInt8)", "session_id", "s")
	assert.Equal(t, "0\n", w.must("SELECT count() FROM mine", "session_id", "s", "session_check", "1"))
	w.must("SELECT 1", "session_id", "s", "close_session", "1")
	w.post("SELECT 1", "session_id", "s", "session_check", "1").fails(t, "372")

	// A limit that stands in the way of its own end takes the session along.
	assert.True(t, strings.HasPrefix(w.post("SELECT 1", "session_id", "s", "max_query_size", "5").body, "Code: 62"))
	assert.Equal(t, "1\n", w.must("SELECT 1", "session_id", "s"))
}
