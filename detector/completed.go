package detector

import (
	"math"
	"strings"

	"github.com/plumbline-sec/plumbline/detector/baseline"
	"github.com/plumbline-sec/plumbline/detector/signal"
	"github.com/plumbline-sec/plumbline/schemas"
)

// agentKind stands before the id of an agent that is told of among resources.
const agentKind = "agent:"

// completedBy describes the event that completes an alert; nil where none does: an hour
// without calls, a flood of names.
func (d *Detector) completedBy(ev *schemas.Activity, at schemas.Millis) *schemas.CompletedBy {
	if d.ctx.Ev == nil {
		return nil
	}
	return completed(ev, at, d.target(ev))
}

func completed(ev *schemas.Activity, at schemas.Millis, target string) *schemas.CompletedBy {
	c := &schemas.CompletedBy{
		EventID: text(ev.EventID), Time: at, Tool: text(ev.Tool), Access: text(ev.Access), Outcome: text(ev.Outcome),
		TargetAgentID: text(ev.TargetAgentID), BytesSent: ev.BytesSent, BytesReceived: ev.BytesReceived, Target: target,
	}
	for _, r := range ev.Resources[:min(len(ev.Resources), schemas.MaxEvidence)] {
		c.Resources = append(c.Resources, resource(r))
	}
	return c
}

// target is what an event is most about: the new thing that led, where one did; else its
// main thing.
func (d *Detector) target(ev *schemas.Activity) string {
	if it, ok := signal.Led(&d.ctx, d.signals[d.ranked[0].index]); ok && targetRank(&it, ev, false) > 0 {
		return resource(named(&it))
	}
	return resource(d.mainThing(ev))
}

// mainThing is where an event went, what it changed or what it read: the one to which all
// that it moves is put down. A place that is new stands before what is known, whatever an
// event names first. What a failed call names was its target too.
func (d *Detector) mainThing(ev *schemas.Activity) string {
	d.weighItems()
	best, rank, x := "", 0, 0.0
	for i := range d.items {
		it, at := &d.items[i], d.weights[i]
		if r := targetRank(it, ev, at > 0); r > rank || r > 0 && r == rank && at > x {
			best, rank, x = named(it), r, at
		}
	}
	if best == "" && len(ev.Resources) > 0 {
		best = ev.Resources[0]
	}
	if best == "" && ev.TargetAgentID != "" {
		best = agentKind + ev.TargetAgentID
	}
	return best
}

// weighItems says how rare each destination of the event is that is new, or lies at a new
// site; 0 of all else. What is new stands in the order of the items, and sites behind what
// lies at them.
func (d *Detector) weighItems() {
	d.weights = append(d.weights[:0], make([]float64, len(d.items))...)
	at, f := -1, 0
	for i := range d.items {
		it, x := &d.items[i], 0.0
		if f < len(d.newItems) && d.newItems[f].Item.Hash == it.Hash && d.newItems[f].Item.Kind == it.Kind {
			x = max(d.newItems[f].X, math.SmallestNonzeroFloat64)
			f++
		}
		switch it.Kind {
		case baseline.ItemDestination, baseline.ItemAgent:
			at, d.weights[i] = i, x
		case baseline.ItemSite:
			if at >= 0 && x > 0 {
				d.weights[at] = max(d.weights[at], siteFirst+x)
			}
		case baseline.ItemTool, baseline.ItemToolKind, baseline.ItemSource, baseline.ItemWrite, baseline.ItemStep, baseline.ItemNetwork,
			baseline.ItemCredential, baseline.ItemLent, baseline.ItemKinds:
		}
	}
}

// targetRank orders what may be a target; 0: nothing that can be one. A file that is sent
// stands behind where it is sent to, what attributes name behind what a call is about.
func targetRank(it *baseline.Item, ev *schemas.Activity, isNew bool) int {
	changes := ev.Access == schemas.AccessWrite || ev.Access == schemas.AccessDelete || ev.Access == schemas.AccessRead
	switch it.Kind {
	case baseline.ItemDestination:
		switch {
		case it.Attribute && (changes || !isNew):
			return 1
		case baseline.Outside(it.Kin) && isNew:
			return 7
		case baseline.Outside(it.Kin):
			return 6
		}
		return 4
	case baseline.ItemAgent:
		return 5
	case baseline.ItemWrite:
		return 3
	case baseline.ItemSource:
		return 2
	case baseline.ItemTool, baseline.ItemToolKind, baseline.ItemSite, baseline.ItemStep, baseline.ItemNetwork,
		baseline.ItemCredential, baseline.ItemLent, baseline.ItemKinds:
	}
	return 0
}

// named is a resource as the contract writes it, kind:id.
func named(it *baseline.Item) string {
	if it.Kind == baseline.ItemAgent || it.Attribute {
		return it.Kin + ":" + it.Name
	}
	return it.Name
}

// act is what the tags of an alert go by.
func (d *Detector) act(done *schemas.CompletedBy) *schemas.Act {
	if done == nil {
		return nil
	}
	kind, _, _ := strings.Cut(done.Target, ":")
	return &schemas.Act{Access: done.Access, Kind: strings.ToLower(kind)}
}
