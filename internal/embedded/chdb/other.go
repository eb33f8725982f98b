//go:build !linux || !amd64

package chdb

import "syscall"

// The library is for Linux on x86-64: elsewhere no engine runs.

func childAttributes() *syscall.SysProcAttr { return nil }

func saveSignals() (restore func()) { return func() {} }

func missingWall() string { return "" }

func lockIn(ChildConfig) error { return nil }

func refuseCalls() error { return nil }
