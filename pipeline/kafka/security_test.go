package kafka_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/embedded/broker/brokertest"
	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/pipeline/kafka"
)

const password = "correct-horse-42"

// works produces and fetches one record and joins a group: each opens connections
// of its own.
func works(t *testing.T, c *kafka.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	require.NoError(t, c.EnsureTopics(ctx, []kafka.TopicSpec{{Name: "t"}}))
	require.NoError(t, c.Produce(ctx, tp, []pipeline.Record{{Value: []byte("v")}}))
	f, err := c.Fetch(ctx, tp, 0)
	require.NoError(t, err)
	assert.Equal(t, "v", string(f.Records[0].Value))
	g, gen := join(ctx, t, c)
	require.NoError(t, gen.Commit(tp, 1))
	require.NoError(t, g.Close())
}

func TestClientSpeaksTLS(t *testing.T) {
	for name, requireClient := range map[string]bool{"with the broker's certificate checked": false, "with a certificate of its own": true} {
		t.Run(name, func(t *testing.T) {
			server, client := brokertest.TLS(t, requireClient)
			if !requireClient {
				client.Certificates = nil
			}
			works(t, newClient(t, kafka.Config{Brokers: []string{brokertest.Start(t, brokertest.WithTLS(server))}, TLS: client}))
		})
	}
	t.Run("together with SASL", func(t *testing.T) {
		server, client := brokertest.TLS(t, false)
		addr := brokertest.Start(t, brokertest.WithTLS(server), brokertest.WithUser(kafka.MechanismSCRAMSHA512, "me", password))
		works(t, newClient(t, kafka.Config{Brokers: []string{addr}, TLS: client, SASL: &kafka.SASLConfig{Mechanism: kafka.MechanismSCRAMSHA512, Username: "me", Password: password}}))
	})
}

func TestClientAuthenticates(t *testing.T) {
	for _, mechanism := range []string{kafka.MechanismPlain, kafka.MechanismSCRAMSHA256, kafka.MechanismSCRAMSHA512} {
		t.Run(mechanism, func(t *testing.T) {
			addr := brokertest.Start(t, brokertest.WithUser(mechanism, "me", password))
			works(t, newClient(t, kafka.Config{Brokers: []string{addr}, SASL: &kafka.SASLConfig{Mechanism: mechanism, Username: "me", Password: password}}))
		})
	}
}

