// Package test holds what stands under deploy to the tools that will read it: Helm and
// the types of Kubernetes, the loader of Compose, systemd, buildah.
//
// It is a module of its own, so that Plumbline does not depend on them.
package test

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// image is the directory of all that the container image holds; binary is the server
// build in it.
var image, binary string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	log.SetOutput(io.Discard) // Helm tells of each link in the chart
	dir, err := os.MkdirTemp("", "plumbline-deploy")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
	// Another user than root enters it.
	if err := os.Chmod(dir, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	image = filepath.Join(dir, "context", "rootfs")
	binary = filepath.Join(image, "usr", "bin", "plumbline")
	if out, err := exec.Command("../container/rootfs.sh", image, "v0.0.0-test").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "rootfs.sh: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// output runs a program that must end well, and returns what it says.
func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	require.NoError(t, err, "%s %s\n%s", name, strings.Join(args, " "), out)
	return string(out)
}

// validate has the server build check a config, whose secrets are found in a directory
// of this test.
func validate(t *testing.T, config []byte, secrets string, env ...string) {
	t.Helper()
	dir := t.TempDir()
	for name := range strings.SplitSeq("kafka clickhouse clickhouse_password secrets_kafka secrets_clickhouse ca.crt token decide", " ") {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("of the test, not a secret"), 0o600))
	}
	if secrets != "" {
		require.Contains(t, string(config), secrets)
		config = bytes.ReplaceAll(config, []byte(secrets), []byte(dir))
	}
	file := filepath.Join(dir, "plumbline.yaml")
	require.NoError(t, os.WriteFile(file, config, 0o600))
	cmd := exec.CommandContext(t.Context(), binary, "config", "validate", file)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s\n%s", out, config)
}
