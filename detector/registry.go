package detector

import (
	"cmp"

	"github.com/plumbline-sec/plumbline/detector/internal/wire"
	"github.com/plumbline-sec/plumbline/schemas"
)

// What is said about agents comes in the log among their events, so that what was known
// when is a function of it. Of each agent the newest registration by its time is kept,
// whether it has acted or not, and also when its baselines are forgotten: who is
// decommissioned is silent for long before it matters that it was.
//
// A registration stands in the record of its agent. Of one without baselines it is a
// record of its own, under the same name: an agent's record takes its place, and it the
// agent's.

// Bounds of what a partition keeps. One that replaces another is always taken: that an agent
// is decommissioned has to be known.
const (
	maxRegistered      = 200_000
	maxRegisteredBytes = 256 << 20 // as in records
)

// registry holds what is said about the agents of a partition.
type registry struct {
	by map[agentName]*registered // never walked; none is ever taken out
	// bytes is what their records take.
	bytes int64
	// refused counts those for which there was no room.
	refused  uint64
	outdated uint64 // since New: older than what was known
}

type agentName struct{ tenant, id string }

// registered is what is known of an agent by its registration.
type registered struct {
	*schemas.Registration
	used  []schemas.Millis // when each of its credentials was first used; 0: not yet
	size  int64
	agent *agent // in whose record it stands; nil: it has one of its own
	cut   cutMark
}

// hasRoom reports whether another registration may be kept.
func (r *registry) hasRoom(size int64) bool {
	return len(r.by) < maxRegistered && r.bytes+size <= maxRegisteredBytes
}

// of returns what is registered of an agent; nil: nothing.
func (r *registry) of(tenantID, agentID string) *registered {
	if len(r.by) == 0 {
		return nil
	}
	return r.by[agentName{tenantID, agentID}]
}

func (r *registry) add(e *registered) {
	if r.by == nil {
		r.by = make(map[agentName]*registered)
	}
	r.by[agentName{e.TenantID, e.AgentID}] = e
	r.bytes += e.size
}

// register takes a registration. It moves no clock and is no act of the agent.
func (d *Detector) register(said *schemas.Registration) {
	kept, size := keptOf(said)
	r := d.registry.of(said.TenantID, said.AgentID)
	switch {
	case kept == nil || r == nil && !d.registry.hasRoom(size):
		d.registry.refused++
	case r == nil:
		r = &registered{Registration: kept, used: make([]schemas.Millis, len(kept.Credentials)), size: size}
		d.registry.add(r)
		d.cutting.addRegistered(r)
		d.attach(r)
	case kept.Time < r.Time:
		d.registry.outdated++
	default:
		d.cutting.changeRegistered(r)
		used := make([]schemas.Millis, len(kept.Credentials))
		for i := range used {
			if j := r.credential(kept.Credentials[i].ID); j >= 0 {
				used[i] = r.used[j]
			}
		}
		d.registry.bytes += size - r.size
		r.Registration, r.used, r.size = kept, used, size
	}
}

// keptOf is a registration as records hold it, which shares no memory with the one that was
// handed in, and its size; nil: it is over a limit of schemas.
func keptOf(said *schemas.Registration) (kept *schemas.Registration, size int64) {
	c := wire.Encoder(nil)
	in := registered{Registration: said}
	in.codeSaid(c)
	out := registered{Registration: &schemas.Registration{}}
	r := wire.Decoder(c.Bytes())
	out.codeSaid(r)
	if finished(r) != nil {
		return nil, 0
	}
	out.TenantID, out.AgentID = text(said.TenantID), text(said.AgentID)
	return out.Registration, int64(len(c.Bytes()) + len(out.TenantID) + len(out.AgentID))
}

// credential is the place of a credential in the list; -1: it is not in it.
func (r *registered) credential(id string) int {
	for i := range r.Credentials {
		if r.Credentials[i].ID == id {
			return i
		}
	}
	return -1
}

// attach finds the agents that a new entry is of.
func (d *Detector) attach(r *registered) {
	if t := d.byName[r.TenantID]; t != nil {
		if a := d.index.find(t, r.AgentID); a != nil {
			d.cutting.change(a)
			a.registered, r.agent = r, a
		}
	}
	if t := d.byName[floodTenant]; t != nil {
		if a := d.index.find(t, sharedID(r.TenantID, r.AgentID)); a != nil {
			a.registered = r
		}
	}
}

// recognise finds what is registered of a new agent.
func (d *Detector) recognise(a *agent) {
	r := d.registry.of(a.names())
	if r == nil {
		return
	}
	a.registered = r
	if a.tenant.name != floodTenant { // whose agents have records under other names
		d.cutting.changeRegistered(r)
		r.agent = a
	}
}

// detach keeps the registration of an agent that is forgotten.
func (d *Detector) detach(a *agent) {
	if r := a.registered; r != nil && r.agent == a {
		r.agent = nil
		r.cut.changed, r.cut.visited = d.cutting.number, d.cutting.number
	}
	a.registered = nil
}

// peerGroup is the peer group of an agent whose events name one: that of its registration
// counts before it.
func (a *agent) peerGroup(named string) (group string, declared bool) {
	if r := a.registered; r != nil && r.PeerGroup != "" {
		return r.PeerGroup, true
	}
	return named, false
}

