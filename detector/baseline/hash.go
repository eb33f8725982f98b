package baseline

// Hash is the detector's own 64-bit string hash: items, sessions and event ids
// are remembered as hashes, and a record must mean the same in every process,
// which hash/maphash does not promise. Eight bytes a round, multiply and
// xor-shift (the mixing constants of MurmurHash3), a full avalanche at the end.
func Hash(seed uint64, s string) uint64 {
	const m1, m2 = 0x87c37b91114253d5, 0x4cf5ad432745937f
	h := seed ^ (uint64(len(s)) * m2)
	all := s
	for len(s) >= 8 {
		k := word(s)
		k *= m1
		k ^= k >> 29
		h = (h ^ k) * m2
		h ^= h >> 31
		s = s[8:]
	}
	var k uint64
	switch n := len(all); {
	case len(s) == 0:
	case n >= 8: // the last eight bytes, without those that were taken already
		k = word(all[n-8:]) >> (8 * (8 - len(s)))
	default:
		for i := n - 1; i >= 0; i-- {
			k = k<<8 | uint64(s[i])
		}
	}
	return Mix(h ^ (k * m1))
}

// word is the first eight bytes of s.
func word(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// Mix spreads every bit of h over all bits (the finaliser of MurmurHash3).
func Mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	h ^= h >> 33
	return h
}
