package otlp

import "github.com/plumbline-sec/plumbline/schemas/decode"

// options say how spans and log records become events.
type options struct {
	// Encoding is encodingAuto, encodingProto or encodingJSON.
	Encoding string
	// Agent is where the agent's id is looked for, first to last: names of
	// attributes of the span and then of its resource, and agentEnclosing for the
	// agent span around it.
	Agent []string
	// Tenant is the attribute of the resource that names the tenant.
	Tenant string
	// Other is what becomes of spans that are no agent activity: otherSkip,
	// otherInside or otherAll. Log records that are none are always skipped.
	Other string
	// Content keeps prompts, messages, arguments and results in the attributes,
	// cut to schemas.MaxStringBytes. Their sizes count in any case.
	Content bool
	// Keep are attributes that are kept whatever they may hold.
	Keep []string
	// Resource are the attributes of the resource that every event repeats.
	Resource []string
	// Resources are attributes that name what was touched, each with its kind.
	Resources map[string]string
}

// Values of options.
const (
	encodingAuto  = "auto" // JSON where the record begins with a brace
	encodingProto = "proto"
	encodingJSON  = "json"

	agentEnclosing = "enclosing"

	otherSkip   = "skip"
	otherInside = "inside" // calls that leave an agent span: HTTP, databases, RPC, messaging
	otherAll    = "all"
)

// defaultOptions returns the options of a source that sets none.
func defaultOptions() options {
	return options{
		Encoding: encodingAuto,
		Agent:    []string{"plumbline.agent_id", agentEnclosing, "gen_ai.agent.id", "gen_ai.agent.name", "agent.name", "service.name"},
		Tenant:   "tenant.id",
		Other:    otherSkip,
		Resource: []string{
			"service.name", "service.namespace", "deployment.environment.name", "deployment.environment",
			"host.name", "k8s.namespace.name",
		},
	}
}

// NewSpans returns the decoder of trace batches that the options describe.
func NewSpans(o *decode.Options) decode.Decoder { return build(o, false) }

// NewLogs returns the decoder of log batches that the options describe.
func NewLogs(o *decode.Options) decode.Decoder { return build(o, true) }

func build(o *decode.Options, logs bool) decode.Decoder {
	d := defaultOptions()
	opt := options{
		Encoding:  o.Text("encoding", d.Encoding, encodingAuto, encodingProto, encodingJSON),
		Agent:     o.List("agent", d.Agent),
		Tenant:    o.Text("tenant", d.Tenant),
		Other:     o.Text("other", d.Other, otherSkip, otherInside, otherAll),
		Content:   o.Flag("content", d.Content),
		Keep:      o.List("keep", d.Keep),
		Resource:  o.List("resource", d.Resource),
		Resources: o.Pairs("resources"),
	}
	if !o.Sound() {
		return nil
	}
	dec, err := newDecoder(logs, opt)
	if err != nil {
		o.Wrong("agent", "and its neighbours do not fit together: "+err.Error(), "")
		return nil
	}
	return dec
}
