package app

import (
	"fmt"
	"slices"
	"strings"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/internal/config"
	"github.com/plumbline-sec/plumbline/internal/embedded"
	"github.com/plumbline-sec/plumbline/pipeline/clickhouse"
	"github.com/plumbline-sec/plumbline/pipeline/detect"
	"github.com/plumbline-sec/plumbline/pipeline/kafka"
	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode/forms"
	"github.com/plumbline-sec/plumbline/schemas/siem"
)

// Forms are the names that the config may use for sources and outputs.
func Forms() config.Forms {
	f := config.Forms{NotEmbedded: embedded.Included(), CheckDecoder: func(name string, options map[string]any) error {
		_, err := forms.New(name, options)
		return err
	}, CheckDetector: func(cfg *config.Config) error {
		return detect.CheckConfig(DetectorConfig(cfg, ""))
	}, CheckPolicy: checkPolicy}
	for _, form := range forms.All() {
		f.Decoders = append(f.Decoders, form.Name)
	}
	for _, e := range siem.Encoders() {
		f.Formats = append(f.Formats, e.Name())
		if siem.TakesSyslog(e.Name()) {
			f.Syslog = append(f.Syslog, e.Name())
		}
	}
	return f
}

// KafkaConfig says how to reach the configured Kafka. The embedded broker is
// expected where the config says that it listens.
func KafkaConfig(cfg *config.Config) (kafka.Config, error) {
	k := &cfg.Kafka
	if k.Brokers.Embedded() {
		return kafka.Config{Brokers: []string{cfg.Embedded.KafkaListen}}, nil
	}
	out := kafka.Config{Brokers: slices.Clone(k.Brokers)}
	var err error
	if k.SASL.Mechanism != config.SASLNone {
		out.SASL = &kafka.SASLConfig{
			Mechanism: strings.ToUpper(k.SASL.Mechanism), Username: k.SASL.Username, Password: k.SASL.Password.Reveal(), Region: k.SASL.AWSRegion,
		}
	}
	switch k.SASL.Mechanism {
	case config.SASLMSKIAM:
		out.SASL.Mechanism = kafka.MechanismMSKIAM
	case config.SASLOAuthBearer:
		o, sasl := &k.SASL.OAuth, out.SASL
		sasl.Username, sasl.Password = o.ClientID, o.ClientSecret.Reveal()
		sasl.OAuth = kafka.OAuth{TokenFile: o.TokenFile, TokenURL: o.TokenURL, Scope: o.Scope, Extensions: o.Extensions}
		sasl.OAuth.TLS, sasl.OAuth.DialTLS, err = tlsFiles{"kafka.sasl.oauth", config.TLS{Enabled: true, CAFile: o.CAFile}}.open()
		if err != nil {
			return out, err
		}
	}
	out.TLS, out.DialTLS, err = tlsFiles{"kafka.tls", k.TLS}.open()
	return out, err
}

// ClickHouseConfig says how to reach the configured ClickHouse. The embedded
// engine is expected where the config says that it listens.
func ClickHouseConfig(cfg *config.Config) (clickhouse.Config, error) {
	c := &cfg.ClickHouse
	out := clickhouse.Config{
		Addrs: slices.Clone(c.Addr), Protocol: c.Protocol, Database: c.Database,
		Username: c.Username, Password: c.Password.Reveal(), RetentionDays: c.RetentionDays,
		InsertQuorum: c.InsertQuorum, Cluster: c.Cluster,
	}
	if c.Addr.Embedded() {
		out.Addrs, out.Protocol, out.Fsync = []string{cfg.Embedded.ClickHouseListen}, clickhouse.ProtocolHTTP, true
		out.Compression = clickhouse.CompressionNone // it never leaves the machine
		return out, nil
	}
	var err error
	out.TLS, out.DialTLS, err = tlsFiles{"clickhouse.tls", c.TLS}.open()
	return out, err
}

// DetectorConfig is the detector's part of the config.
func DetectorConfig(cfg *config.Config, version string) detector.Config {
	d := &cfg.Detector
	out := detector.DefaultConfig()
	out.AlertsPerAgentDay = d.AlertsPerAgentDay
	out.QuietTime = d.QuietTime.Std()
	out.MaxAgents, out.MaxTenants = d.MaxAgents, d.MaxTenants
	out.Runbook = d.Runbook
	out.Version = version
	out.Hash = cfg.Hash()
	out.Signals = make(map[string]detector.SignalConfig, len(d.Signals))
	out.Tags.Signals = make(map[string]schemas.Tags)
	for name, s := range d.Signals {
		out.Signals[name] = detector.SignalConfig{Off: s.Off, Weight: s.Weight, AtLeast: s.AtLeast}
		if len(s.Tags) > 0 {
			out.Tags.Signals[name], _ = schemas.ParseTags(s.Tags) // Validate has looked at them
		}
	}
	out.Identity = d.Identity
	for _, m := range d.Metrics {
		out.Metrics = append(out.Metrics, detector.Metric(m))
	}
	for _, o := range d.Overrides {
		over := detector.Override{
			Tenant: o.Tenant, PeerGroup: o.PeerGroup, Agent: o.Agent,
			AlertsPerAgentDay: o.AlertsPerAgentDay, QuietTime: o.QuietTime.Std(), Signals: make(map[string]detector.SignalConfig, len(o.Signals)), Identity: o.Identity,
		}
		for name, s := range o.Signals {
			over.Signals[name] = detector.SignalConfig(s)
		}
		out.Overrides = append(out.Overrides, over)
	}
	out.Tags.Access = make(map[string]schemas.Tags)
	for access, ids := range d.AccessTags.ByAccess() {
		if len(ids) > 0 {
			out.Tags.Access[access], _ = schemas.ParseTags(ids)
		}
	}
	return out
}

// Outputs are the topics of alerts that the config asks for, beside
// pipeline.TopicAlerts.
func Outputs(cfg *config.Config) ([]detect.Output, error) {
	outputs := make([]detect.Output, 0, len(cfg.Outputs))
	for _, o := range cfg.Outputs {
		enc, ok := siem.Lookup(o.Format)
		if !ok {
			return nil, fmt.Errorf("output %s: no format %q", o.Topic, o.Format)
		}
		if o.Syslog {
			enc = siem.Syslog(enc)
		}
		outputs = append(outputs, detect.Output{Topic: o.Topic, Encoder: enc, Filter: siem.Filter{
			MinSeverity: o.MinSeverity, Statuses: o.Status, Kinds: o.Kinds, Tenants: o.Tenants, PeerGroups: o.PeerGroups,
		}})
	}
	return outputs, nil
}
