package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/plumbline-sec/plumbline/benchmarks/internal/stack"
)

// disk is a small file system: a case can fill it without hurting anybody.
type disk struct{ dir string }

const roomy = "4g"

// ownDisk puts the case's directory on a disk of its own, with an engine.
func (w *world) ownDisk(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, "mount", "-t", "tmpfs", "-o", "size="+roomy, "plumbline-faults", w.dir).CombinedOutput() //nolint:gosec // ours
	if err != nil {
		return errSkipped("a file system of its own can't be mounted here: " + strings.TrimSpace(string(out)))
	}
	w.disk, w.engine = &disk{dir: w.dir}, nil
	w.engine, err = stack.StartEngine(ctx, w.h.binary, filepath.Join(w.dir, "clickhouse"))
	return err
}

func (d *disk) resize(size string) error {
	if out, err := exec.Command("mount", "-o", "remount,size="+size, d.dir).CombinedOutput(); err != nil { //nolint:gosec,noctx // at once
		return fmt.Errorf("resize the disk: %w: %s", err, out)
	}
	return nil
}

// fill has another program write, 100 MiB a second, until nothing is left, and
// keep it so for a while.
func (d *disk) fill(ctx context.Context, keep time.Duration) error {
	var s syscall.Statfs_t
	if err := syscall.Statfs(d.dir, &s); err != nil {
		return fmt.Errorf("disk: %w", err)
	}
	used := (s.Blocks - s.Bfree) * uint64(s.Bsize)
	if err := d.resize(strconv.FormatUint(used+300<<20, 10)); err != nil {
		return err
	}
	other, err := os.Create(filepath.Join(d.dir, "another-program"))
	if err != nil {
		return fmt.Errorf("disk: %w", err)
	}
	defer other.Close()           //nolint:errcheck // it is thrown away
	defer os.Remove(other.Name()) //nolint:errcheck // at worst the disk stays full, which shows
	data := make([]byte, 5<<20)
	filled := false
	for end := time.Now().Add(keep); time.Now().Before(end) && pause(ctx, 50*time.Millisecond); {
		if _, err := other.Write(data); err != nil && !errors.Is(err, syscall.ENOSPC) {
			return fmt.Errorf("disk: %w", err)
		} else if err != nil {
			filled = true
		}
	}
	if !filled {
		return errors.New("the disk did not fill")
	}
	return ctx.Err()
}

func (d *disk) close() {
	_ = exec.Command("umount", "-l", d.dir).Run() //nolint:gosec,noctx // at once
}

// diskFull has another program fill the disk of broker, engine and logs, twice. A
// Kafka that stops for it is started again.
func diskFull(ctx context.Context, w *world, _ *instance) error {
	for range 2 {
		pause(ctx, 2*time.Second)
		if err := w.disk.fill(ctx, 12*time.Second); err != nil {
			return err
		}
		if err := w.disk.resize(roomy); err != nil {
			return err
		}
		if w.h.o.kafkaHome != "" {
			if err := errors.Join(w.broker.Stop(), w.broker.Start()); err != nil {
				return err
			}
		}
	}
	return nil
}
