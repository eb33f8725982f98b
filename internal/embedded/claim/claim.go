// Package claim takes what only one process may have: a data directory and a
// TCP port. It exists so that both halves of the embedded stack refuse in the
// same words, and name the thing that a person has to change.
//
// Invariants:
//
//  1. A directory is claimed by an flock on a file inside it, never by the
//     file's existence: a process that was killed leaves nothing to clean up.
//  2. The claim follows the open file, not the process: a child that inherits
//     File keeps the directory claimed after its parent died.
//  3. The lock file is a file of this directory and nothing else: a link that somebody
//     put in its place is refused, or the note would be written over what it leads to.
//  4. What is in a directory is for its owner: one that is made is closed to all
//     others, and one that was open to everybody is closed to those whom neither its
//     owner nor its group is.
//  5. The note inside the lock file is a hint for people and for tools that look
//     for a running service. It is read only while somebody holds the lock; a
//     note without a holder means nothing, nor does the address of a dead one.
//  6. A holder with an address is a service, which stays. One without is about to
//     give the directory back, or to serve: a command, or a service that starts.
package claim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Note says who holds a directory.
type Note struct {
	PID  int    `json:"pid"`
	Addr string `json:"addr,omitempty"`
}

// HeldError says that another process holds the directory.
type HeldError struct {
	Dir  string
	Note Note
}

func (e *HeldError) Error() string {
	who := "another process"
	if e.Note.PID > 0 {
		who = fmt.Sprintf("process %d", e.Note.PID)
	}
	if e.Note.Addr != "" {
		who += ", serving on " + e.Note.Addr
	}
	return fmt.Sprintf("data directory %s is in use by %s; stop it, or choose another directory with data_dir (--data-dir)", e.Dir, who)
}

// Dir is a claimed directory.
type Dir struct {
	file *os.File
}

// lockName is the file that carries the lock and the note.
const lockName = "lock.json"

// enough looks at a lock that is held: one of them may have met who only looks.
const enough = 3

// Directory claims dir, which is created if missing. It waits up to patience for a
// holder that is about to give it back: a command, or the child of a dead process
// that is about to notice. A service that lives is reported at once, as *HeldError.
func Directory(dir string, patience time.Duration) (*Dir, error) {
	if err := private(dir); err != nil {
		return nil, err
	}
	file, err := openLock(dir, os.O_CREATE)
	if err != nil {
		return nil, fmt.Errorf("open lock of data directory: %w", err)
	}
	for looks, deadline := 1, time.Now().Add(patience); ; looks++ {
		err = flock(file)
		if err == nil {
			return &Dir{file: file}, nil
		}
		note := readNote(file)
		switch {
		case !errors.Is(err, syscall.EWOULDBLOCK):
			_ = file.Close()
			return nil, fmt.Errorf("lock data directory %s: %w", dir, err)
		// Who only looks (Holder) has the lock for a moment, and the note may be of a
		// service before this one that had the same process id, as in a container.
		case note.Addr != "" && Alive(note.PID) && looks > enough, time.Now().After(deadline):
			_ = file.Close()
			return nil, &HeldError{Dir: dir, Note: note}
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// private makes dir where it is missing, and closes it to others.
func private(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("create data directory: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("look at data directory: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o007 != 0 {
		if err := os.Chmod(dir, mode&^0o007); err != nil {
			return fmt.Errorf("close data directory %s to others, who may read or write in it (mode %o): %w", dir, mode, err)
		}
	}
	return nil
}

// openLock opens the lock file, if it is one.
func openLock(dir string, flags int) (*os.File, error) {
	path := filepath.Join(dir, lockName)
	// Without O_NONBLOCK a pipe in its place would be waited for.
	file, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOFOLLOW|syscall.O_NONBLOCK|flags, 0o600)
	if errors.Is(err, syscall.ELOOP) {
		return nil, fmt.Errorf("%s is a symbolic link, which a lock file never is: look who put it there, and remove it", path)
	}
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); !info.Mode().IsRegular() || !ok || stat.Nlink > 1 {
		return nil, errors.Join(fmt.Errorf("%s (%s) is no file or has another name as well, which a lock file never has: look who put it there, and remove it", path, info.Mode()), file.Close())
	}
	return file, nil
}

// Create makes a file that its owner alone may read, in the place of whatever has its
// name: a link there is replaced, never followed.
func Create(path string) (*os.File, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("replace %s: %w", path, err)
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", path, err)
	}
	return file, nil
}

// Publish writes the note that others read while the claim stands.
func (d *Dir) Publish(note Note) error {
	data, err := json.Marshal(note)
	if err != nil {
		return fmt.Errorf("encode lock note: %w", err)
	}
	// Longer first, then cut: a reader in between sees one whole JSON value and
	// at worst the tail of the old one, which the decoder does not reach.
	if _, err := d.file.WriteAt(append(data, '\n'), 0); err != nil {
		return fmt.Errorf("write lock note: %w", err)
	}
	if err := d.file.Truncate(int64(len(data)) + 1); err != nil {
		return fmt.Errorf("write lock note: %w", err)
	}
	return nil
}

// File is the open lock file, to be inherited by a child. It stays owned by d.
func (d *Dir) File() *os.File { return d.file }

// Release gives the directory back, unless a child still holds File.
func (d *Dir) Release() error { return d.file.Close() }

// Holder returns the note of the process that holds dir now, and false where
// nobody does. The note has no address where its process is dead: the lock is then
// held by a child of it that is about to end, or by who has not published yet.
func Holder(dir string) (Note, bool) {
	file, err := openLock(dir, 0)
	if err != nil {
		return Note{}, false
	}
	defer func() { _ = file.Close() }()
	for range enough { // another look may be what holds it
		if flock(file) == nil {
			return Note{}, false // closing the file gives the lock back
		}
		time.Sleep(time.Millisecond)
	}
	note := readNote(file)
	if !Alive(note.PID) {
		note.Addr = ""
	}
	return note, true
}

// Service returns where the service that holds dir answers, and false where none does.
func Service(dir string) (addr string, ok bool) {
	note, ok := Holder(dir)
	return note.Addr, ok && note.Addr != ""
}

func flock(f *os.File) error {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			return err //nolint:wrapcheck // the callers wrap it with the directory
		}
	}
}

