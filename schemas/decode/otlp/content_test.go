package otlp_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	collogs "go.opentelemetry.io/proto/otlp/logs/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/plumbline-sec/plumbline/schemas"
)

// said are the attributes in which the conventions and products put prompts,
// messages, arguments, results, schemas and texts of errors. The list is the test's
// own, written from their documentation and source.
var said = strings.Fields(`
gen_ai.input.messages gen_ai.output.messages gen_ai.system_instructions gen_ai.tool.call.arguments gen_ai.tool.call.result gen_ai.tool.definitions
gen_ai.retrieval.query.text gen_ai.retrieval.documents gen_ai.memory.query.text gen_ai.memory.records gen_ai.evaluation.explanation
gen_ai.prompt gen_ai.completion gen_ai.prompt.0.content gen_ai.prompt.12.tool_calls.0.arguments gen_ai.completion.0.content gen_ai.completion.0.reasoning
gen_ai.completion.0.tool_calls.0.arguments gen_ai.content.prompt gen_ai.content.completion gen_ai.content.reasoning gen_ai.content.revised_prompt
gen_ai.request.messages gen_ai.request.available_tools gen_ai.request.tools gen_ai.response.text gen_ai.response.tool_calls gen_ai.response.object gen_ai.tool.input
gen_ai.tool.output gen_ai.tool.message gen_ai.system.message gen_ai.embeddings.input gen_ai.tool.args gen_ai.tool_calls gen_ai.agent.instructions gen_ai.agent.system_prompt
gen_ai.agent.context gen_ai.agent.goal gen_ai.agent.action.tool_input gen_ai.agent.final_result gen_ai.agent.next_goal gen_ai.agent.step_messages
gen_ai.task.input gen_ai.task.output gen_ai.workflow.input gen_ai.workflow.output gen_ai.framework.pipeline.input_data gen_ai.framework.pipeline.output_data
gen_ai.framework.error.message gen_ai.memory.search.query gen_ai.vectordb.search.query gen_ai.extraction.instruction gen_ai.handoff.reason
input.value output.value llm.input_messages llm.input_messages.0.message.content llm.input_messages.3.message.contents.0.message_content.text
llm.input_messages.0.message.tool_calls.0.tool_call.function.arguments llm.output_messages.0.message.content llm.output_messages.0.message.function_call_arguments_json
llm.prompts llm.prompts.0 llm.prompts.0.prompt.text llm.completions.0.content llm.choices.0.completion.text llm.tools llm.tools.0.tool.json_schema llm.invocation_parameters
llm.prompt_template.template llm.prompt_template.variables llm.function_call retrieval.documents retrieval.documents.0.document.content
retrieval.documents.1.document.metadata reranker.query reranker.input_documents.0.document.content reranker.output_documents.0.document.content
embedding.text embedding.embeddings.0.embedding.text tool.parameters tool.parameters.x tool_call.function.arguments metadata document.content message.content
metadata.gen_ai.system_instructions metadata.llm.input_messages.0.message.content audio.transcript llm.request.functions.0.parameters
traceloop.entity.input traceloop.entity.output traceloop.prompt.template traceloop.prompt.template_variables traceloop.prompt.template_variables.question mcp.response.value
ai.prompt ai.prompt.messages ai.prompt.tools ai.prompt.toolChoice ai.toolCall.args ai.toolCall.result ai.response.text ai.response.object ai.response.toolCalls
ai.response.reasoning ai.response.files ai.result.text ai.result.object ai.result.toolCalls ai.value ai.values ai.schema ai.response.providerMetadata ai.request.headers.authorization
gcp.vertex.agent.llm_request gcp.vertex.agent.llm_response gcp.vertex.agent.tool_call_args gcp.vertex.agent.tool_response gcp.vertex.agent.data
langfuse.observation.input langfuse.observation.output langfuse.trace.input langfuse.trace.output langfuse.observation.metadata langfuse.observation.metadata.note
langfuse.trace.metadata.note langfuse.observation.status_message langfuse.observation.model.parameters langfuse.experiment.item.expected_output
mlflow.spanInputs mlflow.spanOutputs mlflow.traceInputs mlflow.traceOutputs mlflow.chat.tools mlflow.chat.messages mlflow.trace.intermediate_outputs mlflow.chunk.value
tool_arguments tool_response all_messages_events pydantic_ai.all_messages final_result prompt events model_request_parameters logfire.json_schema logfire.msg request_data
response_data raw_input input output response
tool_parameters tool_input function_args function_response arguments request_text response_text user_prompt response.model_output full_command
crewai.task.description crewai.agent.goal crewai.agent.backstory crewai.crew.result crewai.crew.tasks_output
lk.input_text lk.response.text lk.function_tool.arguments lk.function_tool.output lk.user_transcript lk.chat_ctx
mcp.tool.arguments mcp.tool.result mcp.result mcp.params mcp.request.argument.path mcp.tool.result.content mcp.sampling.messages mcp.completion.argument.value mcp.completion.values mcp.error.message
exception.message exception.stacktrace error.message error otel.status_description
db.statement db.query.text db.query.parameter.0 http.request.header.authorization http.response.header.set-cookie process.command_args
my.app.prompt agent_output toolResult lastMessage sqlQuery callArguments answer_text
`)

