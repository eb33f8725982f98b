package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/config"
	"github.com/plumbline-sec/plumbline/internal/embedded/broker/brokertest"
	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/pipeline/kafka"
	"github.com/plumbline-sec/plumbline/schemas"
)

// decider is a service with the role decide, over the real protocol of Kafka.
type decider struct {
	t      *testing.T
	client *kafka.Client
	http   *http.Client
	url    string
	files  config.ServerTLS
}

const deciderToken = "a token that is long enough"

func startDecider(t *testing.T, p pki) *decider {
	t.Helper()
	dir := t.TempDir()
	files := p.write(t, dir)
	policies := filepath.Join(dir, "p.cedar")
	require.NoError(t, os.WriteFile(policies, []byte(`
		@id("known") permit (principal, action, resource) when { principal.owner == "it" };
		@id("not-under-alert") forbid (principal, action, resource) when { resource.leaves && principal.risk == "high" };`), 0o600))
	t.Setenv("DECIDE_TOKEN", deciderToken)
	b := brokertest.StartBroker(t)
	cfg, err := config.Parse("c.yaml", []byte(`
kafka: {brokers: "`+b.Addr()+`", partitions: 2}
policy: {files: ["`+policies+`"], default: deny}
decide:
  listen: 127.0.0.1:0
  token: ${DECIDE_TOKEN}
  tls: {cert_file: "`+files.CertFile+`", key_file: "`+files.KeyFile+`", client_ca_file: "`+files.CAFile+`"}
  log_topic: agent-decisions
admin: {listen: none}
`), Forms())
	require.NoError(t, err)
	ready := make(chan Addresses, 1)
	a, err := New(cfg, Options{Roles: []string{RoleDecide}, Ready: func(at Addresses) { ready <- at }}, zerolog.Nop())
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	d := &decider{t: t, files: cfg.Decide.TLS}
	d.trust(p)
	t.Cleanup(func() { d.http.CloseIdleConnections(); cancel(); require.NoError(t, <-done) })
	select {
	case at := <-ready:
		d.url = "https://" + at.Decide
	case err := <-done:
		require.NoError(t, err)
	case <-time.After(20 * time.Second):
		t.Fatal("it does not become ready")
	}
	d.client, err = kafka.New(kafka.Config{Brokers: []string{b.Addr()}}, zerolog.Nop())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.client.Close()) })
	return d
}

// trust makes a caller that believes an authority and has a certificate of it.
func (d *decider) trust(p pki) {
	authority, err := x509.ParseCertificate(p.authority)
	require.NoError(d.t, err)
	roots := x509.NewCertPool()
	roots.AddCert(authority)
	d.http = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{
		MinVersion: tls.VersionTLS12, RootCAs: roots, Certificates: p.client.Certificates, InsecureSkipVerify: true, // the certificate is of a client
		VerifyConnection: func(s tls.ConnectionState) error {
			_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
			return err
		},
	}}}
}

func (d *decider) put(topic string, value []byte) {
	d.t.Helper()
	_, err := d.client.Append(d.t.Context(), pipeline.TopicPartition{Topic: topic, Partition: 1}, []pipeline.Record{{Value: value}})
	require.NoError(d.t, err)
}

const mailQuestion = `{"subject":{"type":"agent","id":"crm-1"},"action":{"name":"send"},"resource":{"type":"email","id":"a@example.com"}}`

func (d *decider) ask() (status int, body string, err error) {
	d.t.Helper()
	req, err := http.NewRequestWithContext(d.t.Context(), http.MethodPost, d.url+"/access/v1/evaluation", strings.NewReader(mailQuestion))
	require.NoError(d.t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+deciderToken)
	res, err := d.http.Do(req)
	if err != nil {
		return 0, "", err
	}
	b, err := io.ReadAll(res.Body)
	require.NoError(d.t, err)
	require.NoError(d.t, res.Body.Close())
	return res.StatusCode, string(b), nil
}

func (d *decider) becomes(want string) {
	d.t.Helper()
	require.Eventually(d.t, func() bool {
		_, body, err := d.ask()
		return err == nil && strings.Contains(body, want)
	}, 10*time.Second, 20*time.Millisecond, want)
}

func TestTheServiceDecidesByRegistrationsAndAlertsInKafka(t *testing.T) {
	p := newPKI(t)
	d := startDecider(t, p)
	status, body, err := d.ask()
	require.NoError(t, err)
	require.Equal(t, 200, status)
	require.Contains(t, body, `{"decision":false,"context":{"reason":"no policy permits it: policy.default"`)

	d.put("agent-registry", []byte(`{"agent_id":"crm-1","owner":"it"}`))
	d.becomes(`{"decision":true,"context":{"reason":"permitted","policies":["known"]`)

	al := schemas.Alert{
		AlertID: "a", EpisodeID: "e", Status: schemas.StatusOpen, Kind: schemas.KindBehavior, TenantID: schemas.DefaultTenant,
		Agent: schemas.AlertAgent{ID: "crm-1"}, Severity: schemas.SeverityLow, Episode: schemas.Episode{Severity: schemas.SeverityHigh},
	}
	value, err := json.Marshal(&al)
	require.NoError(t, err)
	d.put(pipeline.TopicAlerts, value)
	d.becomes(`{"decision":false,"context":{"reason":"denied by policy","policies":["not-under-alert"]`)
	al.Status = schemas.StatusClose
	value, err = json.Marshal(&al)
	require.NoError(t, err)
	d.put(pipeline.TopicAlerts, value)
	d.becomes(`{"decision":true`)

	require.Eventually(t, func() bool {
		n := int64(0)
		for i := range int32(2) {
			_, end, err := d.client.Bounds(t.Context(), pipeline.TopicPartition{Topic: "agent-decisions", Partition: i})
			require.NoError(t, err)
			n += end
		}
		return n >= 4
	}, 5*time.Second, 20*time.Millisecond)

	// A renewed certificate serves the next connection; who shows none of its authority is
	// not answered.
	after := newPKI(t)
	after.write(t, filepath.Dir(d.files.CertFile))
	d.http.CloseIdleConnections()
	_, _, err = d.ask()
	require.Error(t, err)
	d.trust(after)
	d.becomes(`{"decision":true`)
}

func TestARoleThatDecidesWantsPoliciesAndIsNoDefault(t *testing.T) {
	_, err := New(config.Default(), Options{Roles: []string{RoleDecide}}, zerolog.Nop())
	require.ErrorContains(t, err, "name them in policy.files")
	a, err := New(config.Default(), Options{}, zerolog.Nop())
	require.NoError(t, err)
	require.False(t, a.has(RoleDecide))
	require.Len(t, registrationSources(a.cfg), 1)
	require.Equal(t, 6*time.Hour, longestQuiet(a.cfg))
	for _, topic := range a.topics() {
		if topic.Name == "agent-registry" {
			require.Equal(t, map[string]string{"retention.ms": "-1"}, topic.Configs)
		}
	}
}
