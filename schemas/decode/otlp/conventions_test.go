package otlp_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"
	collogs "go.opentelemetry.io/proto/otlp/logs/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
	"github.com/plumbline-sec/plumbline/schemas/decode/forms"
)

// facts are the fields of an event that the tests of conventions look at.
func facts(ev *schemas.Activity) schemas.Activity {
	f := schemas.Activity{
		AgentID: ev.AgentID, AgentName: ev.AgentName, SessionID: ev.SessionID, OnBehalfOf: ev.OnBehalfOf, Action: ev.Action, Tool: ev.Tool,
		Access: ev.Access, TargetAgentID: ev.TargetAgentID, BytesSent: ev.BytesSent, BytesReceived: ev.BytesReceived,
		TokensIn: ev.TokensIn, TokensOut: ev.TokensOut, Model: ev.Model, PeerGroup: ev.PeerGroup, Resources: ev.Resources,
	}
	if ev.Outcome != schemas.OutcomeSuccess {
		f.Outcome = ev.Outcome
	}
	return f
}

func TestConventionsOldAndNewAreUnderstood(t *testing.T) {
	type activity = schemas.Activity
	shop := func(a activity) activity {
		if a.AgentID == "" {
			a.AgentID = "shop"
		}
		if a.PeerGroup == "" {
			a.PeerGroup = "default"
		}
		return a
	}
	for name, c := range map[string]struct {
		span *trace.Span
		want activity
	}{
		"GenAI, a tool without a name of its own": {
			span("s-------", "", "execute_tool find", internal, "gen_ai.operation.name", "execute_tool", "gen_ai.agent.name", "planner"),
			activity{AgentID: "planner", AgentName: "planner", Action: "tool_call", Tool: "find"},
		},
		"GenAI, a call of a model with its messages": {
			span("s-------", "", "chat", client, "gen_ai.operation.name", "chat", "gen_ai.input.messages", "12345", "gen_ai.system_instructions", "123",
				"gen_ai.output.messages", "1234567", "gen_ai.response.model", "m-1"),
			activity{Action: "model_call", Model: "m-1", BytesSent: 8, BytesReceived: 7},
		},
		"GenAI, retrieval": {
			span("s-------", "", "retrieval", client, "gen_ai.operation.name", "retrieval", "gen_ai.data_source.id", "kb-1"),
			activity{Action: "retrieval", Access: "read", Resources: []string{"data_source:kb-1"}},
		},
		"GenAI, an operation of tomorrow": {
			span("s-------", "", "x", internal, "gen_ai.operation.name", "plan"),
			activity{Action: "plan"},
		},
		"GenAI before 1.37": {
			span("s-------", "", "chat", client, "gen_ai.system", "openai", "gen_ai.request.model", "m", "gen_ai.usage.prompt_tokens", 5, "gen_ai.usage.completion_tokens", 6),
			activity{Action: "model_call", Model: "m", TokensIn: 5, TokensOut: 6},
		},
		"MCP, a call of a tool": {
			span("s-------", "", "tools/call x", client, "mcp.method.name", "tools/call", "gen_ai.tool.name", "x", "mcp.session.id", "m", "server.address", "h"),
			activity{Action: "tool_call", Tool: "x", SessionID: "m", Resources: []string{"host:h"}},
		},
		"MCP, a list": {
			span("s-------", "", "tools/list", client, "mcp.method.name", "tools/list"),
			activity{Action: "tool_call", Tool: "tools/list", Access: "read"},
		},
		"OpenInference, a tool": {
			span("s-------", "", "lookup", internal, "openinference.span.kind", "TOOL", "tool.name", "lookup", "input.value", "12", "output.value", "123",
				"session.id", "s", "user.id", "u"),
			activity{Action: "tool_call", Tool: "lookup", SessionID: "s", OnBehalfOf: "u", BytesSent: 2, BytesReceived: 3},
		},
		"OpenInference, a model": {
			span("s-------", "", "llm", internal, "openinference.span.kind", "LLM", "llm.model_name", "m", "llm.token_count.prompt", 7, "llm.token_count.completion", 8),
			activity{Action: "model_call", Model: "m", TokensIn: 7, TokensOut: 8},
		},
		"OpenInference, an agent": {
			span("s-------", "", "run", internal, "openinference.span.kind", "AGENT", "agent.name", "planner"),
			activity{AgentID: "planner", AgentName: "planner", Action: "invoke_agent"},
		},
		"Traceloop, a tool": {
			span("s-------", "", "x.tool", internal, "traceloop.span.kind", "tool", "traceloop.entity.name", "x", "traceloop.entity.input", "1", "traceloop.entity.output", "12"),
			activity{Action: "tool_call", Tool: "x", BytesSent: 1, BytesReceived: 2},
		},
		"Traceloop, an agent": {
			span("s-------", "", "x.agent", internal, "traceloop.span.kind", "agent", "traceloop.entity.name", "planner"),
			activity{AgentID: "planner", AgentName: "planner", Action: "invoke_agent"},
		},
		"an agent that only its span's name names": {
			span("s-------", "", "invoke_agent planner", internal, "gen_ai.operation.name", "invoke_agent"),
			activity{AgentID: "planner", AgentName: "planner", Action: "invoke_agent"},
		},
		"sizes of the bodies before those of the content": {
			toolSpan("s-------", "", "http.request.body.size", 1000, "http.response.body.size", "2000", "gen_ai.tool.call.arguments", "x"),
			activity{Action: "tool_call", Tool: "t", BytesSent: 1000, BytesReceived: 2000},
		},
		"OpenInference, an agent that is a node of a graph": {
			span("s-------", "", "Task._execute_core", internal, "openinference.span.kind", "AGENT", "graph.node.id", "researcher"),
			activity{AgentID: "researcher", AgentName: "researcher", Action: "invoke_agent"},
		},
		"OpenInference, a node with an id that is drawn": {
			span("s-------", "", "writer.run", internal, "openinference.span.kind", "AGENT", "graph.node.id", "0f1e2d3c4b5a6978"),
			activity{AgentID: "writer", AgentName: "writer", Action: "invoke_agent"},
		},
		"OpenInference, an agent's class is no name": {
			span("s-------", "", "AgentExecutor", internal, "openinference.span.kind", "AGENT"),
			activity{Action: "invoke_agent"},
		},
		"OpenInference, a hand-off": {
			span("s-------", "", "handoff to Billing agent", internal, "openinference.span.kind", "TOOL", "graph.node.id", "Billing agent"),
			activity{Action: "delegate", TargetAgentID: "Billing agent"},
		},
		"Traceloop, a hand-off": {
			span("s-------", "", "Triage → Billing.handoff", internal, "traceloop.span.kind", "handoff", "gen_ai.handoff.from_agent", "Triage", "gen_ai.handoff.to_agent", "Billing"),
			activity{Action: "delegate", TargetAgentID: "Billing"},
		},
		"Sentry, a hand-off": {
			span("s-------", "", "handoff from Triage to Billing", internal, "sentry.op", "gen_ai.handoff"),
			activity{Action: "delegate", TargetAgentID: "Billing"},
		},
		"a tool that hands over, Google ADK": {
			toolSpan("s-------", "", "gen_ai.tool.name", "transfer_to_agent", "gcp.vertex.agent.tool_call_args", `{"agent_name":"refunds"}`),
			activity{Action: "delegate", Tool: "transfer_to_agent", TargetAgentID: "refunds", BytesSent: 24},
		},
		"a tool that hands over, by its name": {
			toolSpan("s-------", "", "gen_ai.tool.name", "transfer_to_refunds"),
			activity{Action: "delegate", Tool: "transfer_to_refunds", TargetAgentID: "refunds"},
		},
		"Google ADK, a call of a model": {
			span("s-------", "", "call_llm", internal, "gen_ai.system", "gcp.vertex.agent", "gen_ai.request.model", "gemini", "gcp.vertex.agent.session_id", "s1",
				"gcp.vertex.agent.llm_request", "123", "gcp.vertex.agent.llm_response", "12"),
			activity{Action: "model_call", Model: "gemini", SessionID: "s1", BytesSent: 3, BytesReceived: 2},
		},
		"Google ADK, an agent in earlier versions": {
			span("s-------", "", "agent_run [greeter]", internal, "gcp.vertex.agent.invocation_id", "i"),
			activity{AgentID: "greeter", AgentName: "greeter", Action: "invoke_agent"},
		},
		"Vercel AI SDK, a call of a model": {
			span("s-------", "", "ai.generateText.doGenerate", internal, "ai.operationId", "ai.generateText.doGenerate", "ai.model.id", "gpt", "ai.telemetry.functionId", "order-bot",
				"ai.usage.promptTokens", 3, "ai.usage.completionTokens", 4, "ai.prompt.messages", "12345", "ai.response.text", "12", "ai.telemetry.metadata.userId", "u", "ai.telemetry.metadata.sessionId", "s"),
			activity{AgentID: "order-bot", AgentName: "order-bot", Action: "model_call", Model: "gpt", TokensIn: 3, TokensOut: 4, BytesSent: 5, BytesReceived: 2, OnBehalfOf: "u", SessionID: "s"},
		},
		"Vercel AI SDK, the run around them": {
			span("s-------", "", "ai.generateText", internal, "ai.operationId", "ai.generateText", "ai.telemetry.functionId", "order-bot"),
			activity{AgentID: "order-bot", AgentName: "order-bot", Action: "invoke_agent"},
		},
		"Langfuse, a generation": {
			span("s-------", "", "llm", internal, "langfuse.observation.type", "generation", "langfuse.observation.model.name", "gpt", "langfuse.observation.usage_details", `{"input":60,"output":20,"total":80}`,
				"langfuse.observation.input", "1234", "langfuse.session.id", "s", "langfuse.user.id", "u"),
			activity{Action: "model_call", Model: "gpt", TokensIn: 60, TokensOut: 20, BytesSent: 4, SessionID: "s", OnBehalfOf: "u"},
		},
		"MLflow, a call of a model": {
			span("s-------", "", "Completions", internal, "mlflow.spanType", `"CHAT_MODEL"`, "mlflow.llm.model", `"gpt"`, "mlflow.chat.tokenUsage", `{"input_tokens":7,"output_tokens":8}`,
				"mlflow.trace.session", "s", "mlflow.trace.user", "u"),
			activity{Action: "model_call", Model: "gpt", TokensIn: 7, TokensOut: 8, SessionID: "s", OnBehalfOf: "u"},
		},
		"LangSmith, a tool": {
			span("s-------", "", "search_flights", internal, "langsmith.span.kind", "tool", "langsmith.metadata.thread_id", "t", "gen_ai.prompt", "123"),
			activity{Action: "tool_call", Tool: "search_flights", SessionID: "t", BytesSent: 3},
		},
		"Strands, an event of a message says what was called": {
			func() *trace.Span {
				s := toolSpan("s-------", "", "gen_ai.tool.status", "error")
				s.Events = []*trace.Span_Event{
					{Name: "gen_ai.tool.message", Attributes: attrs("role", "tool", "content", "12345", "id", "c")}, {Name: "gen_ai.choice", Attributes: attrs("message", "123")},
				}
				return s
			}(),
			activity{Action: "tool_call", Tool: "t", BytesSent: 5, BytesReceived: 3, Outcome: "failure"},
		},
		"an exception says why": {
			func() *trace.Span {
				s := toolSpan("s-------", "")
				s.Status = &trace.Status{Code: trace.Status_STATUS_CODE_ERROR}
				s.Events = []*trace.Span_Event{{Name: "exception", Attributes: attrs("exception.type", "botocore.errorfactory.AccessDeniedException")}}
				return s
			}(),
			activity{Action: "tool_call", Tool: "t", Outcome: "denied"},
		},
		"a memory is searched": {
			span("s-------", "", "search_memory", internal, "gen_ai.operation.name", "search_memory", "gen_ai.memory.store.id", "ms-1", "gen_ai.memory.query.text", "123"),
			activity{Action: "search_memory", Access: "read", Resources: []string{"memory:ms-1"}, BytesSent: 3},
		},
		"a denial by Python":  {toolSpan("s-------", "", "error.type", "PermissionError"), activity{Action: "tool_call", Tool: "t", Outcome: "denied"}},
		"a denial by a cloud": {toolSpan("s-------", "", "error.type", "com.amazonaws.NotAuthorizedException"), activity{Action: "tool_call", Tool: "t", Outcome: "denied"}},
		"a denial by RPC":     {toolSpan("s-------", "", "rpc.grpc.status_code", 7), activity{Action: "tool_call", Tool: "t", Outcome: "denied"}},
		"a denial by name":    {toolSpan("s-------", "", "error.type", "AccessDeniedException"), activity{Action: "tool_call", Tool: "t", Outcome: "denied"}},
		"a denial by HTTP":    {toolSpan("s-------", "", "http.response.status_code", 401), activity{Action: "tool_call", Tool: "t", Outcome: "denied"}},
		"an error":            {toolSpan("s-------", "", "error.type", "timeout"), activity{Action: "tool_call", Tool: "t", Outcome: "failure"}},
		"a status that fits":  {toolSpan("s-------", "", "http.response.status_code", 200), activity{Action: "tool_call", Tool: "t"}},
		"fields by their names": {
			span("s-------", "", "x", internal, "plumbline.agent_id", "a", "plumbline.action", "message", "plumbline.access", "send", "plumbline.target_agent_id", "b",
				"plumbline.resources", []string{"email:x@y.org", "bare"}, "plumbline.bytes_sent", 5, "plumbline.outcome", "denied", "plumbline.peer_group", "g"),
			activity{
				AgentID: "a", Action: "message", Access: "send", TargetAgentID: "b", Resources: []string{"email:x@y.org", "other:bare"}, BytesSent: 5,
				Outcome: "denied", PeerGroup: "g",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := decodeBatch(newSpans(t, nil), inProtobuf(t, spanBatch(serviceA, c.span)))
			require.Empty(t, got.refusals)
			require.Len(t, got.events, 1)
			require.Equal(t, shop(c.want), facts(&got.events[0]))
		})
	}
}

