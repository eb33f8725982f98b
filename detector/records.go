package detector

import (
	"encoding/json"
	"math"
	"slices"

	"github.com/plumbline-sec/plumbline/detector/baseline"
	"github.com/plumbline-sec/plumbline/detector/internal/wire"
	"github.com/plumbline-sec/plumbline/schemas"
)

// The state of a detector is a record of the partition and one of every agent. Each
// stands for itself in the log of checkpoints (cut.go, pipeline/statelog).
//
// Integers are varints, floats IEEE 754 bits in little-endian order, strings and
// lists stand behind their length (package wire). The partition record holds what
// is shared: watermark, counters, and per tenant its groups with priors and
// calibration. Calibration knows signals by name. An agent's record begins with
// tenant, agent and group by name and is complete in itself (one of no group is that of a
// registration alone): which windows and
// episodes are open, and the order of eviction, follow from the agents' records
// alone, in whatever order they come.
//
// Records say of which format they are, since those of one log may be of several
// releases: an agent's begins with an empty name and the format, the partition's with
// -1 and the format. Those of format 1 begin with the tenant's name and with the
// watermark. Which fields there are, in which order, testdata/sample-vN-*.txt shows.

// RecordFormat is the version of the format that is written.
const RecordFormat = wire.Newest

// Bounds of what records may hold.
const (
	maxTenants = 1 << 20
	maxString  = 8 << 10
	maxWorst   = 4 << 20
)

// inOrder lists all agents, the longest inactive first.
func (d *Detector) inOrder() []*agent {
	all := make([]*agent, 0, d.agents)
	for _, t := range d.tenants {
		for _, l := range []*list[agent]{&t.newcomers, &t.established} {
			for a := l.first; a != nil; a = a.next {
				all = append(all, a)
			}
		}
	}
	slices.SortFunc(all, func(a, b *agent) int {
		if a.touched < b.touched {
			return -1
		}
		return 1 // touches are never equal
	})
	return all
}

func appendAgent(dst []byte, a *agent) []byte {
	c := wire.Encoder(dst)
	tenantName, groupName := a.tenant.name, a.group.name
	codeAgent(c, a, &tenantName, &groupName)
	return c.Bytes()
}

// codeAgent codes the record of an agent.
func codeAgent(c *wire.Coder, a *agent, tenantName, groupName *string) {
	codeVersion(c)
	c.String("tenant", tenantName, maxString)
	c.String("id", &a.id, maxString)
	c.String("group", groupName, maxString)
	a.codeRegistered(c, *tenantName)
	if *groupName == "" && a.registered != nil { // no agent: every one has a group
		return
	}
	a.code(c)
}

// appendPartition appends the record of what agents share.
func (d *Detector) appendPartition(dst []byte) []byte {
	c := wire.Encoder(dst)
	d.code(c)
	return c.Bytes()
}

// codeVersion codes the format of an agent's record, which begins with it: an empty
// name, that of no tenant, and the version.
func codeVersion(c *wire.Coder) {
	if c.Reading() && (len(c.Bytes()) == 0 || c.Bytes()[0] != 0) {
		c.Version = 1
		return
	}
	none := ""
	c.String("none", &none, 0)
	c.Version = codeNumber(c)
}

// marked is the first byte of a partition record that says of which format it is: -1.
const marked = 1

// codeNumber codes the number of the format.
func codeNumber(c *wire.Coder) int {
	v := int(c.Uint("format", RecordFormat, 1<<16))
	switch {
	case !c.Reading() || c.Err() != nil:
	case v > RecordFormat:
		c.Fail("a record has format %d, this release reads up to %d: start the release that wrote it, or a later one", v, RecordFormat)
	case v < 2:
		c.Fail("format %d of a record", v)
	}
	return v
}