// done are attributes in which they say what was done: they stay.
var done = strings.Fields(`
gen_ai.response.id gen_ai.response.finish_reasons gen_ai.prompt.name gen_ai.tool.type gen_ai.tool.call.id gen_ai.output.type gen_ai.request.encoding_formats
gen_ai.workflow.name gen_ai.memory.record.id input.mime_type llm.provider llm.system tag.tags prompt.id ai.toolCall.id ai.response.finishReason ai.model.provider
ai.telemetry.metadata.team traceloop.workflow.name traceloop.prompt.key gcp.vertex.agent.event_id gcp.vertex.agent.invocation_id langfuse.trace.name langfuse.trace.tags
langfuse.environment mlflow.experimentId mlflow.spanFunctionName crewai.task.id url.full http.route code.function.name db.query.summary my.app.region queue.name
`)

const canary = "CANARY7391"

// canaries are the canary as a text, a long one, JSON, a list, a map and bytes.
func canaries() []*common.AnyValue {
	return []*common.AnyValue{
		anyValue(canary), anyValue(strings.Repeat(canary+" ", 200)), anyValue(`{"path":"` + canary + `","messages":[{"content":"` + canary + `"}]}`),
		anyValue([]string{"a", canary}), anyValue(attrs("path", canary, "n", 3)), anyValue([]byte(canary)),
	}
}

func stored(t *testing.T, got batchResult) string {
	t.Helper()
	require.NotEmpty(t, got.events)
	var b []byte
	for i := range got.events {
		b = schemas.AppendActivity(b, &got.events[i])
	}
	return string(b)
}

func TestNothingThatWasSaidIsInAnEvent(t *testing.T) {
	acts := map[string][]any{
		"tool":          {"gen_ai.operation.name", "execute_tool", "gen_ai.tool.name", "t"},
		"model":         {"gen_ai.operation.name", "chat", "gen_ai.request.model", "m"},
		"agent":         {"gen_ai.operation.name", "invoke_agent", "gen_ai.agent.name", "a"},
		"OpenInference": {"openinference.span.kind", "TOOL", "tool.name", "t"},
		"Vercel":        {"ai.operationId", "ai.toolCall", "ai.toolCall.name", "t"},
		"other":         {"http.request.method", "GET"},
	}
	spans, logs, everything := newSpans(t, map[string]any{"other": "all"}), newLogs(t, nil), newSpans(t, map[string]any{"content": true})
	for act, first := range acts {
		for _, name := range said {
			for _, v := range canaries() {
				attribute := &common.KeyValue{Key: name, Value: v}
				s := span("s-------", "", "x", internal, first...)
				s.Attributes = append(s.Attributes, attribute)
				s.Status = &trace.Status{Code: trace.Status_STATUS_CODE_ERROR, Message: canary}
				s.Events = []*trace.Span_Event{
					{Name: "exception", Attributes: []*common.KeyValue{attribute}}, {Name: "gen_ai.user.message", Attributes: attrs("content", canary)},
				}
				batch := spanBatch(serviceA, s)
				for _, value := range [][]byte{inProtobuf(t, batch), inJSON(t, batch)} {
					require.NotContains(t, stored(t, decodeBatch(spans, value)), canary, "%s as %s", name, act)
				}
				if act == "other" {
					continue
				}
				if v.GetStringValue() == canary && name != "otel.status_description" {
					require.Contains(t, stored(t, decodeBatch(everything, inProtobuf(t, batch))), canary, "%s as %s, asked for", name, act)
				}
				record := &collogs.LogRecord{TimeUnixNano: s.EndTimeUnixNano, Attributes: s.Attributes, Body: v}
				require.NotContains(t, stored(t, decodeBatch(logs, inProtobuf(t, logBatch(serviceA, record)))), canary, "%s as a log of %s", name, act)
			}
		}
	}
}

