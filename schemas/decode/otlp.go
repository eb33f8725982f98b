package decode

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// OTLPOptions say how spans and log records become events.
type OTLPOptions struct {
	// Encoding is OTLPAuto, OTLPProto or OTLPJSON.
	Encoding string
	// Agent is where the agent's id is looked for, first to last: names of
	// attributes of the span and then of its resource, and OTLPEnclosing for the
	// agent span around it.
	Agent []string
	// Tenant is the attribute of the resource that names the tenant.
	Tenant string
	// Other is what becomes of spans that are no agent activity: OTLPSkip,
	// OTLPInside or OTLPAll. Log records that are none are always skipped.
	Other string
	// Content keeps prompts, messages, arguments and results in the attributes,
	// cut to schemas.MaxStringBytes. Their sizes count in any case.
	Content bool
	// Resource are the attributes of the resource that every event repeats.
	Resource []string
	// Resources are attributes that name what was touched, each with its kind.
	Resources map[string]string
}

// Values of OTLPOptions.
const (
	OTLPAuto  = "auto" // JSON where the record begins with a brace
	OTLPProto = "proto"
	OTLPJSON  = "json"

	OTLPEnclosing = "enclosing"

	OTLPSkip   = "skip"
	OTLPInside = "inside" // calls that leave an agent span: HTTP, databases, RPC, messaging
	OTLPAll    = "all"
)

// DefaultOTLPOptions returns the options of a source that sets none.
func DefaultOTLPOptions() OTLPOptions {
	return OTLPOptions{
		Encoding: OTLPAuto,
		Agent:    []string{"plumbline.agent_id", OTLPEnclosing, "gen_ai.agent.id", "gen_ai.agent.name", "agent.name", "service.name"},
		Tenant:   "tenant.id",
		Other:    OTLPSkip,
		Resource: []string{
			"service.name", "service.namespace", "deployment.environment.name", "deployment.environment",
			"host.name", "k8s.namespace.name",
		},
	}
}

const (
	maxOTLPNames = 64 // names that the options may bring
	// maxInherited is how much of resources and agent spans the events of one
	// record repeat, beyond what identifies them: a record with one long resource
	// and many short spans would otherwise be a bomb.
	maxInherited = 8 << 20
	// keepOTLP is the largest buffer, in entries, that outlives its record.
	keepOTLP = 64 << 10
)

// OTLPDecoder reads the spans or the log records of an OTLP batch, as the
// Collector's Kafka exporter writes it, in protobuf or JSON.
//
// Invariants:
//  1. An event is a function of its record and the options: the agent span around
//     a span is looked for in the same record only.
//  2. The index of an event is the place of its span or log record in the batch,
//     whatever stands before it and whatever is skipped.
//  3. What is malformed costs itself only: a bad string is replaced and flagged,
//     a bad span is refused, and its neighbours are read.
//  4. Memory and output are linear in the record's size, time is too.
//
// It is not safe for concurrent use: one goroutine, one decoder.
type OTLPDecoder struct {
	logs  bool
	opt   OTLPOptions
	table *otlpTable

	agent     []otlpSlot // of opt.Agent; noSlot for OTLPEnclosing
	tenant    otlpSlot
	inherit   []otlpSlot // of opt.Resource
	resources []otlpSlot // of opt.Resources

	wire    []byte // the record in protobuf
	json    otlpTranscoder
	nodes   []otlpNode
	byID    map[otlpSpanID]int32
	agents  []otlpAgent
	count   int32 // spans or log records seen
	skipped int

	own, res  otlpSet    // attributes of the current node and of its resource
	around    otlpSet    // of an agent span around it
	at        otlpBounds // of the resource that res holds
	inherited int
	b         builder
}

// noSlot is no attribute.
const noSlot otlpSlot = 255

// NewOTLPSpans returns a decoder of trace batches.
func NewOTLPSpans(opt OTLPOptions) (*OTLPDecoder, error) { return newOTLP(false, opt) }

// NewOTLPLogs returns a decoder of log batches.
func NewOTLPLogs(opt OTLPOptions) (*OTLPDecoder, error) { return newOTLP(true, opt) }

