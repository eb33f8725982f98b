package signal

import (
	"math"
	"slices"
	"strings"

	"github.com/plumbline-sec/plumbline/detector/baseline"
	"github.com/plumbline-sec/plumbline/schemas"
)

// The three signals of this file share their formula (baseline.Novelty.Rarity):
// how often a day an agent of this maturity is expected to touch something that
// is this new to it and this little known among its peers. Evidence is -log10 of
// that, per hundredth of a day: what happens a few times a day is weak evidence,
// not none. Unit: new items of the event.

// Evidence returns the evidence of an item's rarity.
func Evidence(r baseline.Rarity) float64 {
	return max(0, math.Log10(testsOfCalls/(r.PerDay*r.PeerDiscount)))
}

// novelty is what these signals share.
type novelty struct {
	info  Info
	verb  string
	kinds []baseline.ItemKind // that count
}

func (n *novelty) Info() Info { return n.info }

func (n *novelty) Score(c *Context) float64 { return strongest(c, n.kinds...) }

func (n *novelty) Explain(c *Context) Detail { return n.explain(c) }

func (n *novelty) newKinds() []baseline.ItemKind { return n.kinds }

const noveltyModel = "incidence of things this new to the agent and this little known to its peers, of a hundredth of a day"

// newTool: a tool that the agent has not used, or not on this kind of resource.
var newTool = novelty{
	info: Info{
		Name: schemas.SignalNewTool, Family: FamilyTool, Unit: "items", Weight: weightNewTool, TestsPerDay: testsOfCalls, Novelty: true, Leaves: true,
		Title: "Tool that this agent has not used before", Model: noveltyModel, File: "novelty.go",
	},
	verb:  "used",
	kinds: []baseline.ItemKind{baseline.ItemTool, baseline.ItemToolKind},
}

// newResource: a source that the agent has not read from.
type newResource struct{ novelty }

var novelResource = novelty{
	info: Info{
		Name: schemas.SignalNewResource, Family: FamilyResource, Unit: "items", Weight: weightNewResource, TestsPerDay: testsOfCalls, Novelty: true,
		Title: "Resource that this agent has not touched before", Model: noveltyModel, File: "novelty.go",
	},
	verb:  "touched",
	kinds: []baseline.ItemKind{baseline.ItemSource, baseline.ItemWrite},
}

func (*newResource) Close(c *Context) (Detail, bool) {
	return closeNew(c, float64(c.Win.NewResources), baseline.ItemSource)
}

// newDestination: somewhere that data can leave to and that the agent has not
// written or sent to. It is as unusual as the most unusual of the destination
// itself, the tool, and the tool on this kind of resource; a new use of a tool that
// goes to a destination which hardly any peer knows is as rare as both together, and
// so is a known tool called out of its usual order, or one that the peers have long had
// and this agent never used (baseline.Joint).
type newDestination struct{ novelty }

var novelDestination = novelty{
	info: Info{
		Name: schemas.SignalNewDestination, Family: FamilyResource, Unit: "items", Weight: weightNewDestination, TestsPerDay: testsOfCalls, Novelty: true, Leaves: true,
		Title: firstContact, Model: "incidence as of new_resource, jointly with a new tool or a step out of order", File: "novelty.go",
	},
	verb:  "reached",
	kinds: []baseline.ItemKind{baseline.ItemDestination, baseline.ItemSite, baseline.ItemAgent, baseline.ItemTool, baseline.ItemToolKind},
}

