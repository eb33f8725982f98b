package otlp

import (
	"strings"

	"github.com/plumbline-sec/plumbline/schemas/decode"
	"github.com/plumbline-sec/plumbline/schemas/decode/jsonscan"
)

// shape is what an entry that is passed over looks like.
type shape uint8

const (
	shapePlain shape = iota
	shapeCall
	shapeStep
	shapeMessage
	shapeServer
	shapeAssistant
	shapeUnknown
	shapes
)

// shapeOf are the shapes for people, in the metric and in the log.
var shapeOf = [shapes]decode.Shape{
	shapePlain:     {Name: "plain", Needs: "attributes that say what an agent did, gen_ai.operation.name first of all"},
	shapeCall:      {Name: "call", Needs: "the option other: inside, where calls by HTTP, to databases and queues inside an agent's run are to count"},
	shapeStep:      {Name: "step", Needs: "nothing: it is glue of a framework, and the calls in it are events"},
	shapeMessage:   {Name: "message", Needs: "nothing: the span of the call says the same"},
	shapeServer:    {Name: "mcp_server", Needs: "nothing: it is the tool server's side, and the client's is an event"},
	shapeAssistant: {Name: "coding_assistant", Needs: "nothing: what the user does, or what has an event of its own"},
	shapeUnknown:   {Name: "unknown_convention", Needs: "an operation that is known: gen_ai.operation.name, or attributes plumbline.action and plumbline.tool"},
}

// passed counts an entry that is no event.
func (d *decoder) passed(s shape, item *entry) {
	d.skipped++
	if d.shapes[s]++; len(d.samples[s]) == 0 {
		d.samples[s] = d.nameOf(item, &d.own)
	}
}

// nameOf is the name of a span, or of a log record's event.
func (d *decoder) nameOf(item *entry, set *attributeSet) []byte {
	if len(item.name) > 0 {
		return item.name
	}
	if set.has(aEventName) {
		return set.values[aEventName].text
	}
	return nil
}

// Shapes implements decode.ShapeSkipper.
func (d *decoder) Shapes(visit func(s decode.Shape, n int, sample string)) {
	for s := range d.shapes {
		if n := d.shapes[s]; n > 0 {
			visit(shapeOf[s], n, decode.SampleName(jsonscan.Alias(d.samples[s])))
		}
	}
}

// look says what an entry looks like that no convention calls an act.
func (d *decoder) look() shape {
	own := &d.own
	switch {
	case own.has(aHTTPMethod), own.has(aHTTPMethod2), own.has(aDBSystem), own.has(aDBSystem2), own.has(aMessaging), own.has(aRPCSystem), own.has(aRPCSystem2):
		return shapeCall
	case own.has(aInferenceKind), own.has(aTraceloopKind), own.has(aLangfuseKind), own.has(aMLflowKind), own.has(aLangSmithKind), own.has(aVercelKind):
		return shapeStep
	}
	num := int32(9)
	if d.logs {
		num = 6
	}
	r := wireReader{b: d.bytes(d.nodes[d.current].item)}
	var f wireField
	for r.next(&f) {
		if !f.is(num) {
			continue
		}
		if key, _, ok := readAttribute(f.data); ok && ofAgents(jsonscan.Alias(key)) {
			return shapeUnknown
		}
	}
	return shapePlain
}

// ofAgents reports whether an attribute of that name is one that only telemetry of
// models and agents has.
func ofAgents(name string) bool {
	for _, p := range [...]string{"gen_ai.", "llm.", "openinference.", "traceloop.", "langfuse.", "langsmith.", "mlflow.", "ai.", "crewai.", "agent.", "mcp.", "lk.", "a2a."} {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}
