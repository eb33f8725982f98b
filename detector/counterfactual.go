package detector

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/plumbline-sec/plumbline/detector/baseline"
	"github.com/plumbline-sec/plumbline/detector/signal"
	"github.com/plumbline-sec/plumbline/schemas"
)

// counterfactual says what would have stayed silent: for each signal that crosses by
// itself the largest value that does not, the others that don't as they are.
func (d *Detector) counterfactual(a *agent) string {
	pair, class, p := a.group.pair(a.tenant), classOf(d.ctx.Young), a.policy
	crosses := func(evidence float64) bool {
		return p.budget.Crossed(a.tenant.steer(-math.Log10(pair.Fused(class, max(evidence, minFused))), p.budget))
	}
	n := 1 // ranked by evidence: those that cross stand first
	for n < len(d.ranked) && crosses(d.ranked[n].evidence) {
		n++
	}
	rest := math.Inf(-1)
	if n < len(d.ranked) {
		rest = d.ranked[n].evidence
	}
	var all []string
	for _, r := range d.ranked[:n] {
		if one := d.without(a, r, rest); !slices.Contains(all, one) {
			all = append(all, one)
		}
	}
	if len(all) < 2 {
		return all[0]
	}
	return strings.Join(all[:len(all)-1], ", ") + ", and " + all[len(all)-1]
}

// without says with what value of one signal, the rest of them having this evidence, there
// would have been no alert.
func (d *Detector) without(a *agent, top rankedSignal, rest float64) string {
	c, pair := &d.ctx, a.group.pair(a.tenant)
	class, p := classOf(c.Young), a.policy
	s := d.signals[top.index]
	if c.Flood.What != "" {
		return "fewer new " + c.Flood.What + " in this hour"
	}
	if c.Silence.Hours > 0 {
		return "a call in these hours"
	}
	tailed, ok := s.(signal.Tailed)
	switch {
	case d.names[top.index] == schemas.SignalToolSequence:
		return "had this agent called its tools in this order before"
	case d.infos[top.index].Novelty:
		return withoutNewItem(c, s)
	case !ok:
		return "had it stayed near " + signal.Count(s.Observe(c).Expected) + " " + d.infos[top.index].Unit + " in such an hour"
	}
	silent := func(v float64) bool {
		if !p.reachesMinimum(top.index, v) {
			return true
		}
		lambda := d.lambda(pair, top.index, class, tailed.Tail(c, v))
		y := max(rest, p.fuse.Evidence(top.index, lambda), minFused)
		return !p.budget.Crossed(a.tenant.steer(-math.Log10(pair.Fused(class, y)), p.budget))
	}
	det := s.Observe(c)
	low, high := 0.0, det.Observed
	for range bisections {
		mid := low + (high-low)/2
		if silent(mid) {
			low = mid
		} else {
			high = mid
		}
	}
	when := "in this hour"
	switch {
	case det.Seconds == 0:
		when = "in this call"
	case det.Seconds > 3600:
		when = "over the last day"
	}
	info := &d.infos[top.index]
	if info.Unit == "bytes" {
		return "under " + signal.BytesDown(min(high, det.Observed)) + " " + when
	}
	return "up to " + signal.Count(min(math.Floor(low), math.Ceil(det.Observed)-1)) + " " + cmp.Or(info.Counted, info.Unit) + " " + when
}

// withoutNewItem is the counterfactual of novelty: what led the signal.
func withoutNewItem(c *signal.Context, by signal.Signal) string {
	it, _ := signal.Led(c, by)
	name := signal.Quote(text(it.Name))
	if it.Kind == baseline.ItemDestination { // all of them would have to be known
		all := []string{name}
		for i := range c.NewItems {
			if o := &c.NewItems[i].Item; o.Kind == baseline.ItemDestination && o.Hash != it.Hash {
				all = append(all, signal.Quote(text(o.Name)))
			}
		}
		if more := len(all) - 3; more > 0 {
			all = append(all[:3], signal.Plural(float64(more), "other", "others"))
		}
		name = strings.Join(all, " and ")
	}
	switch it.Kind {
	case baseline.ItemTool:
		name = "tool " + name
	case baseline.ItemToolKind:
		name = "tool " + name + " on " + signal.Quote(text(it.Kin))
	case baseline.ItemSite:
		name = strings.TrimSpace(it.Kin + " " + text(it.Name))
	case baseline.ItemAgent:
		return "had this agent contacted agent " + name + " before"
	case baseline.ItemNetwork:
		return "had this agent acted from network " + signal.Quote(signal.NetworkName(it)) + " before"
	case baseline.ItemCredential, baseline.ItemLent:
		name = "credential " + name
	case baseline.ItemSource, baseline.ItemWrite, baseline.ItemDestination, baseline.ItemStep, baseline.ItemKinds:
	}
	return "had this agent used " + name + " before"
}
