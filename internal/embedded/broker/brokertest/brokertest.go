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
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/rs/zerolog"

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

// WithUser turns SASL on and lets this user in. The mechanism is broker.Plain,
// broker.ScramSHA256 or broker.ScramSHA512.
func WithUser(mechanism, name, password string) Option {
	return func(c *broker.Config) {
		c.Users = append(c.Users, broker.User{Mechanism: mechanism, Name: name, Password: password})
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
		Listen:            "127.0.0.1:0",
		MinSessionTimeout: 100 * time.Millisecond,
		Logger:            zerolog.Nop(),
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

// TLS makes a certificate for 127.0.0.1 and localhost, signed by an authority of
// its own, and returns what a server and a client need to meet. The client's
// configuration holds a certificate as well, which the server asks for and
// checks if requireClient is set.
func TLS(tb testing.TB, requireClient bool) (server, client *tls.Config) {
	tb.Helper()
	ca, caKey := authority(tb)
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	server = &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{leaf(tb, ca, caKey, x509.ExtKeyUsageServerAuth)},
	}
	client = &tls.Config{
		MinVersion:   tls.VersionTLS12,
		RootCAs:      pool,
		Certificates: []tls.Certificate{leaf(tb, ca, caKey, x509.ExtKeyUsageClientAuth)},
	}
	if requireClient {
		server.ClientCAs = pool
		server.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return server, client
}

func authority(tb testing.TB) (*x509.Certificate, *ecdsa.PrivateKey) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatalf("generate key: %v", err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "test authority"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		tb.Fatalf("create authority: %v", err)
	}
	ca, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatalf("parse authority: %v", err)
	}
	return ca, key
}

func leaf(tb testing.TB, ca *x509.Certificate, caKey *ecdsa.PrivateKey, usage x509.ExtKeyUsage) tls.Certificate {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatalf("generate key: %v", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: "localhost"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{usage},
		DNSNames:     []string{"localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca, key.Public(), caKey)
	if err != nil {
		tb.Fatalf("create certificate: %v", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
