package chdb

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/rs/zerolog"
)

// Command is the hidden subcommand under which the binary runs as the child. Its
// flags are those of ChildConfig: --data-dir, --lib.
const Command = "internal-clickhouse"

// What the child gets from its parent beside its standard streams: the listener and the
// claim on the data directory.
const (
	listenerFile = 3
	claimFile    = 4
)

// ChildConfig says what ServeMain serves.
type ChildConfig struct {
	DataDir string
	Lib     string
	Stdin   io.Reader // what Start says to it; its end ends the child
	Logger  zerolog.Logger
}

// stopPatience is how long a stopping child waits for requests in progress before
// it kills their statements.
const stopPatience = 3 * time.Second

// heldToTheEnd has the lock file of the data directory. It is never closed: an
// engine that does not end has the directory until the process has ended.
var heldToTheEnd []*os.File

// ServeMain runs the engine in this process and serves it until ctx ends, SIGTERM
// comes or cfg.Stdin ends. It may be called once in a process.
func ServeMain(ctx context.Context, cfg ChildConfig) error {
	return ServeExtended(ctx, cfg, Extension{})
}

// ServeExtended is ServeMain for tests of what the engine does beyond what is served.
func ServeExtended(ctx context.Context, cfg ChildConfig, extension Extension) error {
	if !extension.Unlocked {
		if err := lockIn(cfg); err != nil {
			return fmt.Errorf("embedded clickhouse: %w", err)
		}
	}
	// Ctrl-C reaches every process of a terminal. Whether to stop is the
	// parent's decision: it has rows to store before.
	signal.Ignore(syscall.SIGINT)
	nameProcess()
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer stop()
	users, stdin, err := readHandover(cfg.Stdin)
	if err != nil {
		return fmt.Errorf("embedded clickhouse: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // ends with stdin, at the latest with the process
		_, _ = io.Copy(io.Discard, stdin)
		cancel()
	}()
	heldToTheEnd = append(heldToTheEnd, os.NewFile(claimFile, "lock"))
	file := os.NewFile(listenerFile, "listener")
	ln, err := net.FileListener(file)
	_ = file.Close() // the listener has its own
	if err != nil {
		return fmt.Errorf("embedded clickhouse: take over the listener: %w", err)
	}
	defer func() { _ = ln.Close() }()

	if !extension.Unlocked {
		err = refuseCalls()
	}
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EINVAL) {
		cfg.Logger.Warn().Err(err).Msg("the kernel has no seccomp filters: the engine is not kept from making sockets and processes")
		err = nil
	}
	if err != nil {
		return fmt.Errorf("embedded clickhouse: %w", err)
	}
	engine, err := bootEngine(cfg, users.Database, extension)
	if err != nil {
		return fmt.Errorf("embedded clickhouse: %w", err)
	}
	return serve(ctx, engine, users, ln, cfg.Logger)
}

// bootEngine starts the engine in its directory, which nobody else may look into.
func bootEngine(cfg ChildConfig, database string, extension Extension) (*engine, error) {
	data, err := filepath.Abs(cfg.DataDir)
	if err != nil {
		return nil, err
	}
	lib, err := filepath.Abs(cfg.Lib)
	if err != nil {
		return nil, err
	}
	_ = os.Chmod(data, 0o700) //nolint:gosec // a directory; whoever it belongs to, if not to us, has decided
	extension.apply()
	config, err := writeConfig(data, database, extension)
	if err != nil {
		return nil, err
	}
	// The engine takes relative paths from here.
	if err := os.Chdir(data); err != nil {
		return nil, err
	}
	return startEngine(lib, filepath.Join(data, "engine"), config)
}

// serve answers requests until ctx ends, then lets those in progress end.
func serve(ctx context.Context, engine *engine, users handover, ln net.Listener, log zerolog.Logger) error {
	h := newHandler(engine, users, log)
	requests, killAll := context.WithCancel(context.WithoutCancel(ctx))
	defer killAll()
	server := &http.Server{
		Handler:           h.handler,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    1 << 20, // statements come in URLs
		BaseContext:       func(net.Listener) context.Context { return requests },
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(ln) }() // ends with Shutdown or Close
	log.Info().Str("addr", ln.Addr().String()).Str("version", engine.version).Msg("embedded clickhouse is serving")
	var err error
	select {
	case err = <-failed:
		err = fmt.Errorf("embedded clickhouse: serve: %w", err)
	case <-ctx.Done():
	}
	patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopPatience)
	defer cancel()
	if server.Shutdown(patience) != nil {
		killAll()
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopPatience)
		defer cancel()
		if server.Shutdown(last) != nil {
			// A connection with a statement in it can't be closed. What is
			// acknowledged is on the disk: leave the rest to the exit.
			return errors.Join(err, errors.New("embedded clickhouse: a statement does not end"))
		}
	}
	killAll()
	if !h.drained(stopPatience) { // of connections that net/http does not know any more (live.go)
		return errors.Join(err, errors.New("embedded clickhouse: a statement does not end"))
	}
	h.sessions.close()
	engine.close()
	return err
}

// ParseChildArgs reads the flags that Start passes to the child, for a program
// that has no command line of its own, as a test binary.
func ParseChildArgs(args []string) (cfg ChildConfig, err error) {
	flags := flag.NewFlagSet(Command, flag.ContinueOnError)
	flags.StringVar(&cfg.DataDir, "data-dir", "", "")
	flags.StringVar(&cfg.Lib, "lib", "", "")
	return cfg, flags.Parse(args)
}
