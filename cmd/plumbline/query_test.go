package main

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/app"
	"github.com/plumbline-sec/plumbline/internal/embedded/chdb"
	"github.com/plumbline-sec/plumbline/internal/embedded/claim"
)

// engine returns the library of the embedded engine.
func engine(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("needs the embedded ClickHouse engine")
	}
	lib, err := chdb.Path("")
	if errors.Is(err, chdb.ErrUnsupported) {
		t.Skip(err)
	}
	require.NoError(t, err)
	return lib
}

func TestTheEmbeddedDatabaseIsMigratedAndQueriedWithoutAService(t *testing.T) {
	engine(t)
	dir := filepath.Join(t.TempDir(), "data")
	r := plumbline(t, "migrate", "--data-dir", dir)
	require.Equal(t, 0, r.code, r.stderr)
	require.Regexp(t, `(?s)^ 1/\d+  create database\n 2/\d+  0001 .*\ndatabase plumbline is at version \d+\n$`, r.stdout)

	r = plumbline(t, "migrate", "--data-dir", dir)
	require.Equal(t, 0, r.code, r.stderr)
	require.Regexp(t, `^database plumbline is up to date \(version \d+\)\n$`, r.stdout)
	r = plumbline(t, "migrate", "--data-dir", dir, "--output", "json")
	require.Regexp(t, `^\{"database":"plumbline","from":(\d+),"to":\d+,"steps":\[\]\}\n$`, r.stdout)

	r = plumbline(t, "query", "--data-dir", dir, "SELECT count() AS n, 'a b' AS s FROM activity")
	require.Equal(t, 0, r.code, r.stderr)
	require.Equal(t, "n  s  \n-  ---\n0  a b\n", spaced(r.stdout))
	require.Regexp(t, `^1 row in \d+`, r.stderr)
	cmd := command(t, "query", "--data-dir", dir, "--output", "json", "-")
	cmd.Stdin = strings.NewReader("SELECT number FROM system.numbers LIMIT 2")
	r = finish(t, cmd)
	require.Equal(t, "{\"number\":0}\n{\"number\":1}\n", r.stdout)

	r = plumbline(t, "query", "--data-dir", dir, "SELECT nonsense")
	require.Equal(t, 1, r.code)
	require.True(t, strings.HasPrefix(r.stderr, "plumbline: clickhouse: query: "), r.stderr)
	require.Equal(t, 1, strings.Count(r.stderr, "\n"), "one line: %s", r.stderr)
	_, held := claim.Service(filepath.Join(dir, app.ClickHouseDir))
	require.False(t, held, "the engine ended with the query")
}

// spaced makes the lines of a table equally long, as they look.
func spaced(table string) string {
	lines := strings.Split(strings.TrimSuffix(table, "\n"), "\n")
	width := 0
	for _, l := range lines {
		width = max(width, len(l))
	}
	for i, l := range lines {
		lines[i] = l + strings.Repeat(" ", width-len(l))
	}
	return strings.Join(lines, "\n") + "\n"
}

func TestARunningServiceIsAsked(t *testing.T) {
	lib := engine(t)
	dir := t.TempDir()
	server, err := chdb.Start(t.Context(), chdb.Config{
		DataDir: filepath.Join(dir, app.ClickHouseDir), Listen: "127.0.0.1:0", Lib: lib,
		Argv: []string{binary, chdb.Command}, Logger: zerolog.Nop(),
	})
	require.NoError(t, err)
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		require.NoError(t, server.Stop(ctx))
	}()
	r := plumbline(t, "migrate", "--data-dir", dir)
	require.Equal(t, 0, r.code, r.stderr)
	r = plumbline(t, "query", "--data-dir", dir, "--output", "json", "SELECT count() AS n FROM alerts")
	require.Equal(t, 0, r.code, r.stderr)
	require.Equal(t, "{\"n\":0}\n", r.stdout)
	require.NotZero(t, server.Pid(), "the service's engine lives on")
	require.Zero(t, server.Restarts())
}

func TestTheSchemaIsPrintedWithoutAskingAServer(t *testing.T) {
	cfg := writeFile(t, "c.yaml", "clickhouse: {addr: \""+freeAddr(t)+"\", database: watch, retention_days: 7}\n")
	r := plumbline(t, "migrate", "--print-schema", "--config", cfg)
	require.Equal(t, 0, r.code, r.stderr)
	require.Contains(t, r.stdout, "CREATE DATABASE IF NOT EXISTS `watch`")
	require.Contains(t, r.stdout, "retention 7 days")
	require.Contains(t, r.stdout, "CREATE TABLE IF NOT EXISTS")
	require.Empty(t, r.stderr)
}

func TestWithoutTheEngineThereIsAWordOnHowToGetIt(t *testing.T) {
	if _, err := chdb.Path(t.TempDir()); !errors.Is(err, chdb.ErrMissing) {
		t.Skip(err)
	}
	cmd := command(t, "migrate", "--data-dir", "data")
	cmd.Env = append(os.Environ(), chdb.CacheEnv+"="+t.TempDir())
	r := finish(t, cmd)
	require.Equal(t, 2, r.code)
	require.Contains(t, r.stderr, "plumbline: the embedded ClickHouse engine is not installed: run `plumbline setup`")
	require.Equal(t, 1, strings.Count(r.stderr, "\n"))
}

func TestSetupSaysWhereTheEngineIs(t *testing.T) {
	lib := engine(t)
	r := plumbline(t, "setup")
	require.Equal(t, 0, r.code, r.stderr)
	require.Equal(t, "the embedded ClickHouse engine is in "+lib+"\n", r.stdout)
	r = plumbline(t, "setup", "--output", "json")
	require.JSONEq(t, `{"engine":"`+lib+`"}`, r.stdout)
}

func TestAnOccupiedPortNamesTheSettingThatChoosesIt(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, ln.Close()) }()
	for key, text := range map[string]string{
		"admin.listen":          "admin: {listen: \"%\"}\n",
		"embedded.kafka_listen": "admin: {listen: none}\nembedded: {kafka_listen: \"%\"}\n",
	} {
		t.Run(key, func(t *testing.T) {
			cfg := writeFile(t, "c.yaml", "log: {level: error}\n"+strings.ReplaceAll(text, "%", ln.Addr().String()))
			r := plumbline(t, "run", "--roles", "route", "--config", cfg, "--data-dir", t.TempDir())
			require.Equal(t, 2, r.code, r.stderr)
			require.Contains(t, r.stderr, ln.Addr().String()+" is already in use by another program; stop that program or set "+key+" to a free address\n")
			require.Equal(t, 1, strings.Count(r.stderr, "\n"), r.stderr)
		})
	}
}