func TestGlueAndMessagesAreNoCalls(t *testing.T) {
	step := span("loop----", "", "execute_event_loop_cycle", internal, "gen_ai.system", "strands-agents", "event_loop.cycle_id", "c")
	merged := toolSpan("merged--", "", "gen_ai.tool.name", "(merged tools)")
	got := decodeBatch(newSpans(t, nil), inProtobuf(t, spanBatch(serviceA, step, merged,
		span("chain---", "", "chain", internal, "openinference.span.kind", "CHAIN"),
		span("langfuse", "", "step", internal, "langfuse.observation.type", "span"),
		span("http----", "", "GET", client, "http.request.method", "GET"),
		span("new-----", "", "x", internal, "gen_ai.something.new", "y"),
		span("plain---", "", "prepare "+strings.Repeat("a secret ", 9), internal, "x", "y"))))
	require.Empty(t, got.events)
	require.Equal(t, map[string]string{
		"step": "3 execute_event_loop_cycle", "unknown_convention": "2 execute_tool t", "call": "1 GET", "plain": "1 (89 bytes)",
	}, got.shapes)
	got = decodeBatch(newLogs(t, nil), inProtobuf(t, logBatch(serviceA,
		&collogs.LogRecord{EventName: "gen_ai.user.message", Attributes: attrs("gen_ai.system", "openai")},
		&collogs.LogRecord{Attributes: attrs("event.name", "gen_ai.choice", "gen_ai.provider.name", "openai")},
		claudeRecord("user_prompt", "prompt", "x"))))
	require.Empty(t, got.events)
	require.Equal(t, map[string]string{"message": "2 gen_ai.user.message", "coding_assistant": "1 user_prompt"}, got.shapes)
}

