package kafka_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/embedded/broker/brokertest"
	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/pipeline/kafka"
)

const clientSecret = "hunter2 & more"

// issuer gives tokens token-1, token-2, ... that live so many seconds.
type issuer struct {
	*httptest.Server
	lives atomic.Int64
	given atomic.Int64
	down  atomic.Bool
}

func startIssuer(t *testing.T, lives int64) *issuer {
	t.Helper()
	i := &issuer{}
	i.lives.Store(lives)
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, secret, _ := r.BasicAuth()
		switch {
		case i.down.Load():
			http.Error(w, "upstream away", http.StatusBadGateway)
		case r.Method != http.MethodPost || r.FormValue("grant_type") != "client_credentials":
			http.Error(w, "what?", http.StatusNotFound)
		case id != "plumb%3Aline" || secret != "hunter2+%26+more":
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprintf(w, `{"error": "invalid_client", "error_description": "no client has \u001b[31m %s"}`, secret)
		case r.FormValue("scope") != "kafka":
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"error": "invalid_scope"}`)
		default:
			fmt.Fprintf(w, `{"access_token": "token-%d", "token_type": "Bearer", "expires_in": %d}`, i.given.Add(1), i.lives.Load())
		}
	}))
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) sasl() *kafka.SASLConfig {
	return &kafka.SASLConfig{
		Mechanism: kafka.MechanismOAuthBearer, Username: "plumb:line", Password: clientSecret,
		OAuth: kafka.OAuth{TokenURL: i.URL, Scope: "kafka", Extensions: map[string]string{"logicalCluster": "lkc-1", "identityPoolId": "pool-1"}},
	}
}

func anyToken([]byte) ([]byte, int16) { return nil, 0 }

func TestABearerTokenOfTheIssuerServesAllConnections(t *testing.T) {
	i := startIssuer(t, 3600)
	f := startFront(t, kafka.MechanismOAuthBearer, anyToken)
	works(t, newClient(t, kafka.Config{Brokers: []string{f.addr}, SASL: i.sasl()}))
	require.Equal(t, int64(1), i.given.Load())
	require.Greater(t, len(f.taken()), 2)
	for _, first := range f.taken() {
		require.Equal(t, "n,,\x01auth=Bearer token-1\x01identityPoolId=pool-1\x01logicalCluster=lkc-1\x01\x01", first)
	}
}

func TestATokenIsReplacedBeforeItExpires(t *testing.T) {
	i := startIssuer(t, 5) // replaced after 4 s
	f := startFront(t, kafka.MechanismOAuthBearer, anyToken)
	var log bytes.Buffer
	c, err := kafka.New(kafka.Config{Brokers: []string{f.addr}, SASL: i.sasl()}, zerolog.New(zerolog.SyncWriter(&log)))
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close()) }()
	again := func() error { // as when the broker ends a session
		f.hangUp()
		return c.Produce(t.Context(), pipeline.TopicPartition{Topic: "t"}, []pipeline.Record{{}})
	}
	eventually(t, func() error { return c.EnsureTopics(t.Context(), []kafka.TopicSpec{{Name: "t"}}) })
	eventually(t, again)
	require.Equal(t, int64(1), i.given.Load())

	started := time.Now()
	eventually(t, func() error {
		if err := again(); err != nil {
			return err
		}
		if !holds(f.taken(), "Bearer token-2") {
			return fmt.Errorf("after %s still with the first token", time.Since(started))
		}
		return nil
	})
	require.Less(t, time.Since(started), 5*time.Second)

	i.down.Store(true) // the token there is serves on, and then there is none
	eventually(t, func() error {
		if err := again(); err != nil {
			return err
		}
		if !strings.Contains(log.String(), "is not renewed") {
			return fmt.Errorf("nothing is said: %s", log.String())
		}
		return nil
	})
	eventually(t, func() error {
		if err := again(); err == nil || !strings.Contains(err.Error(), "HTTP status 502") {
			return fmt.Errorf("an expired token is used, or the error is unclear: %w", err)
		}
		return nil
	})
	i.down.Store(false)
	eventually(t, again)
	require.True(t, holds(f.taken(), "Bearer token-3"))
	require.NotContains(t, log.String(), "hunter2")
	require.NotContains(t, log.String(), "token-2")
}

// shows calls whatever opens connections and checks what each says.
func shows(t *testing.T, cfg kafka.Config, want string, access bool) {
	t.Helper()
	var log bytes.Buffer
	c, err := kafka.New(cfg, zerolog.New(zerolog.SyncWriter(&log)))
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close()) }()
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	tp := pipeline.TopicPartition{Topic: "t"}
	_, fetchErr := c.Fetch(ctx, tp, 0)
	for what, err := range map[string]error{
		"EnsureTopics": c.EnsureTopics(ctx, []kafka.TopicSpec{{Name: "t"}}),
		"Fetch":        fetchErr,
		"Produce":      c.Produce(ctx, tp, []pipeline.Record{{}}),
	} {
		require.ErrorContains(t, err, want, what)
		var refused *kafka.AccessError
		assert.Equal(t, access, assert.ErrorAs(noT{}, err, &refused), what)
		assert.NotContains(t, err.Error(), "hunter2")
		assert.NotContains(t, err.Error(), "\x1b")
	}
	g, err := c.Group(fastGroup("g", "t"))
	require.NoError(t, err)
	logged, err := json.Marshal(want)
	require.NoError(t, err)
	eventually(t, func() error {
		short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		defer cancel()
		_, err := g.Next(short)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		if !strings.Contains(log.String(), string(logged[1:len(logged)-1])) {
			return fmt.Errorf("the group does not say it: %s", log.String())
		}
		return nil
	})
	require.NoError(t, g.Close())
	assert.NotContains(t, log.String(), "hunter2")
}

// noT takes failures of an assertion that only asks.
type noT struct{}

func (noT) Errorf(string, ...any) {}

func TestAnIssuerThatGivesNoTokenIsSaid(t *testing.T) {
	f := startFront(t, kafka.MechanismOAuthBearer, anyToken)
	answers := func(h http.HandlerFunc) string {
		s := httptest.NewServer(h)
		t.Cleanup(s.Close)
		return s.URL
	}
	text := func(status int, body string) func(*kafka.SASLConfig) {
		return func(s *kafka.SASLConfig) {
			s.OAuth.TokenURL = answers(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status); fmt.Fprint(w, body) })
		}
	}
	for name, test := range map[string]struct {
		change func(*kafka.SASLConfig)
		want   string
		access bool
	}{
		"a wrong secret": {func(s *kafka.SASLConfig) { s.Password = "hunter2wrong" }, `gives client "plumb:line" no token; check kafka.sasl.oauth.client_id, client_secret and scope: HTTP status 401, "invalid_client no client has \x1b[31m ***"`, true},
		"a wrong scope":  {func(s *kafka.SASLConfig) { s.OAuth.Scope = "other" }, `HTTP status 400, "invalid_scope"`, true},
		"down":           {func(s *kafka.SASLConfig) { s.OAuth.TokenURL = "http://127.0.0.1:1/" }, "no credentials for Kafka (kafka.sasl): Post \"http://127.0.0.1:1/\": dial tcp 127.0.0.1:1: connect: connection refused", false},
		"slow": {func(s *kafka.SASLConfig) {
			s.OAuth.TokenURL = answers(func(_ http.ResponseWriter, r *http.Request) {
				_ = r.ParseForm() // a server notices the end of a client only behind the body
				<-r.Context().Done()
			})
		}, "no credentials for Kafka (kafka.sasl): Post", false},
		"behind a broken gateway":  {text(http.StatusServiceUnavailable, "<html>"), "HTTP status 503", false},
		"not there":                {text(http.StatusNotFound, "<html>"), "check kafka.sasl.oauth.token_url: HTTP status 404", true},
		"somewhere else":           {text(http.StatusTemporaryRedirect, ""), "HTTP status 307", true},
		"without a token":          {text(http.StatusOK, `{"expires_in": 60}`), "answers without an access_token", false},
		"with what is no token":    {text(http.StatusOK, `{"access_token": "a\u0001auth=Bearer b"}`), "answers without an access_token", false},
		"with an endless answer":   {text(http.StatusOK, `{"access_token": "`+strings.Repeat("a", 1<<17)), "answers without an access_token", false},
		"a file that is not there": {func(s *kafka.SASLConfig) { s.OAuth.TokenFile = "absent" }, "no credentials for Kafka (kafka.sasl): token_file: open absent: no such file", false},
	} {
		t.Run(name, func(t *testing.T) {
			s := startIssuer(t, 60).sasl()
			test.change(s)
			shows(t, kafka.Config{Brokers: []string{f.addr}, SASL: s, DialTimeout: 500 * time.Millisecond}, test.want, test.access)
		})
	}
	require.Empty(t, f.taken())
}

