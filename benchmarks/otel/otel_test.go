package otel

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/log"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/plumbline-sec/plumbline/schemas"
)

// agents is an application with the OpenTelemetry SDK.
type agents struct {
	spans *sdktrace.TracerProvider
	logs  *sdklog.LoggerProvider
}

func startAgents(t *testing.T, transport, grpc, http string) *agents {
	t.Helper()
	ctx := t.Context()
	res := resource.NewSchemaless(
		attribute.String("service.name", "shop"), attribute.String("service.version", "2.1"),
		attribute.String("tenant.id", "acme"), attribute.String("deployment.environment.name", "prod"),
	)
	var spans sdktrace.SpanExporter
	var logs sdklog.Exporter
	var err, err2 error
	if transport == "grpc" {
		spans, err = otlptrace.New(ctx, otlptracegrpc.NewClient(otlptracegrpc.WithEndpoint(grpc), otlptracegrpc.WithInsecure()))
		logs, err2 = otlploggrpc.New(ctx, otlploggrpc.WithEndpoint(grpc), otlploggrpc.WithInsecure())
	} else {
		spans, err = otlptrace.New(ctx, otlptracehttp.NewClient(otlptracehttp.WithEndpoint(http), otlptracehttp.WithInsecure()))
		logs, err2 = otlploghttp.New(ctx, otlploghttp.WithEndpoint(http), otlploghttp.WithInsecure())
	}
	require.NoError(t, err)
	require.NoError(t, err2)
	return &agents{
		// One span an export: the agent's span leaves the process after its tools', as
		// it does in life when a run takes longer than a batch.
		spans: sdktrace.NewTracerProvider(sdktrace.WithResource(res), sdktrace.WithSyncer(spans)),
		logs:  sdklog.NewLoggerProvider(sdklog.WithResource(res), sdklog.WithProcessor(sdklog.NewBatchProcessor(logs))),
	}
}

func (a *agents) stop(t *testing.T) {
	t.Helper()
	require.NoError(t, a.spans.Shutdown(context.Background()))
	require.NoError(t, a.logs.Shutdown(context.Background()))
}

