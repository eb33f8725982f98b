package detector

import (
	"cmp"
	"math"
	"slices"

	"github.com/plumbline-sec/plumbline/detector/baseline"
	"github.com/plumbline-sec/plumbline/detector/score"
	"github.com/plumbline-sec/plumbline/detector/signal"
	"github.com/plumbline-sec/plumbline/schemas"
)

// rankedSignal is a signal that has something to say of the event at hand.
type rankedSignal struct {
	index    int
	x        float64 // evidence
	lambda   float64 // calibrated exceedances per agent-day
	evidence float64 // -log10 of lambda over its share of the budget
}

func newWindow(a *agent, hour int64) baseline.Window {
	w := baseline.Window{Open: true, Hour: hour, Surprise: score.Floor, InEpisode: a.alerted(), Fused: noFused}
	w.Expect(&a.profile, a.group.peers)
	return w
}

// gather counts the event into its window and looks up what signals need of it.
func (d *Detector) gather(a *agent, ev *schemas.Activity, at schemas.Millis, late, reused bool) {
	c, p, w := &d.ctx, &a.profile, &a.win
	hour := int64(at) / hourMillis
	d.touch(a, ev, at)
	c.Win, c.Late, c.Irregular = w, late, ev.Flags.Malformed() || reused
	c.LateTogether = late && a.group.lateTogether(a)
	count(w, ev, at, c.Irregular)
	d.measure(a, ev, hour)
	session := baseline.Hash(2, ev.SessionID)
	if ev.SessionID == "" {
		session = baseline.Mix(uint64(hour))
	}
	place, first := p.Novelty.Session(session)
	if first {
		w.Sessions++
	}
	toolKnown := false
	for i := range d.items {
		if d.items[i].Kind.Origin() {
			d.lookUpOrigin(a, &d.items[i], session, at)
			continue
		}
		if known := d.lookUp(a, &d.items[i], session, hour); d.items[i].Kind == baseline.ItemTool {
			toolKnown = known
		}
	}
	if cut := ev.ResourceCount() - len(ev.Resources); cut > 0 && ev.Succeeded() {
		w.Resources += uint64(cut)
		if len(d.newItems) > 0 {
			w.NewResources += uint64(cut)
		}
	}
	if ev.Tool != "" && ev.Succeeded() {
		d.step(a, place, session, toolKnown)
	}
	c.NewItems = d.newItems
}

// gatherRepeated looks up what an event that came before touches and moves by itself. What was
// learnt from it then is known; nothing is counted.
func (d *Detector) gatherRepeated(a *agent, ev *schemas.Activity, at schemas.Millis) {
	c, n := &d.ctx, &a.profile.Novelty
	d.touch(a, ev, at)
	for i := range d.items {
		it := &d.items[i]
		c.LeavesHouse = c.LeavesHouse || it.Kind.Place()
		if it.Kind.Origin() {
			if n.Held(it.Kind, it.Hash) != nil {
				continue
			}
			a.lend(it)
			c.NewOrigin = true
		} else if n.Known.Has(it.Hash) || n.Pending(it.Hash) {
			continue
		}
		r := n.Rarity(c.Peers, it.Kind, it.Hash, c.Tool, c.Young, int64(a.tenant.clock))
		d.newItems = append(d.newItems, signal.NewItem{Item: *it, Rarity: r, X: signal.Evidence(r)})
	}
	c.NewItems = d.newItems
}

