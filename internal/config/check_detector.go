package config

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/detector/baseline"
	"github.com/plumbline-sec/plumbline/detector/signal"
	"github.com/plumbline-sec/plumbline/schemas"
)

// signalNames are the signals that may be overridden, beside metric:NAME, as help lists them.
var signalNames = []string{
	schemas.SignalCallRate, schemas.SignalCallRateLong, schemas.SignalDrift, schemas.SignalSilence,
	schemas.SignalBytesSent, schemas.SignalBytesReceived, schemas.SignalNewTool, schemas.SignalNewResource,
	schemas.SignalNewDestination, schemas.SignalResourceBreadth, schemas.SignalToolSequence,
	schemas.SignalFailureRatio, schemas.SignalMalformed, schemas.SignalLate, schemas.SignalNameFlood,
	schemas.SignalForeignAddress, schemas.SignalUnknownCredential,
}

func (k *checker) detector(c *Detector) {
	if c.AlertsPerAgentDay <= 0 || c.AlertsPerAgentDay >= 10 {
		k.wrong("detector.alerts_per_agent_day", number(c.AlertsPerAgentDay)+" is no budget", "write a number over 0 and under 10, such as 0.01")
	}
	between(k, "detector.quiet_time", c.QuietTime, Duration(time.Minute), Duration(30*24*time.Hour))
	between(k, "detector.checkpoint_every", c.CheckpointEvery, Duration(time.Second), Duration(10*time.Minute))
	k.oneOf("detector.on_lost_state", c.OnLostState, LostStateRefuse, LostStateFresh)
	between(k, "detector.max_agents", c.MaxAgents, 1, 100_000_000)
	between(k, "detector.max_tenants", c.MaxTenants, 1, 100_000)
	for _, name := range slices.Sorted(maps.Keys(c.Signals)) {
		key, s := "detector.signals."+name, c.Signals[name]
		k.tuning(c, key, name, OverrideSignal{Off: s.Off, Weight: s.Weight, AtLeast: s.AtLeast})
		k.tags(key+".tags", s.Tags)
	}
	k.metrics(c.Metrics)
	k.identity("detector.identity", c.Identity)
	k.overrides(c)
	byAccess := c.AccessTags.ByAccess()
	for _, access := range slices.Sorted(maps.Keys(byAccess)) {
		k.tags("detector.access_tags."+access, byAccess[access])
	}
}

func (k *checker) tuning(c *Detector, key, name string, s OverrideSignal) {
	names := slices.Clone(signalNames)
	for _, m := range c.Metrics {
		names = append(names, schemas.SignalMetric+m.Name)
	}
	if !slices.Contains(names, name) {
		k.wrong(key, "no signal has this name", oneOf(name, names)+"; metric:NAME is one of detector.metrics")
	}
	if !(s.Weight >= 0 && s.Weight <= 1000) {
		k.wrong(key+".weight", number(s.Weight)+" is no weight", "write a number over 0 and at most 1000, or 0 for the signal's own")
	}
	if !(s.AtLeast >= 0 && s.AtLeast <= math.MaxFloat64) {
		k.wrong(key+".at_least", number(s.AtLeast)+" is no amount", "write a number of the signal's unit, such as 1000")
	}
	if s.Off && s.Weight != 0 {
		k.wrong(key+".weight", "is given for a signal that is off", "take off or weight out")
	}
	if s.Off && s.AtLeast != 0 {
		k.wrong(key+".at_least", "is given for a signal that is off", "take off or at_least out")
	}
}

func (k *checker) identity(key string, modes map[string]string) {
	names := detector.IdentityChecks()
	for _, name := range slices.Sorted(maps.Keys(modes)) {
		if !slices.Contains(names, name) {
			k.wrong(key+"."+name, "no identity check has this name", oneOf(name, names))
		}
		k.oneOf(key+"."+name, modes[name], detector.IdentityAlert, detector.IdentityObserve, detector.IdentityOff)
	}
}

var metricName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,48}$`)

func (k *checker) metrics(list []Metric) {
	if len(list) > baseline.MaxMetrics {
		k.wrong("detector.metrics", fmt.Sprintf("has %d entries", len(list)), fmt.Sprintf("write at most %d", baseline.MaxMetrics))
	}
	seen := map[string]string{}
	for i, m := range list {
		key := fmt.Sprintf("detector.metrics[%d]", i)
		if metricName.MatchString(m.Name) {
			k.unique(seen, key+".name", m.Name, "names must differ")
		} else {
			k.wrong(key+".name", strconv.Quote(m.Name)+" is no name of a metric", "write up to 48 letters, digits, . _ and -, such as cost")
		}
		if attribute, ok := strings.CutPrefix(m.Field, detector.AttributePrefix); !ok || attribute == "" {
			k.oneOf(key+".field", m.Field, append(detector.MetricFields(), detector.AttributePrefix+"KEY")...)
		}
		k.oneOf(key+".take", m.Take, signal.TakeSum, signal.TakeMean)
		if len(m.Unit) > 16 || strings.ContainsFunc(m.Unit, func(r rune) bool { return !unicode.IsPrint(r) }) {
			k.wrong(key+".unit", strconv.Quote(m.Unit)+" is no unit", "write a short word such as USD")
		}
	}
}

func (k *checker) overrides(c *Detector) {
	list := c.Overrides
	if len(list) > detector.MaxOverrides {
		k.wrong("detector.overrides", fmt.Sprintf("has %d entries", len(list)), fmt.Sprintf("write at most %d: a pattern such as batch-* takes many agents at once", detector.MaxOverrides))
	}
	for i := range list {
		o, key := &list[i], fmt.Sprintf("detector.overrides[%d]", i)
		if o.Tenant == "" && o.PeerGroup == "" && o.Agent == "" {
			k.wrong(key, "matches every agent", "name a tenant, a peer_group or an agent; what holds for all stands under detector itself")
		}
		for _, p := range []struct{ key, pattern string }{{".tenant", o.Tenant}, {".peer_group", o.PeerGroup}, {".agent", o.Agent}} {
			if at := strings.IndexByte(p.pattern, '*'); at >= 0 && at < len(p.pattern)-1 {
				k.wrong(key+p.key, strconv.Quote(p.pattern)+" has a * that is not at its end", "write a name, or the beginning of names and *")
			}
		}
		if o.AlertsPerAgentDay == 0 && o.QuietTime == 0 && len(o.Signals) == 0 && len(o.Identity) == 0 {
			k.wrong(key, "changes nothing", "write alerts_per_agent_day, quiet_time, signals or identity")
		}
		if !(o.AlertsPerAgentDay >= 0 && o.AlertsPerAgentDay < 10) {
			k.wrong(key+".alerts_per_agent_day", number(o.AlertsPerAgentDay)+" is no budget", "write a number over 0 and under 10, such as 0.01; to silence a signal, write signals: {NAME: {off: true}}")
		}
		if o.QuietTime != 0 {
			between(k, key+".quiet_time", o.QuietTime, Duration(time.Minute), Duration(30*24*time.Hour))
		}
		for _, name := range slices.Sorted(maps.Keys(o.Signals)) {
			k.tuning(c, key+".signals."+name, name, o.Signals[name])
		}
		k.identity(key+".identity", o.Identity)
	}
}

func (k *checker) tags(key string, ids Names) {
	if _, err := schemas.ParseTags(ids); err != nil {
		k.wrong(key, err.Error(), "write ids as their publishers write them, or [none]")
	}
}
