package detector

import (
	"cmp"
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
	c := &schemas.CompletedBy{
		EventID: text(ev.EventID), Time: at, Tool: text(ev.Tool), Access: text(ev.Access), Outcome: text(ev.Outcome),
		TargetAgentID: text(ev.TargetAgentID), BytesSent: ev.BytesSent, BytesReceived: ev.BytesReceived, Target: d.target(ev),
	}
	for _, r := range ev.Resources[:min(len(ev.Resources), schemas.MaxEvidence)] {
		c.Resources = append(c.Resources, resource(r))
	}
	return c
}

// target is what an event is most about: the new thing that led, where one did; else
// where it went, what it changed or what it read, the first of each; else the agent that it
// was for. What a failed call names was its target too.
func (d *Detector) target(ev *schemas.Activity) string {
	if it, ok := signal.Led(&d.ctx, d.names[d.ranked[0].index]); ok && targetRank(&it) > 0 {
		return resource(named(&it))
	}
	return resource(d.usualTarget(ev))
}

// usualTarget is what an event is most about, whatever of it is new.
func (d *Detector) usualTarget(ev *schemas.Activity) string {
	best, rank := "", 0
	for i := range d.items {
		if r := targetRank(&d.items[i]); r > rank {
			best, rank = named(&d.items[i]), r
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

// targetRank orders what may be a target, a file that is sent behind where it is sent to; 0:
// nothing that can be one.
func targetRank(it *baseline.Item) int {
	switch it.Kind {
	case baseline.ItemDestination:
		if baseline.Outside(it.Kin) {
			return 5
		}
		return 3
	case baseline.ItemAgent:
		return 4
	case baseline.ItemWrite:
		return 2
	case baseline.ItemSource:
		return 1
	case baseline.ItemTool, baseline.ItemToolKind, baseline.ItemSite, baseline.ItemStep, baseline.ItemKinds:
	}
	return 0
}

// named is a resource as the contract writes it, kind:id.
func named(it *baseline.Item) string {
	if it.Kind == baseline.ItemAgent || !strings.HasPrefix(it.Name, it.Kin+":") && it.Kin == "url" {
		return it.Kin + ":" + it.Name
	}
	return it.Name
}

// act is what the tags of an alert go by.
func (d *Detector) act(done *schemas.CompletedBy) *schemas.Act {
	if done == nil {
		return nil
	}
	kind, _, ok := strings.Cut(done.Target, ":")
	if !ok {
		kind = cmp.Or(done.Target, "")
	}
	return &schemas.Act{Access: done.Access, Kind: strings.ToLower(kind)}
}
