package otlp

import (
	"strings"

	"github.com/plumbline-sec/plumbline/schemas"
)

// nameSlot is an attribute that the decoder knows, or that the options name.
type nameSlot = uint8

// The attributes with a meaning. Old names and other conventions stand beside
// the name that they became.
const (
	aOperation nameSlot = iota
	aInferenceKind
	aTraceloopKind
	aTraceloopName
	aRequestType
	aSystem
	aProvider
	aAgentID
	aAgentName
	aAgentName2
	aAgentVersion
	aTool
	aTool2
	aToolClaude
	aMCPMethod
	aMCPTool
	aArguments
	aArguments2
	aArguments3
	aResult
	aInput
	aOutput
	aEntityInput
	aEntityOutput
	aMessagesIn
	aInstructions
	aMessagesOut
	aToolBytesIn
	aToolBytesOut
	aHTTPBytesOut
	aHTTPBytesOut2
	aHTTPBytesIn
	aHTTPBytesIn2
	aTokensIn
	aTokensIn2
	aTokensIn3
	aTokensInClaude
	aTokensOut
	aTokensOut2
	aTokensOut3
	aTokensOutClaude
	aModel
	aModel2
	aModel3
	aModelClaude
	aConversation
	aSession
	aMCPSession
	aTraceloopSession
	aEndUser
	aUserEmail
	aUserID
	aError
	aHTTPStatus
	aHTTPStatus2
	aStatusClaude
	aGRPCStatus
	aRPCStatus
	aSuccess
	aDecision
	aDecisionType
	aErrorText
	aResourceURI
	aDataSource
	aServer
	aServer2
	aTable
	aNamespace
	aTopic
	aHTTPMethod
	aHTTPMethod2
	aDBSystem
	aDBSystem2
	aDBOperation
	aDBOperation2
	aRPCSystem
	aRPCSystem2
	aMessaging
	aDuration
	aLocalAddress
	aServiceVersion
	aAppVersion
	aEventName
	aRecordID
	aToolParameters
	aToolInput

	// plumbline.FIELD, by the number of the field: any field of the contract may be
	// set by its name, but for the tenant, which is the resource's to name.
	aFields
)

const fieldPrefix = "plumbline."

// slotNames are the names of the slots before aFields.
//
//nolint:gosec // names of attributes, no credentials
var slotNames = [aFields]string{
	aOperation: "gen_ai.operation.name", aInferenceKind: "openinference.span.kind",
	aTraceloopKind: "traceloop.span.kind", aTraceloopName: "traceloop.entity.name",
	aRequestType: "llm.request.type", aSystem: "gen_ai.system", aProvider: "gen_ai.provider.name",
	aAgentID: "gen_ai.agent.id", aAgentName: "gen_ai.agent.name", aAgentName2: "agent.name",
	aAgentVersion: "gen_ai.agent.version",
	aTool:         "gen_ai.tool.name", aTool2: "tool.name", aToolClaude: "tool_name",
	aMCPMethod: "mcp.method.name", aMCPTool: "mcp.tool.name",
	aArguments: "gen_ai.tool.call.arguments", aArguments2: "tool.parameters", aArguments3: "tool_call.function.arguments",
	aResult: "gen_ai.tool.call.result", aInput: "input.value", aOutput: "output.value",
	aEntityInput: "traceloop.entity.input", aEntityOutput: "traceloop.entity.output",
	aMessagesIn: "gen_ai.input.messages", aInstructions: "gen_ai.system_instructions", aMessagesOut: "gen_ai.output.messages",
	aToolBytesIn: "tool_input_size_bytes", aToolBytesOut: "tool_result_size_bytes",
	aHTTPBytesOut: "http.request.body.size", aHTTPBytesOut2: "http.request_content_length",
	aHTTPBytesIn: "http.response.body.size", aHTTPBytesIn2: "http.response_content_length",
	aTokensIn: "gen_ai.usage.input_tokens", aTokensIn2: "gen_ai.usage.prompt_tokens",
	aTokensIn3: "llm.token_count.prompt", aTokensInClaude: "input_tokens",
	aTokensOut: "gen_ai.usage.output_tokens", aTokensOut2: "gen_ai.usage.completion_tokens",
	aTokensOut3: "llm.token_count.completion", aTokensOutClaude: "output_tokens",
	aModel: "gen_ai.request.model", aModel2: "gen_ai.response.model", aModel3: "llm.model_name", aModelClaude: "model",
	aConversation: "gen_ai.conversation.id", aSession: "session.id", aMCPSession: "mcp.session.id",
	aTraceloopSession: "traceloop.association.properties.session_id",
	aEndUser:          "enduser.id", aUserEmail: "user.email", aUserID: "user.id",
	aError: "error.type", aHTTPStatus: "http.response.status_code", aHTTPStatus2: "http.status_code",
	aStatusClaude: "status_code", aGRPCStatus: "rpc.grpc.status_code", aRPCStatus: "rpc.response.status_code",
	aSuccess: "success", aDecision: "decision", aDecisionType: "decision_type", aErrorText: "error",
	aResourceURI: "mcp.resource.uri", aDataSource: "gen_ai.data_source.id",
	aServer: "server.address", aServer2: "net.peer.name",
	aTable: "db.collection.name", aNamespace: "db.namespace", aTopic: "messaging.destination.name",
	aHTTPMethod: "http.request.method", aHTTPMethod2: "http.method",
	aDBSystem: "db.system.name", aDBSystem2: "db.system", aDBOperation: "db.operation.name", aDBOperation2: "db.operation",
	aRPCSystem: "rpc.system.name", aRPCSystem2: "rpc.system", aMessaging: "messaging.system",
	aDuration: "duration_ms", aLocalAddress: "network.local.address",
	aServiceVersion: "service.version", aAppVersion: "app.version",
	aEventName: "event.name", aRecordID: "log.record.uid",
	aToolParameters: "tool_parameters", aToolInput: "tool_input",
}

