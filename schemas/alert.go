package schemas

// Values of Alert.Status: the life of one episode.
const (
	StatusOpen   = "open"
	StatusUpdate = "update"
	StatusClose  = "close"
)

// Values of Alert.Severity, mildest first.
const (
	SeverityLow      = "low"
	SeverityMedium   = "medium"
	SeverityHigh     = "high"
	SeverityCritical = "critical"
)

// Values of Alert.Kind.
const (
	KindBehavior = "behavior" // a deviation from a baseline
	KindIdentity = "identity" // an agent is not what its registration says: an identity check
	KindPolicy   = "policy"   // an agent did what a policy forbids, or none permits
)

// Signal names. They are public and stable: SIEM rules refer to them.
const (
	SignalCallRate        = "call_rate"
	SignalCallRateLong    = "call_rate_long"
	SignalDrift           = "drift"
	SignalSilence         = "silence"
	SignalBytesSent       = "bytes_sent"
	SignalBytesReceived   = "bytes_received"
	SignalNewTool         = "new_tool"
	SignalNewResource     = "new_resource"
	SignalNewDestination  = "new_destination"
	SignalResourceBreadth = "resource_breadth"
	SignalToolSequence    = "tool_sequence"
	SignalFailureRatio    = "failure_ratio"
	SignalMalformed       = "malformed"
	SignalLate            = "late"
	SignalNameFlood       = "name_flood"
	SignalForeignAddress  = "foreign_address"
	SignalMetric          = "metric:" // and the name that the config gives it
	SignalPolicy          = "policy:" // and the id of the policy: the signal of alerts of KindPolicy
)

// SignalUnknownCredential is a credential that is new to an agent by its history, where
// CheckUnknownCredential is one that its registration does not list.
const SignalUnknownCredential = CheckUnknownCredential

// Names of identity checks: those of the signals of alerts of KindIdentity. They are public and
// stable, as those of signals are.
const (
	CheckUnregisteredAgent   = "unregistered_agent"
	CheckDecommissionedAgent = "decommissioned_agent"
	CheckSuspendedAgent      = "suspended_agent"
	CheckNoOwner             = "no_owner"
	CheckUnapprovedVersion   = "unapproved_version"
	CheckUnknownCredential   = "unknown_credential"
	CheckStaticKey           = "static_key"
	CheckExpiredCredential   = "expired_credential" //nolint:gosec // a name
	CheckCredentialOverdue   = "credential_overdue" //nolint:gosec // a name
)

// Alert is one step in the life of an episode. Every SIEM form is an encoding
// of it; nothing is in a SIEM form that is not here.
type Alert struct {
	AlertID    string     `json:"alert_id"`
	EpisodeID  string     `json:"episode_id"`
	Status     string     `json:"status"`
	Kind       string     `json:"kind"`
	TenantID   string     `json:"tenant_id"`
	Agent      AlertAgent `json:"agent"`
	SessionID  string     `json:"session_id,omitempty"`
	OnBehalfOf string     `json:"on_behalf_of,omitempty"`

	Time      Millis `json:"time"`
	FirstSeen Millis `json:"first_seen"`
	LastSeen  Millis `json:"last_seen"`

	// Severity and Score are those of what completed this alert; what the episode has come
	// to stands in Episode. Of a close they are the worst of the episode.
	Severity            string  `json:"severity"`
	Score               float64 `json:"score"`                  // 0-100, 50 is the budget's threshold
	ExpectedPerAgentDay float64 `json:"expected_per_agent_day"` // of a normal agent
	Confidence          float64 `json:"confidence"`             // 0-1, how much history stands behind it

	Episode Episode `json:"episode"`

	Title   string `json:"title"`   // one line without values
	Summary string `json:"summary"` // one or two plain sentences with them

	Signals        []AlertSignal `json:"signals"` // strongest first
	Evidence       Evidence      `json:"evidence"`
	Tags           Tags          `json:"tags"`
	Counterfactual string        `json:"counterfactual,omitempty"`
	Query          string        `json:"query,omitempty"` // ClickHouse SQL for the proving events
	Runbook        string        `json:"runbook,omitempty"`
	Suppressed     int           `json:"suppressed"` // crossings that this alert folds together

	Detector DetectorInfo `json:"detector"`
}

