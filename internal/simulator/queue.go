package simulator

import "github.com/plumbline-sec/plumbline/schemas"

// actor makes events: an honest agent or an attack.
type actor interface {
	// emit writes the event whose time next returned.
	emit(ev *schemas.Activity)
	// next returns the time of the following event, if there is one. Times never
	// go back.
	next() (schemas.Millis, bool)
	// order is unique among actors: it decides who goes first at the same time.
	order() uint64
}

type turn struct {
	at    schemas.Millis
	order uint64
	actor actor
}

func (t turn) before(o turn) bool {
	return t.at < o.at || t.at == o.at && t.order < o.order
}

// queue is a binary heap of turns. It is written out because the top is changed
// in place for every event, which container/heap does through an interface.
type queue []turn

func (q *queue) grow(n int) { *q = make(queue, 0, n+64) }

func (q *queue) push(at schemas.Millis, who actor) {
	*q = append(*q, turn{at: at, order: who.order(), actor: who})
	h := *q
	for i := len(h) - 1; i > 0; {
		parent := (i - 1) / 2
		if !h[i].before(h[parent]) {
			break
		}
		h[i], h[parent] = h[parent], h[i]
		i = parent
	}
}

// moveTop gives the first turn a later time.
func (q queue) moveTop(at schemas.Millis) {
	q[0].at = at
	q.sink()
}

func (q *queue) dropTop() {
	h := *q
	last := len(h) - 1
	h[0] = h[last]
	h[last] = turn{}
	*q = h[:last]
	q.sink()
}

func (q queue) sink() {
	for i := 0; ; {
		child := 2*i + 1
		if child >= len(q) {
			return
		}
		if child+1 < len(q) && q[child+1].before(q[child]) {
			child++
		}
		if !q[child].before(q[i]) {
			return
		}
		q[i], q[child] = q[child], q[i]
		i = child
	}
}
