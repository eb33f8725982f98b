package detector

import (
	"cmp"
	"container/heap"
	"fmt"
	"iter"
	"slices"

	"github.com/plumbline-sec/plumbline/detector/internal/wire"
	"github.com/plumbline-sec/plumbline/schemas"
)

// RestoreCuts returns a detector from the newest partition record and the newest
// record of every agent, which may come in any order. Its state is that of the
// last cut; all of it counts as confirmed. It goes on exactly as the one that was cut
// would have, with cfg in place of the config of then. Records that are corrupt or of
// a newer format are refused.
func RestoreCuts(cfg Config, sink Sink, partition []byte, agents iter.Seq[[]byte]) (*Detector, error) {
	d, err := New(cfg, sink)
	if err != nil {
		return nil, err
	}
	p := wire.Decoder(partition)
	d.code(p)
	if err := finished(p); err != nil {
		return nil, fmt.Errorf("restore: partition: %w", err)
	}
	n := 0
	for record := range agents {
		if err := d.restoreAgent(record); err != nil {
			return nil, fmt.Errorf("restore: agent %d: %w", n, err)
		}
		n++
	}
	if err := d.link(); err != nil {
		return nil, fmt.Errorf("restore: %w", err)
	}
	// Cut 1 is the one that everything here comes from.
	d.cutting.number, d.cutting.confirmed = 1, 1
	// Agents' records number signals and metrics as the partition record lists them: no
	// record of before may stand beside a partition record that lists others.
	d.cutting.whole = renumbered(d.order) || renumbered(d.places)
	return d, nil
}

// renumbered reports whether what a partition record lists has other numbers now; what
// comes behind the old ones is no reason.
func renumbered(now []int) bool {
	for i, n := range now {
		if n != i {
			return true
		}
	}
	return false
}

func finished(c *wire.Coder) error {
	if c.Err() == nil && len(c.Bytes()) > 0 {
		c.Fail("%d bytes too many", len(c.Bytes()))
	}
	return c.Err()
}

// restoreAgent takes one agent record.
func (d *Detector) restoreAgent(record []byte) error {
	c := wire.Decoder(record)
	a := &agent{}
	var tenantName, groupName string
	codeAgent(c, a, &tenantName, &groupName)
	reorder(&a.win.Max, d.order)
	reorder(&a.dayMax, d.order)
	a.profile.Metrics = placed(a.profile.Metrics, d.places, len(d.metrics))
	if err := finished(c); err != nil {
		return err
	}
	if r := a.registered; r != nil {
		if d.registry.of(tenantName, a.id) != nil {
			return fmt.Errorf("%w: registration of %.40q twice", wire.ErrCorrupt, a.id)
		}
		d.registry.add(r)
		d.cutting.registered = append(d.cutting.registered, r)
		if groupName == "" {
			return nil
		}
		r.agent = a
	}
	t, ok := d.byName[tenantName]
	if !ok {
		return fmt.Errorf("%w: of tenant %.40q, which is not there", wire.ErrCorrupt, tenantName)
	}
	if a.group, ok = t.byName[groupName]; ok {
		a.group.agents++
	} else {
		return fmt.Errorf("%w: of group %.40q, which is not there", wire.ErrCorrupt, groupName)
	}
	if d.index.find(t, a.id) != nil {
		return fmt.Errorf("%w: agent %.40q twice", wire.ErrCorrupt, a.id)
	}
	a.tenant = t
	a.policy = d.policyOf(a)
	if c.Version < 2 {
		a.due = schemas.Millis((a.win.Hour+1)*hourMillis + grace)
		a.firstDay = int64(a.born) / dayMillis
		a.calmDays, a.lastCalmDay = a.profile.Days, unsettled
		a.group.firstDay, t.firstDay = min(a.group.firstDay, a.firstDay), min(t.firstDay, a.firstDay)
	}
	d.room.Used += a.seen.Extra()
	d.index.add(a)
	d.agents++
	d.cutting.restore(a)
	push(a.listOf(), a)
	if a.id == swarmID {
		t.swarm = a
	}
	if a.own {
		t.ownEpisodes++
	}
	if a.checked != nil {
		for _, b := range a.checked.breaches {
			b.tenant, b.agent = t, a
			t.breaches = append(t.breaches, b)
			t.breached[b.offence]++
		}
	}
	return nil
}

// unsettled is the last day of an agent whose record, of format 1, does not know it.
const unsettled = -1

// link rebuilds what follows from the agents: the order of eviction, the queue of
// open windows, the heap of open episodes.
func (d *Detector) link() error {
	all := d.inOrder()
	for _, a := range all {
		unlink(a)
		if a.registered == nil {
			a.registered = d.registry.of(a.names())
		}
		if r := a.registered; r != nil && r.agent != a && a.tenant.name != floodTenant {
			return fmt.Errorf("%w: registration of %.40q beside it", wire.ErrCorrupt, a.id)
		}
	}
	for i, a := range all {
		if i > 0 && all[i-1].touched == a.touched || a.touched > d.touches {
			return fmt.Errorf("%w: agent %.40q out of order", wire.ErrCorrupt, a.id)
		}
		push(a.listOf(), a)
		if a.win.Open {
			a.tenant.windows.push(a)
			a.group.active++
		}
		a.group.silent += a.silent.missed()
		if a.episode != nil {
			a.tenant.open = append(a.tenant.open, a)
		}
		switch {
		case a.profile.Novelty.Vouches:
			a.group.peers.Vouching++
		case a.lastCalmDay == unsettled:
			a.lastCalmDay = int64(a.tenant.clock) / dayMillis
			if a.isPeer(a.lastCalmDay) {
				a.vouch()
			}
		}
		if a.isLate() {
			a.group.late++
		}
	}
	d.linkTenants()
	slices.SortFunc(all, func(a, b *agent) int { return cmp.Compare(a.silent.seq, b.silent.seq) })
	for _, a := range all {
		switch s := a.silent.seq; {
		case s == 0:
		case s > d.silenceSeq || a.win.Open:
			return fmt.Errorf("%w: agent %.40q is silent out of order", wire.ErrCorrupt, a.id)
		default:
			a.tenant.silents.push(a)
		}
	}
	return nil
}

// linkTenants rebuilds the orders of tenants.
func (d *Detector) linkTenants() {
	order := slices.Clone(d.tenants)
	slices.SortStableFunc(order, func(a, b *tenant) int { return cmp.Compare(a.used, b.used) })
	d.tenantsIn = [2]list[tenant]{}
	for _, t := range order {
		heap.Init(&t.open)
		for _, b := range t.crowds {
			b.tenant = t
			t.breaches = append(t.breaches, b)
		}
		heap.Init(&t.breaches)
		l := &d.tenantsIn[0]
		if t.settled {
			l = &d.tenantsIn[1]
		}
		push(l, t)
	}
	heap.Init(&d.bySize)
}
