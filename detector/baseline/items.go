package baseline

import "strings"

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
	ItemKinds                       // how many there are
)

// Place reports whether an item of this kind is somewhere that data can leave to.
func (k ItemKind) Place() bool { return k == ItemDestination || k == ItemSite || k == ItemAgent }

// Item is one thing that an event touches.
type Item struct {
	Kind ItemKind
	Hash uint64
	Name string // as it stood in the event: shares its memory
	Kin  string // of a resource: its kind
}

// leaves are the kinds of resources outside of the house: touching one moves
// data to it, whatever the call is named.
func leaves(kind string) bool {
	switch kind {
	case "url", "email", "iban", "domain", "ip", "phone", "host":
		return true
	}
	return false
}

// Touch is the part of an event that items are made of.
type Touch struct {
	Tool, Access, Target string
	Resources            []string
}

// ToolHash is the hash of a tool as an item.
func ToolHash(name string) uint64 { return Hash(uint64(ItemTool)+1, name) }

// AppendItems appends what an event touches: its tool, the kinds of resources
// that the tool is used on, and the resources themselves.
func AppendItems(dst []Item, t Touch) []Item {
	tool := ToolHash(t.Tool)
	if t.Tool != "" {
		dst = append(dst, Item{ItemTool, tool, t.Tool, ""})
	}
	active := t.Access != "" && t.Access != "read"
	lastKin, lastSite := "", uint64(0)
	for _, r := range t.Resources {
		kin, id := "other", r
		if i := strings.IndexByte(r, ':'); i > 0 {
			kin, id = r[:i], r[i+1:]
		}
		if t.Tool != "" && kin != lastKin {
			lastKin = kin
			dst = append(dst, Item{ItemToolKind, Hash(tool, kin), t.Tool, kin})
		}
		k := ItemSource
		switch {
		case t.Access == "send" || leaves(kin):
			k = ItemDestination
		case active:
			k = ItemWrite
		}
		dst = append(dst, Item{k, Hash(uint64(k)+1, r), r, kin})
		if k == ItemSource {
			continue
		}
		at := site(kin, id)
		if h := Hash(Hash(uint64(ItemSite)+1, kin), at); h != lastSite {
			lastSite = h
			dst = append(dst, Item{ItemSite, h, at, kin})
		}
	}
	if t.Target != "" {
		dst = append(dst, Item{ItemAgent, Hash(uint64(ItemAgent)+1, t.Target), t.Target, "agent"})
	}
	return dst
}

// site returns where a resource lies: whose it is, not which it is. A new mail
// address at a known domain is another thing than a new domain.
func site(kin, id string) string {
	switch kin {
	case "email":
		if i := strings.LastIndexByte(id, '@'); i >= 0 {
			return id[i+1:]
		}
		return id
	case "url":
		if i := strings.Index(id, "://"); i >= 0 {
			id = id[i+3:]
		}
		if i := strings.IndexAny(id, "/?#"); i >= 0 {
			id = id[:i]
		}
		return id[strings.LastIndexByte(id, '@')+1:]
	case "domain", "host", "ip", "phone":
		return id
	case "iban": // country, check digits, bank
		return id[:min(len(id), 8)]
	}
	if i := strings.IndexByte(id, '/'); i >= 0 {
		return id[:i]
	}
	return "" // the kind is all there is
}
