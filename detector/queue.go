package detector

import "github.com/plumbline-sec/plumbline/detector/internal/prefetch"

// agentQueue holds agents in the order in which something of theirs is due. An entry
// counts as long as the agent has the ticket with which it was pushed; one whose
// agent has another since, or is gone, is passed over.
type agentQueue struct {
	ticket func(*agent) uint64 // 0: nothing is due
	ring   []queued
	head   int
}

type queued struct {
	agent  *agent
	ticket uint64
}

func (q *agentQueue) push(a *agent) { q.ring = append(q.ring, queued{a, q.ticket(a)}) }

// front returns the agent that is due first, nil where there is none.
func (q *agentQueue) front() *agent {
	for q.head < len(q.ring) {
		e := q.ring[q.head]
		if e.agent.tenant != nil && q.ticket(e.agent) == e.ticket {
			return e.agent
		}
		q.pop()
	}
	return nil
}

func (q *agentQueue) pop() {
	q.ring[q.head] = queued{}
	q.head++
	if ahead := q.head + queueLead; ahead < len(q.ring) {
		prefetch.Value(q.ring[ahead].agent)
	}
	// Half of the slice is empty: move the rest to its beginning.
	if q.head > 1024 && q.head*2 > len(q.ring) {
		n := copy(q.ring, q.ring[q.head:])
		clear(q.ring[n:])
		q.ring, q.head = q.ring[:n], 0
	}
}

// queueLead is how many agents ahead of its turn one is fetched into the caches.
const queueLead = 2

// openWindows is the ticket of the queue of open windows, the oldest first.
func openWindows(a *agent) uint64 {
	if !a.win.Open {
		return 0
	}
	return a.touched
}

// silences is the ticket of the queue of silent agents, by the end of their next hour.
func silences(a *agent) uint64 { return a.silent.seq }
