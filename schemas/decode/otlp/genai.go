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
	actionAgent    = "invoke_agent"
	actionRetrieve = "retrieval"
)

// act is what a span or log record is in the terms of all conventions.
type act uint8

const (
	actNone act = iota
	actAgent
	actModel
	actTool
	actRetrieval
	actHandoff
	actMCP
	actNamed // its operation is its action
)

// classify says what activity a span or log record is, by the conventions in the
// order in which the more telling one comes first; if it is none, what it looks like.
func (d *decoder) classify(item *entry) (c classified, s shape) {
	own := &d.own
	if product, name, ok := assistantEvent(own, item); ok {
		if d.logs { // its spans say the same
			c = d.assistant(product, name)
		}
		return c, shapeAssistant
	}
	if own.peek(aMCPMethod) != "" && item.kind == spanServer {
		// The tool server's side of a call: what it calls itself is no agent.
		return c, shapeServer
	}
	kind, op := kindOf(own, item)
	if d.logs {
		// The span of a call, or the event with its details, says more than one of a message.
		if name := jsonscan.Alias(d.nameOf(item, own)); messageEvent(name) != ruleShort || name != "" && op == opGuessed {
			return c, shapeMessage
		}
	}
	switch kind {
	case actAgent:
		c = classified{action: actionAgent, agent: true}
	case actModel:
		c = classified{action: actionModel, model: true}
	case actTool:
		c = d.tool(item)
	case actRetrieval:
		c = classified{action: actionRetrieve, tool: own.text(aTool), access: schemas.AccessRead}
	case actHandoff:
		c = classified{action: actionDelegate, handoff: true, target: handoffTarget(own, item)}
	case actMCP:
		c = d.mcp(own.peek(aMCPMethod))
	case actNamed:
		c = classified{action: op, tool: own.text(aTool), access: accessOf(op)}
	case actNone:
		if d.named() {
			c.action = "activity"
		} else if op == opStep {
			return c, shapeStep
		}
	}
	if c.action == "" {
		s = d.look()
	}
	return c, s
}

const (
	// opStep is the operation of glue between others.
	opStep = "step"
	// opGuessed is that of a model call that only its model shows.
	opGuessed = "guessed"
	// runPrefix begins the name of an agent's span in earlier versions of Google ADK.
	runPrefix = "agent_run ["
)

// kindOf reads the attributes in which conventions say what a span is. It returns
// the operation too.
func kindOf(set *attributeSet, item *entry) (act, string) {
	op := set.peek(aOperation)
	name := jsonscan.Alias(clip(item.name))
	if op == "" {
		op = strings.TrimPrefix(set.peek(aSentryOp), "gen_ai.")
		if len(op) == len(set.peek(aSentryOp)) {
			op = ""
		}
	}
	if name == "execute_event_loop_cycle" || op == "execute_event_loop_cycle" || op == "" && set.has(aCycle) {
		return actNone, opStep
	}
	if op != "" {
		return operation(op, set)
	}
	if set.has(aInferenceKind) {
		return inferenceKind(set, name)
	}
	if strings.HasPrefix(name, runPrefix) {
		return actAgent, ""
	}
	if set.has(aTraceloopKind) {
		switch strings.ToLower(set.peek(aTraceloopKind)) {
		case "agent":
			return actAgent, ""
		case "tool":
			return actTool, ""
		case "handoff":
			return actHandoff, ""
		}
		return actNone, opStep
	}
	if set.has(aHandoffTo) {
		return actHandoff, ""
	}
	for _, slot := range [...]nameSlot{aLangfuseKind, aMLflowKind, aLangSmithKind} {
		if k, op := observation(set.peek(slot)); k != actNone {
			return k, op
		}
	}
	switch id := set.peek(aVercelKind); {
	case id == "ai.toolCall":
		return actTool, ""
	case strings.Contains(id, ".do"):
		return actModel, ""
	case id != "" && set.peek(aAgentVercel)+set.peek(aAgentName) != "":
		return actAgent, ""
	case id != "":
		return actNone, opStep
	}
	switch {
	case set.has(aMCPMethod):
		return actMCP, ""
	case set.has(aTool) || set.has(aTool2) || set.has(aToolLiveKit):
		return actTool, ""
	case set.has(aAgentName3) && (set.has(aRunHistory) || set.has(aRunHistory2) || set.has(aRunResult) || strings.HasSuffix(name, " run")):
		return actAgent, "" // Pydantic AI, earlier versions
	case set.has(aSystem) || set.has(aProvider) || set.has(aModel) || set.has(aModel3) || set.has(aRequestType):
		return actModel, opGuessed
	}
	return actNone, ""
}

// operation reads gen_ai.operation.name, and what products wrote there.
func operation(op string, set *attributeSet) (act, string) {
	switch strings.ToLower(op) {
	case "chat", "text_completion", "generate_content", "embeddings", "completion", "embedding", "embed", "responses", "response", "generate_text",
		"stream_text", "generate_object", "stream_object", "llm_call", "messages", "rerank", "fetch_response", "inference", "inferencecall":
		return actModel, op
	case "execute_tool", "tool_call", "call_tool":
		return actTool, op
	case "retrieval":
		return actRetrieval, op
	case "invoke_agent", "agent_call", "invoke_swarm", "invoke_graph":
		return actAgent, op
	case "handoff", "agent_handoff":
		return actHandoff, op
	}
	if set.has(aMCPMethod) {
		return actMCP, op
	}
	return actNamed, op
}

