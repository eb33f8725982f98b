package signal

import (
	"strings"

	"github.com/plumbline-sec/plumbline/detector/baseline"
	"github.com/plumbline-sec/plumbline/schemas"
)

// The signals of this file ask who acts and from where, by the formula of the other novelties
// (novelty.go). A stolen token comes from elsewhere, or in the hands of another agent: a
// credential that another agent is known to have is a kind of its own, so that who rotates
// credentials every day is not suspicious for it, and hides nothing by it. Unit: new networks
// and credentials of the event.

// origin is what these signals share: who changes often what it looks at shows little each
// time, and says nothing by it.
type origin struct{ novelty }

func (o *origin) Score(c *Context) float64 {
	if !c.NewOrigin {
		return 0
	}
	if x := strongest(c, o.kinds...); x >= originLeast {
		return x
	}
	return 0
}

// foreignAddress: a network from which the agent has not acted.
var foreignAddress = origin{novelty{
	info: Info{
		Name: schemas.SignalForeignAddress, Family: FamilyIdentity, Unit: "networks", Weight: weightOrigin, Beside: true, TestsPerDay: testsOfCalls, Novelty: true,
		Title: "Agent acts from a network that is new to it", Model: noveltyModel, File: "origin.go",
	},
	verb:  "acted from",
	kinds: []baseline.ItemKind{baseline.ItemNetwork},
}}

// unknownCredential: a credential that the agent has not used.
var unknownCredential = origin{novelty{
	info: Info{
		Name: schemas.SignalUnknownCredential, Family: FamilyIdentity, Unit: "credentials", Weight: weightOrigin, Beside: true, TestsPerDay: testsOfCalls, Novelty: true,
		Title: "Agent uses a credential that is new to it", Model: noveltyModel, File: "origin.go",
	},
	verb:  "used",
	kinds: []baseline.ItemKind{baseline.ItemCredential, baseline.ItemLent},
}}

// NetworkName is how a network is told of.
func NetworkName(it baseline.Item) string {
	if p, ok := baseline.Network(it.Name); ok {
		return p.String()
	}
	return "unreadable address " + strings.Clone(it.Name)
}
