// Package origin says on what and from what the figures of a benchmark come.
package origin

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
)

// CPU returns the processor's model, or the architecture where that is not to be had.
func CPU() string {
	b, _ := os.ReadFile("/proc/cpuinfo")
	for l := range strings.Lines(string(b)) {
		if name, model, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(model)
		}
	}
	return runtime.GOARCH
}

// Line returns "Commit C, N cores (CPU)".
func Line(ctx context.Context) string {
	commit, err := exec.CommandContext(ctx, "git", "rev-parse", "--short", "HEAD").Output()
	if err != nil {
		commit = []byte("unknown")
	}
	return fmt.Sprintf("Commit %s, %d cores (%s)", strings.TrimSpace(string(commit)), runtime.NumCPU(), CPU())
}
