package chdb

import (
	"fmt"
	"os"
	"path/filepath"
)

// ownBinary is the program that runs, also when its file was replaced or removed
// since: an upgrade in place must not make a killed engine come back as another
// release, or not at all.
const ownBinary = "/proc/self/exe"

// ownCommand is the command that runs this program as the child.
func ownCommand() ([]string, error) {
	if _, err := os.Stat(ownBinary); err == nil {
		return []string{ownBinary, Command}, nil
	}
	exe, err := os.Executable() // no /proc: the best there is
	if err != nil {
		return nil, fmt.Errorf("no /proc is mounted: %w", err)
	}
	return []string{exe, Command}, nil
}

// nameProcess gives the process the name that its file had: the kernel takes it
// from the path, which is "exe" for ownBinary.
func nameProcess() {
	_ = os.WriteFile("/proc/self/comm", []byte(filepath.Base(os.Args[0])), 0) // a list without the name does no harm
}