// work runs one agent and returns the events that have to come of it, without their
// time and the attributes; inside is whether its HTTP call is one of them.
func (a *agents) work(start time.Time, inside bool) map[string]schemas.Activity {
	want := map[string]schemas.Activity{}
	tracer := a.spans.Tracer("shop")
	span := func(ctx context.Context, name string, kind trace.SpanKind, took time.Duration, attrs ...attribute.KeyValue) (context.Context, func()) {
		ctx, s := tracer.Start(ctx, name, trace.WithTimestamp(start), trace.WithSpanKind(kind), trace.WithAttributes(attrs...))
		return ctx, func() { s.End(trace.WithTimestamp(start.Add(took))) }
	}
	id := func(ctx context.Context) string { return trace.SpanContextFromContext(ctx).SpanID().String() }
	str, num := attribute.String, attribute.Int

	agent, end := span(context.Background(), "invoke_agent planner", trace.SpanKindInternal, 5*time.Second,
		str("gen_ai.operation.name", "invoke_agent"), str("gen_ai.agent.id", "ag-7"), str("gen_ai.agent.name", "planner"),
		str("gen_ai.agent.version", "3"), str("gen_ai.conversation.id", "conv-1"), str("enduser.id", "alice"))
	planner := schemas.Activity{
		TenantID: "acme", AgentID: "ag-7", AgentName: "planner", AgentVersion: "3", PeerGroup: "default", SessionID: "conv-1",
		OnBehalfOf: "alice", Outcome: schemas.OutcomeSuccess,
	}

	tool, endTool := span(agent, "execute_tool search", trace.SpanKindInternal, 40*time.Millisecond,
		str("gen_ai.operation.name", "execute_tool"), str("gen_ai.tool.name", "search"),
		str("gen_ai.tool.call.arguments", `{"q":"Zürich"}`), attribute.StringSlice("gen_ai.tool.call.result", []string{"a", "bc"}))
	ev := planner
	ev.Action, ev.Tool, ev.DurationMS, ev.BytesSent, ev.BytesReceived = "tool_call", "search", 40, 15, 10
	want[id(tool)] = ev

	call, endHTTP := span(tool, "GET", trace.SpanKindClient, 20*time.Millisecond, str("http.request.method", "GET"), str("server.address", "x.example.com"))
	endHTTP() // no agent activity by itself
	endTool()
	if inside {
		ev = planner
		ev.Action, ev.Tool, ev.Access, ev.DurationMS, ev.Resources = "http", "GET", schemas.AccessRead, 20, []string{"host:x.example.com"}
		want[id(call)] = ev
	}

	denied, endDenied := span(agent, "execute_tool pay", trace.SpanKindInternal, 7*time.Millisecond,
		str("gen_ai.operation.name", "execute_tool"), str("gen_ai.tool.name", "pay"), num("http.response.status_code", 403))
	trace.SpanFromContext(denied).SetStatus(codes.Error, "not allowed")
	endDenied()
	ev = planner
	ev.Action, ev.Tool, ev.DurationMS, ev.Outcome = "tool_call", "pay", 7, schemas.OutcomeDenied
	want[id(denied)] = ev

	chat, endChat := span(agent, "chat m", trace.SpanKindClient, 900*time.Millisecond,
		str("gen_ai.operation.name", "chat"), str("gen_ai.provider.name", "openai"), str("gen_ai.request.model", "m"),
		num("gen_ai.usage.input_tokens", 120), num("gen_ai.usage.output_tokens", 30))
	endChat()
	ev = planner
	ev.Action, ev.Model, ev.TokensIn, ev.TokensOut, ev.DurationMS = "model_call", "m", 120, 30, 900
	want[id(chat)] = ev

	mcp, endMCP := span(agent, "resources/read", trace.SpanKindClient, 12*time.Millisecond,
		str("mcp.method.name", "resources/read"), str("mcp.resource.uri", "file:///srv/q3.xlsx"), str("server.address", "mcp.example.com"))
	endMCP()
	ev = planner
	ev.Action, ev.Tool, ev.Access, ev.DurationMS = "tool_call", "resources/read", schemas.AccessRead, 12
	ev.Resources = []string{"file:///srv/q3.xlsx", "host:mcp.example.com"}
	want[id(mcp)] = ev

	helper, endHelper := span(agent, "invoke_agent helper", trace.SpanKindInternal, time.Second,
		str("gen_ai.operation.name", "invoke_agent"), str("gen_ai.agent.id", "ag-8"))
	endHelper()
	ev = planner
	ev.Action, ev.TargetAgentID, ev.DurationMS = "delegate", "ag-8", 1000
	want[id(helper)] = ev

	end()
	ev = planner
	ev.Action, ev.DurationMS = "invoke_agent", 5000
	want[id(agent)] = ev

	lone, endLone := span(context.Background(), "lookup", trace.SpanKindInternal, time.Millisecond,
		str("openinference.span.kind", "TOOL"), str("tool.name", "lookup"), str("session.id", "s-2"), str("user.id", "bob"))
	endLone()
	want[id(lone)] = schemas.Activity{
		TenantID: "acme", AgentID: "shop", AgentVersion: "2.1", PeerGroup: "default", SessionID: "s-2", OnBehalfOf: "bob",
		Action: "tool_call", Tool: "lookup", DurationMS: 1, Outcome: schemas.OutcomeSuccess,
	}
	return want
}

