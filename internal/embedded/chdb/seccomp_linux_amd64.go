//nolint:gosec // the kernel takes its structures by address
package chdb

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// refusedCalls are the system calls that a program which serves a socket that it was
// given, out of files that it may open, does not need: another program, another process,
// a socket, another process's memory, and what goes round a filter (io_uring) or the
// file system's limits.
var refusedCalls = []uint32{
	unix.SYS_EXECVE, unix.SYS_EXECVEAT, unix.SYS_FORK, unix.SYS_VFORK,
	unix.SYS_SOCKET, unix.SYS_SOCKETPAIR, unix.SYS_CONNECT, unix.SYS_BIND, unix.SYS_LISTEN,
	unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PIDFD_OPEN, unix.SYS_PIDFD_GETFD, unix.SYS_KCMP,
	unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER,
	unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT, unix.SYS_OPEN_TREE, unix.SYS_MOVE_MOUNT, unix.SYS_FSOPEN,
	unix.SYS_SETNS, unix.SYS_UNSHARE, unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_NAME_TO_HANDLE_AT,
	unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD,
	unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY,
	unix.SYS_KEXEC_LOAD, unix.SYS_KEXEC_FILE_LOAD, unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE, unix.SYS_REBOOT, unix.SYS_SWAPON, unix.SYS_SWAPOFF,
}

// Where the fields of struct seccomp_data are that the filter reads.
const (
	dataCall = 0
	dataArch = 4
	dataArg0 = 16
)

// filter refuses refusedCalls with EPERM, for every thread that there is and will be.
// What it does not name passes: it is the wall behind the others, and must not fell the
// engine.
func filter() []unix.SockFilter {
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	jump := func(kind uint16, value uint32, yes, no uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_K | kind, K: value, Jt: yes, Jf: no}
	}
	answer := func(value uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: value}
	}
	errno := func(e unix.Errno) unix.SockFilter { return answer(unix.SECCOMP_RET_ERRNO | uint32(e)) }
	const x32 = 0x40000000 // calls of the other ABI have other numbers
	out := []unix.SockFilter{
		load(dataArch), jump(unix.BPF_JEQ, unix.AUDIT_ARCH_X86_64, 1, 0), errno(unix.EPERM),
		load(dataCall), jump(unix.BPF_JGE, x32, 0, 1), errno(unix.EPERM),
		// The arguments of clone3 can't be looked at; glibc takes clone where it is missing.
		jump(unix.BPF_JEQ, unix.SYS_CLONE3, 0, 1), errno(unix.ENOSYS),
	}
	for _, call := range refusedCalls {
		out = append(out, jump(unix.BPF_JEQ, call, 0, 1), errno(unix.EPERM))
	}
	return append(out,
		jump(unix.BPF_JEQ, unix.SYS_CLONE, 1, 0), answer(unix.SECCOMP_RET_ALLOW),
		load(dataArg0), jump(unix.BPF_JSET, unix.CLONE_THREAD, 1, 0), errno(unix.EPERM), // a process, not a thread
		answer(unix.SECCOMP_RET_ALLOW),
	)
}

// refuseCalls puts the filter in place.
func refuseCalls() error {
	runtime.LockOSThread() // both calls are about one thread; the second takes the others along
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("give up new privileges: %w", err)
	}
	code := filter()
	program := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	thread, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program)))
	runtime.KeepAlive(code)
	switch {
	case errno != 0:
		return fmt.Errorf("refuse system calls: %w", errno)
	case thread != 0:
		return fmt.Errorf("refuse system calls: thread %d has another filter", thread)
	}
	return nil
}
