// Package stack builds and starts what a benchmark measures or measures with: the
// plumbline binary and the embedded engine, each in a process of its own.
package stack

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"time"

	"github.com/prometheus/procfs"
	"github.com/rs/zerolog"

	"github.com/plumbline-sec/plumbline/benchmarks/internal/bench"
	"github.com/plumbline-sec/plumbline/internal/embedded/chdb"
)

// Build builds cmd/plumbline; flags are those of go build.
func Build(ctx context.Context, binary string, flags ...string) error {
	root, err := bench.Root(ctx)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", append(append([]string{"build", "-o", binary}, flags...), "./cmd/plumbline")...) //nolint:gosec // our own
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build cmd/plumbline: %w\n%s", err, out)
	}
	return nil
}

// StartEngine starts the embedded ClickHouse on the data in dir, as a child of the
// built binary.
func StartEngine(ctx context.Context, binary, dir string) (*chdb.Server, error) {
	lib, err := chdb.Install(ctx, chdb.InstallOptions{Progress: os.Stderr})
	if err != nil {
		return nil, err
	}
	return chdb.Start(ctx, chdb.Config{
		DataDir: dir, Listen: "127.0.0.1:0", Lib: lib, Argv: []string{binary, chdb.Command}, Logger: zerolog.Nop(),
	})
}

// StopEngine stops an engine, also when the benchmark was interrupted; nil is one
// that did not start.
func StopEngine(e *chdb.Server) error {
	if e == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return e.Stop(ctx)
}

// FreeAddr returns an address that was free a moment ago.
func FreeAddr() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // at once
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	return ln.Addr().String(), ln.Close()
}

// CPUTime is the CPU time of another process so far, its children not included.
func CPUTime(pid int) (time.Duration, error) {
	p, err := procfs.NewProc(pid)
	if err != nil {
		return 0, fmt.Errorf("cpu time of a process: %w", err)
	}
	s, err := p.Stat()
	if err != nil {
		return 0, fmt.Errorf("cpu time of a process: %w", err)
	}
	return time.Duration(s.CPUTime() * float64(time.Second)), nil
}

// ChildrenCPUTime is the CPU time of the living children of a process.
func ChildrenCPUTime(parent int) (sum time.Duration) {
	all, _ := procfs.AllProcs()
	for _, p := range all {
		if s, err := p.Stat(); err == nil && s.PPID == parent {
			sum += time.Duration(s.CPUTime() * float64(time.Second))
		}
	}
	return sum
}

// PeakMemory is the largest resident size of a process so far, in bytes; 0 where it
// has ended.
func PeakMemory(pid int) uint64 {
	p, err := procfs.NewProc(pid)
	if err != nil {
		return 0
	}
	s, err := p.NewStatus()
	if err != nil {
		return 0
	}
	return s.VmHWM
}
