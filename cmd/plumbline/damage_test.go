package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A damaged log must not stop a service, or have it stop for another reason: what is
// lost is named, what is committed stays valid, and new events come through.
func TestAServiceStartsOverADamagedLogAndSaysWhatIsLost(t *testing.T) {
	s := newSite(t, 1)
	s.start()
	send := func(from, to int) {
		var lines strings.Builder
		for i := from; i < to; i++ {
			fmt.Fprintf(&lines, `{"event_id":"e%d","agent_id":"agent-%d","time":"2026-03-01T10:%02d:00Z","tool":"t"}`+"\n", i, i%50, i%60)
		}
		s.must(lines.String(), "send", "-")
	}
	const n = 3000
	send(0, n)
	s.eventually(n, "SELECT count() AS n FROM activity")
	require.Equal(t, 0, s.stop())
	data := filepath.Join(s.dir, "data")
	require.NoError(t, filepath.WalkDir(data, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.Type()&os.ModeSymlink != 0 {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			assert.Zero(t, info.Mode().Perm()&0o077, "%s has the mode %o", path, info.Mode().Perm())
		}
		return err
	}))

	logs, err := filepath.Glob(filepath.Join(data, "kafka", "partitions", "plumbline.*", "*.dat"))
	require.NoError(t, err)
	damaged := 0
	for _, log := range logs {
		raw, err := os.ReadFile(log)
		require.NoError(t, err)
		// The beginning of the records of the first batch: all behind it was cut once.
		if len(raw) > 80 && strings.Contains(log, "activity") {
			raw[75] ^= 0x40
			damaged++
			require.NoError(t, os.WriteFile(log, raw, 0o600))
		}
	}
	require.Equal(t, 1, damaged, "%s", logs)
	s.start()
	require.Contains(t, s.log.String(), `"topic":"plumbline.activity","partition":0,"from":0,`)
	require.Contains(t, s.log.String(), "the log is damaged: the records with these offsets can't be read and are lost")
	send(n, n+100)
	s.eventually(n+100, "SELECT count() AS n FROM activity")
	require.Equal(t, 0, s.stop())

	// And what can't be mended is an error of one line that says what to do.
	topics := filepath.Join(data, "kafka", "topics.json")
	require.NoError(t, os.WriteFile(topics, []byte(`{"version":1,"topics":[{"na`), 0o600))
	_, errs, code := s.run("", "run")
	require.Equal(t, exitUsage, code)
	require.Contains(t, errs, topics+" is damaged")
	require.Contains(t, errs, "put back a copy of it")
}
