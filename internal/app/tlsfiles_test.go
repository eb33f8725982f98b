package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/config"
	"github.com/plumbline-sec/plumbline/internal/embedded/broker/brokertest"
	"github.com/plumbline-sec/plumbline/pipeline/clickhouse"
	"github.com/plumbline-sec/plumbline/pipeline/kafka"
)

// pki is what brokertest.TLS makes for both sides, and the files of one of them.
type pki struct {
	server, client *tls.Config
	authority      []byte
}

func newPKI(t *testing.T) pki {
	t.Helper()
	server, client := brokertest.TLS(t, true)
	return pki{server, client, server.Certificates[0].Certificate[0]}
}

// write puts the files of the client into dir and returns them.
func (p pki) write(t *testing.T, dir string) config.TLS {
	t.Helper()
	file := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
		return path
	}
	key, err := x509.MarshalPKCS8PrivateKey(p.client.Certificates[0].PrivateKey)
	require.NoError(t, err)
	return config.TLS{
		Enabled: true, CAFile: file("ca.pem", "CERTIFICATE", p.authority),
		CertFile: file("cert.pem", "CERTIFICATE", p.client.Certificates[0].Certificate[0]),
		KeyFile:  file("key.pem", "PRIVATE KEY", key),
	}
}

// renewing is a server's configuration whose certificates can be changed.
func renewing(first pki) (*tls.Config, *atomic.Pointer[tls.Config]) {
	var now atomic.Pointer[tls.Config]
	now.Store(first.server)
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		Certificates:       first.server.Certificates, // a listener wants one
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return now.Load(), nil },
	}, &now
}

// Both ends renew everything at once, the authority too: new connections need the
// new files, and between the two renewals they fail and say why.
func TestRenewedFilesServeTheNextConnection(t *testing.T) {
	before, after := newPKI(t), newPKI(t)

	t.Run("to Kafka", func(t *testing.T) {
		server, now := renewing(before)
		dir := t.TempDir()
		b := brokertest.StartBroker(t, brokertest.WithTLS(server))
		cfg := config.Default()
		cfg.Kafka.Brokers, cfg.Kafka.TLS = config.Endpoints{b.Addr()}, before.write(t, dir)
		kcfg, err := KafkaConfig(cfg)
		require.NoError(t, err)
		connect := func() error {
			client, err := kafka.New(kcfg, zerolog.Nop()) // no connection of its own yet
			require.NoError(t, err)
			defer func() { require.NoError(t, client.Close()) }()
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			return client.EnsureTopics(ctx, []kafka.TopicSpec{{Name: "t"}})
		}
		require.NoError(t, connect())
		now.Store(after.server)
		require.ErrorContains(t, connect(), "authority that is not trusted; set kafka.tls.ca_file")
		require.NoError(t, os.Truncate(cfg.Kafka.TLS.KeyFile, 10))
		require.ErrorContains(t, connect(), "kafka.tls.cert_file, key_file: tls: failed to find any PEM data in key input")
		require.NoError(t, os.Remove(cfg.Kafka.TLS.CAFile))
		require.ErrorContains(t, connect(), "kafka.tls.ca_file: open")
		after.write(t, dir)
		require.NoError(t, connect())
	})

	t.Run("to ClickHouse over HTTP", func(t *testing.T) {
		server, now := renewing(before)
		dir := t.TempDir()
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "reached", http.StatusTeapot)
		}))
		s.TLS, s.Config.ErrorLog = server, nil
		s.StartTLS()
		t.Cleanup(s.Close)
		renewal(t, config.ProtocolHTTP, s.Listener.Addr().String(), dir, before, after, now)
	})

	t.Run("to ClickHouse, native", func(t *testing.T) {
		server, now := renewing(before)
		l, err := tls.Listen("tcp", "127.0.0.1:0", server)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, l.Close()) })
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer conn.Close() //nolint:errcheck // a test's server
					buf := make([]byte, 1)
					if _, err := io.ReadFull(conn, buf); err == nil {
						_, _ = conn.Write([]byte("HTTP/1.1 418 reached"))
					}
				}()
			}
		}()
		renewal(t, config.ProtocolNative, l.Addr().String(), t.TempDir(), before, after, now)
	})
}

