package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/plumbline-sec/plumbline/internal/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newAdmin(tb testing.TB, cfg config.Admin) *Admin {
	tb.Helper()
	reg := NewRegistry()
	RegisterBuildInfo(reg, "1.2.3")
	return NewAdmin(cfg, reg, zerolog.Nop())
}

// get asks the handler and returns status and body.
func get(tb testing.TB, a *Admin, target string, accept string) (int, string) {
	tb.Helper()
	r := httptest.NewRequest(http.MethodGet, target, nil)
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	w := httptest.NewRecorder()
	a.Handler().ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func TestReadinessListsEveryCheckWithItsReason(t *testing.T) {
	for _, c := range []struct {
		name   string
		checks map[string]error
		status int
		text   string
	}{
		{"all is well", map[string]error{"kafka": nil}, 200, "ok    kafka\nok\n"},
		{"one fails", map[string]error{"kafka": errors.New("no broker\nanswers")}, 503, "FAIL  kafka: no broker; answers\nnot ok\n"},
		{"no checks", nil, 200, "ok\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newAdmin(t, config.Admin{})
			for name, err := range c.checks {
				a.AddCheck(name, func(context.Context) error { return err })
			}
			a.SetStarted()
			status, body := get(t, a, "/readyz", "")
			require.Equal(t, c.status, status)
			require.Equal(t, c.text, body)
		})
	}
}

func TestReadinessIsAnsweredInJSONOnDemand(t *testing.T) {
	a := newAdmin(t, config.Admin{})
	a.AddCheck("kafka", func(context.Context) error { return nil })
	a.AddCheck("detect", func(context.Context) error { return errors.New("not a member") })
	a.SetStarted()
	for _, ask := range []struct{ target, accept string }{{"/readyz?format=json", ""}, {"/readyz", "application/json"}} {
		status, body := get(t, a, ask.target, ask.accept)
		require.Equal(t, 503, status)
		require.JSONEq(t, `{"ok":false,"checks":[{"name":"kafka","ok":true},{"name":"detect","ok":false,"error":"not a member"}]}`, body)
	}
}

func TestReadinessFailsBeforeTheStartAndWhileStopping(t *testing.T) {
	a := newAdmin(t, config.Admin{})
	status, body := get(t, a, "/readyz", "")
	require.Equal(t, 503, status)
	require.Contains(t, body, "FAIL  service: starting")
	a.SetStarted()
	status, _ = get(t, a, "/readyz", "")
	require.Equal(t, 200, status)
	a.Drain()
	status, body = get(t, a, "/readyz", "")
	require.Equal(t, 503, status)
	require.Contains(t, body, "FAIL  service: stopping")
	status, _ = get(t, a, "/healthz", "")
	require.Equal(t, 200, status, "who drains is alive")
}

func TestACheckThatHangsDelaysTheAnswerByItsTimeoutAndIsNotStartedTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAdmin(t, config.Admin{})
		release := make(chan struct{})
		var started atomic.Int32
		a.AddCheck("deaf", func(context.Context) error { started.Add(1); <-release; return nil })
		a.AddCheck("polite", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		a.SetStarted()

		begin := time.Now()
		status, body := get(t, a, "/readyz", "")
		require.Equal(t, checkTimeout, time.Since(begin))
		require.Equal(t, 503, status)
		require.Contains(t, body, "FAIL  deaf: no answer within 1s")

		_, body = get(t, a, "/readyz", "")
		require.Contains(t, body, "FAIL  deaf: the check before this one has not returned yet")
		require.Equal(t, int32(1), started.Load())

		close(release)
		synctest.Wait()
		_, body = get(t, a, "/readyz", "")
		require.Contains(t, body, "ok    deaf")
	})
}

func TestLivenessFailsWhileAWatchedComponentIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAdmin(t, config.Admin{})
		beat := a.Watch("detect", 30*time.Second)
		other := a.Watch("route", time.Second)
		other.Done()
		time.Sleep(30 * time.Second)
		status, body := get(t, a, "/healthz", "")
		require.Equal(t, 200, status)
		require.NotContains(t, body, "route", "who is done is not watched")

		time.Sleep(time.Second)
		status, body = get(t, a, "/healthz", "")
		require.Equal(t, 503, status)
		require.Contains(t, body, "FAIL  detect: no sign of life for 31s, at most 30s is normal")

		beat.Beat()
		status, _ = get(t, a, "/healthz", "")
		require.Equal(t, 200, status)
	})
}

func TestMetricsHoldTheRuntimeTheProcessAndTheBuild(t *testing.T) {
	status, body := get(t, newAdmin(t, config.Admin{}), "/metrics", "")
	require.Equal(t, 200, status)
	for _, want := range []string{"go_goroutines ", "process_open_fds ", `plumbline_build_info{goversion="go`, `version="1.2.3"} 1`} {
		require.Contains(t, body, want)
	}
}

func TestProfilesAreServedOnlyWhereTheConfigSaysSo(t *testing.T) {
	for pprof, want := range map[bool]int{false: 404, true: 200} {
		status, _ := get(t, newAdmin(t, config.Admin{PProf: pprof}), "/debug/pprof/cmdline", "")
		require.Equal(t, want, status)
	}
}

func TestOnlyReadingIsPermitted(t *testing.T) {
	w := httptest.NewRecorder()
	newAdmin(t, config.Admin{}).Handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/metrics", nil))
	require.Equal(t, http.StatusMethodNotAllowed, w.Code)
}

func TestPagesInABrowserAreNotAnswered(t *testing.T) {
	a := newAdmin(t, config.Admin{Listen: "127.0.0.1:0", PProf: true})
	a.SetStarted()
	require.NoError(t, a.Start())
	defer func() { require.NoError(t, a.Stop(t.Context())) }()
	defer http.DefaultClient.CloseIdleConnections()
	for _, path := range []string{"/", "/metrics", "/healthz", "/readyz", "/debug/pprof/cmdline"} {
		for name, c := range map[string]struct {
			host, header, value string
			status              int
		}{
			"a program":                    {"", "Accept", "text/plain", http.StatusOK},
			"a program by name":            {"localhost:9464", "Accept", "*/*", http.StatusOK},
			"a script of another site":     {"", "Sec-Fetch-Site", "cross-site", http.StatusForbidden},
			"a page of another port":       {"", "Sec-Fetch-Site", "same-site", http.StatusForbidden},
			"a request of another origin":  {"", "Origin", "http://evil.example", http.StatusForbidden},
			"a name that was made resolve": {"evil.example:9464", "Sec-Fetch-Site", "same-origin", http.StatusMisdirectedRequest},
		} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+a.Addr()+path, http.NoBody)
			require.NoError(t, err)
			req.Header.Set(c.header, c.value)
			req.Host = c.host
			res, err := http.DefaultClient.Do(req)
			require.NoError(t, err)
			require.NoError(t, res.Body.Close())
			require.Equal(t, c.status, res.StatusCode, "%s asks for %s", name, path)
			require.Equal(t, "nosniff", res.Header.Get("X-Content-Type-Options"), "%s asks for %s", name, path)
		}
	}
}

func TestTheServerStartsServesAndStops(t *testing.T) {
	a := newAdmin(t, config.Admin{Listen: "127.0.0.1:0"})
	require.NoError(t, a.Stop(t.Context()), "to stop what was not started does nothing")
	require.Empty(t, a.Addr())
	require.NoError(t, a.Start())
	require.NoError(t, a.Start(), "a second start does nothing")
	addr := a.Addr()

	res, err := http.Get("http://" + addr + "/healthz")
	require.NoError(t, err)
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, "ok\n", string(body))
	http.DefaultClient.CloseIdleConnections()

	require.NoError(t, a.Stop(t.Context()))
	require.NoError(t, a.Stop(t.Context()), "a second stop does nothing")
	_, err = net.Dial("tcp", addr)
	require.Error(t, err, "nobody listens any more")
}