// code codes the partition record.
func (d *Detector) code(c *wire.Coder) {
	c.Version = 1
	if mark := int64(-1); !c.Reading() || len(c.Bytes()) > 0 && c.Bytes()[0] == marked {
		c.I64("none", &mark)
		c.Version = codeNumber(c)
	}
	codeMillis(c, "watermark", &d.watermark)
	c.U64("touches", &d.touches)
	c.U64("episodes", &d.episodes)
	c.U64("silenceSeq", &d.silenceSeq)
	c.U64("evicted", &d.evicted)
	c.U64("late", &d.late)
	c.U64("duplicates", &d.duplicates)
	if c.Version >= 4 {
		c.In("registry")
		c.U64("refused", &d.registry.refused)
		c.Out()
	}
	if c.Version >= 2 {
		d.sweep = int(c.Uint("sweep", uint64(d.sweep), maxTenants))
		c.U64("uses", &d.uses)
	}
	uses := d.uses
	d.codeSignals(c)
	d.codeMetrics(c)
	n := c.Len("tenants", len(d.tenants), maxTenants, 16)
	c.In("tenants")
	for i := range n {
		c.At(i)
		var t *tenant
		if c.Reading() {
			name, ok := newName(c, "tenant", d.byName)
			if !ok {
				return
			}
			t = d.addTenant(name)
		} else {
			t = d.tenants[i]
			c.String("name", &t.name, maxString)
		}
		if c.Version < 2 { // before its groups are made: they begin today, until an agent says more
			t.clock, t.last = d.watermark, d.watermark
		}
		t.code(c, d.names)
		if c.Reading() {
			d.groups += len(t.groups)
			t.place(d.places, len(d.metrics))
		}
		if c.Err() != nil {
			return
		}
	}
	c.Out()
	if c.Reading() && c.Version >= 2 {
		d.uses = uses
	}
}

// newName reads a name that none of those has.
func newName[T any](c *wire.Coder, what string, taken map[string]T) (name string, ok bool) {
	c.String("name", &name, maxString)
	if _, twice := taken[name]; twice {
		c.Fail("%s %.40q twice", what, name)
	}
	return name, c.Err() == nil
}

// codeSignals codes the names behind the numbers of signals in agents' records:
// what they hold of a signal that is no more is dropped.
func (d *Detector) codeSignals(c *wire.Coder) {
	names := d.names
	c.Strings("signals", &names, baseline.MaxSignals, 64)
	d.order = d.order[:0]
	for _, name := range names {
		d.order = append(d.order, slices.Index(d.names, name))
	}
}

// codeMetrics does the same for the metrics of the config.
func (d *Detector) codeMetrics(c *wire.Coder) {
	names := make([]string, len(d.metrics))
	for i := range d.metrics {
		names[i] = d.metrics[i].Name
	}
	own := names
	c.Strings("metrics", &names, baseline.MaxMetrics, 64)
	d.places = d.places[:0]
	for _, name := range names {
		d.places = append(d.places, slices.Index(own, name))
	}
}

// placed returns what belongs to metrics of records in the order of the config.
func placed[T any](old []T, places []int, n int) []T {
	out := make([]T, n)
	for i := range old {
		if i < len(places) && places[i] >= 0 {
			out[places[i]] = old[i]
		}
	}
	return out
}

func (t *tenant) place(places []int, n int) {
	t.fleet.Metrics = placed(t.fleet.Metrics, places, n)
	for _, g := range t.groups {
		g.peers.Metrics = placed(g.peers.Metrics, places, n)
	}
}

func reorder(v *[baseline.MaxSignals]float32, order []int) {
	old := *v
	clear(v[:])
	for i, to := range order {
		if to >= 0 {
			v[to] = old[i]
		}
	}
}

