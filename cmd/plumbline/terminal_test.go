package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// newTerminal returns both ends of a terminal of so many columns.
func newTerminal(t *testing.T, width uint16) (master, terminal *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("SKIPPED, no terminals here: %v", err)
	}
	fd := int(master.Fd())
	require.NoError(t, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	require.NoError(t, err)
	require.NoError(t, unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: width}))
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	return master, terminal
}

// onTerminal runs the program with a terminal of so many columns as its standard
// output, and returns what stands on it.
func onTerminal(t *testing.T, width uint16, args ...string) result {
	t.Helper()
	master, terminal := newTerminal(t, width)
	defer func() { _ = master.Close() }()
	var errs bytes.Buffer
	cmd := command(t, args...)
	cmd.Stdout, cmd.Stderr = terminal, &errs
	require.NoError(t, cmd.Start())
	require.NoError(t, terminal.Close())
	var shown bytes.Buffer
	_, _ = io.Copy(&shown, master) // ends with EIO when the program has closed it
	_ = cmd.Wait()
	return result{code: cmd.ProcessState.ExitCode(), stdout: strings.ReplaceAll(shown.String(), "\r\n", "\n"), stderr: errs.String()}
}

func TestAQueryKnowsWhetherATerminalShowsIt(t *testing.T) {
	engine(t)
	dir := filepath.Join(t.TempDir(), "data")
	good(t, "migrate", "--data-dir", dir)
	words := strings.TrimSpace(strings.Repeat("word ", 60))
	sql := "SELECT 1 AS n, '" + words + "' AS text"
	query := func(width uint16, args ...string) string {
		t.Helper()
		args = append([]string{"query", "--data-dir", dir}, args...)
		r := plumbline(t, args...)
		if width > 0 {
			r = onTerminal(t, width, args...)
		}
		require.Equal(t, 0, r.code, r.stderr)
		return r.stdout
	}
	require.Contains(t, query(0, sql), "1  "+words+"\n", "whole where it is piped")
	for line := range strings.Lines(query(80, sql)) {
		require.LessOrEqual(t, len(line), 81)
	}
	require.Equal(t, "Row 1:\n──────\nn:    1\ntext: "+words+"\n", query(0, "--output", "vertical", sql))

	// The formats of the engine: as they are, but not on a terminal.
	hostileSQL := "SELECT 'a\x1b[31m\u202e' AS x FORMAT CSV"
	require.Equal(t, "\"a\x1b[31m\u202e\"\n", query(0, hostileSQL))
	require.Equal(t, `"a\u001b[31m\u202e"`+"\n", query(80, hostileSQL))
}
