package datadir

import (
	"encoding/binary"
	"hash/crc32"
)

// An entry of an index: version, the low byte of the checksum of what follows, the
// epoch, a time that kfake works out anew, and whether the batch was written inside a
// transaction. All of it is in the batch as well.
const (
	indexEntry  = 15
	indexEpoch  = 2
	indexInTxn  = 14
	indexSum    = 1
	indexFormat = 1
)

// indexOf is the index entry of a batch.
func indexOf(b []byte) []byte {
	var e [indexEntry]byte
	e[0] = indexFormat
	binary.LittleEndian.PutUint32(e[indexEpoch:], binary.BigEndian.Uint32(b[atEpoch:]))
	binary.LittleEndian.PutUint64(e[indexEpoch+4:], binary.BigEndian.Uint64(b[atMaxTime:]))
	if attrs := b[atAttrs+1]; attrs&attrTransactional != 0 && attrs&attrControl == 0 {
		e[indexInTxn] = 1
	}
	e[indexSum] = byte(crc32.Checksum(e[indexEpoch:], castagnoli))
	return e[:]
}

// indexed is how many batches an index says there are.
func indexed(raw []byte) int { return len(raw) / indexEntry }

// soundIndex says whether an index has an entry for each of n batches, all sound.
func soundIndex(raw []byte, n int) bool {
	if len(raw) != n*indexEntry {
		return false
	}
	for ; len(raw) > 0; raw = raw[indexEntry:] {
		if byte(crc32.Checksum(raw[indexEpoch:indexEntry], castagnoli)) != raw[indexSum] {
			return false
		}
	}
	return true
}
