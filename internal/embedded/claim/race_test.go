package claim

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// In a container every service is process 1, and so is the one that left the note.
func TestALookAtTheHolderDoesNotKeepAServiceFromStarting(t *testing.T) {
	dir := t.TempDir()
	d, err := Directory(dir, 0)
	require.NoError(t, err)
	require.NoError(t, d.Publish(Note{PID: os.Getpid(), Addr: "127.0.0.1:1"}))
	require.NoError(t, d.Release())

	look, err := openLock(dir, 0) // as Holder has it for a moment
	require.NoError(t, err)
	require.NoError(t, flock(look))
	time.AfterFunc(10*time.Millisecond, func() { _ = look.Close() })
	d, err = Directory(dir, 10*time.Second)
	require.NoError(t, err)
	require.NoError(t, d.Release())
}