func (*newDestination) Score(c *Context) float64 {
	if !c.LeavesHouse {
		return 0
	}
	x := strongest(c, baseline.ItemTool, baseline.ItemToolKind)
	share, usual := 1.0, true // most peers know the tool and where it goes
	for i := range c.NewItems {
		f := &c.NewItems[i]
		place := f.Item.Kind == baseline.ItemDestination || f.Item.Kind == baseline.ItemSite
		if place {
			share = min(share, f.Rarity.PeerShare)
		}
		if place || f.Item.Kind == baseline.ItemTool {
			usual = usual && f.Rarity.PeersKnowing > 0 && usualPart*f.Rarity.PeersKnowing >= f.Rarity.PeerCount
		}
	}
	if x > 0 {
		x -= math.Log10(share)
	}
	if usual && has(c, baseline.ItemTool) {
		return x // that the place is new too says no more
	}
	leaf := strongest(c, baseline.ItemDestination)
	if !has(c, baseline.ItemSite) {
		leaf -= nearby
	}
	x = max(x, leaf, strongest(c, baseline.ItemSite), strongest(c, baseline.ItemAgent)-nearby)
	if x > 0 && c.Young && reaches(c) {
		// To the young every place is new: how much it is sent says whether it should be.
		x += max(0, volume{out: true}.callTail(c, c.SentCall.Size)-usualSize)
	}
	switch {
	case x <= 0 || c.StepChance <= 0:
	case offCourse(c):
		x -= math.Log10(c.Peers.Joint(c.StepChance))
	case borrowed(c):
		x += min(-math.Log10(c.Peers.Joint(c.StepChance)), mostBorrowed)
	}
	return x
}

// reaches reports whether the event touches a place that is new to the agent.
func reaches(c *Context) bool {
	for i := range c.NewItems {
		if c.NewItems[i].Item.Kind.Place() {
			return true
		}
	}
	return false
}

// borrowed reports whether the event's tool is new to the agent, while a quarter of its
// peers or more have used it, and not only of late: nobody is giving it to all of them.
func borrowed(c *Context) bool {
	for i := range c.NewItems {
		if f := &c.NewItems[i]; f.Item.Kind == baseline.ItemTool {
			return f.Rarity.PeersKnowing > 0 && borrowedPart*f.Rarity.PeersKnowing >= f.Rarity.PeerCount && !f.Rarity.RollingOut
		}
	}
	return false
}

func has(c *Context, kind baseline.ItemKind) bool {
	for i := range c.NewItems {
		if c.NewItems[i].Item.Kind == kind {
			return true
		}
	}
	return false
}

func (s *newDestination) Explain(c *Context) Detail {
	d := s.explain(c)
	switch {
	case offCourse(c):
		d.Also = SubjectStep
		d.Text += ", and called tool " + Quote(c.Ev.Tool) + stepText(c) + ", as it never did"
	case borrowed(c) && d.Subject != SubjectTool:
		d.Text += ", with tool " + Quote(c.Ev.Tool) + ", which peers have long used and it never has"
	}
	return d
}

func (*newDestination) Close(c *Context) (Detail, bool) {
	return closeNew(c, float64(c.Win.NewDestinations), baseline.ItemDestination)
}

func strongest(c *Context, kinds ...baseline.ItemKind) float64 {
	x := 0.0
	for i := range c.NewItems {
		if slices.Contains(kinds, c.NewItems[i].Item.Kind) {
			x = max(x, c.NewItems[i].X)
		}
	}
	return x
}

func (n *novelty) Observe(c *Context) Detail {
	kinds := n.kinds
	sessions := float64(c.Own.Novelty.Sessions)
	d := Detail{Start: c.At, Samples: sessions, Baseline: c.whose(sessions)}
	for i := range c.NewItems {
		if slices.Contains(kinds, c.NewItems[i].Item.Kind) {
			d.Observed++
			d.Expected += c.NewItems[i].Rarity.Incidence
		}
	}
	if i := leading(c, kinds); i >= 0 {
		d.LedBy = ledBy(c, c.NewItems[i].Item)
	}
	d.High = d.Expected
	return d
}

// leading is the number of the new thing that is told of; -1: there is none.
func leading(c *Context, kinds []baseline.ItemKind) int {
	best := -1
	newTool := slices.Contains(kinds, baseline.ItemTool) && has(c, baseline.ItemTool)
	for i := range c.NewItems {
		f := &c.NewItems[i]
		if newTool && f.Item.Kind == baseline.ItemSite && ledBy(c, f.Item) == schemas.LedByStore {
			continue // where a new tool keeps its data is no other thing than the tool
		}
		if slices.Contains(kinds, f.Item.Kind) && (best < 0 || tellingRank(c, f) > tellingRank(c, &c.NewItems[best])) {
			best = i
		}
	}
	return best
}

