package baseline

import (
	"encoding/binary"
	"net/netip"
	"strings"

	"github.com/plumbline-sec/plumbline/detector/internal/wire"
)

// Origin is a network or a credential that an agent has used of late. They are kept apart from
// what is known (Novelty.Known), where an agent with many things forgets its own token, and
// would take it for somebody else's.
type Origin struct {
	hash    uint64
	Session uint64 // in which it was last used
	First   int64  // when it was first used, ms: it is new until Probation has passed
	Counted bool   // among the peers
}

// maxHeld bounds the networks and the credentials of an agent, each.
const maxHeld = 4

// Known reports whether its probation is over.
func (o *Origin) Known(now int64) bool { return o.First+Probation <= now }

func (o *Origin) code(c *wire.Coder) {
	c.Fixed64("hash", &o.hash)
	c.Fixed64("session", &o.Session)
	c.I64("first", &o.First)
	c.Bool("counted", &o.Counted)
}

// origins is what an agent is known by: from where it acts, and by which credentials. What is
// said of things that it touches does not hold of them. One is not run out of addresses and
// credentials; they are changed, often by some and never by others. So the rate at which they are new goes
// by how many incidences the agent has kept what it has. (Hours were tried: whoever pauses then has
// a change that nobody of its age has.)
type origins struct {
	incidences [ItemKinds - touched]float32 // decayed
	kept       [ItemKinds - touched]uint32  // incidences since the last new one
	networks   []Origin                     // the last ones, the newest first
	credential []Origin
}

func (n *Novelty) codeOrigins(c *wire.Coder) {
	if c.Version < 4 {
		return
	}
	has := n.origins != nil
	c.Bool("from", &has)
	if !has {
		return
	}
	if c.Reading() {
		n.origins = &origins{}
	}
	o := n.origins
	c.In("origins")
	c.F32s("incidences", o.incidences[:])
	wire.NotNegative(c, "novelty", o.incidences[:]...)
	wire.Each(c, "kept", o.kept[:], func(v *uint32, c *wire.Coder) { c.U32("", v) })
	wire.List(c, "networks", &o.networks, maxHeld, 18, (*Origin).code)
	wire.List(c, "credential", &o.credential, maxHeld, 18, (*Origin).code)
	c.Out()
}

func (o *origins) bytes() int {
	if o == nil {
		return 0
	}
	return 100 + 32*(cap(o.networks)+cap(o.credential))
}

// kept is how many incidences ago the last new one was.
func (n *Novelty) kept(kind ItemKind) uint32 {
	if n.origins == nil {
		return 0
	}
	return n.origins.kept[kind-touched]
}

func (n *Novelty) incidencesOf(kind ItemKind) float32 {
	switch {
	case !kind.Origin():
		return n.incidences[kind]
	case n.origins == nil:
		return 0
	}
	return n.origins.incidences[kind-touched]
}

// Had reports whether the agent has had an origin of this kind.
func (n *Novelty) Had(kind ItemKind) bool { return n.incidencesOf(kind) > 0 }

// LearnOrigin counts one incidence of an origin; weight is 0 where it is not new, and less than
// 1 in an episode. peers know it already then. Of a credential it counts too that it is, or is
// not, another agent's.
func (n *Novelty) LearnOrigin(g *Peers, kind ItemKind, weight float64, peers int) {
	n.learnOrigin(g, kind, float32(weight), peers)
	switch kind { //nolint:exhaustive // the others have no other side
	case ItemCredential:
		n.learnOrigin(g, ItemLent, 0, 0)
	case ItemLent:
		n.learnOrigin(g, ItemCredential, 0, 0)
	}
}

func (n *Novelty) learnOrigin(g *Peers, kind ItemKind, isNew float32, peers int) {
	o := n.origins
	o.incidences[kind-touched]++
	weight := float32(1)
	if isNew > 0 {
		weight = isNew
	}
	kept := &o.kept[kind-touched]
	for _, p := range [...]*NoveltyPrior{&g.Novelty, &g.Fleet.Novelty} {
		p.learn(kind, true, *kept, weight, isNew)
		if n.Vouches {
			p.inc[kind]++
			if isNew == 1 {
				p.df[kind][dfBin(peers)]++
			}
		}
	}
	if *kept++; isNew > 0 {
		*kept = 0
	}
}

// setOriginsBack sets times back that are ahead of now (ms).
func (n *Novelty) setOriginsBack(now int64) {
	if n.origins == nil {
		return
	}
	for _, held := range [...][]Origin{n.origins.networks, n.origins.credential} {
		for i := range held {
			held[i].First = min(held[i].First, now)
		}
	}
}

func (n *Novelty) originsOf(kind ItemKind) *[]Origin {
	if n.origins == nil {
		n.origins = &origins{}
	}
	if kind == ItemNetwork {
		return &n.origins.networks
	}
	return &n.origins.credential
}

// Held returns an origin that the agent has used of late; nil: it has not. It is then the
// newest.
func (n *Novelty) Held(kind ItemKind, item uint64) *Origin {
	held := *n.originsOf(kind)
	for i := range held {
		if o := held[i]; o.hash == item {
			copy(held[1:i+1], held[:i])
			held[0] = o
			return &held[0]
		}
	}
	return nil
}

// Hold takes an origin that is used for the first time. The one that was not used for the
// longest makes room.
func (n *Novelty) Hold(kind ItemKind, item uint64, first int64) *Origin {
	held := n.originsOf(kind)
	if len(*held) < maxHeld {
		*held = append(*held, Origin{})
	}
	copy((*held)[1:], *held)
	(*held)[0] = Origin{hash: item, First: first}
	return &(*held)[0]
}

// AppendOrigin appends who acts and from where: the network of an address, and a credential.
// Both are told of failed calls too.
func AppendOrigin(dst []Item, address, credential string) []Item {
	if address != "" {
		dst = append(dst, Item{Kind: ItemNetwork, Hash: networkHash(address), Name: address})
	}
	if credential != "" {
		dst = append(dst, Item{Kind: ItemCredential, Hash: Hash(uint64(ItemCredential)+1, credential), Name: credential})
	}
	return dst
}

// Network is that of an address: what one customer of a provider has at least, so that an
// address which changes within it is no news. ok: it is an address.
func Network(address string) (p netip.Prefix, ok bool) {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return p, false
	}
	a = a.Unmap().WithZone("")
	bits := 48
	if a.Is4() {
		bits = 24
	}
	p, err = a.Prefix(bits)
	return p, err == nil
}

// networkHash is the hash of an address's network; what is no address is one of its own. Of an
// IPv4 address it is that of what stands before the last dot.
func networkHash(address string) uint64 {
	const kind = uint64(ItemNetwork) + 1
	if strings.IndexByte(address, ':') < 0 {
		if dot := strings.LastIndexByte(address, '.'); dot > 0 {
			return Hash(kind, address[:dot])
		}
		return Hash(kind, address)
	}
	p, ok := Network(address)
	switch a := p.Addr(); {
	case !ok:
		return Hash(kind, address)
	case a.Is4():
		return networkHash(a.String())
	default:
		b := a.As16()
		return Mix(kind ^ binary.BigEndian.Uint64(b[:8]))
	}
}