// Values of Episode.Reason: why an alert was raised.
const (
	ReasonOpened     = "opened"
	ReasonWorse      = "worse"       // a higher severity
	ReasonNewKind    = "new_kind"    // another kind of deviation
	ReasonNewPlace   = "new_place"   // another place that data can leave to
	ReasonMoved      = "moved"       // the most has gone to another place than was told
	ReasonMoreAgents = "more_agents" // twice as many new agents as were told of
	ReasonEnded      = "ended"

	ReasonNewCredential = "new_credential" //nolint:gosec // another credential that fails the same check
	ReasonNewVersion    = "new_version"    // another version that does
	ReasonNewResource   = "new_resource"   // another resource that the same policy denies
)

// Episode is what an episode has come to, this alert included.
type Episode struct {
	Reason   string  `json:"reason"`
	Severity string  `json:"severity"` // the highest so far
	Score    float64 `json:"score"`    // likewise
	// Risk is that of the highest severity (Risk), RiskAdded what this alert adds to
	// it: over the alerts of an episode it sums to its risk, once.
	Risk      int `json:"risk"`
	RiskAdded int `json:"risk_added"`
	Alerts    int `json:"alerts"` // of the episode, this one included
}

// Risk is what an episode of this severity is worth in points, of which 100 are worth
// looking at whatever else there is: an agent that only wears out its alert budget does
// not get there in a month.
func Risk(severity string) int {
	switch severity {
	case SeverityCritical:
		return 100
	case SeverityHigh:
		return 60
	case SeverityMedium:
		return 15
	case SeverityLow:
		return 5
	}
	return 0
}

// AlertAgent is the agent that an alert is about.
type AlertAgent struct {
	ID        string `json:"id"`
	Name      string `json:"name,omitempty"`
	Version   string `json:"version,omitempty"`
	PeerGroup string `json:"peer_group"`
	// What its registration says: who is accountable for it, how to reach them, and how much
	// harm it can do (a Criticality constant).
	Owner       string `json:"owner,omitempty"`
	Contact     string `json:"contact,omitempty"`
	Criticality string `json:"criticality,omitempty"`
}

// AlertSignal explains one signal: what was seen, what was expected.
type AlertSignal struct {
	Name            string  `json:"name"`
	Observed        float64 `json:"observed"`
	Expected        float64 `json:"expected"`
	Low             float64 `json:"low"`  // the interval that a normal agent keeps within
	High            float64 `json:"high"` // 99.9 % of the time
	Unit            string  `json:"unit"`
	P               float64 `json:"p"` // expected exceedances per agent-day, calibrated
	WindowStart     Millis  `json:"window_start"`
	WindowSeconds   int64   `json:"window_seconds"`
	BaselineSamples float64 `json:"baseline_samples"`
	// Baseline says whose history the expectation is.
	Baseline  string   `json:"baseline"`
	FirstSeen []string `json:"first_seen,omitempty"`
	// LedBy is the kind of the new thing that led, where it can be of several kinds.
	LedBy string `json:"led_by,omitempty"`
}

// Values of AlertSignal.Baseline.
const (
	BaselineAgent   = "agent"   // its own, corrected by its peers'
	BaselinePeers   = "peers"   // the first days of its peers: it has hardly any of its own
	BaselineAssumed = "assumed" // nobody's: neither it nor a peer has a history

	BaselineRegistration = "registration" // nobody's: it is what its registration says
	BaselinePolicy       = "policy"       // nobody's: it is what the policies say
)

// Values of AlertSignal.LedBy.
const (
	LedByDestination = "destination" // a place outside, or one that was sent to
	LedByStore       = "store"       // a place inside that was written to
	LedByAgent       = "agent"       // another agent
	LedByTool        = "tool"        // a tool
	LedByToolUse     = "tool_use"    // a tool on a kind of resource
	LedByResource    = "resource"    // a resource that was read
	LedBySequence    = "sequence"    // a tool after another one
	LedByNetwork     = "network"     // a network that it acts from
	LedByCredential  = "credential"  // a credential
)

