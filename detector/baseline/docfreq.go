package baseline

import "github.com/plumbline-sec/plumbline/detector/internal/wire"

// DocFreq counts for every item how many agents of a group know it: a table of
// buckets of eight, each slot 42 bits of hash, as an ItemSet has them, and 16 of count. It doubles, up to
// 2^16 slots, when it is half full or a bucket is full; then the least known item of a full bucket makes room.
type DocFreq struct {
	slots []uint64
	n     int
}

const (
	dfWays     = 8
	dfMaxSlots = 1 << 16
	dfMask     = 1<<16 - 1
)

// same reports whether a slot is that of an item.
func same(v, h uint64) bool { return v>>hashShift == h>>hashShift }

func (d *DocFreq) bucket(h uint64) []uint64 {
	b := int(h>>44) & (len(d.slots)/dfWays - 1)
	return d.slots[b*dfWays : b*dfWays+dfWays]
}

// Count returns how many agents know h.
func (d *DocFreq) Count(h uint64) int {
	if len(d.slots) == 0 {
		return 0
	}
	for _, v := range d.bucket(h) {
		if v != 0 && same(v, h) {
			return int(v & dfMask)
		}
	}
	return 0
}

// Add counts one more agent for h.
func (d *DocFreq) Add(h uint64) {
	for len(d.slots) < dfMaxSlots && (d.n >= len(d.slots)/2 || d.full(h)) {
		old := d.slots
		d.slots, d.n = make([]uint64, max(64, 2*len(old))), 0
		for _, v := range old {
			if v != 0 {
				d.put(v)
			}
		}
	}
	b := d.bucket(h)
	for i, v := range b {
		if v != 0 && same(v, h) {
			if v&dfMask < dfMask {
				b[i]++
			}
			return
		}
	}
	d.put(h>>hashShift<<hashShift | 1)
}

// full reports whether h is not there and its bucket has no room for it.
func (d *DocFreq) full(h uint64) bool {
	for _, v := range d.bucket(h) {
		if v == 0 || same(v, h) {
			return false
		}
	}
	return true
}

func (d *DocFreq) put(v uint64) {
	b := d.bucket(v)
	at := 0
	for i, o := range b {
		if o == 0 {
			b[i] = v
			d.n++
			return
		}
		if o&dfMask < b[at]&dfMask {
			at = i
		}
	}
	b[at] = v
}

// Bytes returns the memory of the table.
func (d *DocFreq) Bytes() int { return 8 * cap(d.slots) }

// Code encodes or decodes d.
func (d *DocFreq) Code(c *wire.Coder) {
	size := c.Len("slots", len(d.slots), dfMaxSlots, 0)
	if c.Reading() && size != 0 && (size < 64 || size&(size-1) != 0) {
		c.Fail("table of %d slots", size)
		return
	}
	n := c.Len("filled", d.n, size, 8)
	if !c.Reading() {
		last := 0
		for i, v := range d.slots {
			if v != 0 {
				c.Uint("gap", uint64(i-last), dfMaxSlots)
				c.Fixed64("hash", &v)
				last = i
			}
		}
		return
	}
	*d = DocFreq{}
	if size > 0 {
		d.slots = make([]uint64, size)
	}
	at := 0
	c.In("slots")
	for i := range n {
		c.At(i)
		at += int(c.Uint("gap", 0, dfMaxSlots))
		var v uint64
		c.Fixed64("hash", &v)
		if c.Err() != nil {
			return
		}
		if at >= size || v == 0 || d.slots[at] != 0 {
			c.Fail("slot %d of a table of %d", at, size)
			return
		}
		d.slots[at] = v
		d.n++
	}
	c.Out()
}
