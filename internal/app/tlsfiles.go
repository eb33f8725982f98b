package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/plumbline-sec/plumbline/internal/config"
)

// dialTLS connects and encrypts.
type dialTLS = func(ctx context.Context, network, addr string) (net.Conn, error)

// dialTimeout bounds a connection with its handshake, as the adapters bound those of
// their own.
const dialTimeout = 5 * time.Second

// tlsFiles are a section of the config about TLS, and its key. Its files are read
// for every new connection: certificates and authorities are renewed on disk while
// the service runs. Where they can't be read, as in the middle of a renewal, that
// connection fails, and whoever wanted it tries again.
type tlsFiles struct {
	key string
	config.TLS
}

// open reads the files for the first time. Where TLS is off there is nothing.
func (f tlsFiles) open() (*tls.Config, dialTLS, error) {
	if !f.Enabled {
		return nil, nil, nil
	}
	cfg, err := f.load()
	return cfg, f.dial, err
}

func (f tlsFiles) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	cfg, err := f.load()
	if err != nil {
		// As an error of the network it is one after which adapters try again.
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	return (&tls.Dialer{Config: cfg}).DialContext(ctx, network, addr)
}

func (f tlsFiles) load() (*tls.Config, error) {
	out := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: f.ServerName}
	if f.CAFile != "" {
		pem, err := os.ReadFile(f.CAFile)
		if err != nil {
			return nil, fmt.Errorf("%s.ca_file: %w", f.key, err)
		}
		out.RootCAs = x509.NewCertPool()
		if !out.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s.ca_file: no PEM certificate in %s", f.key, f.CAFile)
		}
	}
	if f.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(f.CertFile, f.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("%s.cert_file, key_file: %w", f.key, err)
		}
		out.Certificates = []tls.Certificate{pair}
	}
	return out, nil
}

// serverTLS reads the certificate of a server, and whom it believes, for every connection.
func serverTLS(key string, files config.ServerTLS) (*tls.Config, error) {
	load := func() (*tls.Config, error) {
		mine, err := tlsFiles{key, config.TLS{CertFile: files.CertFile, KeyFile: files.KeyFile}}.load()
		if err != nil || files.ClientCAFile == "" {
			return mine, err
		}
		pem, err := os.ReadFile(files.ClientCAFile)
		if err != nil {
			return nil, fmt.Errorf("%s.client_ca_file: %w", key, err)
		}
		mine.ClientCAs, mine.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
		if !mine.ClientCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s.client_ca_file: no PEM certificate in %s", key, files.ClientCAFile)
		}
		return mine, nil
	}
	first, err := load()
	if err != nil {
		return nil, err
	}
	first.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return load() }
	return first, nil
}