func (t *tenant) code(c *wire.Coder, names []string) {
	c.I64("day", &t.day)
	if c.Version >= 2 {
		codeMillis(c, "clock", &t.clock)
		codeMillis(c, "last", &t.last)
		c.Bool("loads", &t.loads)
		c.U64("used", &t.used)
		c.Bool("settled", &t.settled)
		c.F64("opened", &t.opened)
	}
	if c.Version >= 4 {
		c.U8("prompt", &t.prompt)
	}
	c.F64("outliers", &t.outliers)
	wire.NotNegative(c, "count of outliers", t.outliers, t.opened)
	c.Scope("fleet", t.fleet.Code)
	c.In("calibration")
	t.calibration.Code(c, names)
	c.Out()
	n := c.Len("groups", len(t.groups), maxGroups+1, 16)
	c.In("groups")
	for i := range n {
		c.At(i)
		var g *group
		if c.Reading() {
			name, ok := newName(c, "group", t.byName)
			if !ok {
				return
			}
			g = t.addGroup(name, len(names))
		} else {
			g = t.groups[i]
			c.String("name", &g.name, maxString)
		}
		c.I64("day", &g.day)
		if c.Version >= 2 {
			c.I64("firstDay", &g.firstDay)
		}
		c.I64s("pauses", g.pauses[:])
		c.Scope("peers", g.peers.Code)
		c.In("calibration")
		g.calibration.Code(c, names)
		c.Out()
		if c.Err() != nil {
			return
		}
	}
	c.Out()
	if c.Version >= 2 {
		c.I64("firstDay", &t.firstDay) // behind the groups: the first one sets it
	}
	if c.Version >= 4 {
		codeBreaches(c, "crowds", &t.crowds)
	}
}

// code codes an agent behind its three names.
func (a *agent) code(c *wire.Coder) {
	c.String("name", &a.name, maxString)
	c.String("version", &a.version, maxString)
	codeMillis(c, "born", &a.born)
	c.U64("touched", &a.touched)
	a.codeLife(c)
	c.Scope("profile", a.profile.Code)
	c.Scope("win", a.win.Code)
	c.Scope("seen", a.seen.Code)
	c.Raw("trail", &a.trail.buf, trailBytes)
	if c.Reading() {
		if !a.trail.valid() {
			c.Fail("trail of an agent")
		}
		a.trail.buf = slices.Grow(a.trail.buf, max(0, trailBytes-len(a.trail.buf)))
	}
	baseline.CodeMax(c, "dayMax", &a.dayMax)
	c.F32("dayFused", &a.dayFused)
	c.Scope("silent", a.silent.code)
	a.codeChecked(c)
	open := a.episode != nil
	c.Bool("alerted", &open)
	if !open {
		return
	}
	if c.Reading() {
		a.episode = &episode{}
	}
	c.Scope("episode", a.episode.code)
}

// codeLife codes what format 2 knows of an agent's life beside its profile.
func (a *agent) codeLife(c *wire.Coder) {
	if c.Version < 2 {
		return
	}
	codeMillis(c, "due", &a.due)
	c.I64("firstDay", &a.firstDay)
	c.U32("calmDays", &a.calmDays)
	c.I64("lastCalmDay", &a.lastCalmDay)
	c.U32("opened", &a.opened)
	c.F32("fadedEpisodes", &a.fadedEpisodes)
	wire.NotNegative(c, "alarms of an agent", a.fadedEpisodes)
	c.Bool("vouches", &a.profile.Novelty.Vouches)
	c.U32("foldedIn", &a.foldedIn)
	c.U32("crowd", &a.crowd)
	c.U32("flooded", &a.flooded)
	c.I64("floodHour", &a.floodHour)
	c.Bool("own", &a.own)
	c.String("claim", &a.claim, maxString)
	c.U8("claimed", &a.claimed)
	c.I64("claimDay", &a.claimDay)
}

func (s *silent) code(c *wire.Coder) {
	c.U64("seq", &s.seq)
	if s.seq == 0 {
		return
	}
	c.I64("from", &s.from)
	c.I64("next", &s.next)
	c.F32("mu", &s.mu)
	c.F32("overdispersion", &s.overdispersion)
	c.F32("today", &s.today)
	c.F32("dayVariance", &s.dayVariance)
	c.F32("x", &s.x)
	if c.Reading() && (s.mu < 0 || s.overdispersion < 0 || s.today < 0 || s.dayVariance < 0 || s.next < s.from) {
		c.Fail("silence of an agent")
	}
}

func codeMillis(c *wire.Coder, name string, m *schemas.Millis) {
	v := int64(*m)
	c.I64(name, &v)
	*m = schemas.Millis(v)
}

