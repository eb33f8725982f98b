package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/rs/zerolog"

	"github.com/plumbline-sec/plumbline/internal/app"
	"github.com/plumbline-sec/plumbline/internal/config"
	"github.com/plumbline-sec/plumbline/internal/embedded"
	"github.com/plumbline-sec/plumbline/internal/embedded/claim"
	"github.com/plumbline-sec/plumbline/pipeline/clickhouse"
	"github.com/plumbline-sec/plumbline/pipeline/kafka"
	"github.com/plumbline-sec/plumbline/pipeline/terminal"
)

// service is where commands find Kafka and ClickHouse. The embedded ones are looked
// for in the same way by all of them:
//
//  1. at the address that the service running on data_dir has left there;
//  2. where the config says that they listen, so that the directory from which a
//     command is run does not matter; not where --data-dir names another one;
//  3. ClickHouse at rest: the engine is started on data_dir, for the command.
type service struct {
	cfg      *config.Config
	named    bool // data_dir is that of --data-dir
	notes    io.Writer
	patience time.Duration // with another command that uses data_dir
}

// serviceDir is the flag of commands that find a running service.
type serviceDir struct {
	DataDir string `placeholder:"DIR" help:"Data directory of a running service, in the place of data_dir."`
}

// engineDir is the flag of those that ask the embedded engine.
type engineDir struct {
	DataDir string `placeholder:"DIR" help:"Data directory of the embedded engine, in the place of data_dir."`
}

// Service reads the config; dir is --data-dir, in the place of data_dir.
func (g *Globals) Service(dir string) (*service, error) {
	cfg, err := g.LoadWithDataDir(dir)
	if err != nil {
		return nil, err
	}
	return &service{cfg: cfg, named: dir != "", notes: g.Stderr, patience: enginePatience}, nil
}

// probePatience is how long an address is waited for: it is one of this machine.
const probePatience = 2 * time.Second

// kafka says how to reach Kafka.
func (s *service) kafka(ctx context.Context) (kafka.Config, error) {
	out, err := app.KafkaConfig(s.cfg)
	if err != nil {
		return out, usageError{err}
	}
	if !s.cfg.Kafka.Brokers.Embedded() {
		if s.named {
			return out, usageError{errors.New("--data-dir is of the embedded broker, and kafka.brokers names a cluster")}
		}
		return out, nil
	}
	if err := embedded.Included(); err != nil {
		return out, err
	}
	if addr, ok := claim.Service(filepath.Join(s.cfg.DataDir, app.KafkaDir)); ok {
		out.Brokers = []string{addr}
		return out, nil
	}
	if s.named {
		return out, fmt.Errorf("no service runs on %s: start it with `plumbline run --data-dir`, or leave --data-dir out", s.cfg.DataDir)
	}
	dialer := net.Dialer{Timeout: probePatience}
	conn, err := dialer.DialContext(ctx, "tcp", s.cfg.Embedded.KafkaListen)
	if err != nil {
		return out, fmt.Errorf("nothing listens on %s (embedded.kafka_listen): start the service with `plumbline run`, or name a cluster in kafka.brokers", s.cfg.Embedded.KafkaListen)
	}
	if err := conn.Close(); err != nil {
		return out, fmt.Errorf("connect to %s: %w", s.cfg.Embedded.KafkaListen, err)
	}
	return out, nil
}

// client returns a client of Kafka.
func (s *service) client(ctx context.Context) (*kafka.Client, error) {
	at, err := s.kafka(ctx)
	if err != nil {
		return nil, err
	}
	client, err := kafka.New(at, zerolog.Nop())
	if err != nil {
		return nil, usageError{err}
	}
	return client, nil
}

// clickHouse calls do with the ClickHouse that a command asks.
func (d engineDir) clickHouse(ctx context.Context, g *Globals, do func(*clickhouse.DB) error) error {
	service, err := g.Service(d.DataDir)
	if err != nil {
		return err
	}
	return service.clickHouse(ctx, false, do)
}

