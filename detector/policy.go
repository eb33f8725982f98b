package detector

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/plumbline-sec/plumbline/detector/score"
	"github.com/plumbline-sec/plumbline/schemas"
)

// MaxOverrides bounds Config.Overrides.
const MaxOverrides = 64

// Override changes how some agents are judged. A pattern is a name, or the
// beginning of names with a * at its end; an empty one takes any.
type Override struct {
	Tenant            string                  `json:"tenant,omitempty"`
	PeerGroup         string                  `json:"peer_group,omitempty"`
	Agent             string                  `json:"agent,omitempty"`
	AlertsPerAgentDay float64                 `json:"alerts_per_agent_day,omitempty"` // 0: as it was
	QuietTime         time.Duration           `json:"quiet_time,omitempty"`           // 0: as it was
	Signals           map[string]SignalConfig `json:"signals,omitempty"`              // each in place of what was said of that signal
	Identity          map[string]string       `json:"identity,omitempty"`             // likewise, by check
}

// policy is how an agent is judged: the config, and the overrides that match it in
// their order.
type policy struct {
	fuse    score.Fuse
	budget  score.Budget
	quiet   schemas.Millis
	minimum []float64 // by signal; nil: none has one

	identity identityPolicy
}

// policies are those in use, by the set of overrides that match.
type policies struct {
	overrides []Override
	by        map[uint64]*policy // never walked
	base      policyConfig
}

type policyConfig struct {
	budget  float64
	quiet   time.Duration
	signals map[string]SignalConfig

	identity map[string]string
}

func newPolicies(cfg *Config) (policies, error) {
	p := policies{overrides: cfg.Overrides, by: make(map[uint64]*policy), base: policyConfig{cfg.AlertsPerAgentDay, cfg.QuietTime, cfg.Signals, cfg.Identity}}
	if len(cfg.Overrides) > MaxOverrides {
		return p, fmt.Errorf("new detector: %d overrides, at most %d", len(cfg.Overrides), MaxOverrides)
	}
	for i := range cfg.Overrides {
		if o := &cfg.Overrides[i]; !(o.AlertsPerAgentDay >= 0 && o.AlertsPerAgentDay <= 100) || o.QuietTime < 0 {
			return p, fmt.Errorf("new detector: override %d: %v alerts per agent-day, quiet time %v", i, o.AlertsPerAgentDay, o.QuietTime)
		}
		if err := checkModes(cfg.Overrides[i].Identity); err != nil {
			return p, fmt.Errorf("new detector: override %d: %w", i, err)
		}
	}
	if err := checkModes(cfg.Identity); err != nil {
		return p, fmt.Errorf("new detector: %w", err)
	}
	return p, nil
}

func matches(pattern, name string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(name, prefix)
	}
	return pattern == "" || pattern == name
}

// policyOf returns the policy of an agent. There are as many as there are ways for
// the patterns to match, whatever names agents take.
func (d *Detector) policyOf(a *agent) *policy {
	ps := &d.policies
	set := uint64(0)
	for i := range ps.overrides {
		if o := &ps.overrides[i]; matches(o.Tenant, a.tenant.name) && matches(o.PeerGroup, a.group.name) && matches(o.Agent, a.id) {
			set |= 1 << i
		}
	}
	p, ok := ps.by[set]
	if !ok {
		p = d.newPolicy(set)
		ps.by[set] = p
	}
	return p
}

func (d *Detector) newPolicy(set uint64) *policy {
	c := d.policies.base
	signals := make(map[string]SignalConfig, len(c.signals))
	maps.Copy(signals, c.signals)
	identity := make(map[string]string, len(c.identity))
	maps.Copy(identity, c.identity)
	for i := range d.policies.overrides {
		if set&(1<<i) == 0 {
			continue
		}
		o := &d.policies.overrides[i]
		if o.AlertsPerAgentDay > 0 {
			c.budget = o.AlertsPerAgentDay
		}
		if o.QuietTime > 0 {
			c.quiet = o.QuietTime
		}
		maps.Copy(signals, o.Signals)
		maps.Copy(identity, o.Identity)
	}
	p := &policy{budget: score.NewBudget(c.budget), quiet: schemas.Millis(c.quiet.Milliseconds()), identity: newIdentityPolicy(identity)}
	weights := make([]float64, len(d.infos))
	for i := range d.infos {
		s := signals[d.infos[i].Name]
		if weights[i] = d.infos[i].Weight; s.Weight > 0 {
			weights[i] = s.Weight
		}
		if s.Off {
			weights[i] = 0
		}
		if s.AtLeast > 0 {
			if p.minimum == nil {
				p.minimum = make([]float64, len(d.infos))
			}
			p.minimum[i] = s.AtLeast
		}
	}
	p.fuse = score.NewFuse(weights, func(i int) bool { return d.infos[i].Beside })
	return p
}

// checkPolicies refuses a config that judges nobody.
func (d *Detector) checkPolicies() error {
	for i, p := 0, d.newPolicy(0); i < len(d.infos); i++ {
		if p.fuse.On(i) {
			return nil
		}
	}
	return errors.New("new detector: all signals are off")
}

// reachesMinimum reports whether a value is large enough for its signal to speak.
func (p *policy) reachesMinimum(i int, observed float64) bool {
	return p.minimum == nil || observed >= p.minimum[i]
}