func TestIDsInBase64AreUnderstood(t *testing.T) {
	text := `{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},"scopeSpans":[{"spans":[
		{"traceId":"W47/95gDgQPSabYzgT/GDA==","spanId":"7uGbfsOxsXQ=","name":"invoke_agent","attributes":[{"key":"gen_ai.operation.name","value":{"stringValue":"invoke_agent"}},{"key":"gen_ai.agent.name","value":{"stringValue":"planner"}}]},
		{"traceId":"W47/95gDgQPSabYzgT/GDA==","spanId":"7uGbfsOxsXU=","parentSpanId":"7uGbfsOxsXQ","name":"execute_tool t","attributes":[{"key":"gen_ai.operation.name","value":{"stringValue":"execute_tool"}}]}]}]}]}`
	got := decodeBatch(newSpans(t, nil), []byte(text))
	require.Equal(t, []string{"planner", "planner"}, agentsOf(got))
	require.Equal(t, "eee19b7ec3b1b174", got.events[0].EventID)
	require.Equal(t, "5b8efff798038103d269b633813fc60c", attributesOf(&got.events[1])["trace_id"])
}

func TestSpansThatAreNoAgentActivityAreSkippedUnlessAskedFor(t *testing.T) {
	batch := inProtobuf(t, spanBatch(serviceA,
		agentSpan("agent---", "", "planner"),
		span("http----", "agent---", "POST", client, "http.request.method", "PUT", "server.address", "paste.example.com", "http.request.body.size", 900),
		span("db------", "http----", "SELECT x", client, "db.system.name", "postgresql", "db.operation.name", "SELECT", "db.collection.name", "users", "db.namespace", "crm"),
		span("inner---", "agent---", "prepare", internal, "x", "y"),
		span("chain---", "agent---", "chain", internal, "openinference.span.kind", "CHAIN"),
		span("web-----", "", "GET /", server, "http.request.method", "GET"),
		span("mcp-----", "", "tools/call", server, "mcp.method.name", "tools/call", "gen_ai.operation.name", "execute_tool"),
	))
	actions := func(other string) (out []string, r batchResult) {
		r = decodeBatch(newSpans(t, map[string]any{"other": other}), batch)
		for i := range r.events {
			out = append(out, r.events[i].AgentID+" "+r.events[i].Action)
		}
		require.Equal(t, 7, len(r.events)+r.skipped)
		return out, r
	}
	got, _ := actions("skip")
	require.Equal(t, []string{"planner invoke_agent"}, got)
	got, r := actions("inside")
	require.Equal(t, []string{"planner invoke_agent", "planner http", "planner db"}, got)
	require.Equal(t, schemas.Activity{
		AgentID: "planner", AgentName: "planner", PeerGroup: "default", Action: "http", Tool: "POST", Access: "write", BytesSent: 900,
		Resources: []string{"host:paste.example.com"},
	}, facts(&r.events[1]))
	require.Equal(t, []string{"table:crm.users"}, r.events[2].Resources)
	require.Equal(t, "read", r.events[2].Access)
	got, _ = actions("all")
	require.Equal(t, []string{
		"planner invoke_agent", "planner http", "planner db", "planner span", "planner span", "shop http", "shop span",
	}, got)
}

