package app

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/config"
	"github.com/plumbline-sec/plumbline/internal/embedded/broker/brokertest"
)

func TestTLSIsMadeOfTheFilesThatTheConfigNames(t *testing.T) {
	server, client := brokertest.TLS(t, true)
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
		return path
	}
	key, err := x509.MarshalPKCS8PrivateKey(client.Certificates[0].PrivateKey)
	require.NoError(t, err)
	files := config.TLS{
		Enabled:    true,
		CAFile:     write("ca.pem", "CERTIFICATE", server.Certificates[0].Certificate[0]),
		CertFile:   write("cert.pem", "CERTIFICATE", client.Certificates[0].Certificate[0]),
		KeyFile:    write("key.pem", "PRIVATE KEY", key),
		ServerName: "kafka.internal",
	}
	got, err := tlsConfig("kafka.tls", &files)
	require.NoError(t, err)
	require.Equal(t, client.Certificates[0].Certificate, got.Certificates[0].Certificate)
	require.Equal(t, "kafka.internal", got.ServerName)
	require.Equal(t, uint16(tls.VersionTLS12), got.MinVersion)
	broker, err := x509.ParseCertificate(server.Certificates[0].Certificate[0])
	require.NoError(t, err)
	_, err = broker.Verify(x509.VerifyOptions{Roots: got.RootCAs, DNSName: "localhost"})
	require.NoError(t, err)

	for want, files := range map[string]config.TLS{
		"kafka.tls.ca_file: open absent.pem":              {CAFile: "absent.pem"},
		"kafka.tls.ca_file: no PEM certificate in app.go": {CAFile: "app.go"},
		"kafka.tls.cert_file, key_file:":                  {CertFile: "app.go", KeyFile: files.KeyFile},
	} {
		files.Enabled = true
		_, err := tlsConfig("kafka.tls", &files)
		require.ErrorContains(t, err, want)
	}
}
