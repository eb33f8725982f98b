//go:build !linux

package main

import (
	"os"
	"testing"
)

// newTerminal makes a terminal as Linux does.
func newTerminal(t *testing.T, _ uint16) (master, terminal *os.File) {
	t.Helper()
	t.Skip("SKIPPED: terminals are made as on Linux")
	return nil, nil
}

func onTerminal(t *testing.T, width uint16, _ ...string) result {
	t.Helper()
	newTerminal(t, width)
	return result{}
}
