//go:build !linux || !amd64

package chdb

// refuseCalls does nothing: the engine runs on Linux on x86-64.
func refuseCalls() error { return nil }
