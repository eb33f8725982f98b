package kafka

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
)

// OAuth says where the bearer token of OAUTHBEARER comes from: a file, or an issuer
// that is asked for one with the client credentials grant (RFC 6749, 4.4). The
// client's id and secret are username and password of the SASLConfig.
type OAuth struct {
	TokenFile  string // read for every connection
	TokenURL   string
	Scope      string            // empty: the issuer's default
	Extensions map[string]string // what the broker wants to know beside the token

	// TLS and DialTLS are those of Config, towards the issuer.
	TLS     *tls.Config
	DialTLS func(ctx context.Context, network, addr string) (net.Conn, error)
}

const (
	// tokenPatience bounds one request to the issuer. A connection waits for it.
	tokenPatience = 5 * time.Second
	// tokenRenewal is that while there is a token that still serves: the connection needs
	// the rest of its time for itself.
	tokenRenewal = 2 * time.Second
	// tokenRetry is how long a refused token, or an issuer that gives no new one, is
	// left alone.
	tokenRetry = 10 * time.Second
	// maxToken bounds a token and an issuer's answer.
	maxToken = 64 << 10
)

// bearer is OAUTHBEARER (RFC 7628). A token of the issuer is used by all connections
// and replaced after four fifths of its life, so that none is made with one that is
// about to expire; while the issuer gives no other, it serves until its end, also where the
// issuer hangs.
type bearer struct {
	cfg    SASLConfig
	logger zerolog.Logger
	http   http.Client
	asking chan struct{} // holds one while the issuer is asked
	held   atomic.Pointer[token]
}

type token struct {
	text               string
	got, renew, expiry time.Time
}

// serves reports whether there is a token, and one that a broker would still take.
func (t *token) serves(now time.Time) bool { return t != nil && now.Before(t.expiry) }

