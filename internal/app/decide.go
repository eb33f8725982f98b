package app

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/plumbline-sec/plumbline/internal/config"
	"github.com/plumbline-sec/plumbline/internal/embedded/browser"
	"github.com/plumbline-sec/plumbline/internal/embedded/claim"
	"github.com/plumbline-sec/plumbline/pipeline/decide"
	"github.com/plumbline-sec/plumbline/pipeline/kafka"
	"github.com/plumbline-sec/plumbline/pipeline/policy"
	"github.com/plumbline-sec/plumbline/schemas/decode"
	"github.com/plumbline-sec/plumbline/schemas/decode/forms"
)

// formRegistration is the decoder of registrations.
const formRegistration = "registration"

// riskMargin is for how long an episode counts beyond the quiet time after which it closes,
// where nothing was heard of it: one that goes on as it began is told of once.
const riskMargin = 24 * time.Hour

func (a *App) decide(client *kafka.Client, addr *Addresses) (role, error) {
	cfg := &a.cfg.Decide
	set, _ := a.cfg.Policy.Set.(*policy.Set)
	d, err := decide.New(a.role(client, RoleDecide), decide.Config{
		Policies: set, Registrations: registrationSources(a.cfg), Permit: cfg.OnError == config.PolicyPermit,
		StaleAfter: cfg.StaleAfter.Std(), RiskFor: longestQuiet(a.cfg) + riskMargin, Token: cfg.Token.Reveal(), LogTopic: cfg.LogTopic,
	}, a.metrics.decide)
	if err != nil {
		return role{}, err
	}
	a.reload.decide = d.Reload
	listener, err := a.listenForDecide()
	if err != nil {
		return role{}, err
	}
	addr.Decide = listener.Addr().String()
	wrap := func(h http.Handler) http.Handler { return h }
	if !cfg.Token.IsSet() && cfg.TLS.ClientCAFile == "" {
		wrap = browser.Guard
	}
	return role{health: d, leave: func(context.Context) {}, run: func(ctx context.Context) error { return d.Run(ctx, listener, wrap) }}, nil
}

// listenForDecide takes the address.
func (a *App) listenForDecide() (net.Listener, error) {
	cfg := &a.cfg.Decide
	var encrypt *tls.Config
	if cfg.TLS.CertFile != "" {
		var err error
		if encrypt, err = serverTLS("decide.tls", cfg.TLS); err != nil {
			return nil, err
		}
	}
	ln, err := claim.Port("decide", cfg.Listen, "decide.listen")
	if err != nil {
		return nil, err
	}
	a.onStop("decide's listener", quick(func() error {
		if err := ln.Close(); !errors.Is(err, net.ErrClosed) { // the role closes it when it ran
			return err
		}
		return nil
	}))
	if encrypt == nil {
		return ln, nil
	}
	return tls.NewListener(ln, encrypt), nil
}

// registrationSources are the sources that hold nothing but registrations.
func registrationSources(cfg *config.Config) (out []decide.Source) {
	for _, s := range cfg.Sources {
		if s.Decoder == formRegistration {
			out = append(out, decide.Source{Topic: s.Topic, NewDecoder: func() (decode.Decoder, error) { return forms.New(s.Decoder, s.Options) }})
		}
	}
	return out
}

// longestQuiet is the longest quiet time of an agent.
func longestQuiet(cfg *config.Config) time.Duration {
	quiet := cfg.Detector.QuietTime
	for _, o := range cfg.Detector.Overrides {
		quiet = max(quiet, o.QuietTime)
	}
	return quiet.Std()
}
