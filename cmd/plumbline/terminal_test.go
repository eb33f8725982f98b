package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

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
