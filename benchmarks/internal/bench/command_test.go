package bench

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestALineThatIsTooLongIsSaidOfItsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	require.NoError(t, os.WriteFile(path, bytes.Repeat([]byte("x"), 17<<20), 0o600))
	require.ErrorContains(t, EachLine(path, func([]byte) error { return nil }), path)
}
