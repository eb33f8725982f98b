package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/prometheus/procfs"
)

// Machine says where and from what figures came.
type Machine struct {
	CPU      string    `json:"cpu"`
	Cores    int       `json:"cores"`
	Memory   float64   `json:"memory_bytes"`
	OS       string    `json:"os"`
	Go       string    `json:"go"`
	Commit   string    `json:"commit"`
	Modified bool      `json:"modified"` // the tree differed from the commit
	Command  string    `json:"command"`
	Date     time.Time `json:"date"`
	// The load averages over a minute before and after: over 0 before means that
	// others were at work.
	LoadBefore float64 `json:"load_before"`
	LoadAfter  float64 `json:"load_after"`
}

// ThisMachine describes this machine and the commit. command and args are what was run.
func ThisMachine(ctx context.Context, command string, args []string) Machine {
	m := Machine{
		CPU: cpu(), Cores: runtime.NumCPU(), OS: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version(), Commit: "unknown",
		Command: strings.Join(append([]string{command}, args...), " "), Date: time.Now().UTC().Truncate(time.Second), LoadBefore: Load(),
	}
	if fs, err := procfs.NewDefaultFS(); err == nil {
		if info, err := fs.Meminfo(); err == nil && info.MemTotalBytes != nil {
			m.Memory = float64(*info.MemTotalBytes)
		}
	}
	if out, err := output(ctx, "git", "rev-parse", "--short", "HEAD"); err == nil {
		m.Commit = out
	}
	// Results of earlier runs don't change what is measured.
	if out, err := output(ctx, "git", "status", "--porcelain", "--", ":/*.go", ":/go.mod", ":/*.sql"); err == nil {
		m.Modified = out != ""
	}
	return m
}

// Source is the commit, and that the tree differed from it.
func (m *Machine) Source() string {
	if m.Modified {
		return "Commit " + m.Commit + ", with uncommitted changes"
	}
	return "Commit " + m.Commit
}

// String returns "Commit C, N cores (CPU)".
func (m *Machine) String() string {
	return fmt.Sprintf("%s, %d cores (%s)", m.Source(), m.Cores, m.CPU)
}

// Load is the load average over a minute.
func Load() float64 {
	if fs, err := procfs.NewDefaultFS(); err == nil {
		if l, err := fs.LoadAvg(); err == nil {
			return l.Load1
		}
	}
	return 0
}

// Root is the directory of the repository: the service is built there.
func Root(ctx context.Context) (string, error) {
	mod, err := output(ctx, "go", "env", "GOMOD")
	if err != nil {
		return "", fmt.Errorf("find the repository: %w", err)
	}
	if mod == "" || mod == os.DevNull {
		return "", errors.New("run it in the repository: it builds and starts the service")
	}
	return filepath.Dir(mod), nil
}

// cpu is the processor's model, or the architecture where it can't be read.
func cpu() string {
	b, _ := os.ReadFile("/proc/cpuinfo")
	for l := range strings.Lines(string(b)) {
		if name, model, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(model)
		}
	}
	return runtime.GOARCH
}

func output(ctx context.Context, name string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, name, args...).Output() //nolint:gosec // git and go
	return strings.TrimSpace(string(out)), err
}
