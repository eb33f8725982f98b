package chdb

import "syscall"

// childAttributes: the child is out of the terminal's group, so that Ctrl-C is
// the parent's alone, and the kernel asks it to end if the parent dies without
// closing its pipe (a parent that was forked has another copy of it).
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
