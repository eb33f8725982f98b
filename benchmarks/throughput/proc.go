package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// tick is the unit of CPU times in /proc: USER_HZ, 100 a second on every Linux.
const tick = 10 * time.Millisecond

var errStat = errors.New("unexpected form of /proc/PID/stat")

// statOf returns the fields of /proc/PID/stat after the name, which may itself
// hold spaces and brackets: the first is the state, field 3 of proc(5).
func statOf(pid int) ([][]byte, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return nil, fmt.Errorf("cpu time of a process: %w", err)
	}
	f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(f) < 13 {
		return nil, errStat
	}
	return f, nil
}

// cpuOf is the CPU time of another process so far, its children not included.
func cpuOf(pid int) (time.Duration, error) {
	f, err := statOf(pid)
	if err != nil {
		return 0, err
	}
	user, err1 := strconv.ParseInt(string(f[11]), 10, 64)
	system, err2 := strconv.ParseInt(string(f[12]), 10, 64)
	if err1 != nil || err2 != nil {
		return 0, errStat
	}
	return time.Duration(user+system) * tick, nil
}

// childrenCPU is the CPU time of the living children of a process.
func childrenCPU(parent int) time.Duration {
	names, _ := filepath.Glob("/proc/[0-9]*")
	var sum time.Duration
	for _, name := range names {
		pid, err := strconv.Atoi(filepath.Base(name))
		if err != nil {
			continue
		}
		f, err := statOf(pid)
		if err != nil || string(f[1]) != strconv.Itoa(parent) {
			continue
		}
		if cpu, err := cpuOf(pid); err == nil {
			sum += cpu
		}
	}
	return sum
}

// peakMemory is the largest resident size of a process so far, in bytes.
func peakMemory(pid int) float64 {
	return statusField("/proc/"+strconv.Itoa(pid)+"/status", "VmHWM:")
}

// statusField returns a size in kB from a file of such lines, in bytes; 0 where it
// is not there.
func statusField(path, name string) float64 {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(b) {
		f := bytes.Fields(line)
		if len(f) >= 2 && string(f[0]) == name {
			kb, _ := strconv.ParseFloat(string(f[1]), 64)
			return kb * 1024
		}
	}
	return 0
}
