package jsonscan

import "encoding/binary"

// Plan is the names that a form asks every event for. They are found while the
// text is read, so that asking costs nothing and many names no more than one.
type Plan struct{ all []*wanted } // by slot; the root has slot 0

// wanted is one name and those below it.
type wanted struct {
	name   string
	tail   uint64 // of the name
	slot   int    // in what a tree has found
	above  *wanted
	below  []*wanted
	chains [32]*wanted // of those below, by their tails
	next   *wanted     // in its chain
}

// NewPlan returns a plan that asks for nothing.
func NewPlan() *Plan { return &Plan{all: []*wanted{{}}} }

// Slot returns the slot of the value that the names lead to from the root.
func (p *Plan) Slot(names ...string) int {
	w := p.all[0]
	for _, name := range names {
		next := w.find([]byte(name))
		if next == nil {
			next = &wanted{name: name, tail: tail([]byte(name)), slot: len(p.all), above: w}
			p.all = append(p.all, next)
			w.add(next)
		}
		w = next
	}
	return w.slot
}

func (w *wanted) add(c *wanted) {
	w.below = append(w.below, c)
	first := w.chain(c.tail)
	c.next, *first = *first, c
}

func (w *wanted) chain(tail uint64) **wanted {
	return &w.chains[tail*0x9e3779b97f4a7c15>>59] // Fibonacci hashing
}

// find returns what is wanted under that name, nil where nothing is.
func (w *wanted) find(name []byte) *wanted {
	last := tail(name)
	c := *w.chain(last)
	for c != nil && (c.tail != last || c.name != string(name)) {
		c = c.next
	}
	return c
}

// tail is the last eight bytes of a name: names of one length hardly share them.
func tail(name []byte) (v uint64) {
	if n := len(name); n >= 8 {
		return binary.LittleEndian.Uint64(name[n-8:])
	}
	for _, c := range name {
		v = v<<8 | uint64(c)
	}
	return v
}

// note notes that node i stands where w is wanted. Of a name that stands twice the
// last one counts, and so nothing that was found below the first.
func (t *Tree) note(w *wanted, i int32) {
	if t.found[w.slot] != None {
		t.forget(w)
	}
	t.found[w.slot] = i
}

func (t *Tree) forget(w *wanted) {
	t.found[w.slot], t.double[w.slot], t.odd[w.slot] = None, true, false
	for _, c := range w.below {
		t.forget(c)
	}
}

// Ask returns the value at a slot of the plan, None where there is None.
func (t *Tree) Ask(slot int) int32 {
	t.Twice = t.Twice || t.double[slot]
	if t.anyOdd {
		for w := t.plan.all[slot].above; w != nil; w = w.above {
			t.Replaced = t.Replaced || t.odd[w.slot]
		}
	}
	return t.found[slot]
}

// Double reports whether the name at a slot, or one above it, stands twice.
func (t *Tree) Double(slot int) bool { return t.double[slot] }
