package detector

import "hash/maphash"

// index finds agents by tenant and id: open addressing with linear probing, a hash
// and a pointer a slot. The hash is keyed by the process, since ids are an attacker's
// to choose; nothing that the detector says depends on it, since no one walks the
// index.
type index struct {
	seed  maphash.Seed
	slots []indexSlot // a power of two, at most three quarters in use
	n     int
}

type indexSlot struct {
	hash uint64
	a    *agent // nil: empty
}

func newIndex() index {
	return index{seed: maphash.MakeSeed(), slots: make([]indexSlot, 1024)}
}

// hashOf is the hash of an agent of t.
func (x *index) hashOf(t *tenant, id string) uint64 { return maphash.String(x.seed, id) ^ t.hash }

// next is the slot behind i.
func (x *index) next(i uint64) uint64 { return (i + 1) & uint64(len(x.slots)-1) }

// home is where the search for h begins.
func (x *index) home(h uint64) uint64 { return h & uint64(len(x.slots)-1) }

// distance is how many slots lie from one to the other, going forward.
func (x *index) distance(from, to uint64) uint64 { return (to - from) & uint64(len(x.slots)-1) }

func (x *index) find(t *tenant, id string) *agent {
	h := x.hashOf(t, id)
	for i := x.home(h); x.slots[i].a != nil; i = x.next(i) {
		if s := &x.slots[i]; s.hash == h && s.a.tenant == t && s.a.id == id {
			return s.a
		}
	}
	return nil
}

// guess is an agent of this hash, not looking at the agent itself.
func (x *index) guess(h uint64) *agent {
	for i := x.home(h); x.slots[i].a != nil; i = x.next(i) {
		if x.slots[i].hash == h {
			return x.slots[i].a
		}
	}
	return nil
}

// add takes in an agent that is not there yet.
func (x *index) add(a *agent) {
	if x.n++; 4*x.n > 3*len(x.slots) {
		old := x.slots
		x.slots = make([]indexSlot, 2*len(old))
		for _, s := range old {
			if s.a != nil {
				x.put(s)
			}
		}
	}
	x.put(indexSlot{x.hashOf(a.tenant, a.id), a})
}

func (x *index) put(s indexSlot) {
	i := x.home(s.hash)
	for x.slots[i].a != nil {
		i = x.next(i)
	}
	x.slots[i] = s
}

// remove takes out an agent that is there. Those behind it that the hole would cut
// off from their homes move up.
func (x *index) remove(a *agent) {
	hole := x.home(x.hashOf(a.tenant, a.id))
	for x.slots[hole].a != a {
		hole = x.next(hole)
	}
	x.n--
	for i := x.next(hole); x.slots[i].a != nil; i = x.next(i) {
		if x.distance(x.home(x.slots[i].hash), i) >= x.distance(hole, i) {
			x.slots[hole], hole = x.slots[i], i
		}
	}
	x.slots[hole] = indexSlot{}
}
