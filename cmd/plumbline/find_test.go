package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/app"
	"github.com/plumbline-sec/plumbline/internal/embedded/claim"
)

func TestQueriesAtOnceWithoutAServiceAllAnswer(t *testing.T) {
	engine(t)
	dir := filepath.Join(t.TempDir(), "data")
	good(t, "migrate", "--data-dir", dir)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			r := plumbline(t, "query", "--data-dir", dir, "--output", "json", "SELECT count() AS n FROM alerts")
			assert.Equal(t, 0, r.code, r.stderr)
			assert.Equal(t, "{\"n\":0}\n", r.stdout)
		})
	}
	all.Wait()
}

func TestACommandThatHoldsTheDataIsWaitedForAndNamed(t *testing.T) {
	engine(t)
	dir := filepath.Join(t.TempDir(), "data")
	good(t, "migrate", "--data-dir", dir)
	other, err := claim.Directory(filepath.Join(dir, app.ClickHouseDir), time.Minute)
	require.NoError(t, err)
	require.NoError(t, other.Publish(claim.Note{PID: os.Getpid()}))

	var errs bytes.Buffer
	g := &Globals{Stderr: &errs}
	s, err := g.Service(dir)
	require.NoError(t, err)
	s.patience = 50 * time.Millisecond
	_, _, err = s.engine(t.Context(), false)
	require.ErrorContains(t, err, fmt.Sprintf("waited 50ms: embedded clickhouse: data directory %s is in use by process %d; stop it", filepath.Join(dir, app.ClickHouseDir), os.Getpid()))

	time.AfterFunc(2*engineSilence, func() { _ = other.Release() })
	r := good(t, "query", "--data-dir", dir, "--output", "json", "SELECT 1 AS n")
	require.Equal(t, "{\"n\":1}\n", r.stdout)
	require.Equal(t, 1, strings.Count(r.stderr, "waiting for process "), r.stderr)
	require.Contains(t, r.stderr, fmt.Sprintf("waiting for process %d, which uses %s", os.Getpid(), dir))
}

// The config that says where a service listens is enough, whatever directory a
// command is run in; its data directory is enough, whatever ports it has.
func TestEveryCommandFindsTheServiceInTheSameWay(t *testing.T) {
	engine(t)
	dir := t.TempDir()
	embedded := fmt.Sprintf("embedded: {kafka_listen: %q, clickhouse_listen: %q}\n", freeAddr(t), freeAddr(t))
	s := newSite(t, 1)
	s.config = writeFile(t, "service.yaml", "log: {format: json}\nadmin: {listen: "+s.admin+"}\narchive: {max_age: 100ms}\n"+embedded)
	s.exe = binary
	s.startIn(dir) // and keeps its data in dir/plumbline-data
	data := filepath.Join(dir, "plumbline-data")
	for name, where := range map[string][]string{
		"by its addresses":      {"--config", writeFile(t, "ports.yaml", embedded)},
		"by its data directory": {"--data-dir", data},
	} {
		t.Run(name, func(t *testing.T) {
			with := func(args ...string) result {
				cmd := command(t, append(args, where...)...)
				cmd.Stdin = strings.NewReader(`{"agent_id":"a"}` + "\n")
				return finish(t, cmd)
			}
			r := with("send", "-")
			require.Equal(t, 0, r.code, r.stderr)
			require.Eventually(t, func() bool {
				r = with("query", "--output", "json", "SELECT count() > 0 AS n FROM activity")
				return r.code == 0 && r.stdout == "{\"n\":1}\n"
			}, 20*time.Second, 100*time.Millisecond, "%+v", r)
			r = with("migrate", "--dry-run")
			require.Equal(t, 0, r.code, r.stderr)
			require.Contains(t, r.stdout, "is up to date")
			r = with("state", "show", "--output", "json")
			require.NotContains(t, r.stderr, "nothing listens")
		})
	}
	// Data at rest here does not make the two halves of a config disagree.
	other := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(other, "plumbline-data", app.ClickHouseDir), 0o700))
	cmd := command(t, "query", "--config", writeFile(t, "ports.yaml", embedded), "SELECT count() FROM activity")
	cmd.Dir = other
	r := finish(t, cmd)
	require.Equal(t, 0, r.code, r.stderr)
	require.Contains(t, r.stderr, "plumbline: asking the service that listens on ")
	require.Contains(t, r.stderr, "; --data-dir ./plumbline-data asks what is at rest there\n")
	require.Equal(t, 0, s.stop(), s.log.String())

	for _, args := range [][]string{{"send", "-"}, {"state", "show"}} {
		r := plumbline(t, append(args, "--data-dir", data)...)
		require.Equal(t, 1, r.code)
		require.Contains(t, r.stderr, "plumbline: no service runs on "+data+": start it with")
	}
}

func TestAnotherClickHouseOnThePortIsNotAsked(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("Ok.\n")) }))
	defer server.Close()
	addr := strings.TrimPrefix(server.URL, "http://")
	cfg := writeFile(t, "c.yaml", "embedded: {clickhouse_listen: \""+addr+"\"}\n")
	r := plumbline(t, "query", "SELECT 1", "--config", cfg)
	require.Equal(t, 1, r.code)
	require.Contains(t, r.stderr, "no embedded ClickHouse has run in ./plumbline-data yet, and no service listens on "+addr)
}