func TestABrokerThatTakesNoTokenIsSaid(t *testing.T) {
	i := startIssuer(t, 60)
	for name, test := range map[string]struct {
		check func([]byte) ([]byte, int16)
		want  string
	}{
		"with a challenge": {func([]byte) ([]byte, int16) { return []byte(`{"status": "invalid_token"}`), 0 }, `the broker refuses the token; check kafka.sasl.oauth: [58] SASL Authentication Failed: SASL Authentication failed: status "invalid_token"`},
		"with a code":      {func([]byte) ([]byte, int16) { return nil, 58 }, "the broker refuses the credentials of OAUTHBEARER as plumb:line; check kafka.sasl.oauth"},
	} {
		t.Run(name, func(t *testing.T) {
			f := startFront(t, kafka.MechanismOAuthBearer, test.check)
			shows(t, kafka.Config{Brokers: []string{f.addr}, SASL: i.sasl()}, test.want, true)
		})
	}
	t.Run("without the mechanism", func(t *testing.T) {
		addr := brokertest.Start(t, brokertest.WithUser(kafka.MechanismPlain, "me", password))
		shows(t, kafka.Config{Brokers: []string{addr}, SASL: i.sasl()}, "does not offer the SASL mechanism of OAUTHBEARER as plumb:line; change kafka.sasl.mechanism", true)
	})
}

