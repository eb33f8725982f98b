package detector

import (
	"time"

	"github.com/plumbline-sec/plumbline/schemas"
)

// Config is what an engineer may tune. The zero value is not usable; start from
// DefaultConfig. The names in JSON are those of the state (Canonical).
type Config struct {
	// AlertsPerAgentDay is the alert budget: how many false alerts (episodes
	// opened on benign traffic) an agent may cost in a day.
	AlertsPerAgentDay float64 `json:"alerts_per_agent_day"`
	// QuietTime closes an episode after that much event time without a crossing.
	QuietTime time.Duration `json:"quiet_time"`
	// MaxAgents bounds the agents of one partition.
	MaxAgents int `json:"max_agents"`
	// MaxTenants bounds the tenants of one partition.
	MaxTenants int `json:"max_tenants"`
	// Signals overrides single signals by name.
	Signals map[string]SignalConfig `json:"signals,omitempty"`
	// Metrics are numbers of events that become signals, metric:NAME.
	Metrics []Metric `json:"metrics,omitempty"`
	// Overrides change all this for some agents. Those that match an agent apply in
	// their order. They are calibrated with their peer group, like all its agents.
	Overrides []Override `json:"overrides,omitempty"`
	// Identity says what comes of identity checks, by name: one of the Identity constants. A
	// check that is not named is as in docs/identity.md: unregistered_agent and static_key are
	// off.
	Identity map[string]string `json:"identity,omitempty"`
	// NewDecider makes what decides about events by policies, for each detector one of its own.
	// nil: nobody decides.
	NewDecider func() Decider `json:"-"`
	// Policies are what it is made of, packed (pipeline/policy), since what judged events has to
	// be known when they are judged again. Empty: there are no policies.
	Policies []byte `json:"policies,omitempty"`
	// Runbook is a link or path prefix; an alert's runbook is it plus the name of
	// the strongest signal. Empty: none.
	Runbook string `json:"runbook,omitempty"`
	// Tags says where in the taxonomies an analyst begins to look.
	Tags schemas.Tagging `json:"tags"`
	// Version and Hash stand in every alert: the detector's build and the
	// fingerprint of its config.
	Version string `json:"-"`
	Hash    string `json:"hash"`
}

// SignalConfig overrides one signal.
type SignalConfig struct {
	Off bool `json:"off,omitempty"`
	// Weight is this signal's part of the alert budget, relative to the others;
	// 0 keeps the default.
	Weight float64 `json:"weight,omitempty"`
	// AtLeast keeps the signal silent where what it observed is less, in its unit.
	AtLeast float64 `json:"at_least,omitempty"`
}

// DefaultConfig is what an empty config file means.
func DefaultConfig() Config {
	return Config{
		AlertsPerAgentDay: defaultAlerts,
		QuietTime:         6 * time.Hour,
		MaxAgents:         2_000_000,
		MaxTenants:        4096,
		Version:           "dev",
	}
}
