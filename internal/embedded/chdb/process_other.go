//go:build !linux

package chdb

import (
	"os"
	"syscall"
)

// ownCommand is the command that runs this program as the child.
func ownCommand() ([]string, error) {
	exe, err := os.Executable()
	return []string{exe, Command}, err
}

// shownAs is what a list of processes shows in the place of path.
func shownAs(path string) string { return path }

func nameProcess() {}

// childAttributes: the child is out of the terminal's group, so that Ctrl-C is
// the parent's alone.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
