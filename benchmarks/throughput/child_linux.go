package main

import "syscall"

// endsWithParent: the kernel ends a child whose parent died without stopping it.
func endsWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
