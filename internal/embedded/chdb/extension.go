package chdb

import (
	"slices"
	"strings"
)

// Extension makes of the engine what the product never runs. It is for tests of what
// servers do: a test's own child asks for it, which no flag and no config can.
type Extension struct {
	XML    string   // elements of the engine's configuration
	Grants []string // what the role warehouse may do, in the place of our grants
	Permit []string // names that the lists refuse
	// Unlocked leaves out the kernel's wall: the engine looks which addresses are its own.
	Unlocked bool
}

// apply changes the lists, before they are used.
func (x Extension) apply() {
	l := readLists()
	for _, list := range []*list{l.functions, l.tableFunctions, l.engines, l.settings, l.systemTables} {
		for _, name := range x.Permit {
			if list.refuses(name) {
				list.names[strings.ToLower(name)] = true
			}
		}
	}
}

// rights are the statements that give the role warehouse its rights.
func (x Extension) rights() []string {
	if x.Grants != nil {
		return x.Grants
	}
	out := slices.Clone(grants)
	for _, engine := range readLists().engines.permitted {
		out = append(out, "GRANT TABLE ENGINE ON "+engine)
	}
	return out
}