func ledBy(c *Context, it baseline.Item) string {
	switch it.Kind {
	case baseline.ItemTool:
		return schemas.LedByTool
	case baseline.ItemToolKind:
		return schemas.LedByToolUse
	case baseline.ItemSource:
		return schemas.LedByResource
	case baseline.ItemWrite:
		return schemas.LedByStore
	case baseline.ItemAgent:
		return schemas.LedByAgent
	case baseline.ItemStep:
		return schemas.LedBySequence
	case baseline.ItemNetwork:
		return schemas.LedByNetwork
	case baseline.ItemCredential, baseline.ItemLent:
		return schemas.LedByCredential
	case baseline.ItemSite:
		if !baseline.Outside(it.Kin) && c.Ev.Access != schemas.AccessSend {
			return schemas.LedByStore
		}
	case baseline.ItemDestination, baseline.ItemKinds:
	}
	return schemas.LedByDestination
}

// Led returns the new thing that leads a signal of novelty.
func Led(c *Context, s Signal) (it baseline.Item, ok bool) {
	n, ok := s.(interface{ newKinds() []baseline.ItemKind })
	if !ok {
		return it, false
	}
	i := leading(c, n.newKinds())
	if i < 0 {
		return it, false
	}
	return named(c, c.NewItems[i].Item), true
}

const firstContact = "First contact with a destination"

// title is that of an alert which a new thing of a kind leads; again: it was touched before.
func title(c *Context, led string, again bool) string {
	t := titles[led]
	switch {
	case again && t != "":
		return againTitles[led]
	case t == firstContact && !has(c, baseline.ItemSite):
		return "New address at a destination that this agent knows"
	}
	return t
}

var againTitles = map[string]string{
	schemas.LedByDestination: "Destination still new to this agent",
	schemas.LedByStore:       "Place to write to still new to this agent",
	schemas.LedByAgent:       "Other agent still new to this agent",
	schemas.LedByTool:        "Tool still new to this agent",
	schemas.LedByToolUse:     "Tool on a kind of resource still new to this agent",
	schemas.LedByNetwork:     "Network still new to this agent",
	schemas.LedByCredential:  "Credential still new to this agent",
}

// titles are of alerts that a new thing of this kind leads.
var titles = map[string]string{
	schemas.LedByDestination: firstContact,
	schemas.LedByStore:       "First write to a place new to this agent",
	schemas.LedByAgent:       "First contact with another agent",
	schemas.LedByTool:        "Tool that this agent has not used before",
	schemas.LedByToolUse:     "Tool used on a kind of resource new to this agent",
	schemas.LedByNetwork:     "Agent acts from a network that is new to it",
	schemas.LedByCredential:  "Agent uses a credential that is new to it",
}

func (n *novelty) explain(c *Context) Detail {
	d, verb, kinds := n.Observe(c), n.verb, n.kinds
	best := leading(c, kinds)
	if best < 0 {
		return d
	}
	d.Title = title(c, d.LedBy, c.NewItems[best].Since > 0)
	for i := range c.NewItems {
		if it := c.NewItems[i].Item; slices.Contains(kinds, it.Kind) && len(d.FirstSeen) < schemas.MaxEvidence {
			d.FirstSeen = append(d.FirstSeen, itemName(it))
		}
	}
	f := &c.NewItems[best]
	if d.LedBy == schemas.LedByStore {
		verb = "wrote to"
	}
	d.Text, d.NamesTarget = verbOf(c, verb, named(c, f.Item))
	switch f.Item.Kind {
	case baseline.ItemStep:
		d.Text += stepText(c)
		d.Subject = SubjectStep
	case baseline.ItemTool, baseline.ItemToolKind:
		d.Subject = SubjectTool
	case baseline.ItemLent:
		d.Text += ", which another agent is known to have"
	case baseline.ItemSource, baseline.ItemWrite, baseline.ItemDestination, baseline.ItemAgent, baseline.ItemSite, baseline.ItemNetwork,
		baseline.ItemCredential, baseline.ItemKinds:
	}
	if f.Since > 0 {
		d.Text += ", new to it since " + clock(f.Since, c.now())
		return d
	}
	d.Text += firstTimeFor(f.Rarity)
	return d
}