func TestTheOrderInWhichTheAgentIsLookedForIsConfigurable(t *testing.T) {
	batch := inProtobuf(t, spanBatch(attrs("service.name", "shop", "k8s.pod.name", "pod-1"),
		agentSpan("agent---", "", "planner"), toolSpan("tool----", "agent---", "gen_ai.agent.id", "own", "user.email", "alice@example.com")))
	for _, c := range []struct {
		order []any
		want  []string
	}{
		{[]any{"gen_ai.agent.id", "enclosing", "service.name"}, []string{"shop", "own"}},
		{[]any{"service.name"}, []string{"shop", "shop"}},
		{[]any{"user.email", "k8s.pod.name"}, []string{"pod-1", "alice@example.com"}},
		{[]any{"enclosing", "service.name"}, []string{"shop", "planner"}},
	} {
		got := decodeBatch(newSpans(t, map[string]any{"agent": c.order}), batch)
		require.Equal(t, c.want, agentsOf(got), "%v", c.order)
	}
	require.Equal(t, []string{"planner", "planner"}, agentsOf(decodeBatch(newSpans(t, nil), batch)))
	got := decodeBatch(newSpans(t, map[string]any{"agent": "nothing"}), batch)
	require.Empty(t, got.events)
	require.Equal(t, decode.ReasonNoAgentID, got.refusals[0].Reason)
}

