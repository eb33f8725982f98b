package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/plumbline-sec/plumbline/benchmarks/internal/stack"
)

// clockSource is added to the standard library's package time: what it calls now is
// so many seconds off.
const clockSource = `package time

import "syscall"

var clockOff = func() (off int64) {
	s, _ := syscall.Getenv("PLUMBLINE_CLOCK_OFF")
	sign := int64(1)
	for _, c := range []byte(s) {
		if c == '-' {
			sign = -1
			continue
		}
		off = off*10 + int64(c-'0')
	}
	return sign * off
}()
`

// withClock builds the program with a clock that PLUMBLINE_CLOCK_OFF shifts.
func (h *harness) withClock(ctx context.Context) (binary string, err error) {
	root, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("find Go: %w", err)
	}
	lib := filepath.Join(strings.TrimSpace(string(root)), "src", "time")
	text, err := os.ReadFile(filepath.Join(lib, "time.go"))
	if err != nil {
		return "", fmt.Errorf("read Go's clock: %w", err)
	}
	const reading = "sec, nsec, mono := runtimeNow()\n"
	if strings.Count(string(text), reading) != 1 {
		return "", errSkipped("this release of Go reads its clock in another way: change clock.go")
	}
	dir := filepath.Join(h.dir, "clock")
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {
		filepath.Join(lib, "time.go"):      filepath.Join(dir, "time.go"),
		filepath.Join(lib, "clock_off.go"): filepath.Join(dir, "clock_off.go"),
	}})
	if err != nil {
		return "", fmt.Errorf("overlay: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("overlay: %w", err)
	}
	for name, data := range map[string]string{
		"time.go":      strings.Replace(string(text), reading, reading+"\tsec += clockOff\n", 1),
		"clock_off.go": clockSource, "overlay.json": string(overlay),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			return "", fmt.Errorf("overlay: %w", err)
		}
	}
	binary = filepath.Join(dir, "plumbline")
	return binary, stack.Build(ctx, binary, "-overlay", filepath.Join(dir, "overlay.json"), "-tags", "failpoints")
}

// clockOff has an instance whose clock is a day ahead, then one that is a day
// behind, then a good one beside a bad one; and whoever sends stamps his records a
// day off, now this way, now that.
func clockOff(ctx context.Context, w *world) error {
	binary, err := w.h.withClock(ctx)
	if err != nil {
		return err
	}
	w.stampOff = 24 * time.Hour
	ahead, behind := launch{binary: binary, env: []string{"PLUMBLINE_CLOCK_OFF=86400"}}, launch{binary: binary, env: []string{"PLUMBLINE_CLOCK_OFF=-86400"}}
	i, err := w.start(ahead)
	if err != nil {
		return err
	}
	if err := w.topics(ctx); err != nil {
		return err
	}
	w.load(ctx, loadTime, nil)
	for _, next := range []launch{behind, ahead, {}} {
		pause(ctx, loadTime/4)
		i.signal(syscall.SIGKILL)
		if i, err = w.start(next); err != nil {
			return err
		}
	}
	if _, err := w.start(behind); err != nil {
		return err
	}
	if err := w.during(ctx, nap(ctx)); err != nil {
		return err
	}
	return w.shifted(24 * time.Hour)
}

// shifted checks that the first instance's log is dated so far off: a clock that
// is right would prove nothing.
func (w *world) shifted(by time.Duration) error {
	var first struct {
		Time time.Time `json:"time"`
	}
	data, err := os.ReadFile(filepath.Join(w.dir, "service-1.log"))
	if err != nil {
		return fmt.Errorf("log: %w", err)
	}
	line, _, _ := strings.Cut(string(data), "\n")
	if err := json.Unmarshal([]byte(line), &first); err != nil {
		return fmt.Errorf("log: %w in %q", err, line)
	}
	if off := time.Until(first.Time); off < by-time.Hour || off > by+time.Hour {
		return fmt.Errorf("the clock is %s off, not %s", off, by)
	}
	return nil
}