// tellingRank is what an explanation goes by: where data went is asked first, and named unless
// how it went is rarer by more than a decade.
func tellingRank(c *Context, f *NewItem) float64 {
	switch {
	case !f.Item.Kind.Place() || ledBy(c, f.Item) == schemas.LedByStore:
		return f.X
	case f.Item.Kind == baseline.ItemSite:
		return f.X + tellSite
	}
	return f.X + tellPlace
}

// named returns the destination that lies at a new site: it stands before it.
func named(c *Context, it baseline.Item) baseline.Item {
	if it.Kind != baseline.ItemSite {
		return it
	}
	last := it
	for i := range c.NewItems {
		switch o := c.NewItems[i].Item; {
		case o.Kind == baseline.ItemDestination && o.Kin == it.Kin:
			last = o
		case o.Kind == baseline.ItemSite && o.Hash == it.Hash:
			return last
		}
	}
	return it
}

// at names the resource on which a tool was used for the first time.
func at(c *Context, it baseline.Item) string {
	if kind, _, ok := strings.Cut(c.Target, ":"); ok && strings.EqualFold(kind, it.Kin) {
		return " (" + Quote(c.Target) + ")"
	}
	return ""
}

// verbOf says what was done to a new thing, and whether that names the event's target. One
// that was named before is "that place".
func verbOf(c *Context, verb string, it baseline.Item) (text string, target bool) {
	name := Quote(it.Name)
	switch it.Kind {
	case baseline.ItemStep:
		return verb + " tool " + name, false
	case baseline.ItemTool:
		return "used tool " + name, false
	case baseline.ItemToolKind:
		return "used tool " + name + " on " + Quote(it.Kin) + at(c, it), false
	case baseline.ItemSite:
		if it.Kin == "url" {
			it.Kin = "host"
		}
		return verb + " " + Quote(siteName(it)), false
	case baseline.ItemAgent:
		return "contacted agent " + name, false
	case baseline.ItemNetwork:
		return "acted from network " + Quote(NetworkName(it)), false
	case baseline.ItemCredential, baseline.ItemLent:
		return "used credential " + name, false
	case baseline.ItemSource, baseline.ItemWrite, baseline.ItemDestination, baseline.ItemKinds:
	}
	if target = name == Quote(c.Target); target && c.TargetNamed {
		name = "that place"
	}
	return verb + " " + name, target
}

// siteName names a site as people would: a host, a mail domain, a bucket.
func siteName(it baseline.Item) string {
	switch {
	case it.Name == "":
		return it.Kin
	case it.Kin == "email":
		return "mail domain " + it.Name
	}
	return it.Kin + " " + it.Name
}

func itemName(it baseline.Item) string {
	switch it.Kind {
	case baseline.ItemTool:
		return "tool:" + it.Name
	case baseline.ItemToolKind:
		return "tool:" + it.Name + " on " + it.Kin
	case baseline.ItemSite:
		return siteName(it)
	case baseline.ItemNetwork:
		return NetworkName(it)
	case baseline.ItemSource, baseline.ItemWrite, baseline.ItemDestination, baseline.ItemAgent, baseline.ItemStep, baseline.ItemCredential,
		baseline.ItemLent, baseline.ItemKinds:
	}
	return strings.Clone(it.Name)
}

// firstTimeFor says for whom it is the first time.
func firstTimeFor(r baseline.Rarity) string {
	others := float64(r.PeerCount)
	switch {
	case others < 1:
		return ", for the first time"
	case r.PeersKnowing == 0:
		return ", the first time for it or any of its " + Plural(others, "peer", "peers")
	default:
		return ", its first time; long known to " + Count(float64(r.PeersKnowing)) + " of its " + Plural(others, "peer", "peers")
	}
}

func closeNew(c *Context, n float64, kind baseline.ItemKind) (Detail, bool) {
	if n == 0 {
		return Detail{}, false
	}
	return Detail{
		Observed: n, Expected: c.Own.Novelty.NewPerDay(kind) / 24,
		Start: c.hour(), Seconds: hourSeconds, Samples: float64(c.Own.Novelty.Sessions),
	}, true
}
