package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHealthIsWhatTheServiceSaysOfItself(t *testing.T) {
	var status atomic.Int64
	status.Store(http.StatusOK)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(int(status.Load()))
		_, _ = w.Write([]byte(r.Host + r.URL.Path + "\n"))
	}))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "plumbline.yaml")
	listen := func(addr string) {
		require.NoError(t, os.WriteFile(file, []byte("admin: {listen: "+addr+"}\n"), 0o600))
	}
	listen(server.Listener.Addr().String())
	got := plumbline(t, "health", "--config", file)
	require.Equal(t, result{exitGood, "localhost/readyz\n", ""}, got)
	status.Store(http.StatusServiceUnavailable)
	got = plumbline(t, "health", "--live", "--config", file)
	require.Equal(t, result{exitFailed, "localhost/healthz\n", ""}, got)
	require.NoError(t, os.WriteFile(file, []byte("detectr: {}\n"), 0o600))
	require.Equal(t, exitUsage, plumbline(t, "health", "--config", file).code)
	got = plumbline(t, "health", "--config", file, "--admin", server.Listener.Addr().String())
	require.Equal(t, result{exitFailed, "localhost/readyz\n", ""}, got, "a probe does not depend on a file that the service refused")
	listen(server.Listener.Addr().String())
	server.Close()
	got = plumbline(t, "health", "--config", file)
	require.Equal(t, exitFailed, got.code)
	require.Contains(t, got.stderr, "no service answers")
	listen("none")
	require.Equal(t, exitUsage, plumbline(t, "health", "--config", file).code)
}