func newOTLP(logs bool, opt OTLPOptions) (*OTLPDecoder, error) {
	d := &OTLPDecoder{logs: logs, opt: opt, table: newOTLPTable(), byID: map[otlpSpanID]int32{}}
	d.json.root = newOTLPObject(logs)
	if !slices.Contains([]string{OTLPAuto, OTLPProto, OTLPJSON}, opt.Encoding) {
		return nil, fmt.Errorf("encoding: %q is not auto, proto or json", opt.Encoding)
	}
	if !slices.Contains([]string{OTLPSkip, OTLPInside, OTLPAll}, opt.Other) {
		return nil, fmt.Errorf("other: %q is not skip, inside or all", opt.Other)
	}
	if len(opt.Agent) == 0 {
		return nil, errors.New("agent: at least one attribute has to name the agent")
	}
	if n := len(opt.Agent) + len(opt.Resource) + len(opt.Resources); n > maxOTLPNames {
		return nil, fmt.Errorf("agent, resource and resources name %d attributes, at most %d", n, maxOTLPNames)
	}
	for _, name := range opt.Agent {
		if name == OTLPEnclosing {
			d.agent = append(d.agent, noSlot)
			continue
		}
		d.agent = append(d.agent, d.table.slot(name))
	}
	d.tenant = noSlot
	if opt.Tenant != "" {
		d.tenant = d.table.slot(opt.Tenant)
	}
	for _, name := range opt.Resource {
		d.inherit = append(d.inherit, d.table.slot(name))
	}
	// In order of their names, so that the same options give the same events.
	for _, name := range slices.Sorted(maps.Keys(opt.Resources)) {
		d.resources = append(d.resources, d.table.slot(name))
	}
	return d, nil
}

// Trace implements Tracer.
func (d *OTLPDecoder) Trace(note func(field, path string)) { d.b.trace = note }

// note says that the field came from the attribute of set that answered last.
func (d *OTLPDecoder) note(f field, set *otlpSet) {
	if d.b.trace == nil || set.last == noSlot {
		return
	}
	path := d.table.names[set.last]
	if set == &d.res {
		path = "resource." + path
	}
	d.noteFrom(f, path)
}

const fromEnclosing = "the agent span around it"

func (d *OTLPDecoder) noteFrom(f field, path string) {
	if d.b.trace != nil {
		d.b.trace(fieldNames[f], path)
	}
}

// Skipped implements Skipper.
func (d *OTLPDecoder) Skipped() int { return d.skipped }

// Decode implements Decoder.
func (d *OTLPDecoder) Decode(rec *Record, emit emitFunc) {
	d.reset()
	d.wire = rec.Value
	if isJSON := len(rec.Value) > 0 && rec.Value[0] == '{'; d.opt.Encoding == OTLPJSON || d.opt.Encoding == OTLPAuto && isJSON {
		var refusal *Refusal
		if d.wire, refusal = d.json.transcode(rec.Value); refusal != nil {
			emit(0, nil, refusal)
			return
		}
	}
	d.index()
	for i := range d.nodes {
		n := &d.nodes[i]
		if n.malformed > 0 {
			detail := "malformed"
			if n.malformed > 1 {
				detail = strconv.Itoa(int(n.malformed)) + " malformed parts in a row"
			}
			emit(n.index, nil, &Refusal{Reason: ReasonNotOTLP, Detail: detail})
			continue
		}
		if !d.event(int32(i)) {
			d.skipped++
			continue
		}
		d.b.emit(rec, n.index, emit)
	}
}

// reset forgets the record before, and gives back what a huge one has taken.
func (d *OTLPDecoder) reset() {
	if cap(d.nodes) > keepOTLP {
		d.nodes, d.byID = nil, map[otlpSpanID]int32{}
	}
	if cap(d.agents) > keepOTLP {
		d.agents = nil
	}
	d.nodes, d.agents = d.nodes[:0], d.agents[:0]
	clear(d.byID)
	d.count, d.skipped, d.inherited, d.at = 0, 0, 0, otlpBounds{}
}