// touch begins the context of an event: what it touches, and what it moves.
func (d *Detector) touch(a *agent, ev *schemas.Activity, at schemas.Millis) {
	c, p, peers := &d.ctx, &a.profile, a.group.peers
	*c = signal.Context{Ev: ev, At: at, Born: a.born, Own: p, Peers: peers, Young: p.Young(int64(at) / hourMillis)}
	d.items, d.newItems = baseline.AppendItems(d.items[:0], baseline.Touch{
		Tool: ev.Tool, Access: ev.Access, Target: ev.TargetAgentID, Resources: ev.Resources, Attributes: ev.Attributes,
		Failed: !ev.Succeeded(),
	}), d.newItems[:0]
	if ev.SourceIP != "" || ev.CredentialID != "" {
		d.items = baseline.AppendOrigin(d.items, ev.SourceIP, ev.CredentialID)
	}
	if ev.Tool != "" {
		c.Tool = peers.Tools.Get(baseline.ToolHash(ev.Tool))
	}
	sent, received := peers.Tools.Offsets(c.Tool)
	c.SentCall, c.ReceivedCall = baseline.CallOf(ev.BytesSent, sent), baseline.CallOf(ev.BytesReceived, received)
	c.Sent, c.Received = p.Sent.At(&peers.Sent), p.Received.At(&peers.Received)
}

// step looks at the order in which a session calls its tools; the event's stands
// first among its items.
func (d *Detector) step(a *agent, place int, session uint64, toolKnown bool) {
	c, n := &d.ctx, &a.profile.Novelty
	if len(d.items) == 0 || d.items[0].Kind != baseline.ItemTool {
		return
	}
	step, before := n.Runs.Step(place, d.items[0].Hash)
	taken, first := n.Steps.Use(step), n.First(session, step)
	if taken && first {
		n.Learn(c.Peers, baseline.ItemStep, c.Tool, c.Young, baseline.NoveltyWeight{}, 0)
	}
	if taken && len(d.newItems) == 0 {
		return
	}
	r := n.Rarity(c.Peers, baseline.ItemStep, step, c.Tool, c.Young, int64(a.tenant.clock))
	c.Before, c.StepChance = before, r.Incidence
	if taken {
		return
	}
	f := signal.NewItem{Item: baseline.Item{Kind: baseline.ItemStep, Hash: step, Name: d.items[0].Name}, Rarity: r}
	if toolKnown { // that the tool is new says it all
		f.X = signal.Evidence(r)
	}
	d.newItems = append(d.newItems, f)
}

func count(w *baseline.Window, ev *schemas.Activity, at schemas.Millis, irregular bool) {
	if w.Events == 0 {
		w.First = int64(at)
	}
	w.Last = max(w.Last, int64(at))
	w.Events++
	switch ev.Outcome {
	case schemas.OutcomeFailure:
		w.Failures++
	case schemas.OutcomeDenied:
		w.Denied++
	}
	if irregular {
		w.Malformed++
	}
	w.Sent += ev.BytesSent
	w.Received += ev.BytesReceived
	if ev.BytesSent > 0 {
		w.SentCalls++
	}
	if ev.BytesReceived > 0 {
		w.ReceivedCalls++
	}
}

// lookUp looks one item up: known, or new and how unusual.
func (d *Detector) lookUp(a *agent, it *baseline.Item, session uint64, hour int64) (known bool) {
	c, n, w := &d.ctx, &a.profile.Novelty, &a.win
	if it.Kind.Place() {
		c.LeavesHouse = true
	}
	known, first := n.Known.Use(it.Hash, hour)
	again := !n.First(session, it.Hash)
	if known {
		if first {
			tally(w, it.Kind)
		}
		if !again {
			n.Learn(c.Peers, it.Kind, c.Tool, c.Young, baseline.NoveltyWeight{}, 0)
		}
		return true
	}
	if again {
		return false
	}
	if !n.Pending(it.Hash) {
		tally(w, it.Kind)
		switch _, resource, destination := it.Kind.Counted(); {
		case resource:
			w.NewResources++
		case destination:
			w.NewDestinations++
		}
	}
	r := n.Rarity(c.Peers, it.Kind, it.Hash, c.Tool, c.Young, int64(a.tenant.clock))
	d.newItems = append(d.newItems, signal.NewItem{Item: *it, Rarity: r, X: signal.Evidence(r), Since: schemas.Millis(n.Since(it.Hash))})
	return false
}

