package schemas

// Limits of an activity event. What is over a limit is cut and flagged with
// the exact number, never refused, except for the size of the whole event and
// of the identity.
const (
	MaxEventBytes    = 1 << 20 // one event, as JSON
	MaxDepth         = 32      // nesting of JSON objects and arrays
	MaxIdentityBytes = 512     // tenant_id and agent_id, each
	MaxTenantBytes   = 64
	MaxStringBytes   = 4 << 10
	MaxResources     = 256
	MaxAttributes    = 256

	// MaxClockAhead is how far an event's time may lie ahead of its record
	// (milliseconds). What is further ahead takes the time of the record.
	MaxClockAhead = 5 * 60 * 1000
	// OldAfter is the age (milliseconds before recorded_at) from which an event
	// carries the flag "old".
	OldAfter = 7 * 24 * 3600 * 1000

	DefaultTenant    = "default"
	DefaultPeerGroup = "default"
)

// Values of Activity.Access: what a call does to its resources.
const (
	AccessRead    = "read"
	AccessWrite   = "write"
	AccessDelete  = "delete"
	AccessSend    = "send"
	AccessExecute = "execute"
)

// Values of Activity.Outcome. An absent outcome is a success.
const (
	OutcomeSuccess = "success"
	OutcomeFailure = "failure"
	OutcomeDenied  = "denied"
)

// Attribute is one open name and value of an event.
type Attribute struct{ Key, Value string }

// Activity is one action of one agent.
//
// A decoder may let the strings share memory with the record that they came
// from: whoever keeps one beyond the handling of that record clones it.
type Activity struct {
	EventID  string // the producer's; "topic/partition/offset" where it gave none
	Time     Millis // when it happened
	TenantID string
	AgentID  string // the stable identity of the non-human principal

	AgentName    string
	AgentVersion string
	PeerGroup    string // agents that should behave alike
	SessionID    string // conversation or run
	OnBehalfOf   string // the human or agent whose authority is used

	Action        string   // tool_call, model_call, message, delegate, auth, or a source's own
	Tool          string   // tool, function or API operation
	Access        string   // one of the Access constants, or empty for unknown
	Resources     []string // what was touched, each "kind:id"; at most MaxResources
	TargetAgentID string   // the other agent, of message and delegate

	BytesSent     uint64 // what the agent gave to the tool or peer
	BytesReceived uint64 // what it got back
	TokensIn      uint64
	TokensOut     uint64
	Outcome       string // one of the Outcome constants, never empty after decoding
	DurationMS    uint64
	Model         string

	CredentialID      string
	CredentialType    string // static_key, oauth_token, certificate, workload
	CredentialExpires Millis
	SourceIP          string

	Attributes []Attribute // everything else; at most MaxAttributes

	// RecordedAt is the Kafka timestamp of the source record: set by the broker,
	// not by the agent.
	RecordedAt Millis
	Flags      Flags

	// Registration is set where the record is no action of the agent but says who it is: of
	// the fields above it then has EventID, Time, TenantID, AgentID and RecordedAt alone.
	Registration *Registration
}

// Flags say what route did to an event. The zero value means: nothing.
type Flags struct {
	TimeClamped   bool // time was over MaxClockAhead ahead and became recorded_at
	Old           bool // time is more than OldAfter behind recorded_at
	UTF8Replaced  bool // invalid UTF-8 became U+FFFD
	ResourcesCut  int  // the number of resources that were there, 0 if none was cut
	AttributesCut int  // the number of attributes that were there, 0 if none was cut
	StringsCut    int  // how many strings were cut to MaxStringBytes
	FieldsInvalid []string
}

// Malformed reports whether something of the event was cut, replaced or dropped.
// (That it is old says nothing: a history may be loaded.)
func (f *Flags) Malformed() bool {
	return f.TimeClamped || f.UTF8Replaced || f.ResourcesCut > 0 || f.AttributesCut > 0 || f.StringsCut > 0 || len(f.FieldsInvalid) > 0
}

// ResourceCount returns the true number of resources, those cut included.
func (a *Activity) ResourceCount() int {
	return max(len(a.Resources), a.Flags.ResourcesCut)
}

// Succeeded reports whether the call did what it was meant to do.
func (a *Activity) Succeeded() bool {
	return a.Outcome == "" || a.Outcome == OutcomeSuccess
}

// Reset empties a and keeps its slices for reuse.
func (a *Activity) Reset() {
	res, attr, inv := a.Resources[:0], a.Attributes[:0], a.Flags.FieldsInvalid[:0]
	*a = Activity{Resources: res, Attributes: attr}
	a.Flags.FieldsInvalid = inv
}

// Origin is where an event stands in its source, and with that its identity in
// storage: what an attacker puts into an event can't change it.
type Origin struct {
	Source      string // name of the source in the config
	Incarnation uint32 // raised in the config when a source topic is recreated
	Topic       string
	Partition   int32
	Offset      int64
	Index       int32 // of the event within its record
}
