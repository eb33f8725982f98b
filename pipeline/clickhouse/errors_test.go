package clickhouse

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	driver "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/pipeline"
)

const secret = "hunter2/secret?&"

// tcpFake answers every connection with what reply returns for it.
func tcpFake(t *testing.T, handle func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close() //nolint:errcheck // the client may have closed it
				handle(c)
			}()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr().String()
}

func httpFake(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func exception(code int, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-ClickHouse-Exception-Code", fmt.Sprint(code))
		w.WriteHeader(http.StatusInternalServerError)
		fmt.Fprintf(w, "Code: %d. DB::Exception: %s (version 26.7.2.1)", code, text)
	}
}

// readThen waits for the client's first byte, answers with b and hangs up.
func readThen(b string) func(net.Conn) {
	return func(c net.Conn) {
		_, _ = bufio.NewReader(c).ReadByte()
		_, _ = io.WriteString(c, b)
		_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond)) // unread bytes would reset the connection
		_, _ = io.Copy(io.Discard, c)
	}
}

func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().String()
}

func TestEveryWayToMissTheServerSaysWhatToDo(t *testing.T) {
	tlsServer := httptest.NewUnstartedServer(http.NotFoundHandler())
	tlsServer.Config.ErrorLog = log.New(io.Discard, "", 0)
	tlsServer.StartTLS()
	t.Cleanup(tlsServer.Close)
	tlsAddr := tlsServer.Listener.Addr().String()
	pool := x509.NewCertPool()
	pool.AddCert(tlsServer.Certificate())
	badRequest := "HTTP/1.0 400 Bad Request\r\n\r\nPort 9000 is for clickhouse-client program\r\nYou must use port 8123 for HTTP.\r\n"
	// A server's exception in the native protocol: packet 2, code, name, message,
	// stack trace, nested.
	nativeException := "\x02\x04\x02\x00\x00" + "\x0dDB::Exception" + "\x12secret hunter2/...\x00\x00"
	silence := func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }
	ssh := readThen("SSH-2.0-OpenSSH\r\n")
	refused := exception(516, "plumb: Authentication failed: password is incorrect. (AUTHENTICATION_FAILED)")
	gateway := func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no upstream", http.StatusBadGateway) }

	for _, c := range []struct {
		name, addr, protocol string
		tls                  *tls.Config
		kind                 Kind
		retryable            bool
		says                 []string
	}{
		{"nobody listens, http", closedPort(t), ProtocolHTTP, nil, KindUnreachable, true, []string{"cannot reach 127.0.0.1:", "(clickhouse.addr)", "connection refused"}},
		{"nobody listens, native", closedPort(t), ProtocolNative, nil, KindUnreachable, true, []string{"cannot reach 127.0.0.1:", "(clickhouse.addr)", "connection refused"}},
		{"no such host", "clickhouse.invalid:8123", ProtocolHTTP, nil, KindUnreachable, true, []string{"clickhouse.invalid:8123 (clickhouse.addr)"}},
		{"silence, http", tcpFake(t, silence), ProtocolHTTP, nil, KindTimeout, true, []string{"no answer in time", "clickhouse.addr"}},
		{"silence, native", tcpFake(t, silence), ProtocolNative, nil, KindTimeout, true, []string{"no answer in time", "clickhouse.addr", "does it speak the native protocol"}},
		{"the connection is cut", tcpFake(t, func(net.Conn) {}), ProtocolNative, nil, KindUnreachable, true, []string{"cannot reach"}},
		{"http to the native port", tcpFake(t, readThen(badRequest)), ProtocolHTTP, nil, KindProtocol, false, []string{"speaks the native protocol", "clickhouse.protocol to native", "8123"}},
		{"native to the http port", tcpFake(t, readThen("HTTP/1.1 400 Bad Request\r\n\r\n")), ProtocolNative, nil, KindProtocol, false, []string{"speaks HTTP", "clickhouse.protocol to http", "9000"}},
		{"native to something else", tcpFake(t, ssh), ProtocolNative, nil, KindProtocol, false, []string{"does not speak ClickHouse's native protocol"}},
		{"http to something else", tcpFake(t, ssh), ProtocolHTTP, nil, KindProtocol, false, []string{"does not speak HTTP"}},
		{"wrong password, http", httpFake(t, refused), ProtocolHTTP, nil, KindAuth, false, []string{`refuses user "plumb"`, "clickhouse.username", "clickhouse.password"}},
		{"wrong password, native", tcpFake(t, readThen(nativeException)), ProtocolNative, nil, KindAuth, false, []string{`refuses user "plumb"`, "clickhouse.username", "clickhouse.password"}},
		{"no database", httpFake(t, exception(81, "Database plumbline does not exist. (UNKNOWN_DATABASE)")), ProtocolHTTP, nil, KindNoDatabase, false, []string{`no database "plumbline"`, "plumbline migrate"}},
		{"no right", httpFake(t, exception(497, "plumb: Not enough privileges. (ACCESS_DENIED)")), ProtocolHTTP, nil, KindAccess, false, []string{`user "plumb" may not do this`, "Not enough privileges"}},
		{"overloaded", httpFake(t, exception(241, "Memory limit exceeded. (MEMORY_LIMIT_EXCEEDED)")), ProtocolHTTP, nil, KindServer, true, []string{"Memory limit exceeded", "code 241"}},
		{"a mistake of ours", httpFake(t, exception(62, "Syntax error. (SYNTAX_ERROR)")), ProtocolHTTP, nil, KindServer, false, []string{"Syntax error"}},
		{"a gateway without its server", httpFake(t, gateway), ProtocolHTTP, nil, KindServer, true, []string{"HTTP status 502", "no upstream"}},
		{"another web server", httpFake(t, http.NotFound), ProtocolHTTP, nil, KindServer, false, []string{"HTTP status 404"}},
		{"TLS to a plain port, http", httpFake(t, http.NotFound), ProtocolHTTP, &tls.Config{}, KindTLS, false, []string{"does not speak TLS", "clickhouse.tls.enabled"}},
		{"TLS to a plain port, native", tcpFake(t, readThen(badRequest)), ProtocolNative, &tls.Config{}, KindTLS, false, []string{"does not speak TLS", "clickhouse.tls.enabled"}},
		{"plain to a TLS port, http", tlsAddr, ProtocolHTTP, nil, KindTLS, false, []string{"speaks TLS", "clickhouse.tls.enabled to true"}},
		{"plain to a TLS port, native", tcpFake(t, readThen("\x15\x03\x01\x00\x02\x02\x46")), ProtocolNative, nil, KindTLS, false, []string{"speaks TLS", "clickhouse.tls.enabled to true"}},
		{"an unknown authority", tlsAddr, ProtocolHTTP, &tls.Config{RootCAs: x509.NewCertPool()}, KindTLS, false, []string{"authority that is not believed", "clickhouse.tls.ca_file"}},
		{"a certificate for another name", tlsAddr, ProtocolHTTP, &tls.Config{RootCAs: pool, ServerName: "clickhouse.example.org"}, KindTLS, false, []string{"for another name", "clickhouse.tls.server_name"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			db := open(t, c.addr, func(cfg *Config) { // a server that is not there is no mistake of the config
				cfg.Protocol, cfg.TLS, cfg.Username, cfg.Password = c.protocol, c.tls, "plumb", secret
				cfg.DialTimeout, cfg.ReadTimeout, cfg.InsertTimeout = 400*time.Millisecond, 400*time.Millisecond, time.Second
			})
			for op, err := range map[string]error{
				"ping":   db.Ping(t.Context()),
				"insert": db.InsertActivity(t.Context(), typicalRows(2, 1, 1790000000000)),
				"query":  db.Query(t.Context(), "SELECT 1", FormatText, io.Discard, nil),
			} {
				require.Error(t, err, op)
				require.Equal(t, c.retryable, IsRetryable(err), "%s: %v", op, err)
				var e *Error
				require.ErrorAs(t, err, &e)
				require.Equal(t, c.kind, e.Kind, "%s: %v", op, err)
				for _, want := range c.says {
					require.ErrorContains(t, err, want, op)
				}
				require.Contains(t, err.Error(), "clickhouse: ")
				require.NotContains(t, err.Error(), "hunter2/s")
				require.NotContains(t, err.Error(), "\n")
			}
		})
	}
}

