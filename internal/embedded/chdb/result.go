//nolint:gosec // a C interface is made of pointers; every one of them is pinned or freed here
package chdb

import (
	"errors"
	"runtime"
	"unsafe"
)

// result is a piece of output.
type result struct {
	lib    *library
	handle unsafe.Pointer
}

func newResult(lib *library, handle unsafe.Pointer) (*result, error) {
	if handle == nil {
		return nil, errors.New("the engine returned nothing")
	}
	if text := goString(lib.resultError(handle)); text != "" {
		lib.destroyResult(handle)
		return nil, parseException(text)
	}
	return &result{lib: lib, handle: handle}, nil
}

// bytes is the engine's memory: gone after destroy.
func (r *result) bytes() []byte {
	n := r.lib.resultLength(r.handle)
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(r.lib.resultBuffer(r.handle)), n)
}

func (r *result) stats() stats {
	return stats{
		readRows: r.lib.storageRows(r.handle), readBytes: r.lib.storageBytes(r.handle),
		writtenRows: r.lib.rowsWritten(r.handle), writtenBytes: r.lib.bytesWritten(r.handle),
		resultRows: r.lib.rowsRead(r.handle), resultBytes: uint64(r.lib.resultLength(r.handle)),
	}
}

func (r *result) destroy() {
	r.lib.destroyResult(r.handle)
	r.handle = nil
}

// stream is a SELECT in progress.
type stream struct {
	session *session
	handle  unsafe.Pointer
	ended   bool
}

// next returns the next piece, nil at the end. The caller destroys it.
func (s *stream) next() (*result, error) {
	r, err := newResult(s.session.lib, s.session.lib.fetch(s.session.conn(), s.handle))
	if err != nil {
		s.ended = true
		return nil, err
	}
	if len(r.bytes()) == 0 {
		r.destroy()
		s.ended = true
		return nil, nil //nolint:nilnil // the end of the stream is neither a result nor an error
	}
	return r, nil
}

func (s *stream) close() {
	if !s.ended {
		s.session.lib.cancelQuery(s.session.conn(), s.handle)
	}
	s.session.lib.destroyResult(s.handle)
}

// inserter is an INSERT in progress.
type inserter struct {
	lib    *library
	handle unsafe.Pointer
}

// append hands over a piece, which is copied. It waits while the engine is
// behind. False: the insert has failed, and done says why.
func (i *inserter) append(data []byte) bool {
	if len(data) == 0 {
		return true
	}
	ok := i.lib.insertAppend(i.handle, unsafe.Pointer(&data[0]), uintptr(len(data))) == 0
	runtime.KeepAlive(data)
	return ok
}

// done ends the insert; without an error its rows are stored.
func (i *inserter) done() (stats, error) {
	r, err := newResult(i.lib, i.lib.insertDone(i.handle))
	if err != nil {
		return stats{}, err
	}
	defer r.destroy()
	return r.stats(), nil
}

// close frees the insert, and cancels it unless it is done. What was stored in
// blocks before stays, as in a server.
func (i *inserter) close() { i.lib.destroyInsert(i.handle) }

// stats is what a statement did.
type stats struct {
	readRows, readBytes, writtenRows, writtenBytes, resultRows, resultBytes uint64
}

// and is the sum of two pieces of a stream, each of which says what came with it.
func (s stats) and(next stats) stats {
	return stats{
		s.readRows + next.readRows, s.readBytes + next.readBytes, s.writtenRows + next.writtenRows,
		s.writtenBytes + next.writtenBytes, s.resultRows + next.resultRows, s.resultBytes + next.resultBytes,
	}
}