// clickHouse calls do with the configured ClickHouse. Where that is embedded and no
// service runs it, the engine runs for as long as do does; create says whether its
// directory may be made.
func (s *service) clickHouse(ctx context.Context, create bool, do func(*clickhouse.DB) error) (err error) {
	ours := s.cfg.ClickHouse.Addr.Embedded()
	if s.named && !ours {
		return usageError{errors.New("--data-dir is of the embedded engine, and clickhouse.addr names a server")}
	}
	ch, err := app.ClickHouseConfig(s.cfg)
	if err != nil {
		return usageError{err}
	}
	if ours {
		addr, stop, err := s.engine(ctx, create)
		if err != nil {
			return err
		}
		defer stop()
		ch.Addrs = []string{addr}
	}
	db, err := clickhouse.Open(ch)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return do(db)
}

// The engine of another command is waited for, and after a while one is told so.
const (
	enginePatience = time.Minute
	engineSilence  = time.Second
)

// engine returns where the embedded engine answers, and what ends it where it was
// started here.
func (s *service) engine(ctx context.Context, create bool) (addr string, stop func(), err error) {
	dir := filepath.Join(s.cfg.DataDir, app.ClickHouseDir)
	_, missing := os.Stat(dir)
	started, said := time.Now(), false
	if err := embedded.Included(); err != nil {
		return "", nil, err
	}
	for {
		if addr, ok := claim.Service(dir); ok {
			return addr, func() {}, nil
		}
		if addr := s.cfg.Embedded.ClickHouseListen; s.engineListens(ctx) {
			if missing == nil {
				fmt.Fprintf(s.notes, "plumbline: asking the service that listens on %s; --data-dir %s asks what is at rest there\n", addr, terminal.Escape(s.cfg.DataDir))
			}
			return addr, func() {}, nil
		}
		if missing != nil && !create {
			return "", nil, fmt.Errorf("no embedded ClickHouse has run in %s yet, and no service listens on %s: start one with `plumbline run`, or name its data directory with --data-dir",
				s.cfg.DataDir, s.cfg.Embedded.ClickHouseListen)
		}
		server, err := startEngine(ctx, dir)
		var held *claim.HeldError
		switch waited := time.Since(started); {
		case err == nil:
			return server.Addr(), func() {
				last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
				defer cancel()
				_ = server.Stop(last) // it ends by force when its time is over
			}, nil
		case !errors.As(err, &held):
			return "", nil, setupError(err)
		case waited > s.patience:
			return "", nil, setupError(fmt.Errorf("waited %s: %w", s.patience, err))
		case waited > engineSilence && !said:
			said = true
			fmt.Fprintf(s.notes, "plumbline: waiting for process %d, which uses %s (up to %s; a running service serves many at once)\n", held.Note.PID, terminal.Escape(dir), s.patience)
		}
		if !sleep(ctx, 50*time.Millisecond) {
			return "", nil, errInterrupted
		}
	}
}

// engineListens reports whether a service may be asked whose data_dir is not known.
func (s *service) engineListens(ctx context.Context) bool {
	return !s.named && isEngine(ctx, s.cfg.Embedded.ClickHouseListen)
}

func startEngine(ctx context.Context, dir string) (embedded.ClickHouse, error) {
	privateFiles()
	// A free port: the configured one may belong to another service.
	return embedded.StartClickHouse(ctx, embedded.ClickHouseConfig{DataDir: dir, Listen: "127.0.0.1:0", Private: true, Logger: zerolog.Nop()})
}

// isEngine reports whether an embedded engine answers on addr: another ClickHouse
// has the same port by default.
func isEngine(ctx context.Context, addr string) bool {
	ctx, cancel := context.WithTimeout(ctx, probePatience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/ping", http.NoBody)
	if err != nil {
		return false
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // no proxy: it is this machine
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close() // it was not read
	return resp.StatusCode == http.StatusOK && embedded.FromClickHouse(resp)
}
