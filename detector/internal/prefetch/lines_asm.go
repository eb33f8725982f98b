//go:build amd64 || arm64

package prefetch

import "unsafe"

// lines asks for the cache lines of the n bytes at p.
//
//go:noescape
func lines(p unsafe.Pointer, n uintptr)