func TestOptionsChooseTenantResourcesAndContent(t *testing.T) {
	d := newSpans(t, map[string]any{
		"tenant": "k8s.namespace.name", "content": true, "resource": "k8s.pod.name", "resources": map[string]any{"db.name": "database", "urls": ""},
	})
	got := decodeBatch(d, inProtobuf(t, spanBatch(attrs("service.name", "shop", "k8s.namespace.name", "team-a", "k8s.pod.name", "pod-1"),
		toolSpan("tool----", "", "db.name", "crm", "urls", []string{"https://a", "https://b"}, "gen_ai.tool.call.arguments", "secret"))))
	ev := got.events[0]
	require.Equal(t, "team-a", ev.TenantID)
	require.Equal(t, []string{"database:crm", "https://a", "https://b"}, ev.Resources)
	require.Equal(t, "secret", attributesOf(&ev)["gen_ai.tool.call.arguments"])
	require.Equal(t, "pod-1", attributesOf(&ev)["k8s.pod.name"])
	require.NotContains(t, attributesOf(&ev), "db.name")

	got = decodeBatch(d, inProtobuf(t, spanBatch(attrs("service.name", "shop", "k8s.namespace.name", "not a tenant"), toolSpan("tool----", ""))))
	require.Equal(t, decode.ReasonInvalidIdentity, got.refusals[0].Reason)
}