func TestAServersMessageCannotPaintATerminalOrFillALog(t *testing.T) {
	hostile := exception(27, "Cannot parse input: '\x1b[2J\x1b[31m"+strings.Repeat("x", 1<<16)+secret)
	db := open(t, httpFake(t, hostile), func(c *Config) { c.Password = secret })
	err := db.Ping(t.Context())
	require.ErrorContains(t, err, `Cannot parse input: '\u001b[2J\u001b[31mx`)
	require.Less(t, len(err.Error()), 2*maxErrorText)
	require.NotContains(t, err.Error(), secret)
}

func TestAMissingTableOrColumnPointsToMigrate(t *testing.T) {
	for _, code := range []int{8, 16, 47, 60} {
		addr := httpFake(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			exception(code, "no such thing")(w, r)
		})
		err := open(t, addr).InsertWindows(t.Context(), []pipeline.WindowRow{sampleWindow(1)})
		require.ErrorContains(t, err, "insert into window_rows")
		require.ErrorContains(t, err, "run `plumbline migrate`")
		require.False(t, IsRetryable(err))
	}
}

func TestStoppingIsNoFailureOfTheServer(t *testing.T) {
	db := open(t, tcpFake(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }))
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	err := db.Ping(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "stopped")
	require.False(t, IsRetryable(err))
}

