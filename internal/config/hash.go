package config

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Hash is the fingerprint of what decides about verdicts: the detector's section
// without the runbook and the tags, and kafka.partitions, because peer groups and calibration
// belong to a partition. Two configs with the same hash, and the same build, say
// the same about the same events of plumbline.activity. Sources are no part of it:
// they decide which events those are.
//
// It stands in every alert and checkpoint marker. It does not depend on the order
// of keys, nor on whether a default is written out.
func (c *Config) Hash() string {
	var b strings.Builder
	fmt.Fprintf(&b, "partitions=%d\nalerts_per_agent_day=%s\nquiet_time=%d\nmax_agents=%d\n",
		c.Kafka.Partitions, number(c.Detector.AlertsPerAgentDay), c.Detector.QuietTime, c.Detector.MaxAgents)
	if n := Default().Detector.MaxTenants; c.Detector.MaxTenants != n { // as it was before the key was there
		fmt.Fprintf(&b, "max_tenants=%d\n", c.Detector.MaxTenants)
	}
	var signals []string
	for name, s := range c.Detector.Signals {
		if s.Off || s.Weight != 0 || s.AtLeast != 0 {
			signals = append(signals, tuning("signal", name, OverrideSignal{Off: s.Off, Weight: s.Weight, AtLeast: s.AtLeast}))
		}
	}
	slices.Sort(signals)
	b.WriteString(strings.Join(signals, ""))
	for _, m := range c.Detector.Metrics {
		fmt.Fprintf(&b, "metric %q %q %s\n", m.Name, m.Field, m.Take)
	}
	identity(&b, "identity", c.Detector.Identity)
	for _, o := range c.Detector.Overrides {
		fmt.Fprintf(&b, "override %q %q %q alerts_per_agent_day=%s quiet_time=%d\n", o.Tenant, o.PeerGroup, o.Agent, number(o.AlertsPerAgentDay), o.QuietTime)
		for _, name := range slices.Sorted(maps.Keys(o.Signals)) {
			b.WriteString(tuning("its", name, o.Signals[name]))
		}
		identity(&b, "its identity", o.Identity)
	}
	sum := sha256.Sum256([]byte(b.String()))
	return hex.EncodeToString(sum[:6])
}

func identity(b *strings.Builder, of string, modes map[string]string) {
	for _, check := range slices.Sorted(maps.Keys(modes)) {
		fmt.Fprintf(b, "%s %q %s\n", of, check, modes[check])
	}
}

func tuning(of, name string, s OverrideSignal) string {
	out := fmt.Sprintf("%s %q off=%t weight=%s", of, name, s.Off, number(s.Weight))
	if s.AtLeast != 0 {
		out += " at_least=" + number(s.AtLeast)
	}
	return out + "\n"
}
