package detector

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/plumbline-sec/plumbline/detector/signal"
)

// Canonical is the config as the state of a partition carries it: JSON, in one form
// whatever the order of maps. Two configs of the same form judge alike, and say the
// same in alerts.
func (c *Config) Canonical() ([]byte, error) {
	b, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("config of the detector: %w", err)
	}
	return b, nil
}

// ParseConfig reads a config that Canonical wrote. A key that is not there has its
// default; one that is not known is of a release that knew more, and is left out.
func ParseConfig(b []byte, version string) (Config, error) {
	cfg := DefaultConfig()
	if err := json.NewDecoder(bytes.NewReader(b)).Decode(&cfg); err != nil {
		return cfg, fmt.Errorf("config of the detector: %w", err)
	}
	cfg.Version = version
	return cfg, nil
}

// Reconfigure goes on with another config, exactly as RestoreCuts would from records
// of this instant: what agents and groups hold of a signal or metric that is no more is
// dropped, and a new one begins without a history. There is no cut at hand. A config
// that New refuses changes nothing.
func (d *Detector) Reconfigure(cfg Config) error {
	next, err := New(cfg, d.sink)
	if err != nil {
		return err
	}
	order, places := d.order[:0], d.places[:0]
	for _, name := range d.names {
		order = append(order, slices.Index(next.names, name))
	}
	for i := range d.metrics {
		places = append(places, slices.IndexFunc(next.metrics, func(m metricField) bool { return m.Name == d.metrics[i].Name }))
	}
	d.cfg, d.policies, d.decider, d.metrics = cfg, next.policies, next.decider, next.metrics
	d.signals, d.infos, d.names = next.signals, next.infos, next.names
	d.drift, d.silence, d.floods, d.origins = next.drift, next.silence, next.floods, next.origins
	d.order, d.places = order, places
	d.ctx, d.values = signal.Context{}, nil
	for _, t := range d.tenants {
		t.place(places, len(d.metrics))
		t.calibration.Reorder(order, len(d.signals))
		for _, g := range t.groups {
			g.calibration.Reorder(order, len(d.signals))
		}
	}
	for _, a := range d.cutting.all {
		reorder(&a.win.Max, order)
		reorder(&a.dayMax, order)
		a.profile.Metrics = placed(a.profile.Metrics, places, len(d.metrics))
		a.policy = d.policyOf(a)
	}
	// As in RestoreCuts.
	d.cutting.whole = d.cutting.whole || renumbered(order) || renumbered(places)
	return nil
}
