package otlp_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	collogs "go.opentelemetry.io/proto/otlp/logs/v1"
	resource "go.opentelemetry.io/proto/otlp/resource/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
	"github.com/plumbline-sec/plumbline/schemas/decode/decodetest"
)

// attrs builds attributes from names and values, in order.
func attrs(pairs ...any) []*common.KeyValue {
	var out []*common.KeyValue
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, &common.KeyValue{Key: pairs[i].(string), Value: anyValue(pairs[i+1])})
	}
	return out
}

func anyValue(v any) *common.AnyValue {
	switch v := v.(type) {
	case string:
		return &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: v}}
	case int:
		return &common.AnyValue{Value: &common.AnyValue_IntValue{IntValue: int64(v)}}
	case uint64:
		return &common.AnyValue{Value: &common.AnyValue_IntValue{IntValue: int64(v)}}
	case bool:
		return &common.AnyValue{Value: &common.AnyValue_BoolValue{BoolValue: v}}
	case float64:
		return &common.AnyValue{Value: &common.AnyValue_DoubleValue{DoubleValue: v}}
	case []byte:
		return &common.AnyValue{Value: &common.AnyValue_BytesValue{BytesValue: v}}
	case []string:
		list := &common.ArrayValue{}
		for _, s := range v {
			list.Values = append(list.Values, anyValue(s))
		}
		return &common.AnyValue{Value: &common.AnyValue_ArrayValue{ArrayValue: list}}
	case []*common.KeyValue:
		return &common.AnyValue{Value: &common.AnyValue_KvlistValue{KvlistValue: &common.KeyValueList{Values: v}}}
	}
	panic("no such value")
}

func spanBatch(res []*common.KeyValue, spans ...*trace.Span) *trace.TracesData {
	return &trace.TracesData{ResourceSpans: []*trace.ResourceSpans{{
		Resource:   &resource.Resource{Attributes: res},
		ScopeSpans: []*trace.ScopeSpans{{Scope: &common.InstrumentationScope{Name: "test"}, Spans: spans}},
	}}}
}

func logBatch(res []*common.KeyValue, records ...*collogs.LogRecord) *collogs.LogsData {
	return &collogs.LogsData{ResourceLogs: []*collogs.ResourceLogs{{
		Resource:  &resource.Resource{Attributes: res},
		ScopeLogs: []*collogs.ScopeLogs{{LogRecords: records}},
	}}}
}

var traceID = []byte("trace-0123456789")

// span builds a span that ended at the record's time and took 250 ms.
func span(id, parent, name string, kind trace.Span_SpanKind, pairs ...any) *trace.Span {
	s := &trace.Span{
		TraceId: traceID, SpanId: []byte(id), Name: name, Kind: kind,
		StartTimeUnixNano: uint64(decodetest.Time)*1e6 - 250e6, EndTimeUnixNano: uint64(decodetest.Time) * 1e6,
		Attributes: attrs(pairs...),
	}
	if parent != "" {
		s.ParentSpanId = []byte(parent)
	}
	return s
}

// inJSON writes a batch as OTLP's JSON: protobuf's own, but for ids in hex.
func inJSON(tb testing.TB, m proto.Message) []byte {
	tb.Helper()
	text, err := protojson.MarshalOptions{UseEnumNumbers: true}.Marshal(m)
	require.NoError(tb, err)
	var tree any
	require.NoError(tb, json.Unmarshal(text, &tree))
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			for k, e := range v {
				if text, ok := e.(string); ok && (k == "traceId" || k == "spanId" || k == "parentSpanId") {
					id, err := base64.StdEncoding.DecodeString(text)
					require.NoError(tb, err)
					v[k] = hex.EncodeToString(id)
				}
				walk(e)
			}
		}
	}
	walk(tree)
	out, err := json.Marshal(tree)
	require.NoError(tb, err)
	return out
}

func inProtobuf(tb testing.TB, m proto.Message) []byte {
	tb.Helper()
	b, err := proto.Marshal(m)
	require.NoError(tb, err)
	return b
}

// batchResult is what a batch became, by index.
type batchResult struct {
	events   []schemas.Activity
	indexes  []int32
	refusals []decode.Refusal
	skipped  int
	shapes   map[string]string // how many and a name, by shape
}

func decodeBatch(d decode.Decoder, value []byte) (r batchResult) {
	rec := decode.Record{Topic: "otlp", Partition: 3, Offset: 41, Time: decodetest.Time, Value: value}
	d.Decode(&rec, func(index int32, ev *schemas.Activity, refusal *decode.Refusal) {
		r.indexes = append(r.indexes, index)
		if refusal != nil {
			r.refusals = append(r.refusals, *refusal)
			return
		}
		r.events = append(r.events, *decodetest.Clone(ev))
	})
	r.skipped = d.(decode.Skipper).Skipped()
	decode.Passed(d, func(s decode.Shape, n int, sample string) {
		if r.shapes == nil {
			r.shapes = map[string]string{}
		}
		r.shapes[s.Name] = strconv.Itoa(n) + " " + sample
	})
	return r
}

func attributesOf(ev *schemas.Activity) map[string]string {
	m := map[string]string{}
	for _, a := range ev.Attributes {
		m[a.Key] = a.Value
	}
	return m
}