func TestWhatWasDoneStays(t *testing.T) {
	for _, name := range done {
		got := decodeBatch(newSpans(t, nil), inProtobuf(t, spanBatch(serviceA, toolSpan("s-------", "", name, canary))))
		require.Equal(t, canary, attributesOf(&got.events[0])[name])
	}
}

func TestLongTextUnderANameThatNobodyKnowsIsWithheldWithItsSize(t *testing.T) {
	long := strings.Repeat("x", 257)
	batch := inProtobuf(t, spanBatch(serviceA, toolSpan("s-------", "", "my.note", long, "my.short", long[1:], "my.answer", "42", "my.answers", 42)))
	got := attributesOf(&decodeBatch(newSpans(t, nil), batch).events[0])
	require.Equal(t, "withheld, 257 bytes", got["my.note"])
	require.Equal(t, long[1:], got["my.short"])
	require.Equal(t, "withheld, 2 bytes", got["my.answer"], "its name says that it holds content")
	require.Equal(t, "42", got["my.answers"], "a number is none")
	got = attributesOf(&decodeBatch(newSpans(t, map[string]any{"keep": []any{"my.note", "my.answer"}}), batch).events[0])
	require.Equal(t, long, got["my.note"])
	require.Equal(t, "42", got["my.answer"])
}

// What one convention repeats in another's words counts once, and what several
// attributes of one convention hold counts together.
func TestSizesOfContentCountOnceUnderAnyName(t *testing.T) {
	for name, c := range map[string]struct {
		span           *trace.Span
		sent, received uint64
	}{
		"indexed": {span("s-------", "", "chat", internal, "gen_ai.operation.name", "chat", "gen_ai.prompt.0.role", "user", "gen_ai.prompt.0.content", "1234567890",
			"gen_ai.prompt.1.tool_calls.0.name", "x", "gen_ai.prompt.1.tool_calls.0.arguments", "12345", "gen_ai.completion.0.content", "1234", "gen_ai.completion.0.finish_reason", "stop"), 15, 4},
		"repeated": {span("s-------", "", "llm", internal, "openinference.span.kind", "LLM", "llm.model_name", "m", "llm.input_messages.0.message.content", "1234567890",
			"llm.input_messages.1.message.content", "12345", "input.value", "12345678901234567890", "gen_ai.input.messages", "1234567"), 20, 0},
		"a schema is no input": {span("s-------", "", "t", internal, "openinference.span.kind", "TOOL", "tool.name", "t", "tool.parameters", strings.Repeat("s", 900), "input.value", "123"), 3, 0},
		"Sentry":               {toolSpan("s-------", "", "gen_ai.tool.input", "123", "gen_ai.tool.output", "12345"), 3, 5},
		"Google ADK":           {toolSpan("s-------", "", "gcp.vertex.agent.tool_call_args", "1234", "gcp.vertex.agent.tool_response", "12", "gcp.vertex.agent.llm_request", "{}", "gcp.vertex.agent.llm_response", "{}"), 4, 2},
		"MLflow":               {span("s-------", "", "fetch", internal, "mlflow.spanType", `"TOOL"`, "mlflow.spanInputs", "1234", "mlflow.spanOutputs", "12345"), 4, 5},
		"a name of one's own":  {toolSpan("s-------", "", "my.tool.args", "1234", "my.tool.result", "12345"), 4, 5},
	} {
		t.Run(name, func(t *testing.T) {
			got := decodeBatch(newSpans(t, nil), inProtobuf(t, spanBatch(serviceA, c.span)))
			require.Len(t, got.events, 1)
			require.Equal(t, c.sent, got.events[0].BytesSent)
			require.Equal(t, c.received, got.events[0].BytesReceived)
		})
	}
}
