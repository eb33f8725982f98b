package detector

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/plumbline-sec/plumbline/detector/baseline"
	"github.com/plumbline-sec/plumbline/detector/signal"
	"github.com/plumbline-sec/plumbline/schemas"
)

// Metric is a number of events that becomes the signal metric:NAME.
type Metric struct {
	Name  string `json:"name"`
	Field string `json:"field"`          // one of MetricFields, or attributes.KEY
	Take  string `json:"take"`           // signal.TakeMean or signal.TakeSum
	Unit  string `json:"unit,omitempty"` // for people
}

// AttributePrefix begins a Metric.Field that is an attribute.
const AttributePrefix = "attributes."

// MetricFields are the fields of an event that hold numbers.
func MetricFields() []string {
	return []string{"bytes_sent", "bytes_received", "tokens_in", "tokens_out", "duration_ms"}
}

// metricField is a metric and where its value is.
type metricField struct {
	Metric
	key string // of the attribute; empty: a field
	of  func(*schemas.Activity) uint64
}

func (d *Detector) addMetrics(metrics []Metric) error {
	if len(metrics) > baseline.MaxMetrics {
		return fmt.Errorf("new detector: %d metrics, at most %d", len(metrics), baseline.MaxMetrics)
	}
	for i, m := range metrics {
		f := metricField{Metric: m}
		if key, ok := strings.CutPrefix(m.Field, AttributePrefix); ok && key != "" {
			f.key = key
		} else if f.of = field(m.Field); f.of == nil {
			return fmt.Errorf("new detector: metric %s: no field %q", m.Name, m.Field)
		}
		if m.Name == "" || m.Take != signal.TakeMean && m.Take != signal.TakeSum {
			return fmt.Errorf("new detector: metric %q takes %q", m.Name, m.Take)
		}
		d.metrics = append(d.metrics, f)
		d.signals = append(d.signals, signal.Metric(i, m.Name, m.Unit, m.Take))
	}
	return nil
}

func field(name string) func(*schemas.Activity) uint64 {
	switch name {
	case "bytes_sent":
		return func(ev *schemas.Activity) uint64 { return ev.BytesSent }
	case "bytes_received":
		return func(ev *schemas.Activity) uint64 { return ev.BytesReceived }
	case "tokens_in":
		return func(ev *schemas.Activity) uint64 { return ev.TokensIn }
	case "tokens_out":
		return func(ev *schemas.Activity) uint64 { return ev.TokensOut }
	case "duration_ms":
		return func(ev *schemas.Activity) uint64 { return ev.DurationMS }
	}
	return nil
}

// value returns what an event has of a metric. A field that is 0 is one that is not
// there; an attribute counts where it is a number of a size that things have.
func (f *metricField) value(ev *schemas.Activity) (x float64, ok bool) {
	if f.of != nil {
		n := f.of(ev)
		return float64(n), n > 0
	}
	for i := range ev.Attributes {
		if a := &ev.Attributes[i]; a.Key == f.key {
			x, err := strconv.ParseFloat(a.Value, 64)
			return x, err == nil && math.Abs(x) <= maxMetric
		}
	}
	return 0, false
}

// maxMetric keeps sums and means of hostile values within a float32.
const maxMetric = 1e30

// measure looks up what the config's metrics say of an event in its open hour.
func (d *Detector) measure(a *agent, ev *schemas.Activity, hour int64) {
	c := &d.ctx
	c.Metrics = d.values[:0]
	for i := range d.metrics {
		v := signal.MetricValue{}
		if v.X, v.Has = d.metrics[i].value(ev); v.Has {
			m := &a.profile.Metrics[i]
			v.At = m.At(&a.group.peers.Metrics[i], hour)
			if d.metrics[i].Take == signal.TakeSum {
				v.X = max(v.X, 0)
				v.Sum = m.Sum(v.At, a.win.Rate)
				m.Count(v.X)
			}
		}
		c.Metrics = append(c.Metrics, v)
	}
	d.values = c.Metrics
}
