package baseline

import "github.com/plumbline-sec/plumbline/detector/internal/wire"

// Bounds of an ItemSet.
const (
	MaxKnown   = 192 // items
	knownTable = 256 // slots
	hourBits   = 20
	levelBits  = 2
	hourMask   = 1<<hourBits - 1
	levelMask  = 1<<levelBits - 1
	hashShift  = hourBits + levelBits
)

// ItemSet is the set of what an agent has touched: at most MaxKnown hashes, each
// with the hour of its last use and a level (in how many hours it was used, up to
// 3). When it is full, the item of the lowest level that was not used for the
// longest time makes room: a flood of new names pushes out itself, not what the
// agent has used for weeks.
//
// A slot is 42 bits of hash, 2 of level, 20 of hour; 0 is empty. Open addressing
// with linear probing; the table doubles from 8 slots to 256.
type ItemSet struct {
	slots []uint64
	n     int
}

// Len returns the number of items.
func (k *ItemSet) Len() int { return k.n }

// Bytes returns the memory of the table.
func (k *ItemSet) Bytes() int { return 8 * cap(k.slots) }

func home(h uint64, size int) int { return int(h>>40) & (size - 1) }

func (k *ItemSet) find(h uint64) int {
	if len(k.slots) == 0 {
		return -1
	}
	tag := h >> hashShift
	for i := home(h, len(k.slots)); ; i = (i + 1) & (len(k.slots) - 1) {
		switch v := k.slots[i]; {
		case v == 0:
			return -1
		case v>>hashShift == tag:
			return i
		}
	}
}

// Use reports whether h is known and, where it is, whether this is its first use
// in this hour, which it notes.
func (k *ItemSet) Use(h uint64, hour int64) (known, first bool) {
	i := k.find(h)
	if i < 0 {
		return false, false
	}
	v, now := k.slots[i], uint64(hour)&hourMask
	if v&hourMask == now {
		return true, false
	}
	level := v >> hourBits & levelMask
	if level < levelMask {
		level++
	}
	k.slots[i] = v>>hashShift<<hashShift | level<<hourBits | now
	return true, true
}

// Each calls f on what identifies every item: the upper bits of its hash.
func (k *ItemSet) Each(f func(h uint64)) {
	for _, v := range k.slots {
		if v != 0 {
			f(v >> hashShift << hashShift)
		}
	}
}

// Has reports whether h is known.
func (k *ItemSet) Has(h uint64) bool { return k.find(h) >= 0 }

// Add makes h known.
func (k *ItemSet) Add(h uint64, hour int64) {
	if k.Has(h) {
		return
	}
	if k.n >= MaxKnown {
		k.evict(hour)
	}
	if k.n+1 > len(k.slots)*3/4 && len(k.slots) < knownTable {
		old := k.slots
		k.slots, k.n = make([]uint64, max(8, 2*len(old))), 0
		for _, v := range old {
			if v != 0 {
				k.put(v)
			}
		}
	}
	k.put(h>>hashShift<<hashShift | uint64(hour)&hourMask)
}

// put stores a slot value. Bits of a hash below the stored 42 do not choose its
// place: a value finds the same home again when the table grows.
func (k *ItemSet) put(v uint64) {
	i := home(v, len(k.slots))
	for k.slots[i] != 0 {
		i = (i + 1) & (len(k.slots) - 1)
	}
	k.slots[i] = v
	k.n++
}

// evict removes the least valuable item and closes the gap it leaves.
func (k *ItemSet) evict(hour int64) {
	worst, at := int64(-1), -1
	for i, v := range k.slots {
		if v == 0 {
			continue
		}
		age := (hour - int64(v&hourMask)) & hourMask
		if cost := age + int64(levelMask-v>>hourBits&levelMask)<<hourBits; cost > worst {
			worst, at = cost, i
		}
	}
	if at < 0 {
		return
	}
	mask := len(k.slots) - 1
	k.n--
	for j := (at + 1) & mask; ; j = (j + 1) & mask {
		v := k.slots[j]
		if v == 0 {
			break
		}
		// v moves into the gap where its probe path runs through it.
		if h := home(v, len(k.slots)); (j-h)&mask >= (j-at)&mask {
			k.slots[at], at = v, j
		}
	}
	k.slots[at] = 0
}

// Code encodes or decodes k.
func (k *ItemSet) Code(c *wire.Coder) {
	size := c.Len("slots", len(k.slots), knownTable, 0)
	if c.Reading() && size&(size-1) != 0 {
		c.Fail("set of %d slots", size)
		return
	}
	n := c.Len("filled", k.n, min(MaxKnown, size*3/4+1), 8)
	if !c.Reading() {
		for i, v := range k.slots {
			if v != 0 {
				c.Uint("at", uint64(i), knownTable)
				c.Fixed64("hash", &v)
			}
		}
		return
	}
	*k = ItemSet{}
	if size > 0 {
		k.slots = make([]uint64, size)
	}
	c.In("slots")
	for i := range n {
		c.At(i)
		at := int(c.Uint("at", 0, knownTable-1))
		var v uint64
		c.Fixed64("hash", &v)
		if c.Err() != nil {
			return
		}
		if at >= size || v == 0 || k.slots[at] != 0 {
			c.Fail("slot %d of a set of %d", at, size)
			return
		}
		k.slots[at] = v
		k.n++
	}
	c.Out()
	if size > 0 && k.n >= size {
		c.Fail("set without an empty slot") // a search would not end
	}
}
