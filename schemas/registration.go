package schemas

// Values of Registration.Status.
const (
	StatusActive         = "active"
	StatusSuspended      = "suspended"
	StatusDecommissioned = "decommissioned"
)

// Values of Registration.Criticality.
const (
	CriticalityLow    = "low"
	CriticalityNormal = "normal"
	CriticalityHigh   = "high"
)

// Registration is what is said about an agent by who is accountable for it. A later one
// replaces an earlier one. Once it is handed on it is never changed: who reads it may
// know it again by its address.
type Registration struct {
	TenantID, AgentID string // whom it is about
	Time              Millis // when it was said
	Status            string // one of the Status constants; empty: active

	Name, Owner, Contact, Purpose, Environment, Vendor string

	Criticality string // one of the Criticality constants, or empty

	PeerGroup  string // in the place of the events' where it is not empty
	TimeZone   string // IANA name; empty: UTC
	ValidUntil Millis // 0: no end

	Versions    []string     // what may run; nil: not checked
	Credentials []Credential // nil: not checked; empty and not nil: it has none

	// Grants: names, or the beginning of names and one * at the end. nil: not checked;
	// empty and not nil: none is granted.
	Tools, Destinations, Agents []string

	PublicKey string      // Ed25519, base64
	Labels    []Attribute // what else was said, each key once
}

// Credential is one that an agent is known to have.
type Credential struct {
	ID, Type   string
	Expires    Millis // 0: never
	MaxAgeDays int    // 0: not bounded
}
