package app

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/embedded/chdb"
	"github.com/plumbline-sec/plumbline/internal/embedded/chdb/chdbtest"
	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/pipeline/clickhouse"
	"github.com/plumbline-sec/plumbline/schemas"
)

func TestMain(m *testing.M) { os.Exit(chdbtest.Main(m)) }

// house is a warehouse on a real engine, with what it logged.
type house struct {
	*warehouse
	t   *testing.T
	log *bytes.Buffer
	dir string
}

func newHouse(t *testing.T, dir string) *house {
	t.Helper()
	server := chdbtest.StartServer(t, chdbtest.WithDataDir(dir))
	log := &bytes.Buffer{}
	return &house{warehouse: newWarehouse(openDB(t, server), server, prometheus.NewRegistry(), zerolog.New(log)), t: t, log: log, dir: dir}
}

func openDB(t *testing.T, server *chdb.Server) *clickhouse.DB {
	t.Helper()
	db, err := clickhouse.Open(clickhouse.Config{Addrs: []string{server.Addr()}, Fsync: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	require.NoError(t, db.Migrate(t.Context(), nil))
	return db
}

// store inserts n events that no other call has inserted.
func (h *house) store(n, round int) {
	h.t.Helper()
	rows := make([]pipeline.ActivityRow, n)
	at := schemas.Millis(time.Now().UnixMilli())
	for i := range rows {
		id := fmt.Sprintf("event-%d-%d", round, i)
		rows[i] = pipeline.ActivityRow{
			Event:  schemas.Activity{EventID: id, TenantID: "default", AgentID: "agent", Outcome: "success", Time: at, RecordedAt: at, SessionID: strings.Repeat(id, 3)},
			Origin: schemas.Origin{Source: "s", Incarnation: 1, Topic: "t", Offset: int64(round*1_000_000 + i)},
		}
	}
	require.NoError(h.t, h.db.InsertActivity(h.t.Context(), rows))
}

// sql runs a statement and returns its rows as text.
func (h *house) sql(text string) (string, error) {
	var out bytes.Buffer
	err := h.db.Query(h.t.Context(), text, clickhouse.FormatJSON, &out, nil)
	return out.String(), err
}

func (h *house) must(text string) string {
	h.t.Helper()
	out, err := h.sql(text)
	require.NoError(h.t, err, text)
	return out
}

// largest is the part of activity_rows with the most rows.
func (h *house) largest() clickhouse.Part {
	h.t.Helper()
	parts, err := h.db.Parts(h.t.Context())
	require.NoError(h.t, err)
	var out clickhouse.Part
	for _, p := range parts {
		if p.Table == "activity_rows" && p.Rows > out.Rows {
			out = p
		}
	}
	return out
}

// damage flips a byte in the middle of the largest of the part's files that match,
// as a bad disk does.
func (h *house) damage(p clickhouse.Part, pattern string) {
	h.t.Helper()
	var largest string
	var size int64
	files, err := filepath.Glob(filepath.Join(h.dir, "engine", "store", "*", "*", p.Name, pattern))
	require.NoError(h.t, err)
	for _, f := range files {
		info, err := os.Stat(f)
		require.NoError(h.t, err)
		if info.Size() > size {
			largest, size = f, info.Size()
		}
	}
	file, err := os.OpenFile(largest, os.O_RDWR, 0)
	require.NoError(h.t, err)
	b := make([]byte, 1)
	_, err = file.ReadAt(b, size/2)
	require.NoError(h.t, err)
	b[0] ^= 0xff
	_, err = file.WriteAt(b, size/2)
	require.NoError(h.t, err)
	require.NoError(h.t, file.Close())
}

func TestACorruptPartFailsReadinessByNameUntilItIsSetAside(t *testing.T) {
	h := newHouse(t, t.TempDir())
	h.must("SYSTEM STOP MERGES activity_rows")
	h.store(3000, 1)
	h.store(20_000, 2)
	p := h.largest()
	h.damage(p, "*.bin")
	require.NoError(t, h.readable(), "nobody has looked yet")

	h.look(t.Context())
	h.look(t.Context())
	err := h.readable()
	require.ErrorContains(t, err, "queries fail over parts that can't be read (1): part "+p.Name+" of activity_rows (20000 rows, since 2")
	require.ErrorContains(t, err, "ALTER TABLE `plumbline`.activity_rows DETACH PART '"+p.Name+"'")
	require.NoError(t, h.answers(t.Context()), "the server itself works")
	assert.InDelta(t, 1, testutil.ToFloat64(h.broken.WithLabelValues("activity_rows")), 0)
	assert.Equal(t, 1, strings.Count(h.log.String(), "a part can't be read"), h.log.String())
	_, err = h.sql("SELECT max(session_id), max(event_id) FROM activity")
	require.Error(t, err, "which is what readiness says")

	h.must("ALTER TABLE plumbline.activity_rows DETACH PART '" + p.Name + "'")
	h.look(t.Context())
	require.NoError(t, h.readable())
	assert.InDelta(t, 0, testutil.ToFloat64(h.broken.WithLabelValues("activity_rows")), 0)
	require.Contains(t, h.must("SELECT max(session_id), count() AS n FROM activity"), `"n":3000`)
	assert.InDelta(t, 0, testutil.CollectAndCount(h.detachedParts), 0, "what a person detached is no loss that went unseen")
}

func TestEveryFileOfAPartThatQueriesReadIsLookedAt(t *testing.T) {
	h := newHouse(t, t.TempDir())
	h.must("SYSTEM STOP MERGES activity_rows")
	h.must("ALTER TABLE plumbline.activity_rows MODIFY SETTING min_bytes_for_wide_part = 1")
	for i, pattern := range []string{"session_id.bin", "session_id.size.bin", "time.bin", "agent_id.dict.bin", "attributes.size0.bin", "skp_idx_event_id.idx*", "skp_idx_session_id.idx*", "skp_idx_resources.idx*", "origin_offset.bin"} {
		h.store(20_000, i)
		parts, err := h.db.Parts(t.Context())
		require.NoError(t, err)
		var newest clickhouse.Part
		for _, p := range parts {
			if p.Table == "activity_rows" {
				newest = p
			}
		}
		h.damage(newest, pattern)
		h.look(t.Context())
		require.ErrorContains(t, h.readable(), newest.Name, pattern)
		h.must("ALTER TABLE plumbline.activity_rows DETACH PART '" + newest.Name + "'")
		h.look(t.Context())
		require.NoError(t, h.readable())
	}
}

func TestAQueryThatMeetsCorruptDataMakesTheNextLookFindIt(t *testing.T) {
	h := newHouse(t, t.TempDir())
	h.must("SYSTEM STOP MERGES activity_rows")
	h.store(20_000, 1)
	h.look(t.Context())
	read := testutil.ToFloat64(h.read)
	require.GreaterOrEqual(t, read, 20_000.0)
	h.look(t.Context())
	require.InDelta(t, read, testutil.ToFloat64(h.read), 0, "what was read is not read again the same day")

	p := h.largest()
	h.damage(p, "*.bin")
	h.look(t.Context())
	require.NoError(t, h.readable())
	_, err := h.sql("SELECT max(session_id), max(event_id) FROM activity")
	require.Error(t, err)
	h.look(t.Context())
	require.ErrorContains(t, h.readable(), p.Name)

	// It is found by its age too, in a service that has just started.
	again := newWarehouse(h.db, h.engine, prometheus.NewRegistry(), zerolog.Nop())
	again.look(t.Context())
	require.ErrorContains(t, again.readable(), p.Name)
}

func TestBrokenRequestsMakeNoMoreThanOneLookInTenMinutes(t *testing.T) {
	h := newHouse(t, t.TempDir())
	h.store(1000, 1)
	h.look(t.Context())
	fail := func() {
		_, err := h.sql("SELECT throwIf(1, 'Checksum does not match', toInt16(40)) SETTINGS allow_custom_error_code_in_throwif = 1")
		require.Error(t, err)
	}
	fail()
	require.True(t, h.alarm(t.Context()))
	require.False(t, h.alarm(t.Context()), "nothing new")
	fail()
	require.False(t, h.alarm(t.Context()), "it is too early")
	h.look(t.Context())
	require.NoError(t, h.readable())
}

func TestALookReadsNoMoreRowsThanItMayAndGoesOnWhereItWas(t *testing.T) {
	h := newHouse(t, t.TempDir())
	h.must("SYSTEM STOP MERGES activity_rows")
	h.store(50_000, 1)
	h.store(20_000, 2)
	before, looks := -1.0, 0
	for got := 0.0; got != before; looks++ {
		before = got
		h.readBack(t.Context(), 16384)
		got = testutil.ToFloat64(h.read)
		require.LessOrEqual(t, got-before, 16384.0+8192, "no more than a granule above")
	}
	assert.GreaterOrEqual(t, looks, 4)
	assert.InDelta(t, 70_000, before, 16, "each row once, those of schema_migrations apart")
}

func TestPartsThatTheEngineSetAsideAtItsStartAreSaidWithTheirRows(t *testing.T) {
	dir := t.TempDir()
	h := newHouse(t, dir)
	h.must("SYSTEM STOP MERGES activity_rows")
	h.store(1500, 1)
	h.store(200, 2)
	p := h.largest()
	require.NoError(t, h.engine.Stop(t.Context()))
	files, err := filepath.Glob(filepath.Join(dir, "engine", "store", "*", "*", p.Name, "columns.txt"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	require.NoError(t, os.WriteFile(files[0], []byte("no columns"), 0o600))

	h = newHouse(t, dir)
	require.Contains(t, h.must("SELECT count() AS n FROM activity"), `"n":200`, "the engine starts and says nothing")
	h.look(t.Context())
	h.look(t.Context())
	require.Equal(t, 1, strings.Count(h.log.String(), "set it aside"), h.log.String())
	require.Contains(t, h.log.String(), `"part":"broken-on-start_`+p.Name+`","reason":"broken-on-start"`)
	require.Contains(t, h.log.String(), `"rows":1500`)
	assert.InDelta(t, 1, testutil.ToFloat64(h.detachedParts.WithLabelValues("activity_rows")), 0)
	assert.InDelta(t, 1500, testutil.ToFloat64(h.detachedRows.WithLabelValues("activity_rows")), 0)

	h.must("ALTER TABLE plumbline.activity_rows DROP DETACHED PART 'broken-on-start_" + p.Name + "' SETTINGS allow_drop_detached = 1")
	h.look(t.Context())
	assert.Equal(t, 0, testutil.CollectAndCount(h.detachedParts))
}

func TestATableOrViewThatIsDroppedWhileTheServiceRunsFailsReadiness(t *testing.T) {
	h := newHouse(t, t.TempDir())
	h.look(t.Context())
	require.NoError(t, h.answers(t.Context()))
	h.must("DROP VIEW alerts")
	h.look(t.Context())
	h.look(t.Context())
	require.ErrorContains(t, h.answers(t.Context()), "view alerts is gone")
	require.ErrorContains(t, h.answers(t.Context()), "run `plumbline migrate`")
	assert.Equal(t, 1, strings.Count(h.log.String(), "is not what it must be"))
	require.NoError(t, h.db.Migrate(t.Context(), nil))
	h.look(t.Context())
	require.NoError(t, h.answers(t.Context()))
}

func TestAnEngineThatIsDownFailsReadinessWithTheReason(t *testing.T) {
	h := newHouse(t, t.TempDir())
	require.NoError(t, h.answers(t.Context()))
	require.NoError(t, h.engine.Stop(t.Context()))
	require.ErrorContains(t, h.answers(t.Context()), "the engine is down since")
	h.look(t.Context()) // says nothing: nobody knows more
	assert.NotContains(t, h.log.String(), "error")

	h.engine = nil // as a server of somebody else
	require.ErrorContains(t, h.answers(t.Context()), "cannot reach")
}

// refusing passes statements on to the engine, except those that name what a user
// has no right to see.
func refusing(t *testing.T, engine, what string) (addr string) {
	t.Helper()
	to, err := url.Parse("http://" + engine)
	require.NoError(t, err)
	proxy := httputil.NewSingleHostReverseProxy(to)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		if bytes.Contains(body, []byte(what)) {
			w.Header().Set("X-ClickHouse-Exception-Code", "497")
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, "Code: 497. DB::Exception: plumb: Not enough privileges. To execute this query, it's necessary to have the grant SELECT ON "+what+". (ACCESS_DENIED)")
			return
		}
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func TestAServerThatHidesItsPartsIsSaidOnceWithTheGrant(t *testing.T) {
	for _, table := range []string{"parts", "errors", "detached_parts"} {
		t.Run(table, func(t *testing.T) {
			engine := chdbtest.StartServer(t)
			openDB(t, engine)
			db, err := clickhouse.Open(clickhouse.Config{Addrs: []string{refusing(t, engine.Addr(), "system."+table)}, Compression: clickhouse.CompressionNone})
			require.NoError(t, err)
			defer func() { require.NoError(t, db.Close()) }()
			log := &bytes.Buffer{}
			w := newWarehouse(db, nil, prometheus.NewRegistry(), zerolog.New(log))
			w.look(t.Context())
			w.look(t.Context())
			assert.Equal(t, 1, strings.Count(log.String(), "grant SELECT ON system."+table+`"`), log.String())
			require.NoError(t, w.answers(t.Context()))
			require.NoError(t, w.readable())
		})
	}
}
