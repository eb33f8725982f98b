package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// binary is the program under test, built once.
var binary string

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "plumbline-cmd-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // the system's temporary directory is cleaned anyway
	binary = filepath.Join(dir, "plumbline")
	out, err := exec.Command("go", "build", "-ldflags", "-X main.version=v1.2.3-test", "-o", binary, ".").CombinedOutput()
	if err != nil {
		panic("build the program: " + string(out))
	}
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		panic(err)
	}
	return code
}

// result is what a run of the program left.
type result struct {
	code           int
	stdout, stderr string
}

// command prepares a run in a directory of its own.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Dir = t.TempDir()
	return cmd
}

// finish runs cmd and returns what it left. No run, whatever it was given, may
// print a stack.
func finish(t *testing.T, cmd *exec.Cmd) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("run %v: %v", cmd.Args, err)
	}
	r := result{code: cmd.ProcessState.ExitCode(), stdout: stdout.String(), stderr: stderr.String()}
	require.NotContains(t, r.stderr, "goroutine ", "a stack trace is no error message")
	return r
}

func plumbline(t *testing.T, args ...string) result {
	t.Helper()
	return finish(t, command(t, args...))
}

// good is plumbline where nothing may go wrong.
func good(t *testing.T, args ...string) result {
	t.Helper()
	r := plumbline(t, args...)
	require.Equal(t, exitGood, r.code, r.stderr)
	return r
}

func writeFile(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

// freeAddr is an address where nobody listens.
func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, ln.Close())
	return ln.Addr().String()
}

func TestEveryFaultHasItsExitCodeAndOneClearLine(t *testing.T) {
	nobody := freeAddr(t)
	unreachable := writeFile(t, "unreachable.yaml", "kafka: {brokers: \""+nobody+"\"}\nclickhouse: {addr: \""+nobody+"\"}\n")
	embedded := writeFile(t, "embedded.yaml", "embedded: {kafka_listen: \""+nobody+"\"}\n")
	unknown := writeFile(t, "unknown.yaml", "kafka:\n  partitons: 4\n")
	secret := writeFile(t, "secret.yaml", "clickhouse: {password: hunter2}\n")
	noEnv := writeFile(t, "env.yaml", "data_dir: ${PLUMBLINE_TEST_NOT_SET}\n")
	events := writeFile(t, "events.jsonl", "{}\n")
	for _, c := range []struct {
		name   string
		args   []string
		code   int
		stderr string // the line, or how it begins
	}{
		{"a command that does not exist", []string{"frobnicate"}, 2, "plumbline: unknown command frobnicate; see plumbline --help\n"},
		{"a flag that does not exist", []string{"version", "--colour"}, 2, "plumbline: unknown flag --colour; see plumbline version --help\n"},
		{"a form that does not exist", []string{"version", "--output", "xml"}, 2, `plumbline: --output must be one of "text","json" but got "xml"; see plumbline version --help`},
		{"a missing argument", []string{"query"}, 2, `plumbline: expected "<sql>"; see plumbline query --help`},
		{"a config file that is not there", []string{"config", "validate", "--config", "none.yaml"}, 2, "plumbline: config file none.yaml does not exist; leave out --config"},
		{"a config file that is a directory", []string{"config", "print", "--config", "."}, 2, "plumbline: config file . is a directory"},
		{"two config files", []string{"config", "print", "a.yaml", "--config", "b.yaml"}, 2, "plumbline: two configs are named, b.yaml and a.yaml\n"},
		{"an unknown key", []string{"config", "validate", "--config", unknown}, 2, "plumbline: " + unknown + ":2:3: kafka.partitons: unknown key; write partitions\n    2 |   partitons: 4\n          ^\n"},
		{"an unknown key, in another command", []string{"query", "SELECT 1", "--config", unknown}, 2, "plumbline: " + unknown + ":2:3: kafka.partitons: unknown key"},
		{"a secret that is written out", []string{"config", "print", secret}, 2, "plumbline: " + secret + ":1:24: clickhouse.password: is written out; secrets come only from files or the environment"},
		{"an environment variable that is not set", []string{"config", "print", noEnv}, 2, "plumbline: " + noEnv + ":1:11: data_dir: environment variable PLUMBLINE_TEST_NOT_SET is not set"},
		{"an input that is not there", []string{"send", "none.jsonl"}, 2, "plumbline: input: open none.jsonl: no such file or directory\n"},
		{"an input that is a directory", []string{"send", "."}, 2, "plumbline: input: . is a directory\n"},
		{"a rate below zero", []string{"send", "--rate=-1", events}, 2, "plumbline: --rate and --patience can't be negative\n"},
		{"no service", []string{"send", events, "--config", embedded}, 1, "plumbline: nothing listens on " + nobody + " (embedded.kafka_listen): start the service with `plumbline run`"},
		{"brokers that do not answer", []string{"send", events, "--config", unreachable}, 1, "plumbline: gave up after 10s: partitions of agent-activity: no kafka broker answers at " + nobody + " (kafka.brokers)"},
		{"a ClickHouse that does not answer", []string{"query", "SELECT 1", "--config", unreachable}, 1, "plumbline: clickhouse: query: "},
		{"a ClickHouse that does not answer, to be migrated", []string{"migrate", "--config", unreachable}, 1, "plumbline: clickhouse: "},
		{"an embedded engine that has never run", []string{"query", "SELECT 1", "--data-dir", "none"}, 1, "plumbline: no embedded ClickHouse has run in none yet, and no service listens on 127.0.0.1:8123: start one with `plumbline run`"},
		{"a data directory beside a server", []string{"query", "SELECT 1", "--data-dir", "x", "--config", unreachable}, 2, "plumbline: --data-dir is of the embedded engine, and clickhouse.addr names a server\n"},
		{"a data directory that is a file", []string{"query", "SELECT 1", "--data-dir", events}, 2, "plumbline: data_dir: \"" + events + "\" is a file; name a directory\n"},
		{"an empty statement", []string{"query", "  "}, 2, "plumbline: the statement is empty\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := plumbline(t, c.args...)
			require.Equal(t, c.code, r.code, r.stderr)
			require.True(t, strings.HasPrefix(r.stderr, c.stderr), "stderr: %s", r.stderr)
			require.Empty(t, r.stdout)
			require.Equal(t, 1, strings.Count(r.stderr, "plumbline: "), "one line an error: %s", r.stderr)
		})
	}
}

