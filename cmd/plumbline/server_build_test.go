package main

import (
	"debug/buildinfo"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/embedded"
)

func TestTheServerBuildIsStaticAndHoldsNothingOfTheEmbeddedStack(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program again")
	}
	server := filepath.Join(t.TempDir(), "plumbline-server")
	build := exec.Command("go", "build", "-tags", "noembedded", "-o", server, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)

	image, err := elf.Open(server)
	require.NoError(t, err)
	defer image.Close() //nolint:errcheck // it was read
	for _, p := range image.Progs {
		require.NotEqual(t, elf.PT_INTERP, p.Type, "it needs a dynamic loader")
	}
	info, err := buildinfo.ReadFile(server)
	require.NoError(t, err)
	for _, dep := range info.Deps {
		require.NotContains(t, dep.Path, "kfake")
		require.NotContains(t, dep.Path, "purego")
	}
	packages, err := exec.Command("go", "list", "-deps", "-tags", "noembedded", ".").Output()
	require.NoError(t, err)
	require.NotContains(t, string(packages), "internal/embedded/broker")
	require.NotContains(t, string(packages), "internal/embedded/chdb")

	listens := writeFile(t, "embedded.yaml", "embedded: {kafka_listen: \"127.0.0.1:19092\"}\n")
	brokers := writeFile(t, "brokers.yaml", "kafka: {brokers: \""+freeAddr(t)+"\"}\n")
	events := writeFile(t, "events.jsonl", "{}\n")
	for _, args := range [][]string{
		{"run"},
		{"run", "--config", brokers},
		{"demo"},
		{"setup"},
		{"query", "SELECT 1"},
		{"alerts"},
		{"migrate"},
		{"send", events},
		{"state", "show"},
		{"config", "validate", listens},
		{"internal-clickhouse", "--data-dir", "d", "--lib", "l"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			cmd := command(t, args...)
			cmd.Path = server
			r := finish(t, cmd)
			require.Equal(t, exitUsage, r.code, r.stderr)
			require.Contains(t, r.stderr, embedded.ErrNotIncluded.Error())
			left, err := os.ReadDir(cmd.Dir)
			require.NoError(t, err)
			require.Empty(t, left, "nothing was begun")
		})
	}
	for said, args := range map[string][]string{
		", server build": {"version"}, `"build":"server"`: {"version", "--output", "json"}, "This is the server build": {"--help"},
		"is valid": {"config", "validate", brokers},
	} {
		cmd := command(t, args...)
		cmd.Path = server
		r := finish(t, cmd)
		require.Equal(t, exitGood, r.code, r.stderr)
		require.Contains(t, r.stdout, said)
	}
	require.Contains(t, plumbline(t, "version").stdout, ", full build")
}