// contentNames are attributes that hold what was said and not what was done:
// their size counts, they themselves are kept only on request. A name that ends
// in a dot stands for all that begin with it.
var contentNames = []string{
	"gen_ai.tool.call.arguments", "gen_ai.tool.call.result", "gen_ai.tool.definitions", "gen_ai.input.messages",
	"gen_ai.output.messages", "gen_ai.system_instructions", "gen_ai.retrieval.documents", "gen_ai.retrieval.query.text",
	"gen_ai.prompt", "gen_ai.prompt.", "gen_ai.completion", "gen_ai.completion.",
	"input.value", "output.value", "tool.parameters", "tool_call.function.arguments",
	"llm.input_messages.", "llm.output_messages.", "llm.prompts.", "llm.completions.", "llm.prompts", "llm.tools.",
	"llm.prompt_template.", "retrieval.documents.", "embedding.embeddings.", "reranker.",
	"traceloop.entity.input", "traceloop.entity.output", "tool_parameters", "tool_input", "prompt",
}

// nameTable gives every name its slot.
type nameTable struct {
	slots    map[string]nameSlot
	names    []string // of the slots
	exact    map[string]bool
	prefixes []string
}

func newNameTable() *nameTable {
	t := &nameTable{slots: make(map[string]nameSlot, 160), exact: map[string]bool{}}
	for _, name := range slotNames {
		t.slot(name)
	}
	for f := range schemas.FieldCount {
		t.slot(fieldPrefix + f.String())
	}
	for _, name := range contentNames {
		if strings.HasSuffix(name, ".") {
			t.prefixes = append(t.prefixes, name)
		} else {
			t.exact[name] = true
		}
	}
	// The name of a prompt template is no content.
	t.exact["gen_ai.prompt.name"] = false
	return t
}

// slot returns the slot of the name, a new one for a new name.
func (t *nameTable) slot(name string) nameSlot {
	s, ok := t.slots[name]
	if !ok {
		s = nameSlot(len(t.names))
		t.names = append(t.names, name)
		t.slots[name] = s
	}
	return s
}

func (t *nameTable) content(name string) bool {
	if is, ok := t.exact[name]; ok {
		return is
	}
	for _, p := range t.prefixes {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}

// attributeSet holds the known attributes of one span, log record or resource.
type attributeSet struct {
	have, used [4]uint64
	last       nameSlot      // what answered last, or noSlot
	slots      []nameSlot    // of the attributes in their order, noSlot of one without
	values     [256]anyValue // valid where have says so
}

func (s *attributeSet) clear() {
	s.have, s.used, s.last, s.slots = [4]uint64{}, [4]uint64{}, noSlot, s.slots[:0]
}

func (s *attributeSet) has(a nameSlot) bool { return s.have[a>>6]>>(a&63)&1 == 1 }

func (s *attributeSet) use(a nameSlot) { s.used[a>>6] |= 1 << (a & 63) }

func (s *attributeSet) isUsed(a nameSlot) bool { return s.used[a>>6]>>(a&63)&1 == 1 }

// peek returns the value of the attribute as text without marking it as used.
func (s *attributeSet) peek(a nameSlot) string {
	if !s.has(a) {
		return ""
	}
	return s.values[a].string()
}

// text returns the first of the attributes that is there and not empty; it need
// not stand among the open attributes as well.
func (s *attributeSet) text(slots ...nameSlot) string {
	for _, a := range slots {
		if v := s.peek(a); v != "" {
			s.use(a)
			s.last = a
			return v
		}
	}
	s.last = noSlot
	return ""
}

// count returns the first of the attributes that is a number.
func (s *attributeSet) count(slots ...nameSlot) (uint64, bool) {
	for _, a := range slots {
		if s.has(a) {
			if n, ok := s.values[a].number(); ok {
				s.use(a)
				s.last = a
				return n, true
			}
		}
	}
	return 0, false
}

// size returns how much content the attributes hold together.
func (s *attributeSet) size(slots ...nameSlot) (n uint64) {
	for _, a := range slots {
		if s.has(a) {
			n += s.values[a].size(0)
			s.last = a
		}
	}
	return n
}

// first returns the size of the first of the attributes that holds content.
func (s *attributeSet) first(slots ...nameSlot) uint64 {
	for _, a := range slots {
		if n := s.size(a); n > 0 {
			return n
		}
	}
	return 0
}
