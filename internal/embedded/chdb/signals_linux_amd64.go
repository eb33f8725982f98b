//nolint:gosec // the kernel takes the structures by address
package chdb

import (
	"syscall"
	"unsafe"
)

// saveSignals notes the handlers of the signals that libchdb touches and returns
// a function that puts them back. Go needs its own: a nil pointer in a handler
// would otherwise end the process without a word.
func saveSignals() (restore func()) {
	// The kernel's struct sigaction is 32 bytes on the 64-bit platforms.
	saved := make([][8]uint64, len(guarded))
	for i, sig := range guarded {
		sigaction(sig, nil, &saved[i])
	}
	return func() {
		for i, sig := range guarded {
			sigaction(sig, &saved[i], nil)
		}
	}
}

func sigaction(sig syscall.Signal, act, old *[8]uint64) {
	const sizeOfSet = 8
	// It fails for no signal in the list.
	_, _, _ = syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(act)), uintptr(unsafe.Pointer(old)), sizeOfSet, 0, 0)
}
