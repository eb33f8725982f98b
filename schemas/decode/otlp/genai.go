package otlp

import (
	"strings"

	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode/jsonscan"
)

const (
	actionTool     = "tool_call"
	actionModel    = "model_call"
	actionDelegate = "delegate"
)

// classify says what activity a span or log record is, by the conventions in the
// order in which the more telling one comes first.
func (d *decoder) classify(item *entry) classified {
	own := &d.own
	if name, ok := claudeEvent(own, item); ok {
		if !d.logs {
			return classified{} // its log events say the same
		}
		return d.claude(name)
	}
	op := own.peek(aOperation)
	method := own.peek(aMCPMethod)
	if method != "" && item.kind == spanServer {
		// The tool server's side of a call: what it calls itself is no agent.
		return classified{}
	}
	var c classified
	switch {
	case op != "":
		c = d.operation(op, method, item)
	case own.has(aInferenceKind):
		c = d.inferenceKind(own.peek(aInferenceKind), item)
	case own.has(aTraceloopKind):
		switch strings.ToLower(own.peek(aTraceloopKind)) {
		case "agent":
			c = classified{action: "invoke_agent", agent: true}
		case "tool":
			c = classified{action: actionTool, tool: own.text(aTool, aTraceloopName)}
		}
	case method != "":
		c = d.mcp(method)
	case own.has(aTool) || own.has(aTool2):
		c = classified{action: actionTool, tool: own.text(aTool, aTool2)}
	case own.has(aSystem) || own.has(aProvider) || own.has(aModel) || own.has(aModel3) || own.has(aRequestType):
		if d.logs && item.name != nil {
			break // an old event about a message of a call whose span says more
		}
		c = classified{action: actionModel, model: true}
	}
	if c.action == "" && d.named() {
		c.action = "activity"
	}
	return c
}

// named reports whether the producer wrote fields of the contract itself.
func (d *decoder) named() bool {
	for f := schemas.FieldAgentID; f < schemas.FieldAttributes; f++ {
		if d.own.has(aFields + nameSlot(f)) {
			return true
		}
	}
	return false
}

// operation reads gen_ai.operation.name.
func (d *decoder) operation(op, method string, item *entry) classified {
	own := &d.own
	switch op {
	case "chat", "text_completion", "generate_content", "embeddings":
		return classified{action: actionModel, model: true}
	case "execute_tool":
		tool := own.text(aTool, aTool2, aMCPTool)
		if tool == "" {
			tool = strings.TrimPrefix(jsonscan.Alias(clip(item.name)), "execute_tool ")
		}
		return classified{action: actionTool, tool: tool}
	case "retrieval":
		return classified{action: "retrieval", tool: own.text(aTool), access: schemas.AccessRead}
	case "invoke_agent":
		return classified{action: op, agent: true}
	}
	if method != "" {
		return d.mcp(method)
	}
	return classified{action: op, tool: own.text(aTool)}
}

// inferenceKind reads openinference.span.kind. A chain is glue between others.
func (d *decoder) inferenceKind(kind string, item *entry) classified {
	own := &d.own
	switch kind = strings.ToUpper(kind); kind {
	case "LLM", "EMBEDDING", "RERANKER":
		return classified{action: actionModel, model: true}
	case "TOOL":
		tool := own.text(aTool2, aTool)
		if tool == "" {
			tool = jsonscan.Alias(clip(item.name))
		}
		return classified{action: actionTool, tool: tool}
	case "AGENT":
		return classified{action: "invoke_agent", agent: true}
	case "RETRIEVER":
		return classified{action: "retrieval", access: schemas.AccessRead}
	case "GUARDRAIL", "EVALUATOR":
		return classified{action: strings.ToLower(kind)}
	}
	return classified{}
}

// mcp reads a call to a server of the Model Context Protocol.
func (d *decoder) mcp(method string) classified {
	c := classified{action: actionTool, tool: method}
	switch {
	case method == "tools/call":
		if tool := d.own.text(aTool, aMCPTool); tool != "" {
			c.tool = tool
		}
	case strings.HasSuffix(method, "/list") || method == "resources/read" || method == "prompts/get":
		c.access = schemas.AccessRead
	}
	return c
}

// isAgentSpan reports whether a span is the run of an agent.
func isAgentSpan(set *attributeSet) bool {
	if op := set.peek(aOperation); op != "" {
		return op == "invoke_agent"
	}
	return strings.EqualFold(set.peek(aInferenceKind), "agent") || strings.EqualFold(set.peek(aTraceloopKind), "agent")
}

// otherSpan describes a span that no convention for agents covers.
func (d *decoder) otherSpan(item *entry) classified {
	own := &d.own
	c := classified{action: "span", tool: jsonscan.Alias(clip(item.name))}
	for _, k := range []struct {
		action string
		slots  [2]nameSlot
	}{
		{"db", [2]nameSlot{aDBSystem, aDBSystem2}},
		{"messaging", [2]nameSlot{aMessaging, aMessaging}},
		{"rpc", [2]nameSlot{aRPCSystem, aRPCSystem2}},
		{"http", [2]nameSlot{aHTTPMethod, aHTTPMethod2}},
	} {
		if own.has(k.slots[0]) || own.has(k.slots[1]) {
			c.action = k.action
			break
		}
	}
	verb := own.peek(aHTTPMethod) + own.peek(aHTTPMethod2)
	if c.action == "db" {
		verb = own.peek(aDBOperation) + own.peek(aDBOperation2)
	}
	switch strings.ToUpper(verb) {
	case "GET", "HEAD", "SELECT", "FIND", "SCAN", "QUERY":
		c.access = schemas.AccessRead
	case "PUT", "PATCH", "INSERT", "UPDATE", "UPSERT", "MERGE":
		c.access = schemas.AccessWrite
	case "DELETE", "DROP", "TRUNCATE":
		c.access = schemas.AccessDelete
	}
	if c.action == "messaging" && item.kind == spanProducer {
		c.access = schemas.AccessSend
	}
	return c
}

// touched writes the resources.
func (d *decoder) touched(item *entry, class *classified) {
	own := &d.own
	add := func(kind, id string) {
		if id != "" {
			d.b.Touch(kind, id)
			d.note(schemas.FieldResources, own)
		}
	}
	add("", own.text(aResourceURI))
	add("data_source", own.text(aDataSource))
	if own.peek(aTable) != "" {
		ns := own.text(aNamespace)
		if ns != "" {
			ns += "."
		}
		add("table", ns+own.text(aTable))
	}
	add("topic", own.text(aTopic))
	if (item.kind == spanClient || item.kind == spanProducer) && !class.model {
		add("host", own.text(aServer, aServer2))
	}
	if own.has(aToolClaude) {
		d.claudeResources()
	}
	for _, slot := range d.resources {
		if own.has(slot) {
			own.use(slot)
			own.last = slot
			kind := d.opt.Resources[d.table.names[slot]]
			v := &own.values[slot]
			if v.kind != kindList {
				add(kind, v.string())
				continue
			}
			v.each(func(_ []byte, e *anyValue) bool {
				add(kind, e.string())
				return true
			})
		}
	}
}
