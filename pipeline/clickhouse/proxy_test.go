package clickhouse

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/embedded/chdb/chdbtest"
)

// guarded is the engine's HTTP interface behind a check of user and password as a
// server makes it: HTTP Basic or ClickHouse's own headers, not both.
func guarded(t *testing.T, engine, user, password string, withTLS bool) *httptest.Server {
	t.Helper()
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: engine})
			r.Out.Host = engine
			for _, h := range []string{"Authorization", "X-ClickHouse-User", "X-ClickHouse-Key", "X-ClickHouse-SSL-Certificate-Auth"} {
				r.Out.Header.Del(h)
			}
		},
		ErrorLog: log.New(io.Discard, "", 0),
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u, p, basic := r.BasicAuth()
		if !basic {
			u, p = r.Header.Get("X-ClickHouse-User"), r.Header.Get("X-ClickHouse-Key")
		}
		if r.Header.Get("X-ClickHouse-SSL-Certificate-Auth") == "on" && len(r.TLS.PeerCertificates) == 0 {
			exception(516, u+": Authentication failed: no certificate")(w, r)
			return
		}
		if u != user || p != password {
			exception(516, u+": Authentication failed: password is incorrect, or there is no user with such name. (AUTHENTICATION_FAILED)")(w, r)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	if withTLS {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s
}

func TestUserPasswordAndTLSAreUsedOverHTTP(t *testing.T) {
	engine := chdbtest.Start(t)
	for _, withTLS := range []bool{false, true} {
		for _, password := range []string{secret, ""} {
			t.Run(fmt.Sprintf("tls %t, password %q", withTLS, password), func(t *testing.T) {
				s := guarded(t, engine, "plumb", password, withTLS)
				auth := func(c *Config) {
					c.Username, c.Password = "plumb", password
					if withTLS {
						pool := x509.NewCertPool()
						pool.AddCert(s.Certificate())
						c.TLS = &tls.Config{RootCAs: pool, ServerName: "example.com", MinVersion: tls.VersionTLS12}
					}
				}
				db := open(t, s.Listener.Addr().String(), auth)
				require.NoError(t, db.Migrate(t.Context(), nil))
				rows := typicalRows(1000, 10, now())
				require.NoError(t, db.InsertActivity(t.Context(), rows))
				require.Equal(t, 1000, count(t, db, "activity"))

				wrong := open(t, s.Listener.Addr().String(), auth, func(c *Config) { c.Password = "wrong-" + secret })
				err := wrong.InsertActivity(t.Context(), rows)
				require.ErrorContains(t, err, `refuses user "plumb": check clickhouse.username and clickhouse.password`)
				require.NotContains(t, err.Error(), "hunter2")
				require.False(t, IsRetryable(err))
			})
		}
	}
}

func TestTheFirstAddressThatAnswersIsUsed(t *testing.T) {
	db := open(t, closedPort(t), func(c *Config) { c.Addrs = append(c.Addrs, chdbtest.Start(t)) })
	require.NoError(t, db.Migrate(t.Context(), nil))
	require.NoError(t, db.InsertActivity(t.Context(), typicalRows(10, 1, now())))
	require.Equal(t, 10, count(t, db, "activity"))
}

func TestAResultIsATableOrJSONLines(t *testing.T) {
	db := migrated(t)
	rows := typicalRows(3, 1, 1790000000000)
	rows[0].Event.Tool, rows[1].Event.Tool = "\x1b[2J\x1b[31mred\x07", "nul\x00 and \xff"
	require.NoError(t, db.InsertActivity(t.Context(), rows))
	query := func(sql, format string) (string, string) {
		t.Helper()
		var out, notes bytes.Buffer
		require.NoError(t, db.Query(t.Context(), sql, format, &out, &notes))
		require.NotContains(t, out.String(), "\x1b")
		return out.String(), notes.String()
	}

	out, notes := query("SELECT time, tool, resources, attributes['region'] AS region, bytes_sent FROM activity ORDER BY time; ", FormatText)
	golden(t, "query.golden.txt", []byte(out))
	require.Regexp(t, `^3 rows in \d`, notes)

	const kinds = `SELECT 1::UInt8 AS u, -5::Int64 AS i, 18446744073709551615::UInt64 AS big, 0.1::Float64 AS f, nan AS n, 'a\x1bb' AS s,
    toDate('2026-11-24') AS d, toDate32('2026-11-24') AS d32, toDateTime('2026-11-24 03:04:05', 'UTC') AS dt, toDateTime64('2026-11-24 03:04:05.678', 3, 'UTC') AS dt64,
    [1, 2]::Array(UInt8) AS a, map('k', [1.5]) AS m, (1, 'x')::Tuple(a UInt8, b String) AS t, NULL::Nullable(String) AS nothing, toNullable(7) AS maybe,
    '6ba7b810-9dad-11d1-80b4-00c04fd430c8'::UUID AS id, toIPv4('10.0.0.1') AS ip4, toIPv6('::1') AS ip6, 12.50::Decimal(9, 2) AS dec,
    12345678901234567890123::UInt256 AS huge, true AS yes, 'a'::Enum8('a' = 1) AS e, 'lc'::LowCardinality(String) AS lc, toFixedString('fix', 4) AS fs,
    [[], ['x', NULL]]::Array(Array(Nullable(String))) AS nested, (1.0, 2.0)::Point AS pt,
    '{"a":{"b":1},"c":["x\u202e"]}'::JSON AS j, 1::Variant(UInt8, String) AS v`
	out, notes = query(kinds, FormatJSON)
	var m map[string]any
	require.NoError(t, json.Unmarshal([]byte(out), &m))
	golden(t, "kinds.golden.json", []byte(strings.ReplaceAll(out, `,"`, ",\n\"")))
	require.Regexp(t, `^1 row in \d`, notes)
	out, _ = query(kinds, FormatText)
	golden(t, "kinds.golden.txt", []byte(out))

	_, notes = query("SELECT 1 AS x WHERE 0", FormatText)
	require.Regexp(t, `^0 rows in \d`, notes)
	out, notes = query("CREATE TABLE scratch (x UInt8) ENGINE = Memory", FormatText)
	require.Empty(t, out)
	require.Regexp(t, `^done in \d`, notes)
	out, _ = query("SELECT number FROM numbers(100000)", FormatJSON)
	require.Equal(t, 100000, strings.Count(out, "\n"))

	for sql, says := range map[string]string{
		"SELEC 1":               "Syntax error",
		"SELECT 1; SELECT 2":    "2 statements given: give one",
		" -- nothing ":          "0 statements given",
		"SELECT * FROM nowhere": "nowhere",
		"SELECT throwIf(number = 50000, 'in the middle') FROM numbers(100000) SETTINGS max_block_size = 1000": "in the middle",
	} {
		var out bytes.Buffer
		require.ErrorContains(t, db.Query(t.Context(), sql, FormatText, &out, nil), says, sql)
	}
	require.ErrorContains(t, db.Query(t.Context(), "SELECT 1", "xml", io.Discard, nil), "use text, json or vertical")
}
