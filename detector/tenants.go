package detector

import (
	"container/heap"
	"hash/maphash"
	"strings"
)

// A tenant costs memory, and its name is an attacker's to choose: there are at most
// Config.MaxTenants of them in a partition. One that has said nothing for a day gives way
// to a new one, first those without an agent that has a history. Where there is none,
// the agents of further tenants are held in one tenant that they share, until there is
// room: they are judged as newcomers are, and a flood of tenants is an alert.

// tenantHeap has the tenant with the most agents first, of two with as many the one that
// stands first in the list of all.
type tenantHeap []*tenant

func (h tenantHeap) Len() int { return len(h) }
func (h tenantHeap) Less(i, j int) bool {
	if a, b := h[i].size(), h[j].size(); a != b {
		return a > b
	}
	return h[i].at < h[j].at
}

func (h tenantHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].heapAt, h[j].heapAt = i, j
}

// Push adds a tenant; container/heap calls it.
func (h *tenantHeap) Push(x any) {
	t := x.(*tenant) //nolint:forcetypeassert // nothing else is pushed
	t.heapAt = len(*h)
	*h = append(*h, t)
}

// Pop removes the last tenant; container/heap calls it.
func (h *tenantHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return t
}

// use notes an event of the tenant.
func (d *Detector) use(t *tenant) {
	l := &d.tenantsIn[0]
	if t.settled = t.established.n > 0; t.settled {
		l = &d.tenantsIn[1]
	}
	if t.list == l && l.last == t {
		return
	}
	d.uses++
	t.used = d.uses
	unlink(t)
	push(l, t)
}

func (d *Detector) addTenant(name string) *tenant {
	t := newTenant(name, len(d.signals), len(d.metrics))
	t.hash = maphash.String(d.index.seed, name)
	t.at = len(d.tenants)
	d.uses++
	t.used = d.uses
	d.tenants = append(d.tenants, t)
	d.byName[name] = t
	push(&d.tenantsIn[0], t)
	heap.Push(&d.bySize, t)
	return t
}

// makeRoom forgets the longest unused of the young tenants, where it has said nothing for
// a day. false: there is no room for another one.
func (d *Detector) makeRoom() bool {
	if len(d.tenants) < d.cfg.MaxTenants {
		return true
	}
	for _, l := range d.tenantsIn {
		t := l.first
		if t != nil && t.name == floodTenant {
			t = t.next
		}
		if t != nil && t.last < d.watermark-dayMillis {
			d.forgetTenant(t)
			return true
		}
	}
	return false
}

func (d *Detector) forgetTenant(t *tenant) {
	for _, l := range []*list[agent]{&t.newcomers, &t.established} {
		for l.first != nil {
			d.forget(l.first)
		}
	}
	for len(t.breaches) > 0 { // those of the tenant itself
		d.endBreach(t.breaches[0], t.clock)
	}
	unlink(t)
	d.groups -= len(t.groups)
	heap.Remove(&d.bySize, t.heapAt)
	last := d.tenants[len(d.tenants)-1]
	d.tenants[t.at], last.at = last, t.at
	if last != t {
		heap.Fix(&d.bySize, last.heapAt)
	}
	d.tenants[len(d.tenants)-1] = nil
	d.tenants = d.tenants[:len(d.tenants)-1]
	delete(d.byName, t.name)
	if d.last == t {
		d.last = nil
	}
}

// sharedID is what an agent of a tenant without room is called among those that share one.
func sharedID(tenantID, agentID string) string { return tenantID + "/" + agentID }

// names are what the agent's tenant and the agent are called outside.
func (a *agent) names() (tenantID, agentID string) {
	if a.tenant.name != floodTenant {
		return a.tenant.name, a.id
	}
	tenantID, agentID, _ = strings.Cut(a.id, "/") // no tenant has a slash
	return tenantID, agentID
}