// renewal is the same against a server that speaks TLS and then nothing sensible:
// whatever is said of that was said through an encrypted connection.
func renewal(t *testing.T, protocol, addr, dir string, before, after pki, now *atomic.Pointer[tls.Config]) {
	t.Helper()
	cfg := config.Default()
	cfg.ClickHouse.Addr, cfg.ClickHouse.Protocol, cfg.ClickHouse.TLS = config.Endpoints{addr}, protocol, before.write(t, dir)
	ch, err := ClickHouseConfig(cfg)
	require.NoError(t, err)
	reached := map[string]string{config.ProtocolHTTP: "HTTP status 418", config.ProtocolNative: "speaks HTTP"}[protocol]
	connect := func() error {
		db, err := clickhouse.Open(ch)
		require.NoError(t, err)
		defer func() { require.NoError(t, db.Close()) }()
		return db.Ping(t.Context())
	}
	require.ErrorContains(t, connect(), reached)
	now.Store(after.server)
	require.ErrorContains(t, connect(), "give its file in clickhouse.tls.ca_file")
	require.NoError(t, os.Truncate(cfg.ClickHouse.TLS.KeyFile, 10))
	err = connect()
	require.ErrorContains(t, err, "clickhouse.tls.cert_file, key_file: tls: failed to find any PEM data")
	require.True(t, clickhouse.IsRetryable(err), "a renewal takes a moment")
	after.write(t, dir)
	require.ErrorContains(t, connect(), reached)
}

func TestTLSIsMadeOfTheFilesThatTheConfigNames(t *testing.T) {
	p := newPKI(t)
	files := p.write(t, t.TempDir())
	files.ServerName = "kafka.internal"
	got, err := tlsFiles{"kafka.tls", files}.load()
	require.NoError(t, err)
	require.Equal(t, p.client.Certificates[0].Certificate, got.Certificates[0].Certificate)
	require.Equal(t, "kafka.internal", got.ServerName)
	require.Equal(t, uint16(tls.VersionTLS12), got.MinVersion)
	broker, err := x509.ParseCertificate(p.server.Certificates[0].Certificate[0])
	require.NoError(t, err)
	_, err = broker.Verify(x509.VerifyOptions{Roots: got.RootCAs, DNSName: "localhost"})
	require.NoError(t, err)

	for want, files := range map[string]config.TLS{
		"kafka.tls.ca_file: open absent.pem":              {CAFile: "absent.pem"},
		"kafka.tls.ca_file: no PEM certificate in app.go": {CAFile: "app.go"},
		"kafka.tls.cert_file, key_file:":                  {CertFile: "app.go", KeyFile: files.KeyFile},
	} {
		_, err := tlsFiles{"kafka.tls", files}.load()
		require.ErrorContains(t, err, want)
	}
}

func TestTheIssuerOfTokensIsThatOfTheConfig(t *testing.T) {
	p := newPKI(t)
	issuer := httptest.NewUnstartedServer(http.NotFoundHandler())
	issuer.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: p.server.Certificates}
	issuer.StartTLS()
	t.Cleanup(issuer.Close)
	cfg := config.Default()
	cfg.Kafka.Brokers = config.Endpoints{"127.0.0.1:1"}
	cfg.Kafka.SASL = config.SASL{Mechanism: config.SASLOAuthBearer, OAuth: config.OAuth{
		TokenURL: issuer.URL, ClientID: "me", ClientSecret: config.NewSecret("s3cret"), Scope: "kafka", CAFile: p.write(t, t.TempDir()).CAFile,
	}}
	got, err := KafkaConfig(cfg)
	require.NoError(t, err)
	require.Equal(t, kafka.MechanismOAuthBearer, got.SASL.Mechanism)
	require.Equal(t, "me s3cret kafka", got.SASL.Username+" "+got.SASL.Password+" "+got.SASL.OAuth.Scope)
	client := http.Client{Transport: &http.Transport{DialTLSContext: got.SASL.OAuth.DialTLS, DisableKeepAlives: true}}
	res, err := client.Get(got.SASL.OAuth.TokenURL)
	require.NoError(t, err, "its authority is that of ca_file")
	require.NoError(t, res.Body.Close())
}