func TestTheTokenOfAFileIsReadForEveryConnection(t *testing.T) {
	jwt := func(expires time.Time) string {
		return "e30." + base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"exp": %d}`, expires.Unix())) + ".c2ln"
	}
	file := filepath.Join(t.TempDir(), "token")
	write := func(text string) { require.NoError(t, os.WriteFile(file, []byte(text), 0o600)) }
	f := startFront(t, kafka.MechanismOAuthBearer, anyToken)
	cfg := kafka.Config{Brokers: []string{f.addr}, SASL: &kafka.SASLConfig{Mechanism: kafka.MechanismOAuthBearer, OAuth: kafka.OAuth{TokenFile: file}}}

	first, second := jwt(time.Now().Add(time.Hour)), jwt(time.Now().Add(2*time.Hour))
	write(first + "\n")
	c := newClient(t, cfg)
	works(t, c)
	write(second)
	require.False(t, holds(f.taken(), second))
	eventually(t, func() error {
		f.hangUp()
		return c.Produce(t.Context(), pipeline.TopicPartition{Topic: "t"}, []pipeline.Record{{}})
	})
	require.True(t, holds(f.taken(), "auth=Bearer "+second+"\x01\x01"))

	write("opaque")
	works(t, newClient(t, cfg))
	write(jwt(time.Unix(1_700_000_000, 0)))
	shows(t, cfg, "expired 2023-11-14T22:13:20Z", false)
	write("two words")
	shows(t, cfg, "holds no bearer token", false)
}
