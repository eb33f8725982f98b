// Package otlp reads the spans and log records of OpenTelemetry, in protobuf or
// JSON, by the conventions for agents that are in use.
package otlp

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
)

const (
	maxNames = 64 // names that the options may bring
	// maxInherited is how much of resources and agent spans the events of one
	// record repeat, beyond what identifies them: a record with one long resource
	// and many short spans would otherwise be a bomb.
	maxInherited = 8 << 20
	// keepEntries is the largest buffer, in entries, that outlives its record.
	keepEntries = 64 << 10
)

// decoder reads the spans or the log records of an OTLP batch, as the
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
type decoder struct {
	logs  bool
	opt   options
	table *nameTable

	agent     []nameSlot // of opt.Agent; noSlot for Enclosing
	tenant    nameSlot
	inherit   []nameSlot // of opt.Resource
	resources []nameSlot // of opt.Resources

	wire    []byte // the record in protobuf
	json    transcoder
	nodes   []node
	byID    map[spanID]int32
	agents  []agentSpan
	count   int32 // spans or log records seen
	current int32 // the node that is read
	skipped int
	shapes  [shapes]int    // of what was skipped
	samples [shapes][]byte // a name of each

	own, res  attributeSet // attributes of the current node and of its resource
	around    attributeSet // of an agent span around it
	at        bounds       // of the resource that res holds
	inherited int
	b         decode.Builder
}

// noSlot is no attribute.
const noSlot nameSlot = 255

func newDecoder(logs bool, opt options) (*decoder, error) {
	d := &decoder{logs: logs, opt: opt, table: newNameTable(opt.Keep), byID: map[spanID]int32{}}
	d.json.root = newJSONObject(logs)
	if len(opt.Agent) == 0 {
		return nil, errors.New("agent: at least one attribute has to name the agent")
	}
	if n := len(opt.Agent) + len(opt.Resource) + len(opt.Resources); n > maxNames {
		return nil, fmt.Errorf("agent, resource and resources name %d attributes, at most %d", n, maxNames)
	}
	for _, name := range opt.Agent {
		if name == agentEnclosing {
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

// Trace implements decode.Tracer.
func (d *decoder) Trace(note func(field, path string)) { d.b.Trace(note) }

// note says that the field came from the attribute of set that answered last.
func (d *decoder) note(f schemas.Field, set *attributeSet) {
	if !d.b.Traced() || set.last == noSlot {
		return
	}
	path := d.table.names[set.last]
	if set == &d.res {
		path = "resource." + path
	}
	d.b.From(f, path)
}

const fromEnclosing = "the agent span around it"

// Skipped implements decode.Skipper.
func (d *decoder) Skipped() int { return d.skipped }

// Decode implements decode.Decoder.
func (d *decoder) Decode(rec *decode.Record, emit decode.EmitFunc) {
	d.reset()
	d.wire = rec.Value
	if isJSON := len(rec.Value) > 0 && rec.Value[0] == '{'; d.opt.Encoding == encodingJSON || d.opt.Encoding == encodingAuto && isJSON {
		var refusal *decode.Refusal
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
			emit(n.index, nil, &decode.Refusal{Reason: decode.ReasonNotOTLP, Detail: detail})
			continue
		}
		if d.event(int32(i)) {
			d.b.Emit(rec, n.index, emit)
		}
	}
}

// reset forgets the record before, and gives back what a huge one has taken.
func (d *decoder) reset() {
	if cap(d.nodes) > keepEntries {
		d.nodes, d.byID = nil, map[spanID]int32{}
	}
	if cap(d.agents) > keepEntries {
		d.agents = nil
	}
	d.nodes, d.agents = d.nodes[:0], d.agents[:0]
	clear(d.byID)
	d.count, d.skipped, d.inherited, d.at = 0, 0, 0, bounds{}
	d.shapes, d.samples = [shapes]int{}, [shapes][]byte{}
}