func newSpans(tb testing.TB, options map[string]any) decode.Decoder {
	tb.Helper()
	return decodetest.New(tb, "otlp_spans", options)
}

func newLogs(tb testing.TB, options map[string]any) decode.Decoder {
	tb.Helper()
	return decodetest.New(tb, "otlp_logs", options)
}

const (
	internal = trace.Span_SPAN_KIND_INTERNAL
	client   = trace.Span_SPAN_KIND_CLIENT
	server   = trace.Span_SPAN_KIND_SERVER
)

var serviceA = attrs("service.name", "shop", "service.version", "2.1", "deployment.environment.name", "prod", "tenant.id", "acme", "process.pid", 7)

func TestSpansBecomeEventsFieldByField(t *testing.T) {
	denied := span("tool-2--", "agent-1-", "execute_tool pay", internal, "gen_ai.operation.name", "execute_tool", "gen_ai.tool.name", "pay", "error.type", "403")
	denied.Status = &trace.Status{Code: trace.Status_STATUS_CODE_ERROR, Message: "no"}
	batch := spanBatch(serviceA,
		span("tool-1--", "chain-1-", "execute_tool search", internal,
			"gen_ai.operation.name", "execute_tool", "gen_ai.tool.name", "search", "gen_ai.tool.call.id", "c1",
			"gen_ai.tool.call.arguments", `{"q":"x"}`, "gen_ai.tool.call.result", []string{"ab", "c"}),
		span("chain-1-", "agent-1-", "chain", internal),
		denied,
		span("model-1-", "agent-1-", "chat gpt", client,
			"gen_ai.operation.name", "chat", "gen_ai.request.model", "gpt", "gen_ai.usage.input_tokens", 120, "gen_ai.usage.output_tokens", 30,
			"server.address", "api.example.com"),
		span("agent-1-", "", "invoke_agent planner", internal,
			"gen_ai.operation.name", "invoke_agent", "gen_ai.agent.id", "ag-7", "gen_ai.agent.name", "planner", "gen_ai.agent.version", "3",
			"gen_ai.conversation.id", "conv-1", "enduser.id", "alice"),
		span("agent-2-", "agent-1-", "invoke_agent helper", internal,
			"gen_ai.operation.name", "invoke_agent", "gen_ai.agent.id", "ag-8"),
		span("mcp-1---", "agent-2-", "resources/read", client, "mcp.method.name", "resources/read", "mcp.resource.uri", "file:///etc/passwd",
			"mcp.session.id", "m1", "server.address", "mcp.example.com"),
		span("http-1--", "", "GET /", server, "http.request.method", "GET"),
	)
	for encoding, value := range map[string][]byte{"protobuf": inProtobuf(t, batch), "JSON": inJSON(t, batch)} {
		t.Run(encoding, func(t *testing.T) {
			got := decodeBatch(newSpans(t, nil), value)
			require.Empty(t, got.refusals)
			require.Equal(t, []int32{0, 2, 3, 4, 5, 6}, got.indexes)
			require.Equal(t, 2, got.skipped)
			ev := got.events
			common := schemas.Activity{
				TenantID: "acme", PeerGroup: "default", Time: decodetest.Time, RecordedAt: decodetest.Time, DurationMS: 250, Outcome: "success",
				AgentID: "ag-7", AgentName: "planner", AgentVersion: "3", SessionID: "conv-1", OnBehalfOf: "alice",
			}
			for i, want := range []func(e *schemas.Activity){
				func(e *schemas.Activity) {
					e.EventID, e.Action, e.Tool, e.BytesSent, e.BytesReceived = "746f6f6c2d312d2d", "tool_call", "search", 9, 10
				},
				func(e *schemas.Activity) {
					e.EventID, e.Action, e.Tool, e.Outcome = "746f6f6c2d322d2d", "tool_call", "pay", "denied"
				},
				func(e *schemas.Activity) {
					e.EventID, e.Action, e.Model, e.TokensIn, e.TokensOut = "6d6f64656c2d312d", "model_call", "gpt", 120, 30
				},
				func(e *schemas.Activity) { e.EventID, e.Action = "6167656e742d312d", "invoke_agent" },
				func(e *schemas.Activity) {
					e.EventID, e.Action, e.TargetAgentID = "6167656e742d322d", "delegate", "ag-8"
				},
				func(e *schemas.Activity) {
					e.EventID, e.Action, e.Tool, e.Access = "6d63702d312d2d2d", "tool_call", "resources/read", "read"
					e.Resources = []string{"file:///etc/passwd", "host:mcp.example.com"}
					e.AgentID, e.AgentName, e.AgentVersion, e.SessionID, e.OnBehalfOf = "ag-8", "helper", "2.1", "m1", ""
				},
			} {
				expected := common
				want(&expected)
				have := ev[i]
				have.Attributes, have.Flags.FieldsInvalid = nil, nil
				require.Equal(t, expected, have, "event %d", i)
			}
			require.Equal(t, map[string]string{
				"trace_id": hex.EncodeToString(traceID), "span.name": "execute_tool pay", "otel.status_description": "withheld, 2 bytes",
				"gen_ai.operation.name": "execute_tool", "error.type": "403",
				"service.name": "shop", "deployment.environment.name": "prod",
			}, attributesOf(&ev[1]), "what no field took, no content, and the chosen attributes of the resource")
		})
	}
}
