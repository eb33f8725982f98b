package otlp

import (
	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode/jsonscan"
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
	aSentryOp
	aLangfuseKind
	aMLflowKind
	aLangSmithKind
	aVercelKind
	aCycle
	aAgentID
	aAgentName
	aAgentName2
	aAgentName3
	aAgentVercel
	aAgentLangSmith
	aAgentLiveKit
	aAgentRole
	aAgentRole2
	aAgentRole3
	aNodeName
	aNodeID
	aAgentVersion
	aHandoffTo
	aHandoffTo2
	aTool
	aTool2
	aToolClaude
	aToolVercel
	aToolLiveKit
	aToolCode
	aMCPMethod
	aMCPTool
	aArguments
	aArguments2
	aArguments3
	aArguments4
	aArguments5
	aArguments6
	aArguments7
	aArguments8
	aInput
	aEntityInput
	aLangfuseInput
	aMLflowInput
	aRunHistory
	aRunHistory2
	aRunResult
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
	aTokensInVercel
	aTokensInVercel2
	aTokensInCode
	aTokensOut
	aTokensOut2
	aTokensOut3
	aTokensOutClaude
	aTokensOutVercel
	aTokensOutVercel2
	aTokensOutCode
	aUsageLangfuse
	aUsageMLflow
	aModel
	aModel2
	aModel3
	aModelClaude
	aModelVercel
	aModelLangfuse
	aModelMLflow
	aModelPydantic
	aModelEmbedding
	aConversation
	aSession
	aSessionCodex
	aSessionADK
	aSessionVercel
	aSessionVercel2
	aSessionVercel3
	aSessionLangfuse
	aSessionMLflow
	aSessionLangSmith
	aSessionLangSmith2
	aSessionLangSmith3
	aTraceloopSession
	aTraceloopThread
	aMCPSession
	aEndUser
	aUserEmail
	aUserID
	aUserVercel
	aUserVercel2
	aUserTraceloop
	aUserLangfuse
	aUserMLflow
	aUserLangSmith
	aUserADK
	aUserCodex
	aError
	aErrorCode
	aToolStatus
	aLevelLangfuse
	aHTTPStatus
	aHTTPStatus2
	aStatusClaude
	aGRPCStatus
	aRPCStatus
	aSuccess
	aDecision
	aDecisionType
	aErrorText
	aEventKind
	aContentLength
	aServerMCP
	aServerMCP2
	aResourceURI
	aDataSource
	aMemoryStore
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
	aSentryOp: "sentry.op", aLangfuseKind: "langfuse.observation.type", aMLflowKind: "mlflow.spanType",
	aLangSmithKind: "langsmith.span.kind", aVercelKind: "ai.operationId", aCycle: "event_loop.cycle_id",
	aAgentID: "gen_ai.agent.id", aAgentName: "gen_ai.agent.name", aAgentName2: "agent.name", aAgentName3: "agent_name",
	aAgentVercel: "ai.telemetry.functionId", aAgentLangSmith: "langsmith.metadata.lc_agent_name", aAgentLiveKit: "lk.agent_name",
	aAgentRole: "crewai.agent.role", aAgentRole2: "agent.role", aAgentRole3: "agent_role", aNodeName: "graph.node.name", aNodeID: "graph.node.id",
	aAgentVersion: "gen_ai.agent.version",
	aHandoffTo:    "gen_ai.handoff.to_agent", aHandoffTo2: "to_agent",
	aTool: "gen_ai.tool.name", aTool2: "tool.name", aToolClaude: "tool_name",
	aToolVercel: "ai.toolCall.name", aToolLiveKit: "lk.function_tool.name", aToolCode: "function_name",
	aMCPMethod: "mcp.method.name", aMCPTool: "mcp.tool.name",
	aArguments: "gen_ai.tool.call.arguments", aArguments2: "tool_call.function.arguments", aArguments3: "gen_ai.tool.input",
	aArguments4: "gcp.vertex.agent.tool_call_args", aArguments5: "ai.toolCall.args", aArguments6: "tool_arguments",
	aArguments7: "function_args", aArguments8: "arguments",
	aInput: "input.value", aEntityInput: "traceloop.entity.input", aLangfuseInput: "langfuse.observation.input", aMLflowInput: "mlflow.spanInputs",
	aRunHistory: "all_messages_events", aRunHistory2: "pydantic_ai.all_messages", aRunResult: "final_result",
	aToolBytesIn: "tool_input_size_bytes", aToolBytesOut: "tool_result_size_bytes",
	aHTTPBytesOut: "http.request.body.size", aHTTPBytesOut2: "http.request_content_length",
	aHTTPBytesIn: "http.response.body.size", aHTTPBytesIn2: "http.response_content_length",
	aTokensIn: "gen_ai.usage.input_tokens", aTokensIn2: "gen_ai.usage.prompt_tokens",
	aTokensIn3: "llm.token_count.prompt", aTokensInClaude: "input_tokens",
	aTokensInVercel: "ai.usage.promptTokens", aTokensInVercel2: "ai.usage.inputTokens", aTokensInCode: "input_token_count",
	aTokensOut: "gen_ai.usage.output_tokens", aTokensOut2: "gen_ai.usage.completion_tokens",
	aTokensOut3: "llm.token_count.completion", aTokensOutClaude: "output_tokens",
	aTokensOutVercel: "ai.usage.completionTokens", aTokensOutVercel2: "ai.usage.outputTokens", aTokensOutCode: "output_token_count",
	aUsageLangfuse: "langfuse.observation.usage_details", aUsageMLflow: "mlflow.chat.tokenUsage",
	aModel: "gen_ai.request.model", aModel2: "gen_ai.response.model", aModel3: "llm.model_name", aModelClaude: "model",
	aModelVercel: "ai.model.id", aModelLangfuse: "langfuse.observation.model.name", aModelMLflow: "mlflow.llm.model",
	aModelPydantic: "model_name", aModelEmbedding: "embedding.model_name",
	aConversation: "gen_ai.conversation.id", aSession: "session.id", aSessionCodex: "conversation.id", aSessionADK: "gcp.vertex.agent.session_id",
	aSessionVercel: "ai.telemetry.metadata.sessionId", aSessionVercel2: "ai.telemetry.metadata.session_id", aSessionVercel3: "ai.telemetry.metadata.threadId",
	aSessionLangfuse: "langfuse.session.id", aSessionMLflow: "mlflow.trace.session",
	aSessionLangSmith: "langsmith.trace.session_id", aSessionLangSmith2: "langsmith.metadata.session_id", aSessionLangSmith3: "langsmith.metadata.thread_id",
	aTraceloopSession: "traceloop.association.properties.session_id", aTraceloopThread: "traceloop.association.properties.thread_id",
	aMCPSession: "mcp.session.id",
	aEndUser:    "enduser.id", aUserEmail: "user.email", aUserID: "user.id",
	aUserVercel: "ai.telemetry.metadata.userId", aUserVercel2: "ai.telemetry.metadata.user_id",
	aUserTraceloop: "traceloop.association.properties.user_id", aUserLangfuse: "langfuse.user.id", aUserMLflow: "mlflow.trace.user",
	aUserLangSmith: "langsmith.metadata.user_id", aUserADK: "gcp.vertex.agent.user_id", aUserCodex: "user.account_id",
	aError: "error.type", aErrorCode: "error_type", aToolStatus: "gen_ai.tool.status", aLevelLangfuse: "langfuse.observation.level",
	aHTTPStatus: "http.response.status_code", aHTTPStatus2: "http.status_code",
	aStatusClaude: "status_code", aGRPCStatus: "rpc.grpc.status_code", aRPCStatus: "rpc.response.status_code",
	aSuccess: "success", aDecision: "decision", aDecisionType: "decision_type", aErrorText: "error",
	aEventKind: "event.kind", aContentLength: "content_length", aServerMCP: "mcp_server_name", aServerMCP2: "mcp_server",
	aResourceURI: "mcp.resource.uri", aDataSource: "gen_ai.data_source.id", aMemoryStore: "gen_ai.memory.store.id",
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

// slotList is attributes of which the first that is there counts.
type slotList struct {
	slots []nameSlot
	mask  [4]uint64
}

func listOf(slots ...nameSlot) slotList {
	l := slotList{slots: slots}
	for _, a := range slots {
		l.mask[a>>6] |= 1 << (a & 63)
	}
	return l
}

// The attributes that say who acts for whom and with what, first to last: the GenAI
// conventions, then what other products call it.
var (
	sessionSlots = listOf(
		aConversation, aSession, aTraceloopSession, aSessionCodex, aSessionADK, aSessionVercel, aSessionVercel2, aSessionLangfuse, aSessionMLflow,
		aSessionLangSmith, aSessionLangSmith2, aSessionLangSmith3, aTraceloopThread, aSessionVercel3,
	)
	userSlots = listOf(
		aEndUser, aUserEmail, aUserID, aUserVercel, aUserVercel2, aUserTraceloop, aUserLangfuse, aUserMLflow, aUserLangSmith, aUserADK, aUserCodex,
	)
	modelSlots = listOf(
		aModel, aModel2, aModel3, aModelClaude, aModelVercel, aModelLangfuse, aModelMLflow, aModelPydantic, aModelEmbedding,
	)
	tokensInSlots  = listOf(aTokensIn, aTokensIn2, aTokensIn3, aTokensInClaude, aTokensInVercel, aTokensInVercel2, aTokensInCode)
	tokensOutSlots = listOf(aTokensOut, aTokensOut2, aTokensOut3, aTokensOutClaude, aTokensOutVercel, aTokensOutVercel2, aTokensOutCode)
	usageSlots     = listOf(aUsageLangfuse, aUsageMLflow)
	// argumentSlots hold what a tool was called with.
	argumentSlots = []nameSlot{
		aArguments, aArguments2, aArguments3, aArguments4, aArguments5, aArguments6, aArguments7, aArguments8, aToolInput, aToolParameters,
		aInput, aEntityInput, aLangfuseInput, aMLflowInput,
	}
)

// nameInfo is what is known of an attribute by its name.
type nameInfo struct {
	slot    nameSlot // noSlot: it has no meaning to the decoder
	content content
}

// nameTable gives every name its slot, and says whether it holds content.
type nameTable struct {
	slots map[string]nameSlot
	names []string // of the slots
	infos map[string]nameInfo
}

// Names that are met are remembered, so many and so long ones: what is further is
// judged each time.
const (
	maxInfos    = 4096
	maxInfoName = 128
)

func newNameTable(keep []string) *nameTable {
	t := &nameTable{slots: make(map[string]nameSlot, 256), infos: make(map[string]nameInfo, 512)}
	for _, name := range slotNames {
		t.slot(name)
	}
	for f := range schemas.FieldCount {
		t.slot(fieldPrefix + f.String())
	}
	for name := range contentNames {
		t.infos[name] = nameInfo{noSlot, contentNames[name]}
	}
	for name, slot := range t.slots {
		t.infos[name] = nameInfo{slot, contentNames[name]}
	}
	for _, name := range keep {
		i, ok := t.infos[name]
		if !ok {
			i.slot = noSlot
		}
		i.content.rule = ruleKept
		t.infos[name] = i
	}
	return t
}

// slot returns the slot of the name, a new one for a new name.
func (t *nameTable) slot(name string) nameSlot {
	s, ok := t.slots[name]
	if !ok {
		s = nameSlot(len(t.names))
		t.names = append(t.names, name)
		t.slots[name] = s
		t.infos[name] = nameInfo{s, contentNames[name]}
	}
	return s
}

// info returns what is known of a name.
func (t *nameTable) info(name []byte) nameInfo {
	i, ok := t.infos[string(name)]
	if !ok {
		i = nameInfo{noSlot, contentOf(jsonscan.Alias(name))}
		if len(t.infos) < maxInfos && len(name) <= maxInfoName {
			t.infos[string(name)] = i
		}
	}
	return i
}

// attributeSet holds the known attributes of one span, log record or resource.
type attributeSet struct {
	have, used [4]uint64
	last       nameSlot      // what answered last, or noSlot
	infos      []nameInfo    // of the attributes in their order
	values     [256]anyValue // valid where have says so
	sizes      sizes         // of the content in them
}

func (s *attributeSet) clear() {
	s.have, s.used, s.last, s.infos = [4]uint64{}, [4]uint64{}, noSlot, s.infos[:0]
	s.sizes.clear()
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

// any reports whether one of the attributes is there.
func (s *attributeSet) any(l *slotList) bool {
	return s.have[0]&l.mask[0]|s.have[1]&l.mask[1]|s.have[2]&l.mask[2]|s.have[3]&l.mask[3] != 0
}

// textOf is text of a list, most of which is seldom there.
func (s *attributeSet) textOf(l *slotList) string {
	if !s.any(l) {
		s.last = noSlot
		return ""
	}
	return s.text(l.slots...)
}

// countOf is count of a list, most of which is seldom there.
func (s *attributeSet) countOf(l *slotList) (uint64, bool) {
	if !s.any(l) {
		return 0, false
	}
	return s.count(l.slots...)
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
