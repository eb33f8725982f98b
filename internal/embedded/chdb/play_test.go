package chdb_test

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/embedded/chdb"
	"github.com/plumbline-sec/plumbline/internal/embedded/chdb/chdbtest"
)

func TestThePlayPageLoadsNothingAndOnlyReads(t *testing.T) {
	w := newWeb(t, chdbtest.Start(t, func(c *chdb.Config) { c.ReaderPassword, c.Database = readersPassword, "pl" }))
	w.must("CREATE DATABASE pl")
	a := w.do(http.MethodGet, "/play", "", "header:Sec-Fetch-Site", "none")
	require.Equal(t, http.StatusOK, a.status)
	assert.Equal(t, "text/html; charset=UTF-8", a.head.Get("Content-Type"))
	assert.Equal(t, "DENY", a.head.Get("X-Frame-Options"))

	policy := a.head.Get("Content-Security-Policy")
	nonces := regexp.MustCompile(`nonce="([0-9a-f]{32})"`).FindAllStringSubmatch(a.body, -1)
	require.Len(t, nonces, 2)
	for i, directive := range []string{"style-src", "script-src"} {
		assert.Contains(t, policy, directive+" 'nonce-"+nonces[i][1]+"';")
	}
	assert.True(t, strings.HasPrefix(policy, "default-src 'none'; "))
	assert.Contains(t, policy, "connect-src 'self'; ")
	assert.NotContains(t, policy, "unsafe")
	assert.NotRegexp(t, `(?i)\b(src|href|action|on[a-z]+)\s*=\s*["']|//[a-z]|innerHTML|@import|url\(|style="`, a.body, "nothing of others, nothing that needs more of the policy")
	assert.NotEqual(t, nonces[0], regexp.MustCompile(`nonce="([0-9a-f]{32})"`).FindStringSubmatch(w.do(http.MethodGet, "/play", "").body))
	assert.Contains(t, a.body, `value="pl"`)

	// What the page sends.
	from := []string{
		"header:Sec-Fetch-Site", "same-origin", "header:Origin", "http://" + w.addr, "header:Referer", "http://" + w.addr + "/play",
		"database", "pl", "default_format", "JSONCompact", "wait_end_of_query", "1", "output_format_json_quote_64bit_integers", "1",
	}
	as := func(user, password string) []string {
		return append(slices.Clip(from), "header:X-ClickHouse-User", user, "header:X-ClickHouse-Key", password)
	}
	for _, user := range [][]string{as("default", ""), as("reader", readersPassword)} {
		assert.Contains(t, w.must("SELECT toUInt64(18446744073709551615) AS most, currentDatabase()", user...), `["18446744073709551615", "pl"]`)
		w.post("CREATE TABLE t (a UInt8) ENGINE = Memory", user...).fails(t, "164")
	}
	assert.Equal(t, http.StatusForbidden, w.post("SELECT 1", as("reader", "wrong")...).status)
	assert.Equal(t, http.StatusForbidden, w.do(http.MethodGet, "/play", "", "header:Sec-Fetch-Site", "cross-site").status, "not by a link of another site")
	assert.Equal(t, http.StatusMisdirectedRequest, w.do(http.MethodGet, "/play", "", "header:Host", "evil.example").status)
	assert.Equal(t, http.StatusNotFound, w.do(http.MethodPost, "/play", "").status)
}