// lookUpOrigin looks up from where the agent acts, or by which credential.

func (d *Detector) lookUpOrigin(a *agent, it *baseline.Item, session uint64, at schemas.Millis) {
	c, n, now := &d.ctx, &a.profile.Novelty, int64(a.tenant.clock)
	o := n.Held(it.Kind, it.Hash)
	if o == nil && !n.Had(it.Kind) { // everybody begins somewhere
		o = n.Hold(it.Kind, it.Hash, int64(at)-baseline.Probation)
	}
	since := schemas.Millis(0)
	if o != nil {
		again := o.Session == session
		o.Session = session
		if o.Known(int64(at)) {
			if !again {
				n.LearnOrigin(c.Peers, it.Kind, 0, 0)
			}
			if n.Vouches && !o.Counted {
				o.Counted = true
				c.Peers.Learnt(it.Hash, now)
				if it.Kind == baseline.ItemCredential {
					a.tenant.fleet.Learnt(it.Hash, now)
				}
			}
			return
		}
		if again {
			return
		}
		since = schemas.Millis(o.First)
	}
	a.lend(it)
	r := n.Rarity(c.Peers, it.Kind, it.Hash, c.Tool, c.Young, now)

	d.newItems = append(d.newItems, signal.NewItem{Item: *it, Rarity: r, X: signal.Evidence(r), Since: since})
	c.NewOrigin = true
}

// learnOrigin takes an origin that is new to the agent.
func (d *Detector) learnOrigin(a *agent, f *signal.NewItem, at schemas.Millis, weight float64) {
	c, n := &d.ctx, &a.profile.Novelty
	if n.Held(f.Item.Kind, f.Item.Hash) != nil {
		return // counted when it was first used
	}
	n.Hold(f.Item.Kind, f.Item.Hash, int64(at))
	n.LearnOrigin(c.Peers, f.Item.Kind, weight, f.Rarity.PeersKnowing)
}

// lend marks a credential that is new to the agent, and that another one has: of one group,
// or of another one of its tenant.
func (a *agent) lend(it *baseline.Item) {
	if it.Kind == baseline.ItemCredential && (a.group.peers.DocFreq.Count(it.Hash) > 0 || a.tenant.fleet.DocFreq.Count(it.Hash) > 0) {
		it.Kind = baseline.ItemLent
	}
}

func tally(w *baseline.Window, kind baseline.ItemKind) {
	switch tool, resource, destination := kind.Counted(); {
	case tool:
		w.Tools++
	case resource || destination:
		w.Resources++
	}
}

// judge scores the event and raises what alerts follow from it.
func (d *Detector) judge(a *agent, ev *schemas.Activity, at schemas.Millis, repeated bool) Verdict {
	c, w := &d.ctx, &a.win
	pair, class, p := a.group.pair(a.tenant), classOf(c.Young), a.policy
	d.ranked, d.moved, d.addedTo, d.repeats = d.ranked[:0], false, nil, repeated
	switch {
	case repeated: // counted when it first came
	case a.episode != nil:
		d.addedTo = a.episode
	case a.alerted():
		d.cutting.change(a.tenant.swarm)
		d.addedTo = a.tenant.swarm.episode
	}
	if d.addedTo != nil {
		d.moved = d.addedTo.add(d, ev)
	}
	y := math.Inf(-1)
	for i := 0; i < len(d.signals); i++ {
		if i == d.origins && !c.NewOrigin { // the two of origins stand behind each other
			i++
			continue
		}
		if !p.fuse.On(i) {
			continue
		}
		s := d.signals[i]
		x := s.Score(c)
		if x <= 0 || p.minimum != nil && !p.reachesMinimum(i, s.Observe(c).Observed) {
			continue
		}
		lambda := d.lambda(pair, i, class, x)
		if lambda >= score.NoEvidence {
			continue
		}
		if w.Open {
			w.Max[i] = max(w.Max[i], float32(x))
		}
		r := rankedSignal{i, x, lambda, p.fuse.Evidence(i, lambda)}
		y = max(y, r.evidence)
		d.ranked = append(d.ranked, r)
	}
	if len(d.ranked) == 0 {
		return Verdict{Surprise: score.Floor, Score: p.budget.Score(score.Floor)}
	}
	slices.SortStableFunc(d.ranked, func(a, b rankedSignal) int { return cmp.Compare(b.evidence, a.evidence) })
	lambda := pair.Fused(class, y)
	d.fused = fusedRung{y, lambda, -math.Log10(lambda)}
	surprise := max(a.tenant.steer(d.fused.surprise, p.budget), score.Floor)
	if w.Open {
		w.Fused = max(w.Fused, float32(y))
		w.Surprise = max(w.Surprise, surprise)
	}
	v := Verdict{Surprise: surprise, Score: p.budget.Score(surprise)}
	if p.budget.Crossed(surprise) {
		w.Crossings++
		d.cross(d.folds(a), a, ev, at, v)
	}
	v.Signals = d.contributions()
	return v
}