// Evidence names what proves an alert.
type Evidence struct {
	// EventIDs are ids of the EventCount events that prove it: at most MaxEvidence, and
	// none of an event without an id. Proof is what crossed the budget, and where an hour as a
	// whole did, that hour's events before.
	EventIDs   []string `json:"event_ids"`
	Resources  []string `json:"resources"` // at most MaxEvidence
	Tools      []string `json:"tools"`     // at most MaxEvidence
	EventCount int64    `json:"event_count"`
	// CompletedBy is the event that completed the alert: none where an hour without events
	// did. Of a close it is that of the episode's worst.
	CompletedBy *CompletedBy `json:"completed_by,omitempty"`
	// Decision is what the policies said of that event; of alerts of KindPolicy alone.
	Decision *Decision `json:"decision,omitempty"`
	// Totals are of the episode so far.
	Totals *Totals `json:"totals,omitempty"`
	// Places are the same by resource, where the most was sent first; at most MaxEvidence.
	Places []Place `json:"places,omitempty"`
}

// CompletedBy is the event that completed an alert.
type CompletedBy struct {
	EventID       string   `json:"event_id"`
	Time          Millis   `json:"time"`
	Tool          string   `json:"tool,omitempty"`
	Access        string   `json:"access,omitempty"`
	Outcome       string   `json:"outcome,omitempty"`
	Target        string   `json:"target,omitempty"` // the resource, or the agent, that it is most about
	TargetAgentID string   `json:"target_agent_id,omitempty"`
	Resources     []string `json:"resources,omitempty"` // at most MaxEvidence
	BytesSent     uint64   `json:"bytes_sent"`
	BytesReceived uint64   `json:"bytes_received"`
}

// Decision is what the policies said of one resource of an event.
type Decision struct {
	Action   string   `json:"action"`           // as policies call it
	Resource string   `json:"resource"`         // "kind:id", "agent:ID", or "none" where the event has none
	Policies []string `json:"policies"`         // ids of those that decided, at most MaxEvidence; none: the default did
	Failed   []string `json:"failed,omitempty"` // of those that could not be evaluated, likewise
	// Seen is what the policies that decided asked for and were told; at most MaxSeen.
	Seen []SeenValue `json:"seen"`
}

// SeenValue is something that a policy asked for, such as resource.site.
type SeenValue struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// MaxSeen bounds Decision.Seen.
const MaxSeen = 40

// Totals are what an agent did since the event that opened the episode, that one
// included, whether it crossed the budget or not.
type Totals struct {
	Since           Millis `json:"since"`
	Events          uint64 `json:"events"`
	BytesSent       uint64 `json:"bytes_sent"`
	BytesReceived   uint64 `json:"bytes_received"`
	Sessions        uint64 `json:"sessions"` // at most MaxTotalSessions are told apart
	NewTools        uint64 `json:"new_tools"`
	NewResources    uint64 `json:"new_resources"`
	NewDestinations uint64 `json:"new_destinations"`
}

// MaxTotalSessions bounds Totals.Sessions.
const MaxTotalSessions = 64

// Place is what an episode moved to and from one resource.
type Place struct {
	Resource      string `json:"resource"`
	EventID       string `json:"event_id,omitempty"` // of the event that moved the most
	Events        uint64 `json:"events"`
	BytesSent     uint64 `json:"bytes_sent"`
	BytesReceived uint64 `json:"bytes_received"`
}

// MaxEvidence bounds each list of Evidence.
const MaxEvidence = 20

// Tags name the techniques of public taxonomies.
type Tags struct {
	OwaspASI []string `json:"owasp_asi"`
	ATLAS    []string `json:"atlas"`
	Attack   []string `json:"attack"`
}

// DetectorInfo says which detector with which config raised an alert.
type DetectorInfo struct {
	Version    string `json:"version"`
	ConfigHash string `json:"config_hash"`
	// PolicyHash is the fingerprint of the policies that were in force; empty: there were none.
	PolicyHash string `json:"policy_hash,omitempty"`
}
