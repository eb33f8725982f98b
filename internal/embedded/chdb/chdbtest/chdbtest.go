// Package chdbtest runs the embedded ClickHouse inside a test: the real engine in
// a child process, with a data directory of its own, gone with the test.
//
// The child is the test binary itself, so a package that uses it needs
//
//	func TestMain(m *testing.M) { os.Exit(chdbtest.Main(m)) }
package chdbtest

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/plumbline-sec/plumbline/internal/embedded/chdb"
)

// childEnv marks the test binary's run as the child; extensionEnv has its extension.
const (
	childEnv     = "PLUMBLINE_TEST_CHDB_CHILD"
	extensionEnv = "PLUMBLINE_TEST_CHDB_EXTENSION"
)

var ready bool // Main ran

// Main runs the tests, or the child where Start started this process as one. The
// result is the exit code.
func Main(m interface{ Run() int }) int {
	if os.Getenv(childEnv) == "" {
		ready = true
		return m.Run()
	}
	var extension chdb.Extension
	cfg, err := chdb.ParseChildArgs(os.Args[1:])
	if err == nil {
		cfg.Stdin = os.Stdin
		cfg.Logger = zerolog.Nop()
		if text := os.Getenv(extensionEnv); text != "" {
			err = json.Unmarshal([]byte(text), &extension)
		}
	}
	if err == nil {
		err = chdb.ServeExtended(context.Background(), cfg, extension)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// Option changes what Start runs.
type Option func(*chdb.Config)

// WithDataDir keeps the data in dir, so that a second Start goes on with it.
func WithDataDir(dir string) Option { return func(c *chdb.Config) { c.DataDir = dir } }

// WithListen takes this address, to come back on the same one after a Stop.
func WithListen(addr string) Option { return func(c *chdb.Config) { c.Listen = addr } }

// WithLogger shows what the server logs.
func WithLogger(log zerolog.Logger) Option { return func(c *chdb.Config) { c.Logger = log } }

// WithExtension runs what the product never runs, for tests of what servers do.
func WithExtension(x chdb.Extension) Option {
	return func(c *chdb.Config) {
		b, err := json.Marshal(x)
		if err != nil {
			panic(err) // strings
		}
		c.Env = append(c.Env, extensionEnv+"="+string(b))
	}
}

// Start runs a server until the test ends and returns its address, for
// clickhouse-go's Protocol HTTP and for everything that speaks HTTP. The library
// is fetched once into the user's cache; where it can't be, the test fails.
func Start(tb testing.TB, opts ...Option) (addr string) {
	tb.Helper()
	return StartServer(tb, opts...).Addr()
}

// StartServer is Start for tests that stop the server, or kill its child.
func StartServer(tb testing.TB, opts ...Option) *chdb.Server {
	tb.Helper()
	cfg := Config(tb)
	for _, opt := range opts {
		opt(&cfg)
	}
	s, err := chdb.Start(context.Background(), cfg)
	if err != nil {
		tb.Fatalf("start embedded clickhouse: %v", err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			tb.Errorf("stop embedded clickhouse: %v", err)
		}
	})
	return s
}

// Config is what Start starts, for tests that start it themselves.
func Config(tb testing.TB) chdb.Config {
	tb.Helper()
	if !ready {
		tb.Fatal("this package needs: func TestMain(m *testing.M) { os.Exit(chdbtest.Main(m)) }")
	}
	exe, err := os.Executable()
	if err != nil {
		tb.Fatalf("find the test binary: %v", err)
	}
	lib, err := chdb.Install(context.Background(), chdb.InstallOptions{Progress: os.Stderr})
	if err != nil {
		tb.Fatalf("install the engine: %v", err)
	}
	return chdb.Config{
		DataDir: tb.TempDir(), Listen: "127.0.0.1:0", Lib: lib,
		Argv: []string{exe}, Env: []string{childEnv + "=1"}, Logger: zerolog.Nop(),
	}
}