func (d *Detector) contributions() []schemas.AlertSignal {
	d.out = d.out[:0]
	for _, r := range d.ranked {
		if r.lambda > contributes {
			continue
		}
		det := d.signals[r.index].Observe(&d.ctx)
		d.out = append(d.out, d.alertSignal(r, det))
	}
	if len(d.out) == 0 {
		return nil
	}
	return d.out
}

func (d *Detector) alertSignal(r rankedSignal, det signal.Detail) schemas.AlertSignal {
	return schemas.AlertSignal{
		Name: d.names[r.index], Unit: d.infos[r.index].Unit,
		Observed: whole(det.Observed), Expected: round4(det.Expected), Low: round4(det.Low), High: round4(det.High),
		P: round4(r.lambda), WindowStart: det.Start, WindowSeconds: det.Seconds,
		BaselineSamples: round4(det.Samples), Baseline: cmp.Or(det.Baseline, schemas.BaselineAgent), FirstSeen: det.FirstSeen, LedBy: det.LedBy,
	}
}

// whole leaves what was counted as it is, so that it can be compared with the events, and
// rounds the rest.
func whole(x float64) float64 {
	if x == math.Trunc(x) && math.Abs(x) < 1<<53 {
		return x
	}
	return round4(x)
}

// round4 keeps four significant digits: what people read, and what does not depend
// on the last bit.
func round4(x float64) float64 {
	if x == 0 || math.IsInf(x, 0) || math.IsNaN(x) {
		return 0
	}
	e := 3 - int(math.Floor(math.Log10(math.Abs(x))))
	if e > 300 {
		return 0
	}
	if e >= 0 {
		f := math.Pow10(e)
		return math.Round(x*f) / f
	}
	f := math.Pow10(-e)
	return math.Round(x/f) * f
}

