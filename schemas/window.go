package schemas

// Window is one hour of one agent that was active in it or expected to be.
type Window struct {
	TenantID  string `json:"tenant_id"`
	AgentID   string `json:"agent_id"`
	PeerGroup string `json:"peer_group"`
	Start     Millis `json:"start"`
	Seconds   int64  `json:"seconds"`

	Events          uint64 `json:"events"`
	Late            uint64 `json:"late"`
	Failures        uint64 `json:"failures"`
	Denied          uint64 `json:"denied"`
	BytesSent       uint64 `json:"bytes_sent"`
	BytesReceived   uint64 `json:"bytes_received"`
	Tools           uint64 `json:"tools"`
	Resources       uint64 `json:"resources"`
	NewResources    uint64 `json:"new_resources"`
	NewDestinations uint64 `json:"new_destinations"`
	Sessions        uint64 `json:"sessions"`

	Signals         map[string]WindowSignal `json:"signals"` // by signal name
	Score           float64                 `json:"score"`   // the highest of its events
	BaselineSamples float64                 `json:"baseline_samples"`
	ConfigHash      string                  `json:"config_hash"`
}

// WindowSignal is what one signal saw in a window.
type WindowSignal struct {
	Observed float64 `json:"observed"`
	Expected float64 `json:"expected"`
	Low      float64 `json:"low"`
	High     float64 `json:"high"`
	P        float64 `json:"p"`
}