// accessOf is what an operation on a memory does to it.
func accessOf(op string) string {
	if !strings.Contains(op, "memory") {
		return ""
	}
	switch verb, _, _ := strings.Cut(op, "_"); verb {
	case "search", "get", "list", "read", "retrieve":
		return schemas.AccessRead
	case "create", "update", "upsert", "write", "add":
		return schemas.AccessWrite
	case "delete":
		return schemas.AccessDelete
	}
	return ""
}

// inferenceKind reads openinference.span.kind. A chain is glue between others.
func inferenceKind(set *attributeSet, name string) (act, string) {
	switch kind := strings.ToUpper(set.peek(aInferenceKind)); kind {
	case "LLM", "EMBEDDING", "RERANKER":
		return actModel, ""
	case "TOOL":
		if hasHandoff(name) {
			return actHandoff, ""
		}
		return actTool, ""
	case "AGENT":
		return actAgent, ""
	case "RETRIEVER":
		return actRetrieval, ""
	case "GUARDRAIL", "EVALUATOR":
		return actNamed, strings.ToLower(kind)
	}
	return actNone, opStep
}

// observation reads the kinds that Langfuse, MLflow and LangSmith write; MLflow
// writes them as JSON.
func observation(kind string) (act, string) {
	switch kind = strings.ToLower(strings.Trim(kind, `"`)); kind {
	case "generation", "embedding", "llm", "chat_model", "reranker":
		return actModel, ""
	case "tool":
		return actTool, ""
	case "agent":
		return actAgent, ""
	case "retriever":
		return actRetrieval, ""
	case "guardrail", "evaluator":
		return actNamed, kind
	}
	return actNone, ""
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

// tool describes the call of a tool. Some tools hand over to another agent.
func (d *decoder) tool(item *entry) classified {
	own := &d.own
	tool := own.text(aTool, aTool2, aMCPTool, aToolVercel, aToolLiveKit)
	if own.has(aInferenceKind) {
		if v := own.text(aTool2, aTool); v != "" {
			tool = v
		}
	}
	if tool == "" && own.peek(aTraceloopKind) != "" {
		tool = own.text(aTraceloopName)
	}
	if tool == "" {
		tool = strings.TrimPrefix(jsonscan.Alias(clip(item.name)), "execute_tool ")
	}
	if tool == "(merged tools)" {
		return classified{} // of Google ADK: its calls have spans of their own
	}
	c := classified{action: actionTool, tool: tool, failed: strings.EqualFold(own.peek(aToolStatus), "error")}
	if target, is := d.delegation(tool); is {
		c.action, c.handoff, c.target = actionDelegate, true, target
	} else if target := own.peek(aHandoffTo); target != "" {
		c.action, c.handoff, c.target = actionDelegate, true, target
	}
	return c
}

// delegation reports whether a tool hands over to another agent, and to which.
func (d *decoder) delegation(tool string) (target string, is bool) {
	switch strings.ToLower(strings.ReplaceAll(tool, " ", "_")) {
	case "transfer_to_agent", "handoff_to_agent", "delegate_to_agent", "spawn_agent", "call_agent", "delegate_work_to_coworker", "ask_question_to_coworker":
		for _, slot := range argumentSlots {
			if d.own.has(slot) {
				if target = member(&d.own.values[slot], "agent_name", "agentName", "agent", "coworker", "to_agent", "agent_type", "subagent_type"); target != "" {
					break
				}
			}
		}
		return target, true
	}
	for _, p := range [...]string{"transfer_to_", "transfer_back_to_", "handoff_to_", "hand_off_to_"} {
		if target, is = strings.CutPrefix(tool, p); is {
			return target, target != ""
		}
	}
	return "", false
}

// hasHandoff reports whether a span is called a hand-off.
func hasHandoff(name string) bool {
	return strings.HasPrefix(name, "handoff to ") || strings.HasSuffix(name, ".handoff") || strings.HasPrefix(name, "handoff ")
}

// handoffTarget is the agent that takes over.
func handoffTarget(set *attributeSet, item *entry) string {
	for _, slot := range [...]nameSlot{aHandoffTo, aHandoffTo2} {
		if v := set.peek(slot); v != "" {
			return v
		}
	}
	name := strings.TrimSuffix(jsonscan.Alias(clip(item.name)), ".handoff")
	for _, arrow := range [...]string{" → ", " -> ", "->", "handoff to ", " to "} {
		if i := strings.LastIndex(name, arrow); i >= 0 {
			return strings.TrimSpace(name[i+len(arrow):])
		}
	}
	return set.peek(aNodeID)
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
func isAgentSpan(set *attributeSet, item *entry) bool {
	kind, _ := kindOf(set, item)
	return kind == actAgent
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
	add("memory", own.text(aMemoryStore))
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
	if class.assistant != nil {
		d.assistantResources(class.assistant)
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
