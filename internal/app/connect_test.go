package app

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/config"
	"github.com/plumbline-sec/plumbline/internal/embedded/broker/brokertest"
	"github.com/plumbline-sec/plumbline/pipeline/kafka"
)

func TestTLSIsReadFromItsFiles(t *testing.T) {
	server, peer := brokertest.TLS(t, true)
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
		return path
	}
	key, err := x509.MarshalPKCS8PrivateKey(peer.Certificates[0].PrivateKey)
	require.NoError(t, err)
	good := config.TLS{
		Enabled:  true,
		CAFile:   write("ca.pem", "CERTIFICATE", server.Certificates[0].Certificate[0]), // a certificate may vouch for itself
		CertFile: write("cert.pem", "CERTIFICATE", peer.Certificates[0].Certificate[0]),
		KeyFile:  write("key.pem", "PRIVATE KEY", key),
	}
	cfg := config.Default()
	cfg.Kafka.Brokers, cfg.Kafka.TLS = config.Endpoints{brokertest.Start(t, brokertest.WithTLS(server))}, good
	at, err := KafkaConfig(cfg)
	require.NoError(t, err)
	client, err := kafka.New(at, zerolog.Nop())
	require.NoError(t, err)
	require.NoError(t, client.EnsureTopics(t.Context(), []kafka.TopicSpec{{Name: "t"}}))
	require.NoError(t, client.Close())

	for wrong, tls := range map[string]config.TLS{
		"kafka.tls.ca_file: open absent.pem":                       {Enabled: true, CAFile: "absent.pem"},
		"kafka.tls.ca_file: connect.go holds no PEM certificate":   {Enabled: true, CAFile: "connect.go"},
		"kafka.tls.cert_file, key_file: open : no such file or di": {Enabled: true, CertFile: good.CertFile},
	} {
		cfg.Kafka.TLS = tls
		_, err := KafkaConfig(cfg)
		require.ErrorContains(t, err, wrong)
	}
}