// learn takes the event into the baselines, after its verdict. What an agent does
// in an episode is worth a tenth and does not vouch for its peers; neither does who has
// not lived long enough among them (vouches), nor a call that failed.
func (d *Detector) learn(a *agent, ev *schemas.Activity, at schemas.Millis) {
	c, p, peers, now := &d.ctx, &a.profile, a.group.peers, int64(a.tenant.clock)
	calm, weight := !a.alerted(), 1.0
	if !calm {
		weight = baseline.EpisodeWeight
	}
	rollout := d.rollout()
	vouches := p.Novelty.Vouches && ev.Succeeded()
	var withTool, withStep, withSite, reached bool
	for i := range d.newItems {
		k := d.newItems[i].Item.Kind
		withTool = withTool || k == baseline.ItemTool
		withStep = withStep || k == baseline.ItemStep
		withSite = withSite || k == baseline.ItemSite
		reached = reached || k.Place()
	}
	if reached && !withTool && calm {
		peers.Reached(c.StepChance, withStep)
	}
	// An event of a thousand new things teaches no more than those that can be on probation.
	for i := range d.newItems[:min(len(d.newItems), mostLearnt)] {
		f := &d.newItems[i]
		if f.Item.Kind.Origin() {
			d.learnOrigin(a, f, at, weight)
			continue
		}
		if p.Novelty.Pending(f.Item.Hash) { // counted when it was first touched
			continue
		}
		counted := p.Novelty.Weigh(f.Item.Kind, weight)
		if f.Rarity.ByRollout {
			counted.Peers = 0
		}
		p.Novelty.Learn(peers, f.Item.Kind, c.Tool, c.Young, counted, f.Rarity.PeersKnowing)
		if f.Item.Kind == baseline.ItemStep {
			p.Novelty.Steps.Add(f.Item.Hash)
			if !vouches {
				continue
			}
			// An order of calls vouches even where it was alerted on: a new version of the
			// agents brings one to all of them at once, and no data leaves by it.
			if !calm {
				peers.Adopted(baseline.ItemStep, f.Item.Hash, false, now)
			}
			peers.Learnt(f.Item.Hash, now)
			continue
		}
		p.Novelty.Admit(f.Item.Hash, int64(at))
		if !vouches {
			continue
		}
		if withTool || !calm && !withSite && f.Item.Kind == baseline.ItemDestination {
			peers.Adopted(f.Item.Kind, f.Item.Hash, withTool, now)
		}
		if calm || rollout {
			peers.Learnt(f.Item.Hash, now)
		}
	}
	d.learnSizes(a, ev, weight, calm || rollout)
	resource := ""
	if len(ev.Resources) > 0 {
		resource = ev.Resources[0]
	}
	a.trail.add(ev.EventID, ev.Tool, resource)
}

// learnSizes takes what the event moved.
func (d *Detector) learnSizes(a *agent, ev *schemas.Activity, weight float64, teaches bool) {
	c, p, peers, w := &d.ctx, &a.profile, a.group.peers, &a.win
	if ev.BytesSent > 0 {
		p.Sent.Learn(c.Sent, c.SentCall, weight/(1+float64(w.SentCalls)/32))
	}
	if ev.BytesReceived > 0 {
		p.Received.Learn(c.Received, c.ReceivedCall, weight/(1+float64(w.ReceivedCalls)/32))
	}
	for i := range c.Metrics {
		m, v := &p.Metrics[i], &c.Metrics[i]
		if v.Has {
			m.Learn(&peers.Metrics[i], v.At, v.X, weight/(1+float64(v.At.Count)/32))
		}
		m.Present(v.Has, weight)
	}
	p.Sent.Present(ev.BytesSent > 0, weight)
	p.Received.Present(ev.BytesReceived > 0, weight)
	if teaches && p.Novelty.Vouches {
		t := c.Tool
		if t == nil && ev.Tool != "" {
			t = peers.Tools.Touch(baseline.ToolHash(ev.Tool))
		}
		peers.Tools.Learn(t, c.SentCall.Size, c.ReceivedCall.Size)
	}
}

// rollout reports whether the event uses a tool that is new to the agent and to
// most of its peers. Tools are deployed by those who run the agents: one alert
// about a new one and where it goes is enough, the peers that follow are not
// attacked one by one. (Where a tool that is known sends data is the attacker's
// choice; in an episode that is never vouched for.)
func (d *Detector) rollout() bool {
	for i := range d.newItems {
		f := &d.newItems[i]
		if f.Item.Kind == baseline.ItemTool && 2*f.Rarity.PeersKnowing < d.ctx.Peers.Vouching {
			return true
		}
	}
	return false
}

// lambda is what evidence x of signal i is worth.
func (d *Detector) lambda(p score.Pair, i int, class score.Maturity, x float64) float64 {
	if info := &d.infos[i]; info.Uncalibrated {
		return score.Nominal(x, info.TestsPerDay)
	}
	return p.Signal(i, class, x, d.infos[i].TestsPerDay)
}