func TestOptionsThatMakeNoSenseAreRefused(t *testing.T) {
	for want, options := range map[string]map[string]any{
		"encoding":         {"encoding": "xml"},
		"other":            {"other": "some"},
		"at least one":     {"agent": []any{}},
		"at most 64":       {"resource": slices.Repeat([]any{"x"}, 100)},
		"is not a text":    {"tenant": 7},
		"is not an option": {"agents": "x"},
	} {
		_, err := forms.New("otlp_spans", options)
		require.ErrorContains(t, err, want)
	}
}

func TestEveryFieldSaysWhichAttributeItCameFrom(t *testing.T) {
	d := newSpans(t, nil)
	from := map[string][]string{}
	d.(decode.Tracer).Trace(func(field, path string) { from[field] = append(from[field], path) })
	batch := inProtobuf(t, spanBatch(serviceA, agentSpan("agent---", "", "planner"),
		toolSpan("tool----", "agent---", "gen_ai.usage.input_tokens", 3, "user.id", "u", "input.value", "x", "db.collection.name", "users", "plumbline.access", "read")))
	got := decodeBatch(d, batch)
	require.Len(t, got.events, 2)
	require.Equal(t, map[string][]string{
		"agent_id": {"gen_ai.agent.name", "the agent span around it"}, "agent_name": {"gen_ai.agent.name", "the agent span around it"},
		"agent_version": {"resource.service.version", "resource.service.version"}, "tenant_id": {"resource.tenant.id", "resource.tenant.id"},
		"tool": {"gen_ai.tool.name"}, "tokens_in": {"gen_ai.usage.input_tokens"}, "on_behalf_of": {"user.id"}, "bytes_sent": {"input.value"},
		"resources": {"db.collection.name"}, "access": {"plumbline.access"}, "event_id": {"spanId", "spanId"},
		"time": {"endTimeUnixNano", "endTimeUnixNano"}, "duration_ms": {"startTimeUnixNano", "startTimeUnixNano"},
	}, from)
	d.(decode.Tracer).Trace(nil)
	require.Equal(t, got, decodeBatch(d, batch))
}

func TestOptionsOnTheDocumentationPageAreThoseThatThereAre(t *testing.T) {
	page, err := os.ReadFile("../../../docs/sources-opentelemetry.md")
	require.NoError(t, err)
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(page, -1)
	require.Len(t, blocks, 2)
	for _, block := range blocks {
		var config struct {
			Sources []struct {
				Decoder string
				Options map[string]any
			}
		}
		require.NoError(t, yaml.Unmarshal(block[1], &config))
		require.NotEmpty(t, config.Sources)
		for _, s := range config.Sources {
			_, err := forms.New(s.Decoder, s.Options)
			require.NoError(t, err)
		}
	}
}
