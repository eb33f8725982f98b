package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// newRemoteSite is a service that uses brokers elsewhere.
func newRemoteSite(t *testing.T, brokers string) *site {
	t.Helper()
	dir := t.TempDir()
	s := &site{t: t, exe: binary, dir: dir, config: filepath.Join(dir, "plumbline.yaml"), admin: freeAddr(t)}
	text := fmt.Sprintf("data_dir: %s/data\nkafka: {brokers: [%q], replication: 1}\nadmin: {listen: %s}\nlog: {format: json}\n", dir, brokers, s.admin)
	require.NoError(t, os.WriteFile(s.config, []byte(text), 0o600))
	return s
}

// launch runs some roles, and does not wait until they are ready.
func (s *site) launch(roles string) {
	s.t.Helper()
	s.spawn("", s.exe, "run", "--config", s.config, "--roles", roles)
}

func (s *site) ready() {
	s.t.Helper()
	require.Eventually(s.t, func() bool {
		code, _ := s.get("/readyz")
		return code == 200
	}, 60*time.Second, 50*time.Millisecond, "the service did not become ready; log:\n%s", s.log.String())
}

func TestAServiceThatWaitsForItsBrokersStopsWhenItIsTold(t *testing.T) {
	s := newRemoteSite(t, freeAddr(t))
	s.launch("route,detect")
	require.Eventually(t, func() bool { return strings.Contains(s.log.String(), "Kafka does not answer yet") }, 30*time.Second, 20*time.Millisecond)
	code, body := s.get("/readyz")
	require.Equal(t, 503, code, body)
	code, body = s.get("/healthz")
	require.Equal(t, 200, code, body)
	begin := time.Now()
	require.Equal(t, 0, s.stop(), s.log.String())
	require.Less(t, time.Since(begin), 5*time.Second)
}

func TestAServiceWhoseBrokersHaveGoneSilentStopsInTime(t *testing.T) {
	for _, after := range []time.Duration{200 * time.Millisecond, 9 * time.Second} {
		t.Run(after.String()+" after they fell silent", func(t *testing.T) {
			t.Parallel()
			brokers := newSite(t, 1)
			brokers.launch("detect")
			brokers.ready()
			s := newRemoteSite(t, brokers.kafka)
			s.launch("route,detect")
			s.ready()
			_, errs, code := brokers.run(`{"agent_id":"a"}`+"\n", "send", "-")
			require.Equal(t, 0, code, errs)
			// The connections stay open, and nobody answers.
			require.NoError(t, brokers.cmd.Process.Signal(syscall.SIGSTOP))
			time.Sleep(after)
			begin := time.Now()
			require.Equal(t, 0, s.stop(), s.log.String())
			t.Logf("stopped within %s", time.Since(begin).Round(100*time.Millisecond))
		})
	}
}

// hungUp starts a service in a session of its own, with a terminal or without.
func hungUp(t *testing.T, terminal *os.File) *site {
	t.Helper()
	s := newRemoteSite(t, freeAddr(t))
	s.cmd = exec.Command(s.exe, "run", "--config", s.config, "--roles", "route,detect")
	s.cmd.Stderr, s.cmd.SysProcAttr = &s.log, &syscall.SysProcAttr{Setsid: true}
	if terminal != nil {
		s.cmd.Stdin, s.cmd.SysProcAttr.Setctty = terminal, true
	}
	require.NoError(t, s.cmd.Start())
	t.Cleanup(func() { _ = s.cmd.Process.Kill(); _ = s.cmd.Wait() })
	require.Eventually(t, func() bool { return strings.Contains(s.log.String(), "Kafka does not answer yet") }, 30*time.Second, 20*time.Millisecond)
	return s
}

// A terminal that is closed sends SIGHUP, often twice: from the shell and from the kernel.
func TestOnATerminalAHangupDrainsLikeSIGTERM(t *testing.T) {
	master, terminal := newTerminal(t, 80)
	defer func() { _ = master.Close() }()
	s := hungUp(t, terminal)
	require.NoError(t, s.cmd.Process.Signal(syscall.SIGHUP))
	_ = s.cmd.Process.Signal(syscall.SIGHUP) // it may have ended
	_ = s.cmd.Wait()
	require.Equal(t, 0, s.cmd.ProcessState.ExitCode(), s.log.String())
	require.Contains(t, s.log.String(), "stopped: what is acknowledged is committed")
}

// A service that waits for its brokers reads its config when it has begun.
func TestWithoutATerminalAHangupEndsNothing(t *testing.T) {
	s := hungUp(t, nil)
	for range 2 {
		require.NoError(t, s.cmd.Process.Signal(syscall.SIGHUP))
		time.Sleep(100 * time.Millisecond)
	}
	code, body := s.get("/healthz")
	require.Equal(t, 200, code, body)
	require.Equal(t, 0, s.stop(), s.log.String())
}

func TestUnderNohupAHangupIsIgnored(t *testing.T) {
	nohup, err := exec.LookPath("nohup")
	if err != nil {
		t.Skip(err)
	}
	s := newRemoteSite(t, freeAddr(t))
	s.spawn("", nohup, s.exe, "run", "--config", s.config, "--roles", "route,detect")
	require.Eventually(t, func() bool { return strings.Contains(s.log.String(), "Kafka does not answer yet") }, 30*time.Second, 20*time.Millisecond)
	require.NoError(t, s.cmd.Process.Signal(syscall.SIGHUP))
	time.Sleep(200 * time.Millisecond)
	code, body := s.get("/healthz")
	require.Equal(t, 200, code, body)
	require.Equal(t, 0, s.stop(), s.log.String())
}
