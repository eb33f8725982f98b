package chdb

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"golang.org/x/sys/unix"
)

func TestARulesetAsksOfAKernelWhatItsVersionHas(t *testing.T) {
	for _, want := range []struct {
		version int
		size    uintptr
		fs      uint64
		net     uint64
		scoped  uint64
		lacks   uint64
	}{
		{version: 1, size: 8, fs: unix.LANDLOCK_ACCESS_FS_MAKE_SYM, lacks: unix.LANDLOCK_ACCESS_FS_REFER},
		{version: 2, size: 8, fs: unix.LANDLOCK_ACCESS_FS_REFER, lacks: unix.LANDLOCK_ACCESS_FS_TRUNCATE},
		{version: 3, size: 8, fs: unix.LANDLOCK_ACCESS_FS_TRUNCATE, lacks: unix.LANDLOCK_ACCESS_FS_IOCTL_DEV},
		{version: 4, size: 16, fs: unix.LANDLOCK_ACCESS_FS_TRUNCATE, net: unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP, lacks: unix.LANDLOCK_ACCESS_FS_IOCTL_DEV},
		{version: 5, size: 16, fs: unix.LANDLOCK_ACCESS_FS_IOCTL_DEV, net: unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP},
		{version: 6, size: 24, fs: unix.LANDLOCK_ACCESS_FS_IOCTL_DEV, net: unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP, scoped: unix.LANDLOCK_SCOPE_SIGNAL | unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET},
		{version: 99, size: 24, fs: unix.LANDLOCK_ACCESS_FS_IOCTL_DEV, net: unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP, scoped: unix.LANDLOCK_SCOPE_SIGNAL | unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET, lacks: unix.LANDLOCK_ACCESS_FS_RESOLVE_UNIX},
	} {
		attr, size := ruleset(want.version)
		assert.Equal(t, want.size, size, "version %d", want.version)
		assert.Equal(t, want.fs, attr.Handled_access_fs&want.fs, "version %d", want.version)
		assert.Zero(t, attr.Handled_access_fs&want.lacks, "version %d", want.version)
		assert.Equal(t, want.net, attr.Handled_access_net, "version %d", want.version)
		assert.Equal(t, want.scoped, attr.Scoped, "version %d", want.version)
	}
}

func TestOnlyItsDirectoryIsWritten(t *testing.T) {
	const writes = unix.LANDLOCK_ACCESS_FS_MAKE_REG | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE | unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_SYM
	for _, r := range rules(ChildConfig{DataDir: "data", Lib: "lib"}) {
		if r.access&writes != 0 {
			assert.Equal(t, "data", r.path)
		}
		if r.access&unix.LANDLOCK_ACCESS_FS_WRITE_FILE != 0 {
			assert.Contains(t, []string{"data", "/dev/null", "/proc/self/comm"}, r.path)
		}
		assert.NotContains(t, []string{"/", "/proc", "/etc", "/home", "/root", "/tmp", "/var", "/dev", "/sys"}, r.path)
	}
}