func (e *episode) code(c *wire.Coder) {
	c.String("id", &e.id, maxString)
	c.U64("updates", &e.updates)
	codeMillis(c, "due", &e.due)
	codeMillis(c, "queued", &e.queued)
	codeMillis(c, "first", &e.first)
	codeMillis(c, "last", &e.last)
	e.severity = int(c.Uint("severity", uint64(e.severity), uint64(len(severities)-1)))
	c.Strings("families", &e.families, maxEpisodeFamilies, 64)
	codeHashes(c, "dests", &e.dests)
	codeHashes(c, "sessions", &e.sessions)
	e.suppressed = int(c.Uint("suppressed", uint64(e.suppressed), 1<<40))
	c.I64("crossings", &e.crossings)
	c.In("evidence")
	c.Strings("eventIDs", &e.evidence.EventIDs, schemas.MaxEvidence, 3*schemas.MaxStringBytes)
	c.Strings("resources", &e.evidence.Resources, schemas.MaxEvidence, 3*schemas.MaxStringBytes)
	c.Strings("tools", &e.evidence.Tools, schemas.MaxEvidence, 3*schemas.MaxStringBytes)
	c.Out()
	e.codePlaces(c)
	e.codeTotals(c)
	c.String("session", &e.session, 3*schemas.MaxStringBytes)
	c.String("principal", &e.principal, 3*schemas.MaxStringBytes)
	// The worst alert as its public JSON: its numbers and strings survive that
	// exactly, and a field that is added needs nothing here.
	var worst []byte
	if !c.Reading() {
		worst, _ = json.Marshal(&e.worst) //nolint:errchkjson // finite numbers and valid strings only
	}
	c.Raw("worst", &worst, maxWorst)
	if c.Reading() && c.Err() == nil {
		if err := json.Unmarshal(worst, &e.worst); err != nil {
			c.Fail("alert of an episode: %v", err)
		}
		if c.Version < 3 {
			e.risk, e.score = schemas.Risk(e.worst.Severity), e.worst.Score
			e.worstSurprise = -math.Log10(max(e.worst.ExpectedPerAgentDay, math.SmallestNonzeroFloat64))
		}
	}
}

// codeTotals codes what format 3 knows of an episode beside its crossings.
func (e *episode) codeTotals(c *wire.Coder) {
	if c.Version < 3 {
		e.proofs, e.totals.Since, e.beyondTool = max(e.crossings, int64(len(e.evidence.EventIDs))), e.first, true
		for i := range e.places { // what it did to no place is not known
			p := &e.places[i]
			e.totals.Events = max(e.totals.Events, p.events)
			e.totals.BytesSent, e.totals.BytesReceived = sum(e.totals.BytesSent, p.sent), sum(e.totals.BytesReceived, p.received)
		}
		return
	}
	c.I64("proofs", &e.proofs)
	t := &e.totals
	c.In("totals")
	codeMillis(c, "since", &t.Since)
	c.U64("events", &t.Events)
	c.U64("bytesSent", &t.BytesSent)
	c.U64("bytesReceived", &t.BytesReceived)
	c.U64("newTools", &t.NewTools)
	c.U64("newResources", &t.NewResources)
	c.U64("newDestinations", &t.NewDestinations)
	c.Out()
	c.F64("worstSurprise", &e.worstSurprise)
	c.F64("score", &e.score)
	e.risk = int(c.Uint("risk", uint64(e.risk), 1000))
	codeMillis(c, "told", &e.told)
	c.I64("hour", &e.hour)
	c.U64("of", &e.of)
	c.I64("inHour", &e.inHour)
	c.U32("crowd", &e.crowd)
	codeMillis(c, "back", &e.back)
	c.U64("tool", &e.tool)
	c.Bool("beyondTool", &e.beyondTool)
}

func codeHashes(c *wire.Coder, name string, list *[]uint64) {
	wire.List(c, name, list, maxEpisodeItems, 8, func(h *uint64, c *wire.Coder) { c.Fixed64("", h) })
}
