package claim_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/embedded/claim"
)

func TestADirectoryHasOneHolderAtATime(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "data")
	_, ok := claim.Holder(dir)
	assert.False(t, ok, "what does not exist is not held")

	first, err := claim.Directory(dir, 0)
	require.NoError(t, err)
	_, err = claim.Directory(dir, 50*time.Millisecond)
	var held *claim.HeldError
	require.ErrorAs(t, err, &held, "a holder without a note is waited for, but not for ever")
	assert.Contains(t, err.Error(), "another process")

	note := claim.Note{PID: os.Getpid(), Addr: "127.0.0.1:8123"}
	require.NoError(t, first.Publish(claim.Note{PID: 1 << 30, Addr: "a much longer address than the one after it:65535"}))
	require.NoError(t, first.Publish(note))
	got, ok := claim.Holder(dir)
	assert.True(t, ok)
	assert.Equal(t, note, got)
	_, err = claim.Directory(dir, time.Minute)
	require.ErrorAs(t, err, &held)
	assert.Equal(t, note, held.Note)
	assert.Contains(t, err.Error(), fmt.Sprintf("process %d, serving on 127.0.0.1:8123", os.Getpid()))
	assert.Contains(t, err.Error(), dir)

	require.NoError(t, first.Release())
	_, ok = claim.Holder(dir)
	assert.False(t, ok, "a note without a holder means nothing")
	second, err := claim.Directory(dir, 0)
	require.NoError(t, err)
	require.NoError(t, second.Release())
}

func TestAHeirOfADeadHolderIsWaitedFor(t *testing.T) {
	dir := t.TempDir()
	first, err := claim.Directory(dir, 0)
	require.NoError(t, err)
	gone := exec.Command("true")
	require.NoError(t, gone.Run())
	require.NoError(t, first.Publish(claim.Note{PID: gone.Process.Pid}))

	started := time.Now()
	_, err = claim.Directory(dir, 100*time.Millisecond)
	var held *claim.HeldError
	require.ErrorAs(t, err, &held)
	assert.GreaterOrEqual(t, time.Since(started), 100*time.Millisecond)

	// A child that inherited the file keeps the claim after the file was closed
	// here, and gives it back when it ends.
	heir := exec.Command("sleep", "0.3")
	heir.ExtraFiles = []*os.File{first.File()}
	require.NoError(t, heir.Start())
	require.NoError(t, first.Release())
	_, ok := claim.Holder(dir)
	assert.True(t, ok)
	second, err := claim.Directory(dir, 10*time.Second)
	require.NoError(t, err)
	require.NoError(t, second.Release())
	require.NoError(t, heir.Wait())
}

func TestACommandIsWaitedForAndAServiceIsNot(t *testing.T) {
	dir := t.TempDir()
	command, err := claim.Directory(dir, 0)
	require.NoError(t, err)
	require.NoError(t, command.Publish(claim.Note{PID: os.Getpid()}))
	time.AfterFunc(100*time.Millisecond, func() { _ = command.Release() })
	service, err := claim.Directory(dir, time.Minute)
	require.NoError(t, err)
	require.NoError(t, service.Publish(claim.Note{PID: os.Getpid(), Addr: "127.0.0.1:8123"}))
	started := time.Now()
	_, err = claim.Directory(dir, time.Minute)
	var held *claim.HeldError
	require.ErrorAs(t, err, &held)
	assert.Less(t, time.Since(started), 30*time.Second)

	gone := exec.Command("true")
	require.NoError(t, gone.Run())
	require.NoError(t, service.Publish(claim.Note{PID: gone.Process.Pid, Addr: "127.0.0.1:8123"}))
	note, ok := claim.Holder(dir)
	assert.True(t, ok)
	assert.Empty(t, note.Addr, "nobody answers there any more")
	require.NoError(t, service.Release())
}

// In a container every service is process 1, and so is the one that left the note.
func TestALookAtTheHolderDoesNotKeepAServiceFromStarting(t *testing.T) {
	dir := t.TempDir()
	d, err := claim.Directory(dir, 0)
	require.NoError(t, err)
	require.NoError(t, d.Publish(claim.Note{PID: os.Getpid(), Addr: "127.0.0.1:1"}))
	require.NoError(t, d.Release())

	look, err := os.Open(filepath.Join(dir, "lock.json")) // as Holder has it for a moment
	require.NoError(t, err)
	require.NoError(t, syscall.Flock(int(look.Fd()), syscall.LOCK_EX))
	time.AfterFunc(10*time.Millisecond, func() { _ = look.Close() })
	d, err = claim.Directory(dir, 10*time.Second)
	require.NoError(t, err)
	require.NoError(t, d.Release())
}

