package baseline

import "github.com/plumbline-sec/plumbline/detector/internal/wire"

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
	c.Fixed64("filled", &mask)
	c.In("tags")
	for i := range o.tags {
		if mask&(1<<i) != 0 {
			c.At(i)
			c.Fixed32("", &o.tags[i])
		}
	}
	c.Out()
}
