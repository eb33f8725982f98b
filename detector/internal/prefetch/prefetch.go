// Package prefetch asks the processor to bring memory into its caches before it is
// read. It reads nothing and never faults. Where the processor has no instruction for
// it here, it does nothing.
package prefetch

import "unsafe"

// Value asks for all of *p.
func Value[T any](p *T) { lines(unsafe.Pointer(p), unsafe.Sizeof(*p)) } //nolint:gosec // an address, not read

// Slice asks for the elements of s.
func Slice[T any](s []T) {
	var t T
	lines(unsafe.Pointer(unsafe.SliceData(s)), uintptr(len(s))*unsafe.Sizeof(t)) //nolint:gosec // an address, not read
}

// String asks for the bytes of s.
func String(s string) { lines(unsafe.Pointer(unsafe.StringData(s)), uintptr(len(s))) } //nolint:gosec // an address, not read
