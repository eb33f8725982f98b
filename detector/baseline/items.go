package baseline

import (
	"strings"

	"github.com/plumbline-sec/plumbline/detector/internal/wire"
	"github.com/plumbline-sec/plumbline/schemas"
)

// ItemKind says what an item is; each kind has its own rates of novelty.
type ItemKind uint8

// The kinds of items.
const (
	ItemTool        ItemKind = iota // a tool
	ItemToolKind                    // a tool with a kind of resource
	ItemSource                      // a resource that is read
	ItemWrite                       // a resource of the house that is changed
	ItemDestination                 // a resource outside that data can leave to
	ItemAgent                       // another agent
	ItemSite                        // where a destination or a changed resource lies: a host, a mail domain, a bucket
	ItemStep                        // a tool called after another in one session
	ItemNetwork                     // where the agent acts from
	ItemCredential                  // by what it is let in
	ItemLent                        // a credential that another agent is known to have
	ItemKinds                       // how many there are
)

// touched is how many kinds of things there are that are touched: origins stand behind them.
const touched = ItemNetwork

// kindsIn is how many there are in a format of records.
func kindsIn(c *wire.Coder) int {
	if c.Version < 4 {
		return int(touched)
	}
	return int(ItemKinds)
}

// Counted says as what an item of this kind is counted: it is a part of a call otherwise.
func (k ItemKind) Counted() (tool, resource, destination bool) {
	return k == ItemTool, k == ItemSource || k == ItemWrite, k == ItemDestination || k == ItemAgent
}

// Place reports whether an item of this kind is somewhere that data can leave to.
func (k ItemKind) Place() bool { return k == ItemDestination || k == ItemSite || k == ItemAgent }

// Origin reports whether an item of this kind is no thing that is touched, but who touches it
// and from where.
func (k ItemKind) Origin() bool { return k >= touched }

// Item is one thing that an event touches.
type Item struct {
	Kind ItemKind
	Hash uint64
	Name string // as it stood in the event: shares its memory
	Kin  string // of a resource: its kind
	// Unread: it is, or lies at, a place whose name could not be read as one.
	Unread bool
	// Attribute: an attribute names it; its name lacks its kind.
	Attribute bool
}

// Outside reports whether a resource of this kind is outside of the house: touching one
// moves data to it, whatever the call is named.
func Outside(kind string) bool {
	switch kind {
	case "url", "email", "iban", "domain", "ip", "phone", "host":
		return true
	}
	return false
}

// contacted reports whether a place of this kind is contacted even by who only reads it.
func contacted(kind string) bool {
	switch kind {
	case "url", "domain", "ip", "host":
		return true
	}
	return false
}

// Touch is the part of an event that items are made of.
type Touch struct {
	Tool, Access, Target string
	Resources            []string
	Attributes           []schemas.Attribute
	Failed               bool // the call, says its producer
}

// ToolHash is the hash of a tool as an item.
func ToolHash(name string) uint64 { return Hash(uint64(ItemTool)+1, name) }

// AppendItems appends what an event touches: its tool, the kinds of resources
// that the tool is used on, the resources themselves, and where they lie. Of a failed
// call that is the places that it tried to reach (attempted).
func AppendItems(dst []Item, t Touch) []Item {
	if t.Failed {
		t.Failed = false
		return attempted(dst, AppendItems(dst, t)[len(dst):], t.Access == schemas.AccessRead)
	}
	tool := ToolHash(t.Tool)
	if t.Tool != "" {
		dst = append(dst, Item{Kind: ItemTool, Hash: tool, Name: t.Tool})
	}
	b := itemBuilder{dst: dst, tool: tool, named: t.Tool, access: t.Access}
	for _, r := range t.Resources {
		kin, id := "other", r
		if i := strings.IndexByte(r, ':'); i > 0 {
			kin, id = plainHost(r[:i]), r[i+1:]
			if strings.HasPrefix(id, "//") { // a URL without its kind
				kin, id = "url", r
			}
		}
		b.resource(r, kin, id)
	}
	for i := range min(len(t.Attributes), maxScanned) {
		if a := &t.Attributes[i]; len(a.Value) > 4 {
			if kin := placeIn(a.Value); kin != "" && !namesSomebody(a.Key) {
				b.attribute(a.Value, kin)
			}
		}
	}
	if t.Target != "" {
		b.dst = append(b.dst, Item{Kind: ItemAgent, Hash: Hash(uint64(ItemAgent)+1, t.Target), Name: t.Target, Kin: "agent"})
	}
	return b.dst
}

// attempted appends what of the items of a failed call counts. That it failed is what its
// producer says: a place that it tried to reach counts as if it had been reached. What
// was only to be read was not touched, and nobody is reached by being looked up. Made-up
// arguments often fail: of a name that is no address the domains in it count.
func attempted(dst, items []Item, reads bool) []Item {
	var named []Item // dst grows into items
	for i := range items {
		switch it := items[i]; {
		case !it.Kind.Place() || reads && !contacted(it.Kin):
		case !it.Unread:
			dst = append(dst, it)
		case it.Kind == ItemSite:
			for _, host := range domainsIn(it.Name) {
				named = append(named, Item{Kind: ItemSite, Hash: Hash(Hash(uint64(ItemSite)+1, it.Kin), host), Name: host, Kin: it.Kin})
			}
		}
	}
	return append(dst, named...)
}

// itemBuilder appends the items of one event.
type itemBuilder struct {
	dst           []Item
	tool          uint64
	named, access string
	lastKin       string
	lastSite      uint64
}

// attribute appends the place that an attribute names. Its address may hold a number that
// no other has: only where it lies is remembered.
func (b *itemBuilder) attribute(v, kin string) {
	eachSite(kin, v, func(at string, read bool) {
		h := Hash(Hash(uint64(ItemSite)+1, kin), at)
		b.dst = append(b.dst,
			Item{Kind: ItemDestination, Hash: Hash(h, "attribute"), Name: v, Kin: kin, Unread: !read, Attribute: true},
			Item{Kind: ItemSite, Hash: h, Name: at, Kin: kin, Unread: !read, Attribute: true})
	})
}

func (b *itemBuilder) resource(r, kin, id string) {
	if b.named != "" && kin != b.lastKin {
		b.lastKin = kin
		b.dst = append(b.dst, Item{Kind: ItemToolKind, Hash: Hash(b.tool, kin), Name: b.named, Kin: kin})
	}
	k := ItemSource
	switch {
	case b.access == schemas.AccessSend || Outside(kin):
		k = ItemDestination
	case b.access != "" && b.access != schemas.AccessRead:
		k = ItemWrite
	}
	own := len(b.dst)
	b.dst = append(b.dst, Item{Kind: k, Hash: Hash(uint64(k)+1, r), Name: r, Kin: kin})
	if k == ItemSource {
		return
	}
	eachSite(kin, id, func(at string, read bool) {
		b.dst[own].Unread = b.dst[own].Unread || !read
		if h := Hash(Hash(uint64(ItemSite)+1, kin), at); h != b.lastSite {
			b.lastSite = h
			b.dst = append(b.dst, Item{Kind: ItemSite, Hash: h, Name: at, Kin: kin, Unread: !read})
		}
	})
}
