//go:build failpoints

package failpoint

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// Env names the place to die at and how often it is passed before, as NAME:N.
const Env = "PLUMBLINE_FAILPOINT"

var (
	at   string
	left atomic.Int64
)

func init() {
	name, n, _ := strings.Cut(os.Getenv(Env), ":")
	at = name
	times, _ := strconv.ParseInt(n, 10, 64)
	left.Store(times)
}

// Hit kills the process, as kill -9 does, where the environment says so.
func Hit(name string) {
	if name == at && left.Add(-1) < 0 {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // nothing more happens here
	}
}