func TestErrorsFromElsewhereAreClassifiedToo(t *testing.T) {
	for err, want := range map[error]bool{
		nil: false, errors.New("who knows"): false, io.EOF: true, io.ErrUnexpectedEOF: true, context.DeadlineExceeded: true, context.Canceled: false,
		driver.ErrAcquireConnTimeout: true, &net.OpError{Op: "dial", Err: errors.New("x")}: true, fmt.Errorf("x: %w", io.EOF): true,
	} {
		require.Equal(t, want, IsRetryable(err), "%v", err)
	}
}

func TestAConfigIsCheckedBeforeItIsUsed(t *testing.T) {
	addr := []string{"127.0.0.1:1"}
	for _, c := range []struct {
		cfg  Config
		says string
	}{
		{Config{}, "clickhouse.addr is empty"},
		{Config{Addrs: []string{"a:1", ""}}, "clickhouse.addr is empty"},
		{Config{Addrs: addr, Protocol: "grpc"}, `clickhouse.protocol is "grpc": use http or native`},
		{Config{Addrs: addr, RetentionDays: -1}, "clickhouse.retention_days is -1: use 1 to 36500"},
		{Config{Addrs: addr, RetentionDays: 36501}, "clickhouse.retention_days is 36501"},
		{Config{Addrs: addr, Compression: "rar"}, `compression is "rar"`},
		{Config{Addrs: addr, Database: "a\nb"}, "control character"},
	} {
		_, err := Open(c.cfg)
		require.ErrorContains(t, err, c.says)
	}
}

func TestAConfigPrintsWithoutItsPassword(t *testing.T) {
	c := Config{Addrs: []string{"ch:8123"}, Username: "plumb", Password: secret}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		for _, v := range []any{c, &c} {
			require.NotContains(t, fmt.Sprintf(format, v), "hunter2", format)
		}
	}
	require.Contains(t, c.String(), "ch:8123")
}
