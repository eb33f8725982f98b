package claim

import (
	"fmt"
	"syscall"
)

// KeepFree is what the engine leaves free of its disk, in bytes.
const KeepFree = 128 << 20

// Free returns how many bytes are free on the disk of a directory.
func Free(dir string) (uint64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, fmt.Errorf("ask for the free space of %s: %w", dir, err)
	}
	return s.Bavail * uint64(s.Bsize), nil
}
