package baseline

import "strings"

// ItemKind says what an item is; each kind has its own rates of novelty.
type ItemKind uint8

// The kinds of items.
const (
	ItemTool        ItemKind = iota // a tool
	ItemToolKind                    // a tool with a kind of resource
	ItemSource                      // a resource that is read
	ItemDestination                 // a resource or agent that data can leave to
	ItemKinds                       // how many there are
)

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

// AppendItems appends what an event touches: its tool, the kinds of resources
// that the tool is used on, and the resources themselves.
func AppendItems(dst []Item, t Touch) []Item {
	tool := Hash(uint64(ItemTool)+1, t.Tool)
	if t.Tool != "" {
		dst = append(dst, Item{ItemTool, tool, t.Tool, ""})
	}
	active := t.Access != "" && t.Access != "read"
	lastKin := ""
	for _, r := range t.Resources {
		kin := "other"
		if i := strings.IndexByte(r, ':'); i > 0 {
			kin = r[:i]
		}
		if t.Tool != "" && kin != lastKin {
			lastKin = kin
			dst = append(dst, Item{ItemToolKind, Hash(tool, kin), t.Tool, kin})
		}
		k := ItemSource
		if active || leaves(kin) {
			k = ItemDestination
		}
		dst = append(dst, Item{k, Hash(uint64(k)+1, r), r, kin})
	}
	if t.Target != "" {
		dst = append(dst, Item{ItemDestination, Hash(Hash(uint64(ItemDestination)+1, "agent:"), t.Target), t.Target, "agent"})
	}
	return dst
}
