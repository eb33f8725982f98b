package baseline

import "github.com/plumbline-sec/plumbline/detector/internal/wire"

// Recent recognises what came a moment ago: a cache of 64 hashes, eight sets of
// eight with the oldest of a set replaced first. A hash that was added is found
// until eight others fell into its set.
type Recent struct {
	slots [8][8]uint64
	next  [8]uint8
}

// Add remembers h and reports whether it was there already.
func (r *Recent) Add(h uint64) bool {
	set := &r.slots[h>>61]
	for _, v := range set {
		if v == h {
			return true
		}
	}
	n := &r.next[h>>61]
	set[*n&7] = h
	*n++
	return false
}

// Code encodes or decodes r.
func (r *Recent) Code(c *wire.Coder) {
	for i := range r.slots {
		c.U8(&r.next[i])
		// What was never filled is not written: a young agent's record is short.
		n := 8
		for n > 0 && r.slots[i][n-1] == 0 {
			n--
		}
		n = c.Len(n, 8, 8)
		for j := range n {
			c.Fixed64(&r.slots[i][j])
		}
	}
}

// Once tells the first time from the next times, for pairs of session and item:
// a direct-mapped cache of 64 tags. A pair that another one pushed out counts
// once more.
type Once struct{ tags [64]uint32 }

// First remembers h and reports whether it was not there.
func (o *Once) First(h uint64) bool {
	tag := uint32(h) | 1
	slot := &o.tags[h>>58]
	if *slot == tag {
		return false
	}
	*slot = tag
	return true
}

// Code encodes or decodes o.
func (o *Once) Code(c *wire.Coder) {
	var mask uint64
	for i, t := range o.tags {
		if t != 0 {
			mask |= 1 << i
		}
	}
	c.Fixed64(&mask)
	for i := range o.tags {
		if mask&(1<<i) != 0 {
			c.Fixed32(&o.tags[i])
		}
	}
}
