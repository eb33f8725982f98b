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

// KindBehavior is the kind of an alert that a deviation from a baseline raised.
const KindBehavior = "behavior"

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
	SignalMetric          = "metric:" // and the name that the config gives it
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

	Severity            string  `json:"severity"`
	Score               float64 `json:"score"`                  // 0-100, 50 is the budget's threshold
	ExpectedPerAgentDay float64 `json:"expected_per_agent_day"` // of a normal agent
	Confidence          float64 `json:"confidence"`             // 0-1, how much history stands behind it

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

// AlertAgent is the agent that an alert is about.
type AlertAgent struct {
	ID        string `json:"id"`
	Name      string `json:"name,omitempty"`
	Version   string `json:"version,omitempty"`
	PeerGroup string `json:"peer_group"`
	Owner     string `json:"owner,omitempty"`
}

// AlertSignal explains one signal: what was seen, what was expected.
type AlertSignal struct {
	Name            string   `json:"name"`
	Observed        float64  `json:"observed"`
	Expected        float64  `json:"expected"`
	Low             float64  `json:"low"`  // the interval that a normal agent keeps within
	High            float64  `json:"high"` // 99.9 % of the time
	Unit            string   `json:"unit"`
	P               float64  `json:"p"` // expected exceedances per agent-day, calibrated
	WindowStart     Millis   `json:"window_start"`
	WindowSeconds   int64    `json:"window_seconds"`
	BaselineSamples float64  `json:"baseline_samples"`
	FirstSeen       []string `json:"first_seen,omitempty"`
}

// Evidence names what proves an alert.
type Evidence struct {
	EventIDs   []string `json:"event_ids"` // at most MaxEvidence
	Resources  []string `json:"resources"` // at most MaxEvidence
	Tools      []string `json:"tools"`     // at most MaxEvidence
	EventCount int64    `json:"event_count"`
	// Places are what the episode moved so far by resource, where the most was sent first;
	// at most MaxEvidence.
	Places []Place `json:"places,omitempty"`
}

// Place is what an episode moved to and from one resource.
type Place struct {
	Resource      string `json:"resource"`
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
}
