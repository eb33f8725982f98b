package detector

import "github.com/plumbline-sec/plumbline/schemas"

// Decider says what the policies say of an event. It depends on nothing but what it is
// given. pipeline/policy has the one that there is.
type Decider interface {
	// Decide appends the decisions about an event of an agent, of which reg is registered
	// (nil: nothing) and whose open episode is of severity risk (empty: it has none).
	Decide(dst []schemas.PolicyDecision, ev *schemas.Activity, reg *schemas.Registration, risk string) []schemas.PolicyDecision
	// Seen returns what the policies that decided on a resource of the event asked for, and
	// what they were told: principal.owner, resource.site, context.tool and so on. resource is
	// that of a decision.
	Seen(ev *schemas.Activity, reg *schemas.Registration, risk, resource string) []schemas.Attribute
	// Hash is the fingerprint of the policies.
	Hash() string
}