func newBearer(cfg SASLConfig, logger zerolog.Logger) *bearer {
	return &bearer{cfg: cfg, logger: logger, asking: make(chan struct{}, 1), http: http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, DialTLSContext: cfg.OAuth.DialTLS, TLSClientConfig: cfg.OAuth.TLS, DisableKeepAlives: true,
		},
		// The secret is for the configured address alone.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Name is the mechanism's.
func (b *bearer) Name() string { return MechanismOAuthBearer }

// Start returns what a connection begins with.
func (b *bearer) Start(ctx context.Context) (sasl.StateMachine, []byte, error) {
	text, err := b.token(ctx)
	if err != nil {
		return nil, nil, err
	}
	first := []byte("n,,\x01auth=Bearer " + text + "\x01")
	for _, name := range slices.Sorted(maps.Keys(b.cfg.OAuth.Extensions)) {
		first = append(first, name+"="+b.cfg.OAuth.Extensions[name]+"\x01"...)
	}
	return b, append(first, '\x01'), nil
}

// Next reads what the broker says to a token: nothing, or why not.
func (b *bearer) Next(_ context.Context, challenge []byte) (bool, []byte, error) {
	if len(challenge) == 0 {
		return true, nil, nil
	}
	b.refused()
	var why struct {
		Status string `json:"status"`
	}
	_ = json.Unmarshal(challenge, &why) // what is no JSON has no status
	return false, nil, &AccessError{
		"the broker refuses the token; check kafka.sasl.oauth",
		fmt.Errorf("%w: status %.100q", kafkago.SASLAuthenticationFailed, why.Status),
	}
}

// refused drops the token that a broker did not take: the issuer may have changed
// its keys. It does so now and then only: the broker may take no other either.
func (b *bearer) refused() {
	if t := b.held.Load(); t != nil && time.Since(t.got) > tokenRetry {
		b.held.CompareAndSwap(t, nil)
	}
}

func (b *bearer) token(ctx context.Context) (string, error) {
	if b.cfg.OAuth.TokenFile != "" {
		return readToken(b.cfg.OAuth.TokenFile)
	}
	old, now := b.held.Load(), time.Now()
	if old != nil && now.Before(old.renew) {
		return old.text, nil
	}
	select {
	case b.asking <- struct{}{}:
	default:
		if old.serves(now) { // somebody else asks for the next one
			return old.text, nil
		}
		select {
		case b.asking <- struct{}{}:
		case <-ctx.Done():
			return "", &CredentialsError{ctx.Err()}
		}
	}
	defer func() { <-b.asking }()
	old, now = b.held.Load(), time.Now()
	if old != nil && now.Before(old.renew) { // somebody else has asked meanwhile
		return old.text, nil
	}
	patience := tokenPatience
	if old.serves(now) {
		patience = tokenRenewal
	}
	t, err := b.ask(ctx, patience)
	now = time.Now()
	switch {
	case err == nil:
		b.held.Store(t)
		return t.text, nil
	case !old.serves(now):
		return "", err
	}
	b.logger.Warn().Err(err).Time("expires", old.expiry).Msg("the token for Kafka is not renewed; the one there is serves until it expires")
	later := *old
	if later.renew = now.Add(tokenRetry); later.renew.After(old.expiry) {
		later.renew = old.expiry
	}
	b.held.Store(&later)
	return old.text, nil
}

// ask asks the issuer for a token.
func (b *bearer) ask(ctx context.Context, patience time.Duration) (*token, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	form := url.Values{"grant_type": {"client_credentials"}}
	if b.cfg.OAuth.Scope != "" {
		form.Set("scope", b.cfg.OAuth.Scope)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.cfg.OAuth.TokenURL, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, &CredentialsError{err}
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	req.SetBasicAuth(url.QueryEscape(b.cfg.Username), url.QueryEscape(b.cfg.Password)) // RFC 6749, 2.3.1
	sent := time.Now()
	res, err := b.http.Do(req)
	if err != nil {
		return nil, &CredentialsError{err}
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxToken))
	if err = errors.Join(err, res.Body.Close()); err != nil {
		return nil, &CredentialsError{fmt.Errorf("answer of %s: %w", b.cfg.OAuth.TokenURL, err)}
	}
	if res.StatusCode != http.StatusOK {
		return nil, b.refusal(res.StatusCode, body)
	}
	var answer struct {
		Token   string      `json:"access_token"`
		Seconds json.Number `json:"expires_in"` // some write it as a text
	}
	if json.Unmarshal(body, &answer) != nil || !isToken.MatchString(answer.Token) {
		return nil, &CredentialsError{fmt.Errorf("%s answers without an access_token", b.cfg.OAuth.TokenURL)}
	}
	t := &token{text: answer.Token, got: sent, expiry: expiry(answer.Token)}
	if s, err := answer.Seconds.Float64(); err == nil {
		t.expiry = sent.Add(time.Duration(min(max(s, 0), 1e6) * float64(time.Second)))
	}
	// Where nobody says how long it lives, every connection asks for one of its own.
	t.renew = sent.Add(t.expiry.Sub(sent) * 4 / 5)
	return t, nil
}

// refusal is an answer that holds no token. What the issuer says about it is cut,
// and must not give the secret back.
func (b *bearer) refusal(status int, body []byte) error {
	var why struct {
		Code string `json:"error"`
		Text string `json:"error_description"`
	}
	_ = json.Unmarshal(body, &why) // an answer of something in between has neither
	text := strings.TrimSpace(why.Code + " " + why.Text)
	for _, secret := range []string{b.cfg.Password, url.QueryEscape(b.cfg.Password)} {
		text = strings.ReplaceAll(text, secret, "***")
	}
	err := fmt.Errorf("HTTP status %d, %.200q", status, text)
	switch {
	case status == http.StatusRequestTimeout, status == http.StatusTooManyRequests, status >= http.StatusInternalServerError:
		return &CredentialsError{fmt.Errorf("%s: %w", b.cfg.OAuth.TokenURL, err)}
	case status >= http.StatusBadRequest && why.Code != "":
		return &AccessError{"the issuer at " + b.cfg.OAuth.TokenURL + " gives client " + strconv.Quote(b.cfg.Username) +
			" no token; check kafka.sasl.oauth.client_id, client_secret and scope", err}
	}
	return &AccessError{"no token endpoint answers at " + b.cfg.OAuth.TokenURL + "; check kafka.sasl.oauth.token_url", err}
}

// isToken is the form of a bearer token (RFC 6750, 2.1).
var isToken = regexp.MustCompile(`^[A-Za-z0-9._~+/-]+=*$`)

// readToken reads the token of a file that somebody else renews.
func readToken(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", &CredentialsError{fmt.Errorf("token_file: %w", err)}
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxToken))
	if err = errors.Join(err, f.Close()); err != nil {
		return "", &CredentialsError{fmt.Errorf("token_file: %w", err)}
	}
	raw = bytes.TrimSpace(raw)
	if !isToken.Match(raw) {
		return "", &CredentialsError{fmt.Errorf("token_file: %s holds no bearer token", path)}
	}
	if e := expiry(string(raw)); !e.IsZero() && !time.Now().Before(e) {
		return "", &CredentialsError{fmt.Errorf("token_file: the token in %s expired %s", path, e.UTC().Format(time.RFC3339))}
	}
	return string(raw), nil
}

// expiry returns when a token that is a JWT says that it expires, or zero. Nothing
// else in it is looked at: the broker checks it.
func expiry(text string) time.Time {
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return time.Time{}
	}
	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return time.Time{}
	}
	var claim struct {
		Seconds float64 `json:"exp"`
	}
	if json.Unmarshal(claims, &claim) != nil || claim.Seconds <= 0 || claim.Seconds > 1e12 {
		return time.Time{}
	}
	return time.Unix(int64(claim.Seconds), 0)
}
