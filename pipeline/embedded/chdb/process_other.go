//go:build !linux

package chdb

import "syscall"

// childAttributes: the child is out of the terminal's group, so that Ctrl-C is
// the parent's alone.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
