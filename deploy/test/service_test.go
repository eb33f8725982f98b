package test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	return l.Addr().String()
}

// start runs a service until the end of the test; it must stop well.
func start(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
		err := cmd.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
		require.NoError(t, err)
	})
}

// The image runs all roles with the config of Compose, against the broker and the engine
// of the full build, which stand for Kafka and ClickHouse.
func TestTheImageWorksWithTheConfigOfCompose(t *testing.T) {
	dir := t.TempDir()
	const full = "../../bin/plumbline" // make setup builds it, and gets the engine
	kafka, clickhouse := freeAddr(t), freeAddr(t)
	stack := filepath.Join(dir, "stack.yaml")
	require.NoError(t, os.WriteFile(stack, fmt.Appendf(nil, "data_dir: %s/data\nembedded: {kafka_listen: %s, clickhouse_listen: %s}\nadmin: {listen: %s}\n", dir, kafka, clickhouse, freeAddr(t)), 0o600))
	start(t, exec.Command(full, "run", "--config", stack, "--roles", "archive"))
	healthy := func(ask func() *exec.Cmd) {
		t.Helper()
		require.Eventually(t, func() bool { return ask().Run() == nil }, time.Minute, 200*time.Millisecond, "the service did not become ready")
	}
	healthy(func() *exec.Cmd { return exec.Command(full, "health", "--config", stack) })

	text, err := os.ReadFile("../compose/plumbline.yaml")
	require.NoError(t, err)
	config := strings.NewReplacer(
		"kafka:9092", kafka, "clickhouse:8123", clickhouse, "0.0.0.0:9600", freeAddr(t),
		"  username: plumbline\n  password: file:/run/secrets/clickhouse_password\n", "", // the engine asks for none
	).Replace(string(text))
	root := filepath.Join(dir, "rootfs")
	output(t, "cp", "-r", image, root)
	mine := filepath.Join(root, "etc", "plumbline", "plumbline.yaml")
	require.NoError(t, os.Mkdir(filepath.Dir(mine), 0o755))
	require.NoError(t, os.WriteFile(mine, []byte(config), 0o644))
	require.NoError(t, os.Chmod(filepath.Dir(dir), 0o755))
	const file = "/etc/plumbline/plumbline.yaml"
	start(t, inside(t, root, "run", "--config", file))
	healthy(func() *exec.Cmd { return inside(t, root, "health", "--config", file) })

	fleet, err := exec.CommandContext(t.Context(), binary, "simulate", "--agents", "40", "--days", "6", "--scenario", "attacks").Output()
	require.NoError(t, err)
	output(t, "cp", "../sources/activity.json", filepath.Join(dir, "records.jsonl"))
	for _, line := range commands(t, "Verify") {
		run := func() string {
			cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", `plumbline() { "`+binary+`" "$@"; }; `+line)
			cmd.Dir, cmd.Env = dir, append(os.Environ(), "CONFIG="+mine)
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s\n%s", line, out)
			return string(out)
		}
		switch {
		case strings.Contains(line, "count()"):
			n := strconv.Itoa(bytes.Count(fleet, []byte("\n")))
			require.Eventually(t, func() bool { return strings.Contains(run(), n) }, time.Minute, 500*time.Millisecond, "not every event is in ClickHouse")
		case strings.Contains(line, "plumbline alerts"):
			require.Contains(t, run(), "high", "no attack was found")
		default:
			run()
		}
	}
}

// commands are those that stand in a section of docs/deploy.md.
func commands(t *testing.T, section string) (out []string) {
	t.Helper()
	page, err := os.ReadFile("../../docs/deploy.md")
	require.NoError(t, err)
	_, text, ok := strings.Cut(string(page), "\n## "+section+"\n")
	require.True(t, ok)
	text, _, _ = strings.Cut(text, "\n## ")
	for line := range strings.Lines(text) {
		if line, ok := strings.CutPrefix(line, "       "); ok {
			out = append(out, strings.TrimSpace(line))
		}
	}
	require.Greater(t, len(out), 4)
	return out
}
