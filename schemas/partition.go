package schemas

import "encoding/binary"

// AppendKey appends the record key of an agent, "tenant_id/agent_id". A tenant_id
// holds no slash, so that no two agents share a key.
func AppendKey(dst []byte, tenant, agent string) []byte {
	return append(append(append(dst, tenant...), '/'), agent...)
}

// Partition returns the partition of key among n, as Kafka's own default
// partitioner does (Java clients and all that are compatible with them):
// murmur2 without its sign bit, modulo n.
func Partition(key []byte, n int32) int32 {
	if n <= 1 {
		return 0
	}
	return int32(murmur2(key)&0x7fffffff) % n
}

// murmur2 is the 32-bit MurmurHash2 of A. Appleby with the seed that Kafka uses
// (org.apache.kafka.common.utils.Utils.murmur2).
func murmur2(b []byte) uint32 {
	const (
		seed = 0x9747b28c
		m    = 0x5bd1e995
		r    = 24
	)
	h := uint32(seed) ^ uint32(len(b))
	for len(b) >= 4 {
		k := binary.LittleEndian.Uint32(b) * m
		k ^= k >> r
		h = h*m ^ k*m
		b = b[4:]
	}
	switch len(b) {
	case 3:
		h ^= uint32(b[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(b[1]) << 8
		fallthrough
	case 1:
		h ^= uint32(b[0])
		h *= m
	}
	h ^= h >> 13
	h *= m
	return h ^ h>>15
}