// say writes log events as Claude Code does, and returns what has to come of them,
// in order.
func (a *agents) say(start time.Time) (want []schemas.Activity) {
	logger := a.logs.Logger("com.anthropic.claude_code.events")
	event := func(name string, attrs ...attribute.KeyValue) {
		var r log.Record
		r.SetTimestamp(start)
		r.SetBody(attribute.StringValue("claude_code." + name))
		r.AddAttributes(attribute.String("event.name", name), attribute.String("session.id", "s-9"), attribute.String("user.email", "carol@example.com"))
		r.AddAttributes(attrs...)
		logger.Emit(context.Background(), r)
	}
	base := schemas.Activity{
		TenantID: "acme", AgentID: "shop", AgentVersion: "2.1", PeerGroup: "default", SessionID: "s-9", OnBehalfOf: "carol@example.com",
		Outcome: schemas.OutcomeSuccess,
	}
	event("user_prompt", attribute.String("prompt_length", "5"))
	event("tool_result", attribute.String("tool_name", "Bash"), attribute.String("success", "false"), attribute.String("duration_ms", "30"),
		attribute.Int("tool_input_size_bytes", 41), attribute.Int("tool_result_size_bytes", 1024), attribute.String("tool_parameters", `{"bash_command":"curl"}`))
	ev := base
	ev.Action, ev.Tool, ev.Access, ev.Outcome, ev.DurationMS = "tool_call", "Bash", schemas.AccessExecute, schemas.OutcomeFailure, 30
	ev.BytesSent, ev.BytesReceived, ev.Resources = 41, 1024, []string{"command:curl"}
	want = append(want, ev)
	event("api_request", attribute.String("model", "m"), attribute.Int("input_tokens", 9), attribute.Int("output_tokens", 8))
	ev = base
	ev.Action, ev.Model, ev.TokensIn, ev.TokensOut = "model_call", "m", 9, 8
	return append(want, ev)
}

// TestAgentsSpansAndLogsReachPlumblineThroughARealCollector is the whole way: SDK,
// OTLP, Collector, Kafka exporter, broker, route, plumbline.activity.
func TestAgentsSpansAndLogsReachPlumblineThroughARealCollector(t *testing.T) {
	for _, way := range []struct{ transport, encoding, options string }{
		{"grpc", "otlp_proto", "{}"}, {"http", "otlp_json", "{}"}, {"http", "otlp_proto", "{other: inside}"}, {"grpc", "otlp_json", "{other: inside}"},
	} {
		t.Run(way.transport+" "+way.encoding+" "+way.options, func(t *testing.T) {
			s := startService(t, way.options)
			grpc, http := freeAddr(t), freeAddr(t)
			stop := startCollector(t, map[string]string{
				"OTLP_GRPC": grpc, "OTLP_HTTP": http, "KAFKA": s.kafka, "TRACE_WAIT": "500ms",
			}, way.encoding)
			start := time.Now().Add(-time.Minute).Truncate(time.Millisecond)
			a := startAgents(t, way.transport, grpc, http)
			want := a.work(start, way.options != "{}")
			said := a.say(start)
			a.stop(t)
			// Traces are kept for a while; a stop would drop them half-way.
			raw := s.read(t, "otlp_spans", 2)
			stop()
			logs := s.read(t, "otlp_logs", 1)
			for _, r := range append(raw, logs...) {
				require.Empty(t, r.Key)
				require.Equal(t, way.encoding == "otlp_json", r.Value[0] == '{')
			}
			for i := range said {
				want[fmt.Sprintf("otlp_logs/0/%d/%d", logs[0].Offset, i+1)] = said[i]
			}
			got := s.activity(t, len(want))
			for id, w := range want {
				ev := got[id]
				require.NotNil(t, ev, id)
				w.EventID = id
				w.Time = schemas.Millis(start.UnixMilli())
				if len(id) == 16 {
					w.Time += schemas.Millis(w.DurationMS)
				}
				w.RecordedAt = ev.RecordedAt
				require.NotZero(t, ev.RecordedAt)
				require.Contains(t, ev.Attributes, schemas.Attribute{Key: "deployment.environment.name", Value: "prod"})
				e := *ev
				e.Attributes, e.Flags.FieldsInvalid = nil, nil
				require.Equal(t, w, e)
			}
		})
	}
}
