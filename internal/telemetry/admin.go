package telemetry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/rs/zerolog"

	"github.com/plumbline-sec/plumbline/internal/config"
	"github.com/plumbline-sec/plumbline/internal/embedded/browser"
	"github.com/plumbline-sec/plumbline/internal/embedded/claim"
)

// Admin serves /metrics, /healthz and /readyz.
//
//   - /healthz: is the process itself alive? 503 when a watched component is
//     silent for too long; a restart is then the remedy.
//   - /readyz: does it do its work now? 503 with the reason of every check that
//     fails; a restart would not help.
//   - POST /-/reload: reads the config file again and says in JSON what that did; 422
//     where it is refused.
//
// Both answer in plain text, or in JSON where the request accepts it or asks with
// ?format=json. Nobody is asked for a password, so the pages that a browser shows are
// kept away: see package browser.
type Admin struct {
	cfg    config.Admin
	reg    *prometheus.Registry
	logger zerolog.Logger
	health health

	mu     sync.Mutex
	reload func() (body []byte, ok bool)
	ln     net.Listener
	server *http.Server
	served chan struct{}
}

// NewAdmin returns a server that does not listen yet.
func NewAdmin(cfg config.Admin, reg *prometheus.Registry, logger zerolog.Logger) *Admin {
	return &Admin{cfg: cfg, reg: reg, logger: logger, health: health{phase: starting}}
}

// AddCheck adds a condition of readiness. ask returns nil when it is met, else
// why it is not; it returns soon after its context ended.
func (a *Admin) AddCheck(name string, ask func(ctx context.Context) error) {
	a.health.addCheck(name, ask)
}

// Watch adds a component to liveness: it must call Beat at least once in limit,
// from now on, until it calls Done.
func (a *Admin) Watch(name string, limit time.Duration) *Heartbeat {
	return a.health.watch(name, limit)
}

// OnReload says what POST /-/reload does; until then it is refused.
func (a *Admin) OnReload(reload func() (body []byte, ok bool)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.reload = reload
}

func (a *Admin) serveReload(w http.ResponseWriter, _ *http.Request) {
	a.mu.Lock()
	reload := a.reload
	a.mu.Unlock()
	if reload == nil {
		http.Error(w, "the service is starting", http.StatusServiceUnavailable)
		return
	}
	body, ok := reload()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if !ok {
		w.WriteHeader(http.StatusUnprocessableEntity)
	}
	a.write(w, append(body, '\n'))
}

// SetStarted says that all checks have been added: until then /readyz fails,
// because an empty list would pass.
func (a *Admin) SetStarted() { a.health.enter(started) }

// Drain makes /readyz fail, so that nobody counts on an instance that is
// about to stop.
func (a *Admin) Drain() { a.health.enter(stopping) }

// Start listens and serves in the background. An address that is taken is an
// error that names the setting. With listen "none" it does nothing.
func (a *Admin) Start() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cfg.Listen == config.NoListen || a.server != nil {
		return nil
	}
	ln, err := claim.Port("admin server", a.cfg.Listen, "admin.listen")
	if err != nil {
		return err
	}
	a.ln = ln
	a.server = &http.Server{
		Handler:           a.Handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      2 * time.Minute, // a profile takes its time
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
	a.served = make(chan struct{})
	go a.serve(a.server, ln, a.served) // ends with Stop
	a.logger.Info().Str("addr", ln.Addr().String()).Msg("serving metrics and health")
	return nil
}

func (a *Admin) serve(server *http.Server, ln net.Listener, served chan<- struct{}) {
	defer close(served)
	if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		a.logger.Error().Err(err).Msg("the admin server ended; metrics and health are no longer served")
	}
}

// Addr returns where it listens, empty where it does not.
func (a *Admin) Addr() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ln == nil {
		return ""
	}
	return a.ln.Addr().String()
}

// Stop lets requests end until ctx does, then cuts them off.
func (a *Admin) Stop(ctx context.Context) error {
	a.mu.Lock()
	server, served := a.server, a.served
	a.server, a.ln = nil, nil
	a.mu.Unlock()
	if server == nil {
		return nil
	}
	err := server.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, server.Close())
	}
	<-served
	if err != nil {
		return fmt.Errorf("stop admin server: %w", err)
	}
	return nil
}

const index = `Plumbline
/metrics  Prometheus metrics
/healthz  is the process alive?
/readyz   does it do its work now?
/-/reload  POST: read the config file again
`

// Handler returns what Start serves.
func (a *Admin) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(a.reg, promhttp.HandlerOpts{
		Registry: a.reg, MaxRequestsInFlight: 8, EnableOpenMetrics: true,
		ErrorLog: promLogger{a.logger}, ErrorHandling: promhttp.ContinueOnError,
	}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) { a.answer(w, r, a.health.alive()) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) { a.answer(w, r, a.health.ready(r.Context())) })
	mux.HandleFunc("POST /-/reload", a.serveReload)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { a.write(w, []byte(index)) })
	if a.cfg.PProf {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return browser.Guard(mux)
}

func (a *Admin) answer(w http.ResponseWriter, r *http.Request, report Report) {
	body, kind := []byte(report.text()), "text/plain; charset=utf-8"
	if r.URL.Query().Get("format") == "json" || strings.Contains(r.Header.Get("Accept"), "application/json") {
		b, err := json.Marshal(report)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		b = append(b, '\n')
		body, kind = b, "application/json"
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Cache-Control", "no-store")
	if !report.OK {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	a.write(w, body)
}

func (a *Admin) write(w http.ResponseWriter, body []byte) {
	if _, err := w.Write(body); err != nil {
		a.logger.Debug().Err(err).Msg("the client of the admin server went away")
	}
}

// promLogger hands what promhttp says to our log.
type promLogger struct{ logger zerolog.Logger }

func (l promLogger) Println(v ...any) {
	l.logger.Warn().Str("reason", strings.TrimSpace(fmt.Sprintln(v...))).Msg("metrics could not be collected in full")
}