func TestAZombieIsNotAlive(t *testing.T) {
	assert.True(t, claim.Alive(os.Getpid()))
	cmd := exec.Command("true")
	require.NoError(t, cmd.Start())
	assert.Eventually(t, func() bool { return !claim.Alive(cmd.Process.Pid) }, 5*time.Second, 5*time.Millisecond, "ended, not asked after yet")
	require.NoError(t, cmd.Wait())
	assert.False(t, claim.Alive(cmd.Process.Pid))
}

func TestAPortThatIsTakenIsNamedWithItsSetting(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = taken.Close() }()
	for name, tc := range map[string]struct{ addr, says string }{
		"in use":       {taken.Addr().String(), "already in use"},
		"not an port":  {"127.0.0.1:http-but-not", "cannot listen"},
		"not our host": {"192.0.2.1:0", "cannot listen"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := claim.Port("the thing", tc.addr, "thing.listen")
			var port *claim.PortError
			require.ErrorAs(t, err, &port)
			for _, part := range []string{"the thing", tc.addr, "thing.listen", tc.says} {
				assert.Contains(t, err.Error(), part)
			}
			assert.Error(t, port.Unwrap())
		})
	}
	ln, err := claim.Port("the thing", "127.0.0.1:0", "thing.listen")
	require.NoError(t, err)
	require.NoError(t, ln.Close())
}

func TestALinkInThePlaceOfTheLockIsRefusedAndItsTargetLeftAlone(t *testing.T) {
	for name, put := range map[string]func(target, lock string) error{
		"a symbolic link":            os.Symlink,
		"a symbolic link to nothing": func(target, lock string) error { return os.Symlink(target+"-missing", lock) },
		"another name of a file":     os.Link,
		"a pipe":                     func(_, lock string) error { return syscall.Mkfifo(lock, 0o600) },
		"a directory":                func(_, lock string) error { return os.Mkdir(lock, 0o700) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			target := filepath.Join(t.TempDir(), "precious")
			require.NoError(t, os.WriteFile(target, []byte("what nobody else may write over"), 0o600))
			lock := filepath.Join(dir, "lock.json")
			require.NoError(t, put(target, lock))
			_, err := claim.Directory(dir, 0)
			require.ErrorContains(t, err, lock)
			_, held := claim.Holder(dir)
			assert.False(t, held)
			data, err := os.ReadFile(target)
			require.NoError(t, err)
			assert.Equal(t, "what nobody else may write over", string(data))
			_, err = os.Stat(target + "-missing")
			require.ErrorIs(t, err, os.ErrNotExist)

			require.NoError(t, os.Remove(lock))
			d, err := claim.Directory(dir, 0)
			require.NoError(t, err)
			require.NoError(t, d.Release())
		})
	}
}

func TestADirectoryIsClosedToOthers(t *testing.T) {
	for name, tc := range map[string]struct{ before, after os.FileMode }{
		"a new one":            {0, 0o700},
		"one open to all":      {0o755, 0o750},
		"one open to a group":  {0o770, 0o770},
		"one of its owner":     {0o700, 0o700},
		"one all may write to": {0o777, 0o770},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			if tc.before != 0 {
				require.NoError(t, os.Mkdir(dir, 0o700))
				require.NoError(t, os.Chmod(dir, tc.before))
			}
			d, err := claim.Directory(dir, 0)
			require.NoError(t, err)
			defer func() { assert.NoError(t, d.Release()) }()
			info, err := os.Stat(dir)
			require.NoError(t, err)
			assert.Equal(t, tc.after, info.Mode().Perm())
			lock, err := os.Stat(filepath.Join(dir, "lock.json"))
			require.NoError(t, err)
			assert.Equal(t, os.FileMode(0o600), lock.Mode().Perm())
		})
	}
}

func TestAFileIsCreatedInThePlaceOfALinkAndForItsOwner(t *testing.T) {
	dir := t.TempDir()
	target, path := filepath.Join(dir, "precious"), filepath.Join(dir, "service.log")
	require.NoError(t, os.WriteFile(target, []byte("precious"), 0o600))
	require.NoError(t, os.Symlink(target, path))
	f, err := claim.Create(path)
	require.NoError(t, err)
	_, err = f.WriteString("a line")
	require.NoError(t, err)
	require.NoError(t, f.Close())
	data, err := os.ReadFile(target)
	require.NoError(t, err)
	assert.Equal(t, "precious", string(data))
	info, err := os.Lstat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode(), "a file, its owner's")
}
