package browser

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// serve answers "done" behind the guard, on a loopback port.
func serve(t *testing.T) (host string, done *int) {
	t.Helper()
	done = new(int)
	s := httptest.NewServer(Guard(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		*done++
		_, _ = w.Write([]byte("done"))
	})))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://"), done
}

func send(t *testing.T, method, host string, head map[string]string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+host+"/", http.NoBody)
	require.NoError(t, err)
	for name, value := range head {
		req.Header.Set(name, strings.ReplaceAll(value, "SELF", host))
	}
	if name := head["Host"]; name != "" {
		req.Host = name
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return resp
}

func TestPagesOfOtherSitesAreRefusedByEveryMethod(t *testing.T) {
	host, done := serve(t)
	for _, head := range []map[string]string{
		{"Sec-Fetch-Site": "cross-site"},
		{"Sec-Fetch-Site": "same-site"}, // a page of another port of this machine
		{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"},
		{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
		{"Sec-Fetch-Site": "something new"},
		{"Sec-Fetch-Site": "same-origin", "Origin": "http://evil.example"},
		{"Origin": "http://evil.example"},
		{"Origin": "null"},
		{"Origin": "http://localhost:1"},
		{"Origin": "http://SELF.evil.example"},
		{"Referer": "http://evil.example/page"},
		{"Referer": "%"},
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "OPTIONS", "DELETE"} {
			assert.Equal(t, http.StatusForbidden, send(t, method, host, head).StatusCode, "%s %v", method, head)
		}
	}
	assert.Zero(t, *done)
}

func TestProgramsAndTheServicesOwnPagesAreAnswered(t *testing.T) {
	host, _ := serve(t)
	for _, head := range []map[string]string{
		{},
		{"Sec-Fetch-Site": "none"},
		{"Sec-Fetch-Site": "same-origin", "Origin": "http://SELF", "Referer": "http://SELF/"},
		{"Host": "localhost:8123"},
		{"Host": "LOCALHOST."},
		{"Host": "plumbline.localhost:8123"},
		{"Host": "[::1]:8123"},
		{"Host": "127.0.0.1"},
		{"Host": "127.1.2.3:80"},
	} {
		resp := send(t, http.MethodGet, host, head)
		assert.Equal(t, http.StatusOK, resp.StatusCode, "%v", head)
		assert.Equal(t, "nosniff", resp.Header.Get("X-Content-Type-Options"))
		assert.Equal(t, "same-origin", resp.Header.Get("Cross-Origin-Resource-Policy"))
	}
}

func TestANameThatWasMadeToResolveToThisMachineIsRefused(t *testing.T) {
	host, done := serve(t)
	for _, name := range []string{"evil.example", "evil.example:8123", "localhost.evil.example", "127.0.0.1.evil.example:80", "notlocalhost", "0.0.0.0:8123", "192.0.2.1"} {
		// The page is of the same origin as what it asks: its browser sees nothing wrong.
		resp := send(t, http.MethodGet, host, map[string]string{"Host": name, "Origin": "http://" + name, "Sec-Fetch-Site": "same-origin"})
		assert.Equal(t, http.StatusMisdirectedRequest, resp.StatusCode, name)
		assert.Equal(t, "nosniff", resp.Header.Get("X-Content-Type-Options"), "a refusal is no script either")
	}
	assert.Zero(t, *done)
}

func TestOnAnotherInterfaceEveryNameIsAnsweredAndPagesAreRefusedStill(t *testing.T) {
	guard := Guard(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for head, want := range map[string]int{"": http.StatusOK, "cross-site": http.StatusForbidden} {
		r := httptest.NewRequest(http.MethodGet, "http://plumbline.example.com:9464/metrics", nil)
		if head != "" {
			r.Header.Set("Sec-Fetch-Site", head)
		}
		w := httptest.NewRecorder()
		guard.ServeHTTP(w, r)
		assert.Equal(t, want, w.Code)
	}
}