func readNote(f *os.File) Note {
	var note Note
	if err := json.NewDecoder(io.NewSectionReader(f, 0, 4096)).Decode(&note); err != nil {
		return Note{} // the holder has not published yet
	}
	return note
}

// Alive reports whether a process runs. One that has ended but that its parent
// has not asked after (a zombie: usual in containers) does not.
func Alive(pid int) bool {
	if pid <= 0 {
		return false
	}
	if err := syscall.Kill(pid, 0); err != nil {
		return errors.Is(err, syscall.EPERM)
	}
	// "pid (name) state ...", where the name may hold anything.
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return !errors.Is(err, os.ErrNotExist) || !hasProc()
	}
	_, rest, _ := strings.Cut(string(stat[strings.LastIndexByte(string(stat), ')')+1:]), " ")
	return !strings.HasPrefix(rest, "Z")
}

// hasProc reports whether this system describes its processes there.
func hasProc() bool {
	_, err := os.Stat("/proc/self/stat")
	return err == nil
}

// PortError says that the address cannot be listened on.
type PortError struct {
	What, Addr, Key string
	Err             error
}

func (e *PortError) Error() string {
	if errors.Is(e.Err, syscall.EADDRINUSE) {
		return fmt.Sprintf("%s: %s is already in use by another program; stop that program or set %s to a free address", e.What, e.Addr, e.Key)
	}
	return fmt.Sprintf("%s: cannot listen on %s: %v; check %s", e.What, e.Addr, e.Err, e.Key)
}

func (e *PortError) Unwrap() error { return e.Err }

// Port listens on addr. what names the part of the stack and key the setting
// that chooses the address; both stand in the error, a *PortError.
func Port(what, addr, key string) (*net.TCPListener, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, &PortError{What: what, Addr: addr, Key: key, Err: err}
	}
	return ln.(*net.TCPListener), nil //nolint:forcetypeassert // of "tcp" there is no other
}

// Reachable is an address to connect to: a listener on every interface is reached on
// the loopback one.
func Reachable(addr net.Addr) string {
	if tcp, ok := addr.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		return net.JoinHostPort("127.0.0.1", strconv.Itoa(tcp.Port))
	}
	return addr.String()
}
