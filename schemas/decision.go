package schemas

// NoResource is the resource of a decision about an event that has none.
const NoResource = "none"

// PolicyDecision is what the policies say of one resource of one event.
type PolicyDecision struct {
	Resource string // "kind:id" as it was decided on, "agent:ID" for another agent, or NoResource
	*PolicyVerdict
}

// PolicyVerdict is what was decided. It is shared by all decisions of which the same is
// said, and never changed.
type PolicyVerdict struct {
	Action   string // of Cedar: read, write, ..., other
	Denied   bool   // by the policies in force
	Observed bool   // it is not denied, but would be if everything that only observes were in force
	// Policies decided: those that forbid, where one does, otherwise those that permit. None:
	// nothing applied, and the default decided.
	Policies []*Policy
	// Failed are the ids of policies that could not be evaluated and were left out.
	Failed []string
}

// Policy is what an alert says of a policy.
type Policy struct {
	ID       string
	Title    string
	Severity string // one of the Severity constants
	Tags     []string
	Runbook  string
	Observe  bool   // it denies and permits nothing
	Forbids  bool   // otherwise it permits
	Place    string // file and line
}
