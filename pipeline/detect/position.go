package detect

import (
	"bytes"
	"encoding/binary"
	"errors"
	"maps"
	"slices"

	"github.com/plumbline-sec/plumbline/schemas"
)

// position is where an event stands in its source partition.
type position struct {
	offset int64
	index  int32
}

func (p position) before(q position) bool {
	return p.offset < q.offset || p.offset == q.offset && p.index < q.index
}

// repeated reports whether the event of this origin was handled before, and
// remembers it.
func (s *state) repeated(origin []byte) (bool, error) {
	o, err := schemas.ParseOrigin(origin)
	if err != nil {
		return false, err
	}
	source := origin[:bytes.LastIndexByte(origin, '/')]
	source = source[:bytes.LastIndexByte(source, '/')]
	at := position{o.Offset, o.Index}
	if last, ok := s.routed[string(source)]; ok && !last.before(at) {
		return true, nil
	}
	s.routed[string(source)] = at
	return false, nil
}

// appendRouted writes the positions in the order of their sources.
func appendRouted(dst []byte, routed map[string]position) []byte {
	for _, source := range slices.Sorted(maps.Keys(routed)) {
		p := routed[source]
		dst = binary.AppendUvarint(dst, uint64(len(source)))
		dst = append(dst, source...)
		dst = binary.AppendVarint(dst, p.offset)
		dst = binary.AppendVarint(dst, int64(p.index))
	}
	return dst
}

var errRouted = errors.New("positions of sources: ends too early")

func parseRouted(b []byte) (map[string]position, error) {
	routed := make(map[string]position)
	for len(b) > 0 {
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return nil, errRouted
		}
		source := string(b[n : n+int(size)])
		b = b[n+int(size):]
		offset, n := binary.Varint(b)
		index, k := binary.Varint(b[max(n, 0):])
		if n <= 0 || k <= 0 {
			return nil, errRouted
		}
		b = b[n+k:]
		routed[source] = position{offset, int32(index)}
	}
	return routed, nil
}