func TestAccessProblemsSayWhatToChange(t *testing.T) {
	server, client := brokertest.TLS(t, false)
	mutual, mutualClient := brokertest.TLS(t, true)
	overTLS := brokertest.WithTLS(server)
	scram := brokertest.WithUser(kafka.MechanismSCRAMSHA256, "me", password)
	sasl := func(mechanism, pass string) *kafka.SASLConfig {
		return &kafka.SASLConfig{Mechanism: mechanism, Username: "me", Password: pass}
	}
	for name, test := range map[string]struct {
		broker []brokertest.Option
		cfg    kafka.Config
		want   string
		access bool // surely an AccessError; where the broker only hangs up, there is no telling
	}{
		"a wrong password, SCRAM-SHA-256": {[]brokertest.Option{scram}, kafka.Config{SASL: sasl(kafka.MechanismSCRAMSHA256, "wrong-secret")}, "kafka.sasl.password", false},
		"a wrong password, SCRAM-SHA-512": {[]brokertest.Option{brokertest.WithUser(kafka.MechanismSCRAMSHA512, "me", password)}, kafka.Config{SASL: sasl(kafka.MechanismSCRAMSHA512, "wrong-secret")}, "kafka.sasl.password", false},
		"a wrong password, PLAIN":         {[]brokertest.Option{brokertest.WithUser(kafka.MechanismPlain, "me", password)}, kafka.Config{SASL: sasl(kafka.MechanismPlain, "wrong-secret")}, "kafka.sasl.password", false},
		"no credentials":                  {[]brokertest.Option{scram}, kafka.Config{}, "kafka.sasl", false},
		"TLS to a port without":           {nil, kafka.Config{TLS: &tls.Config{}}, "kafka.tls.enabled: false", false},
		"no TLS to a port with":           {[]brokertest.Option{overTLS}, kafka.Config{}, "kafka.tls.enabled", false},
		"an authority that is unknown":    {[]brokertest.Option{overTLS}, kafka.Config{TLS: &tls.Config{}}, "kafka.tls.ca_file", true},
		"a certificate for another name":  {[]brokertest.Option{overTLS}, kafka.Config{TLS: &tls.Config{RootCAs: client.RootCAs, ServerName: "kafka.example.org"}}, "kafka.tls.server_name", true},
		"no certificate where one is due": {[]brokertest.Option{brokertest.WithTLS(mutual)}, kafka.Config{TLS: &tls.Config{RootCAs: mutualClient.RootCAs}}, "kafka.tls.cert_file", true},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			cfg := test.cfg
			cfg.Brokers = []string{brokertest.Start(t, test.broker...)}
			c, err := kafka.New(cfg, zerolog.New(zerolog.SyncWriter(&log)))
			require.NoError(t, err)
			defer func() { require.NoError(t, c.Close()) }()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			_, fetchErr := c.Fetch(ctx, tp, 0)
			_, _, boundsErr := c.Bounds(ctx, tp)
			for what, err := range map[string]error{
				"EnsureTopics": c.EnsureTopics(ctx, []kafka.TopicSpec{{Name: "t"}}),
				"Fetch":        fetchErr,
				"Bounds":       boundsErr,
				"Produce":      c.Produce(ctx, tp, []pipeline.Record{{}}),
			} {
				require.Error(t, err, what)
				require.ErrorContains(t, err, test.want, what)
				var access *kafka.AccessError
				if test.access {
					require.ErrorAs(t, err, &access, what)
				}
				assert.NotContains(t, err.Error(), "wrong-secret")
			}
			g, err := c.Group(fastGroup("g", "t"))
			require.NoError(t, err)
			short, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			_, err = g.Next(short)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.NoError(t, g.Close())
			assert.Contains(t, log.String(), test.want)
			assert.NotContains(t, log.String(), "wrong-secret")
		})
	}
}

func TestConfigNeverShowsThePassword(t *testing.T) {
	cfg := kafka.Config{Brokers: []string{"a:1"}, SASL: &kafka.SASLConfig{Mechanism: kafka.MechanismPlain, Username: "me", Password: password}}
	var log bytes.Buffer
	logger := zerolog.New(&log)
	logger.Info().Interface("sasl", cfg.SASL).Interface("again", *cfg.SASL).Send()
	asJSON, err := json.Marshal(cfg.SASL)
	require.NoError(t, err)
	for _, s := range []string{log.String(), string(asJSON), fmt.Sprint(cfg.SASL), fmt.Sprintf("%+v %#v %s", *cfg.SASL, *cfg.SASL, *cfg.SASL)} {
		assert.NotContains(t, s, password)
		assert.Contains(t, s, "me")
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		assert.NotContains(t, fmt.Sprintf(verb, cfg), password)
	}
}

func TestConfigMistakesAreAllNamed(t *testing.T) {
	for name, test := range map[string]struct {
		cfg  kafka.Config
		want []string
	}{
		"nothing":                 {kafka.Config{}, []string{"kafka.brokers: no broker"}},
		"a broker without a port": {kafka.Config{Brokers: []string{"a:1", "b"}}, []string{`kafka.brokers: "b" is not host:port`}},
		"several at once": {
			kafka.Config{Brokers: []string{":9092"}, SASL: &kafka.SASLConfig{Mechanism: "GSSAPI", Username: "me"}},
			[]string{`":9092"`, `kafka.sasl.mechanism: "GSSAPI" is not one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512`, "both needed"},
		},
		"a password that SCRAM can't use": {kafka.Config{Brokers: []string{"a:1"}, SASL: &kafka.SASLConfig{Mechanism: kafka.MechanismSCRAMSHA256, Username: "me", Password: "bell\a"}}, []string{"SASLprep"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := kafka.New(test.cfg, zerolog.Nop())
			for _, want := range test.want {
				require.ErrorContains(t, err, want)
			}
			assert.NotContains(t, err.Error(), "bell")
		})
	}
}