func TestHelpIsPrintedOnDemandAndSaysWhatEachCommandDoes(t *testing.T) {
	for _, args := range [][]string{nil, {"--help"}, {"send", "--help"}, {"query", "--help"}, {"migrate", "--help"}, {"config", "--help"}, {"config", "print", "--help"}, {"setup", "--help"}, {"version", "--help"}} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			r := good(t, args...)
			require.Empty(t, r.stderr)
			require.Contains(t, r.stdout, "Usage: plumbline")
			require.Contains(t, r.stdout, "--config")
			require.NotContains(t, r.stdout, "internal-clickhouse", "what the service starts itself is not shown")
		})
	}
	require.Equal(t, plumbline(t, "query", "--help"), plumbline(t, "help", "query"))
}

func TestTheVersionIsPrinted(t *testing.T) {
	r := good(t, "version")
	require.Regexp(t, `^plumbline v1\.2\.3-test \(go1\.\S+ \w+/\w+.*\)\n$`, r.stdout)
	for _, args := range [][]string{{"--version"}, {"run", "--version"}} {
		require.Equal(t, r, plumbline(t, args...))
	}
	r = plumbline(t, "version", "--output", "json")
	require.Regexp(t, `^\{"version":"v1\.2\.3-test",.*"go":"go1\.[^"]+","platform":"\w+/\w+"\}\n$`, r.stdout)
}

func TestTheConfigIsValidatedAndPrintedInBothForms(t *testing.T) {
	good := writeFile(t, "good.yaml", "clickhouse: {addr: \"ch:8123\", password: \"${PLUMBLINE_TEST_PASSWORD}\"}\n")
	bad := writeFile(t, "bad.yaml", "log: {level: loud}\nkafka: {partitions: 0}\n")
	withPassword := func(args ...string) result {
		cmd := command(t, args...)
		cmd.Env = append(os.Environ(), "PLUMBLINE_TEST_PASSWORD=hunter2")
		return finish(t, cmd)
	}
	r := withPassword("config", "validate", good)
	require.Equal(t, 0, r.code, r.stderr)
	require.Regexp(t, `good\.yaml is valid \(config_hash [0-9a-f]{12}\)\n$`, r.stdout)
	r = plumbline(t, "config", "validate")
	require.Regexp(t, `^the default config is valid`, r.stdout)
	r = withPassword("config", "validate", "--output", "json", "-c", good)
	require.Regexp(t, `^\{"ok":true,"file":".*good\.yaml","config_hash":"[0-9a-f]{12}"\}\n$`, r.stdout)

	r = withPassword("config", "print", good)
	require.Equal(t, 0, r.code)
	require.Contains(t, r.stdout, "addr: ch:8123")
	require.Contains(t, r.stdout, `password: "***"`)
	require.NotContains(t, r.stdout, "hunter2")
	r = withPassword("config", "print", "--output", "json", good)
	require.Contains(t, r.stdout, `"addr": "ch:8123"`)
	require.NotContains(t, r.stdout, "hunter2")

	r = plumbline(t, "config", "validate", bad)
	require.Equal(t, 2, r.code)
	require.Equal(t, 2, strings.Count(r.stderr, "plumbline: "), "every mistake is named: %s", r.stderr)
	r = plumbline(t, "config", "validate", "--output", "json", bad)
	require.Equal(t, 2, r.code)
	require.Contains(t, r.stdout, `{"ok":false,`)
	require.Contains(t, r.stdout, `"line":1,"column":14,"key":"log.level","problem":"\"loud\" is not known"`)
	require.Contains(t, r.stdout, `"line":2,"column":21,"key":"kafka.partitions"`)
}

// A result that can't be written is a failure: nobody should take half a table
// for a whole one.
func TestAnOutputThatIsFullIsAFailure(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("this system has no /dev/full")
	}
	defer func() { require.NoError(t, full.Close()) }()
	var stderr bytes.Buffer
	require.Equal(t, exitFailed, run(t.Context(), []string{"config", "print"}, strings.NewReader(""), full, &stderr))
	require.Contains(t, stderr.String(), "plumbline: print config: ")
}

func TestAnErrorOfSeveralLinesBecomesOne(t *testing.T) {
	var stderr bytes.Buffer
	require.Equal(t, exitFailed, report(&stderr, errors.Join(errors.New("one"), errors.New("  two"))))
	require.Equal(t, "plumbline: one; two\n", stderr.String())
	require.Equal(t, exitFailed, report(io.Discard, errSilent))
	require.Equal(t, exitUsage, report(io.Discard, usageError{errors.New("x")}))
	require.Equal(t, exitGood, report(io.Discard, nil))
}
