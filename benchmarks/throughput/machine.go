package main

import (
	"context"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/plumbline-sec/plumbline/benchmarks/origin"
)

// machine says where and from what figures came.
type machine struct {
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

func thisMachine(ctx context.Context, root string, args []string) machine {
	m := machine{
		CPU: origin.CPU(), Cores: runtime.NumCPU(), Memory: statusField("/proc/meminfo", "MemTotal:"),
		OS: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version(),
		Command: strings.Join(append([]string{"go run ./benchmarks/throughput"}, args...), " "),
		Date:    time.Now().UTC().Truncate(time.Second), LoadBefore: load(),
	}
	if out, err := git(ctx, root, "rev-parse", "--short=12", "HEAD"); err == nil {
		m.Commit = out
	}
	// Results of earlier runs don't change what is measured.
	if out, err := git(ctx, root, "status", "--porcelain", "--", "*.go", "go.mod", "*.sql"); err == nil {
		m.Modified = out != ""
	}
	return m
}

func git(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...) //nolint:gosec // fixed arguments
	cmd.Dir = dir
	out, err := cmd.Output()
	return strings.TrimSpace(string(out)), err
}

func load() float64 {
	b, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(b), " ")
	v, _ := strconv.ParseFloat(first, 64)
	return v
}
