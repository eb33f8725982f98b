//go:build !linux

package chdb

// saveSignals: the library is installed on Linux alone.
func saveSignals() (restore func()) { return func() {} }