func TestStopCutsOffARequestThatOutlastsItsContext(t *testing.T) {
	a := newAdmin(t, config.Admin{Listen: "127.0.0.1:0"})
	asked := make(chan struct{})
	a.AddCheck("slow", func(ctx context.Context) error { close(asked); <-ctx.Done(); return nil })
	require.NoError(t, a.Start())
	addr := a.Addr()
	var client sync.WaitGroup
	client.Go(func() {
		if res, err := http.Get("http://" + addr + "/readyz"); err == nil {
			_ = res.Body.Close()
		}
	})
	<-asked
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, a.Stop(ctx), context.Canceled)
	client.Wait()
	http.DefaultClient.CloseIdleConnections()
}

func TestAnOccupiedPortIsReportedWithTheSettingThatChoosesIt(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, ln.Close()) }()
	a := newAdmin(t, config.Admin{Listen: ln.Addr().String()})
	err = a.Start()
	require.ErrorContains(t, err, "admin.listen")
	require.ErrorContains(t, err, ln.Addr().String())
	require.NoError(t, a.Stop(t.Context()), "what half started can be stopped")
}

func TestListenNoneServesNothing(t *testing.T) {
	a := newAdmin(t, config.Admin{Listen: config.NoListen})
	require.NoError(t, a.Start())
	require.Empty(t, a.Addr())
	require.NoError(t, a.Stop(t.Context()))
}

func TestLogLinesAreWrittenInTheFormAndFromTheLevelOfTheConfig(t *testing.T) {
	stamp := regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z`)
	var b bytes.Buffer
	logger, err := NewLogger(config.Log{Level: "warn", Format: config.LogJSON}, &b)
	require.NoError(t, err)
	logger.Info().Msg("not this")
	logger.Warn().Str("topic", "a\nb").Msg("this")
	var line map[string]string
	require.NoError(t, json.Unmarshal(b.Bytes(), &line), "one JSON object a line: %s", b.String())
	require.Regexp(t, stamp, line["time"])
	require.Equal(t, "this", line["message"])
	require.Equal(t, "warn", line["level"])

	b.Reset()
	logger, err = NewLogger(config.Log{Level: "debug", Format: config.LogConsole}, &b)
	require.NoError(t, err)
	logger.Debug().Str("topic", "a\n\x1b[31mb").Msg("this")
	require.Regexp(t, stamp, b.String())
	require.NotContains(t, b.String(), "\x1b", "no colours where nobody looks, and none from a value")
	require.Equal(t, 1, strings.Count(b.String(), "\n"), "a value does not break the line")

	for _, bad := range []config.Log{{Level: "loud", Format: "json"}, {Level: "", Format: "json"}, {Level: "info", Format: "xml"}} {
		_, err := NewLogger(bad, io.Discard)
		require.Error(t, err)
	}
}

func TestLinesOfManyGoroutinesAreNotMixedUp(t *testing.T) {
	var b bytes.Buffer
	logger, err := NewLogger(config.Log{Level: "info", Format: config.LogConsole}, &b)
	require.NoError(t, err)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				logger.Info().Str("k", strings.Repeat("x", 100)).Msg("m")
			}
		})
	}
	wg.Wait()
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	require.Len(t, lines, 800)
	for _, l := range lines {
		require.True(t, strings.HasSuffix(l, strings.Repeat("x", 100)), l)
	}
}

func TestOnlyATerminalGetsColours(t *testing.T) {
	require.False(t, IsTerminal(&bytes.Buffer{}))
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	require.NoError(t, err)
	defer func() { require.NoError(t, null.Close()) }()
	require.False(t, IsTerminal(null))
}
