//nolint:gosec // the kernel takes its structures by address
package chdb

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The child locks itself in before it loads the engine, so that what a statement makes
// the engine do, past check.go and past its grants, ends at the kernel:
//
//   - it gains no privileges (PR_SET_NO_NEW_PRIVS);
//   - it opens no file but those of its data directory and the few that it needs to run,
//     and nothing over TCP (Landlock, Linux 5.19; TCP from 6.7);
//   - it runs no program, makes no process and opens no socket (seccomp_linux_amd64.go);
//   - its environment is nearly empty (launch), so that /proc/self/environ tells nothing.
//
// Landlock binds a thread and those that it starts. By the time Go code runs there are
// others, so the thread that is bound runs the program again: all that comes of it is
// bound. Files 0 to 4 and the process id stay, and so the parent notices nothing.

// insideEnv marks the second run.
const insideEnv = "PLUMBLINE_ENGINE_LOCKED_IN"

// minLandlock is the version from which files may be moved between directories, which
// the engine does with every part.
const minLandlock = 2

// landlockVersion is the kernel's, 0 where it has none or it is switched off.
func landlockVersion() int {
	v, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0
	}
	return int(v)
}

// missingWall says what the kernel has not, empty where it has all.
func missingWall() string {
	if v := landlockVersion(); v < minLandlock {
		return fmt.Sprintf("the kernel has no Landlock of version %d or later (it has %d): which files the engine reads is up to its grants and the list of what statements may do alone; Linux 5.19 and later have it, where the boot parameter lsm does not leave it out", minLandlock, v)
	}
	return ""
}

// lockIn binds the process to what the engine needs. Where that takes another run of the
// program it does not return.
func lockIn(cfg ChildConfig) error {
	syscall.Umask(0o077)
	if os.Getenv(insideEnv) != "" {
		return nil
	}
	if missingWall() != "" {
		return nil // the parent has said so
	}
	runtime.LockOSThread() // it ends as the only one, or with the process
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("give up new privileges: %w", err)
	}
	if err := landlock(cfg, landlockVersion()); err != nil {
		return fmt.Errorf("lock the engine into its directory: %w", err)
	}
	err := syscall.Exec("/proc/self/exe", os.Args, append(os.Environ(), insideEnv+"=1"))
	return fmt.Errorf("run again, locked in: %w", err)
}

const (
	mayRead   = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	mayRun    = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_EXECUTE
	mayUse    = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE
	ofFiles   = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	ownFiles  = mayRead | mayUse | unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_REFER | unix.LANDLOCK_ACCESS_FS_MAKE_REG | unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_SYM | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR
	sizeOfTCP = 16 // of unix.LandlockRulesetAttr up to Handled_access_net
	sizeOfAll = 24 // and up to Scoped
)

// ruleset is what a version of Landlock can forbid, and how much of the structure it reads.
func ruleset(version int) (attr unix.LandlockRulesetAttr, size uintptr) {
	attr.Handled_access_fs = 1<<13 - 1
	size = 8
	if version >= 2 {
		attr.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if version >= 3 {
		attr.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if version >= 4 {
		size = sizeOfTCP
		attr.Handled_access_net = unix.LANDLOCK_ACCESS_NET_CONNECT_TCP | unix.LANDLOCK_ACCESS_NET_BIND_TCP
	}
	if version >= 5 {
		attr.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	if version >= 6 {
		size = sizeOfAll
		attr.Scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
	}
	return attr, size
}

// landlock binds this thread.
func landlock(cfg ChildConfig, version int) error {
	attr, size := ruleset(version)
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), size, 0)
	if errno != 0 {
		return fmt.Errorf("make a ruleset: %w", errno)
	}
	defer func() { _ = unix.Close(int(fd)) }()
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return fmt.Errorf("make the data directory: %w", err)
	}
	for _, rule := range rules(cfg) {
		if err := allow(int(fd), rule, attr.Handled_access_fs); err != nil {
			return fmt.Errorf("permit %s: %w", rule.path, err)
		}
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0); errno != 0 {
		return fmt.Errorf("restrict: %w", errno)
	}
	return nil
}

type rule struct {
	path   string
	access uint64
	needed bool
	pinned bool // its file stays open: the kernel would forget an inode of /proc, and with it the rule
}

// rules are what the child may open. What a machine has not is left out.
func rules(cfg ChildConfig) []rule {
	out := []rule{
		{path: cfg.DataDir, access: ownFiles, needed: true},
		{path: cfg.Lib, access: unix.LANDLOCK_ACCESS_FS_READ_FILE, needed: true},
		{path: "/proc/self/exe", access: mayRun, needed: true},
		{path: "/proc/self", access: mayRead, needed: true, pinned: true},
		{path: "/proc/self/comm", access: mayUse | unix.LANDLOCK_ACCESS_FS_TRUNCATE, pinned: true}, // nameProcess
		{path: "/dev/null", access: mayUse},
	}
	if interp := interpreter("/proc/self/exe"); interp != "" {
		out = append(out, rule{path: interp, access: mayRun, needed: true})
	}
	for _, path := range []string{
		// libc, what it reads to start, and what the engine asks of time and language.
		"/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache", "/etc/localtime", "/usr/share/zoneinfo", "/usr/share/locale",
		// How many processors, how much memory.
		"/proc/meminfo", "/proc/cpuinfo", "/proc/stat", "/proc/loadavg", "/proc/uptime", "/proc/version", "/proc/sys",
		"/sys/fs/cgroup", "/sys/devices/system", "/sys/kernel/mm",
		"/dev/urandom", "/dev/random", "/dev/zero",
	} {
		out = append(out, rule{path: path, access: mayRead})
	}
	return out
}

// interpreter is the program that the kernel starts to load another, as ld-linux.
func interpreter(program string) string {
	file, err := elf.Open(program)
	if err != nil {
		return ""
	}
	defer func() { _ = file.Close() }()
	for _, p := range file.Progs {
		if p.Type == elf.PT_INTERP {
			path, err := io.ReadAll(p.Open())
			if err != nil {
				return ""
			}
			return strings.TrimRight(string(path), "\x00")
		}
	}
	return ""
}

func allow(ruleset int, r rule, handled uint64) error {
	path, err := filepath.Abs(r.path)
	if err != nil {
		return err //nolint:wrapcheck // the caller names the path
	}
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) && !r.needed {
		return nil
	}
	if err != nil {
		return err //nolint:wrapcheck // the caller names the path
	}
	if r.pinned {
		_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0)
	} else {
		defer func() { _ = unix.Close(fd) }()
	}
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return err //nolint:wrapcheck // the caller names the path
	}
	access := r.access & handled
	if stat.Mode&unix.S_IFMT != unix.S_IFDIR {
		access &= ofFiles
	}
	attr := unix.LandlockPathBeneathAttr{Allowed_access: access, Parent_fd: int32(fd)}
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset), unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&attr)), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
