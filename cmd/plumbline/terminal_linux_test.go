package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
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
