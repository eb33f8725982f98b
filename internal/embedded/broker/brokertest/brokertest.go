// Package brokertest runs the embedded Kafka inside a test: a real broker over
// the real protocol, on a port of its own, gone with the test.
package brokertest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/plumbline-sec/plumbline/internal/embedded/broker"
)

// Option changes what Start runs.
type Option func(*broker.Config)

// WithDataDir keeps the data in dir, so that a second Start goes on with it.
func WithDataDir(dir string) Option { return func(c *broker.Config) { c.DataDir = dir } }

// WithListen takes this address, to come back on the same one after a Stop.
func WithListen(addr string) Option { return func(c *broker.Config) { c.Listen = addr } }

// WithTLS makes the listener speak TLS with this configuration.
func WithTLS(t *tls.Config) Option { return func(c *broker.Config) { c.TLS = t } }

// WithUser turns SASL on and lets this user in, by PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512.
func WithUser(mechanism, name, password string) Option {
	return func(c *broker.Config) {
		c.Options = append(c.Options, kfake.EnableSASL(), kfake.Superuser(mechanism, name, password))
	}
}

// WithLogger shows what the broker logs.
func WithLogger(log zerolog.Logger) Option { return func(c *broker.Config) { c.Logger = log } }

// Start runs a broker until the test ends and returns its address.
func Start(tb testing.TB, opts ...Option) (addr string) {
	tb.Helper()
	return StartBroker(tb, opts...).Addr()
}

// StartBroker is Start for tests that stop the broker themselves.
func StartBroker(tb testing.TB, opts ...Option) *broker.Broker {
	tb.Helper()
	cfg := broker.Config{
		Listen:  "127.0.0.1:0",
		Options: []kfake.Opt{kfake.GroupMinSessionTimeout(100 * time.Millisecond)},
		Logger:  zerolog.Nop(),
	}
	for _, opt := range opts {
		opt(&cfg)
	}
	b, err := broker.Start(cfg)
	if err != nil {
		tb.Fatalf("start embedded kafka: %v", err)
	}
	tb.Cleanup(func() {
		if err := b.Stop(); err != nil {
			tb.Errorf("stop embedded kafka: %v", err)
		}
	})
	return b
}

// TLS makes a certificate for 127.0.0.1 and localhost, and returns what a server and a
// client need to meet. The client's configuration holds the certificate as well, which
// the server asks for and checks if requireClient is set.
func TLS(tb testing.TB, requireClient bool) (server, client *tls.Config) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatalf("generate key: %v", err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "localhost"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		IsCA:                  true, // its own authority
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:              []string{"localhost"},
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		tb.Fatalf("create certificate: %v", err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	certificates := []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}
	server = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: certificates}
	client = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: certificates, RootCAs: pool}
	if requireClient {
		server.ClientCAs, server.ClientAuth = pool, tls.RequireAndVerifyClientCert
	}
	return server, client
}
