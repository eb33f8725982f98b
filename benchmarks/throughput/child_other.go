//go:build !linux

package main

import "syscall"

// endsWithParent has no equivalent here: children end when their pipes close.
func endsWithParent() *syscall.SysProcAttr { return nil }
