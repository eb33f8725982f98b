package detector

import (
	"time"

	"github.com/plumbline-sec/plumbline/schemas"
)

// Config is what an engineer may tune. The zero value is not usable; start from
// DefaultConfig.
type Config struct {
	// AlertsPerAgentDay is the alert budget: how many false alerts (episodes
	// opened on benign traffic) an agent may cost in a day.
	AlertsPerAgentDay float64
	// QuietTime closes an episode after that much event time without a crossing.
	QuietTime time.Duration
	// MaxAgents bounds the agents of one partition.
	MaxAgents int
	// MaxTenants bounds the tenants of one partition.
	MaxTenants int
	// Signals overrides single signals by name.
	Signals map[string]SignalConfig
	// Metrics are numbers of events that become signals, metric:NAME.
	Metrics []Metric
	// Overrides change all this for some agents. Those that match an agent apply in
	// their order. They are calibrated with their peer group, like all its agents.
	Overrides []Override
	// Runbook is a link or path prefix; an alert's runbook is it plus the name of
	// the strongest signal. Empty: none.
	Runbook string
	// Tags says where in the taxonomies an analyst begins to look.
	Tags schemas.Tagging
	// Version and Hash stand in every alert: the detector's build and the
	// fingerprint of its config.
	Version string
	Hash    string
}

// SignalConfig overrides one signal.
type SignalConfig struct {
	Off bool
	// Weight is this signal's part of the alert budget, relative to the others;
	// 0 keeps the default.
	Weight float64
	// AtLeast keeps the signal silent where what it observed is less, in its unit.
	AtLeast float64
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
