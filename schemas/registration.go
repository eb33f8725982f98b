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
	Labels    []Attribute // what else was said, each key once, sorted by key

	// Unknown are the fields that the contract does not have; their values are Labels.
	Unknown []string
}

// Limits of a registration. What is over one is refused: half a grant would be another
// grant.
const (
	MaxRegistrationBytes = 64 << 10 // one registration, as canonical JSON
	MaxRegistrationText  = 1 << 10  // one text of it
	MaxRegistrationList  = 256      // elements of a list of it, labels included
)

// StatusAt returns the status that counts at a time.
func (r *Registration) StatusAt(t Millis) string {
	switch {
	case r.Status == StatusDecommissioned, r.ValidUntil != 0 && t >= r.ValidUntil:
		return StatusDecommissioned
	case r.Status == "":
		return StatusActive
	}
	return r.Status
}

// AppendRegistration appends the canonical JSON form of r, one line without a line end.
func AppendRegistration(dst []byte, r *Registration) []byte {
	w := objectWriter{buf: append(dst, `{"record":"registration"`...)}
	w.text(`"tenant_id":`, r.TenantID)
	w.text(`"agent_id":`, r.AgentID)
	w.time(`"time":`, r.Time)
	w.text(`"status":`, r.Status)
	w.text(`"name":`, r.Name)
	w.text(`"owner":`, r.Owner)
	w.text(`"contact":`, r.Contact)
	w.text(`"purpose":`, r.Purpose)
	w.text(`"environment":`, r.Environment)
	w.text(`"vendor":`, r.Vendor)
	w.text(`"criticality":`, r.Criticality)
	w.text(`"peer_group":`, r.PeerGroup)
	w.text(`"time_zone":`, r.TimeZone)
	w.time(`"valid_until":`, r.ValidUntil)
	w.texts(`"versions":[`, r.Versions)
	if r.Credentials != nil {
		w.key(`"credentials":[`)
		for _, c := range r.Credentials {
			w.key("{")
			w.text(`"id":`, c.ID)
			w.text(`"type":`, c.Type)
			w.time(`"expires":`, c.Expires)
			w.count(`"max_age_days":`, uint64(c.MaxAgeDays))
			w.buf = append(w.buf, '}')
		}
		w.buf = append(w.buf, ']')
	}
	w.texts(`"tools":[`, r.Tools)
	w.texts(`"destinations":[`, r.Destinations)
	w.texts(`"agents":[`, r.Agents)
	w.text(`"public_key":`, r.PublicKey)
	if len(r.Labels) > 0 {
		w.key(`"labels":{`)
		for i := range r.Labels {
			if i > 0 {
				w.buf = append(w.buf, ',')
			}
			w.buf = append(AppendString(w.buf, r.Labels[i].Key), ':')
			w.buf = AppendString(w.buf, r.Labels[i].Value)
		}
		w.buf = append(w.buf, '}')
	}
	if len(r.Unknown) > 0 {
		w.texts(`"fields_unknown":[`, r.Unknown)
	}
	return append(w.buf, '}')
}

// texts appends a list that is left out where it is nil.
func (w *objectWriter) texts(name string, list []string) {
	if list == nil {
		return
	}
	w.key(name)
	for i, s := range list {
		if i > 0 {
			w.buf = append(w.buf, ',')
		}
		w.buf = AppendString(w.buf, s)
	}
	w.buf = append(w.buf, ']')
}

// Credential is one that an agent is known to have.
type Credential struct {
	ID, Type   string
	Expires    Millis // 0: never
	MaxAgeDays int    // 0: not bounded
}