// described is what alerts say of an agent; by is who crossed.
func (a *agent) described(by *agent) schemas.AlertAgent {
	out := schemas.AlertAgent{ID: a.shown(), Name: a.name, Version: a.version, PeerGroup: by.group.name}
	if r := a.registered; r != nil {
		out.Name = cmp.Or(out.Name, short(r.Name))
		out.Owner, out.Contact, out.Criticality = text(r.Owner), text(r.Contact), text(r.Criticality)
	}
	return out
}

// changeRegistered notes that a registration is about to change, or where it stands.
func (c *cutting) changeRegistered(r *registered) {
	if r.agent != nil {
		c.change(r.agent)
		return
	}
	if c.sink != nil {
		c.visitRegistered(r)
	}
	r.cut.changed = c.number
}

// visitRegistered writes the record of one that stands alone, once, if it belongs into the
// cut.
func (c *cutting) visitRegistered(r *registered) {
	if r.agent != nil || r.cut.visited == c.number {
		return
	}
	r.cut.visited = c.number
	if c.full || r.cut.changed >= c.confirmed || c.also != nil && c.also(r.TenantID, r.AgentID) {
		c.record = appendRegistered(c.record[:0], r)
		c.sink.Agent(c.record)
	}
}

// addRegistered takes a new one; a cut at hand does not hold it.
func (c *cutting) addRegistered(r *registered) {
	r.cut.changed, r.cut.visited = c.number, c.number
	c.registered = append(c.registered, r)
}

func appendRegistered(dst []byte, r *registered) []byte {
	c := wire.Encoder(dst)
	a, nobody := agent{id: r.AgentID, registered: r}, ""
	codeAgent(c, &a, &r.TenantID, &nobody)
	return c.Bytes()
}

// codeRegistered codes what is registered of an agent, where something is. It stands under
// its own name, not under that of an agent whose tenant has no room.
func (a *agent) codeRegistered(c *wire.Coder, tenantName string) {
	if c.Version < 4 || tenantName == floodTenant {
		return
	}
	has := a.registered != nil
	c.Bool("registered", &has)
	if !has {
		return
	}
	if c.Reading() {
		a.registered = &registered{Registration: &schemas.Registration{TenantID: tenantName, AgentID: a.id}}
	}
	r, left := a.registered, len(c.Bytes())
	c.In("registered")
	r.codeSaid(c)
	if c.Reading() {
		r.size = int64(left - len(c.Bytes()) + len(tenantName) + len(a.id))
	}
	wire.List(c, "used", &r.used, schemas.MaxRegistrationList, 1, func(at *schemas.Millis, c *wire.Coder) { codeMillis(c, "", at) })
	if c.Reading() && len(r.used) != len(r.Credentials) {
		c.Fail("registration of an agent")
	}
	c.Out()
}

// codeSaid codes a registration behind the names of whom it is about.
func (r *registered) codeSaid(c *wire.Coder) {
	const most = schemas.MaxRegistrationText
	codeMillis(c, "time", &r.Time)
	c.String("status", &r.Status, most)
	c.String("name", &r.Name, most)
	c.String("owner", &r.Owner, most)
	c.String("contact", &r.Contact, most)
	c.String("purpose", &r.Purpose, most)
	c.String("environment", &r.Environment, most)
	c.String("vendor", &r.Vendor, most)
	c.String("criticality", &r.Criticality, most)
	c.String("peerGroup", &r.PeerGroup, most)
	c.String("timeZone", &r.TimeZone, most)
	codeMillis(c, "validUntil", &r.ValidUntil)
	codeGiven(c, "versions", &r.Versions)
	given := r.Credentials != nil
	c.In("credentials")
	c.Bool("given", &given)
	c.Out()
	if given {
		wire.List(c, "credentials", &r.Credentials, schemas.MaxRegistrationList, 4, codeCredential)
	}
	codeGiven(c, "tools", &r.Tools)
	codeGiven(c, "destinations", &r.Destinations)
	codeGiven(c, "agents", &r.Agents)
	c.String("publicKey", &r.PublicKey, most)
	wire.List(c, "labels", &r.Labels, schemas.MaxRegistrationList, 2, codeLabel)
	c.Strings("unknown", &r.Unknown, schemas.MaxRegistrationList, most)
}

// codeGiven codes a list of which it makes a difference whether it is empty or absent.
func codeGiven(c *wire.Coder, name string, list *[]string) {
	given := *list != nil
	c.In(name)
	c.Bool("given", &given)
	if given {
		c.Strings("", list, schemas.MaxRegistrationList, schemas.MaxRegistrationText)
		if *list == nil {
			*list = []string{}
		}
	}
	c.Out()
}

func codeCredential(of *schemas.Credential, c *wire.Coder) {
	c.String("id", &of.ID, schemas.MaxRegistrationText)
	c.String("type", &of.Type, schemas.MaxRegistrationText)
	codeMillis(c, "expires", &of.Expires)
	of.MaxAgeDays = int(c.Uint("maxAgeDays", uint64(of.MaxAgeDays), 1<<16))
}

func codeLabel(of *schemas.Attribute, c *wire.Coder) {
	c.String("key", &of.Key, schemas.MaxRegistrationText)
	c.String("value", &of.Value, schemas.MaxRegistrationText)
}
