package otlp_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	resource "go.opentelemetry.io/proto/otlp/resource/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
	"github.com/plumbline-sec/plumbline/schemas/decode/decodetest"
)

func toolSpan(id, parent string, more ...any) *trace.Span {
	return span(id, parent, "execute_tool t", internal, append([]any{"gen_ai.operation.name", "execute_tool", "gen_ai.tool.name", "t"}, more...)...)
}

func agentSpan(id, parent, name string) *trace.Span {
	return span(id, parent, "invoke_agent", internal, "gen_ai.operation.name", "invoke_agent", "gen_ai.agent.name", name)
}

func agentsOf(r batchResult) (ids []string) {
	for i := range r.events {
		ids = append(ids, r.events[i].AgentID)
	}
	return ids
}

func TestParentsInACircleEncloseNothing(t *testing.T) {
	for name, spans := range map[string][]*trace.Span{
		"of two":                   {toolSpan("a-------", "b-------"), toolSpan("b-------", "a-------")},
		"of one":                   {toolSpan("a-------", "a-------"), toolSpan("b-------", "a-------")},
		"that others lead into":    {toolSpan("c-------", "a-------"), toolSpan("a-------", "b-------"), toolSpan("b-------", "a-------")},
		"of spans without parents": {toolSpan("a-------", "nobody--"), toolSpan("b-------", "")},
	} {
		t.Run(name, func(t *testing.T) {
			got := decodeBatch(newSpans(t, nil), inProtobuf(t, spanBatch(serviceA, spans...)))
			require.Empty(t, got.refusals)
			for _, id := range agentsOf(got) {
				require.Equal(t, "shop", id)
			}
			require.Len(t, got.events, len(spans))
		})
	}
	t.Run("with an agent in it", func(t *testing.T) {
		got := decodeBatch(newSpans(t, nil), inProtobuf(t, spanBatch(serviceA,
			agentSpan("a-------", "b-------", "planner"), toolSpan("b-------", "a-------"), toolSpan("c-------", "b-------"))))
		require.Equal(t, []string{"planner", "planner", "planner"}, agentsOf(got))
		require.Empty(t, got.events[0].TargetAgentID, "an agent is not around itself")
	})
}

func TestAChainOfAHundredThousandSpansFindsItsAgent(t *testing.T) {
	const n = 100_000
	id := func(i int) string { return fmt.Sprintf("%08d", i+1) }
	spans := make([]*trace.Span, 0, n)
	for i := n - 1; i > 0; i-- {
		spans = append(spans, toolSpan(id(i), id(i-1)))
	}
	spans = append(spans, agentSpan(id(0), "", "planner"))
	d := newSpans(t, nil)
	count := 0
	rec := decode.Record{Topic: "otlp", Time: decodetest.Time, Value: inProtobuf(t, spanBatch(serviceA, spans...))}
	d.Decode(&rec, func(_ int32, ev *schemas.Activity, refusal *decode.Refusal) {
		require.Nil(t, refusal)
		require.Equal(t, "planner", ev.AgentID)
		count++
	})
	require.Equal(t, n, count)
}

func TestOfTwoSpansWithOneIDTheFirstIsTheParent(t *testing.T) {
	got := decodeBatch(newSpans(t, nil), inProtobuf(t, spanBatch(serviceA,
		toolSpan("t-------", "a-------"), agentSpan("a-------", "", "first"), agentSpan("a-------", "", "second"))))
	require.Equal(t, []string{"first", "first", "second"}, agentsOf(got))

	other := agentSpan("a-------", "", "of another trace")
	other.TraceId = []byte("another-trace-id")
	got = decodeBatch(newSpans(t, nil), inProtobuf(t, spanBatch(serviceA, other, toolSpan("t-------", "a-------"))))
	require.Equal(t, []string{"of another trace", "shop"}, agentsOf(got))
}

func TestOneBadSpanHidesNoOther(t *testing.T) {
	bad := func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("XXXX"), []byte("\xff\xfe\xc0X")) }
	t.Run("bytes that are not UTF-8", func(t *testing.T) {
		batch := spanBatch(attrs("service.name", "shop", "host.name", "XXXX"), toolSpan("a-------", "", "x", "XXXX"), toolSpan("b-------", ""))
		for _, value := range [][]byte{bad(inProtobuf(t, batch)), bad(inJSON(t, batch))} {
			got := decodeBatch(newSpans(t, nil), value)
			require.Empty(t, got.refusals)
			require.Equal(t, []string{"shop", "shop"}, agentsOf(got))
			require.True(t, got.events[0].Flags.UTF8Replaced)
			require.Equal(t, "\ufffd\ufffd\ufffdX", attributesOf(&got.events[0])["x"])
		}
	})
	t.Run("an id that is not UTF-8: the next in the order is taken", func(t *testing.T) {
		batch := spanBatch(attrs("service.name", "shop"), toolSpan("a-------", "", "gen_ai.agent.id", "XXXX"))
		require.Equal(t, []string{"shop"}, agentsOf(decodeBatch(newSpans(t, nil), bad(inProtobuf(t, batch)))))
		batch = spanBatch(nil, toolSpan("a-------", "", "gen_ai.agent.id", "XXXX"), toolSpan("b-------", "", "gen_ai.agent.id", "ok"))
		got := decodeBatch(newSpans(t, nil), bad(inProtobuf(t, batch)))
		require.Equal(t, []string{"ok"}, agentsOf(got))
		require.Equal(t, decode.ReasonInvalidIdentity, got.refusals[0].Reason)
	})
	t.Run("bytes that are no span", func(t *testing.T) {
		scope := protowire.AppendBytes(protowire.AppendTag(nil, 2, protowire.BytesType), inProtobuf(t, toolSpan("a-------", "")))
		for range 3 {
			scope = protowire.AppendBytes(protowire.AppendTag(scope, 2, protowire.BytesType), []byte("\x0a\xff"))
		}
		scope = protowire.AppendBytes(protowire.AppendTag(scope, 2, protowire.BytesType), inProtobuf(t, toolSpan("b-------", "")))
		res := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), inProtobuf(t, &resource.Resource{Attributes: serviceA}))
		res = protowire.AppendBytes(protowire.AppendTag(res, 2, protowire.BytesType), scope)
		value := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), res)
		got := decodeBatch(newSpans(t, nil), value)
		require.Equal(t, []int32{0, 1, 4}, got.indexes)
		require.Equal(t, []decode.Refusal{{Reason: decode.ReasonNotOTLP, Detail: "3 malformed parts in a row"}}, got.refusals)

		got = decodeBatch(newSpans(t, nil), append(value, 0xff))
		require.Len(t, got.events, 2, "a torn end does not hide what stands before it")
		require.Len(t, got.refusals, 2)
	})
}

func TestWhatIsNoBatchIsRefusedOnce(t *testing.T) {
	for value, reason := range map[string]decode.Reason{
		`{"agent_id":"a","action":"x"}`:   decode.ReasonNotOTLP,
		`{"resourceSpans":[{"scopeSpans"`: decode.ReasonNotJSON,
		`{"resourceSpans":[]} x`:          decode.ReasonNotJSON,
		"{\"resourceSpans\":[]}\x00{":     decode.ReasonNotJSON,
		"garbage":                         decode.ReasonNotOTLP,
		"\x08\x01":                        decode.ReasonNotOTLP,
		`{"resourceLogs":[{}]}`:           decode.ReasonNotOTLP,
	} {
		got := decodeBatch(newSpans(t, nil), []byte(value))
		require.Empty(t, got.events, value)
		require.Len(t, got.refusals, 1, value)
		require.Equal(t, reason, got.refusals[0].Reason, value)
	}
	for _, value := range []string{"", `{}`, `{"resourceSpans":[]}`, `{"resourceSpans":[{"scopeSpans":[{"spans":[{}]}]}]}`} {
		got := decodeBatch(newSpans(t, nil), []byte(value))
		require.Empty(t, got.events, value)
		require.Empty(t, got.refusals, value)
	}
}

func TestValuesOfAnyDepthAndLengthAreCut(t *testing.T) {
	deep := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), []byte("x"))
	for range 5000 { // AnyValue.array_value.values[0]...
		list := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), deep)
		deep = protowire.AppendBytes(protowire.AppendTag(nil, 5, protowire.BytesType), list)
	}
	attribute := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "deep")
	attribute = protowire.AppendBytes(protowire.AppendTag(attribute, 2, protowire.BytesType), deep)
	raw := inProtobuf(t, toolSpan("a-------", "", "long", strings.Repeat("é", 1<<20), "gen_ai.tool.call.result", strings.Repeat("r", 1<<20)))
	raw = protowire.AppendBytes(protowire.AppendTag(raw, 9, protowire.BytesType), attribute)
	scope := protowire.AppendBytes(protowire.AppendTag(nil, 2, protowire.BytesType), raw)
	res := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), inProtobuf(t, &resource.Resource{Attributes: serviceA}))
	res = protowire.AppendBytes(protowire.AppendTag(res, 2, protowire.BytesType), scope)
	d := newSpans(t, map[string]any{"keep": []any{"deep", "long"}})
	got := decodeBatch(d, protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), res))
	require.Empty(t, got.refusals)
	ev := got.events[0]
	require.Equal(t, strings.Repeat("[", schemas.MaxDepth+1)+strings.Repeat("]", schemas.MaxDepth+1), attributesOf(&ev)["deep"])
	require.Len(t, attributesOf(&ev)["long"], schemas.MaxStringBytes)
	require.Equal(t, schemas.Flags{StringsCut: 1}, schemas.Flags{StringsCut: ev.Flags.StringsCut, UTF8Replaced: ev.Flags.UTF8Replaced})
	require.EqualValues(t, 1<<20, ev.BytesReceived, "the size counts in full")

	// As JSON, 5000 levels that have a meaning, and as many that have none.
	nested := strings.Repeat(`{"arrayValue":{"values":[`, 5000) + `{"stringValue":"x"}` + strings.Repeat(`]}}`, 5000)
	text := `{"resourceSpans":[{"unknown":` + strings.Repeat(`[{"a":`, 5000) + "1" + strings.Repeat("}]", 5000) +
		`,"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},"scopeSpans":[{"spans":[{"spanId":"0102030405060708","attributes":[` +
		`{"key":"deep","value":` + nested + `},{"key":"gen_ai.operation.name","value":{"stringValue":"chat"}}]}]}]}]}`
	got = decodeBatch(d, []byte(text))
	require.Empty(t, got.refusals)
	require.Equal(t, []string{"shop"}, agentsOf(got))
	require.Less(t, len(attributesOf(&got.events[0])["deep"]), 2*schemas.MaxDepth+3)
}

func TestManyShortSpansOfALongResourceStaySmall(t *testing.T) {
	long := strings.Repeat("x", schemas.MaxStringBytes)
	res := attrs("service.name", "shop", "host.name", long, "k8s.namespace.name", long, "deployment.environment", long)
	agent := agentSpan("agent---", "", "planner")
	agent.Attributes = append(agent.Attributes, attrs("gen_ai.agent.version", long, "session.id", long, "user.id", long)...)
	spans := []*trace.Span{agent}
	const n = 30_000
	for i := range n {
		spans = append(spans, &trace.Span{TraceId: traceID, SpanId: fmt.Appendf(nil, "%08d", i), ParentSpanId: []byte("agent---"), Attributes: attrs("gen_ai.operation.name", "chat")})
	}
	rec := decode.Record{Topic: "otlp", Time: decodetest.Time, Value: inProtobuf(t, spanBatch(res, spans...))}
	total, events := 0, 0
	var buf []byte
	newSpans(t, nil).Decode(&rec, func(_ int32, ev *schemas.Activity, refusal *decode.Refusal) {
		require.Nil(t, refusal)
		buf = schemas.AppendActivity(buf[:0], ev)
		total += len(buf)
		events++
	})
	require.Equal(t, n+1, events)
	require.Less(t, total, 12<<20+400*n, "of a record of %d bytes", len(rec.Value))
}

func TestAttributesPastTheLimitAreCountedExactly(t *testing.T) {
	s := toolSpan("a-------", "")
	for i := range 1000 {
		s.Attributes = append(s.Attributes, attrs(fmt.Sprintf("k%d", i), "v")...)
	}
	// The telling attribute stands last, where no limit hides it.
	s.Attributes = append(s.Attributes, attrs("gen_ai.agent.id", "late")...)
	got := decodeBatch(newSpans(t, nil), inProtobuf(t, spanBatch(serviceA, s)))
	require.Equal(t, []string{"late"}, agentsOf(got))
	require.Len(t, got.events[0].Attributes, schemas.MaxAttributes)
	require.Equal(t, 1000+5, got.events[0].Flags.AttributesCut, "the trace, the span's name, the operation, service and environment")
}

func TestStringsOutliveTheirDecoding(t *testing.T) {
	batch := typicalTraces()
	decodetest.Outlive(t, newSpans(t, nil), inProtobuf(t, batch), inJSON(t, batch))
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

// randomBatch makes spans with parents, kinds and attributes of every type.
func randomBatch(r *rand.Rand) *trace.TracesData {
	names := []string{
		"gen_ai.operation.name", "gen_ai.agent.id", "gen_ai.agent.name", "gen_ai.tool.name", "mcp.method.name", "openinference.span.kind", "traceloop.span.kind",
		"gen_ai.tool.call.arguments", "gen_ai.tool.call.result", "gen_ai.usage.input_tokens", "http.response.status_code", "error.type", "session.id", "user.id",
		"plumbline.resources", "plumbline.bytes_sent", "plumbline.access", "plumbline.peer_group", "server.address", "x", "input.value", "service.name", "",
	}
	texts := []string{"", "chat", "execute_tool", "invoke_agent", "tools/call", "TOOL", "AGENT", "agent", "read", "403", "a\x00b", "é😀\"\\\n", strings.Repeat("ü", 3000), "12"}
	var value func(deep int) *common.AnyValue
	value = func(deep int) *common.AnyValue {
		switch n := r.IntN(9); {
		case n == 0:
			return anyValue(r.IntN(1000) - 10)
		case n == 1:
			return anyValue(r.IntN(2) == 0)
		case n == 2:
			return anyValue(r.NormFloat64() * 1e9)
		case n == 3:
			return anyValue([]byte{1, 2, 255})
		case n == 4 && deep < 5:
			list := &common.ArrayValue{}
			for range r.IntN(4) {
				list.Values = append(list.Values, value(deep+1))
			}
			return &common.AnyValue{Value: &common.AnyValue_ArrayValue{ArrayValue: list}}
		case n == 5 && deep < 5:
			list := &common.KeyValueList{}
			for range r.IntN(4) {
				list.Values = append(list.Values, &common.KeyValue{Key: pick(r, texts...), Value: value(deep + 1)})
			}
			return &common.AnyValue{Value: &common.AnyValue_KvlistValue{KvlistValue: list}}
		}
		return anyValue(pick(r, texts...))
	}
	list := func() (out []*common.KeyValue) {
		for range r.IntN(8) {
			out = append(out, &common.KeyValue{Key: pick(r, names...), Value: value(0)})
		}
		return out
	}
	var spans []*trace.Span
	for range r.IntN(12) {
		s := span(fmt.Sprintf("span-%03d", r.IntN(20)), "", pick(r, texts...), trace.Span_SpanKind(r.IntN(6)))
		s.ParentSpanId = fmt.Appendf(nil, "span-%03d", r.IntN(20))
		s.Attributes = list()
		s.Status = &trace.Status{Code: trace.Status_StatusCode(r.IntN(3)), Message: pick(r, texts...)}
		spans = append(spans, s)
	}
	return spanBatch(append(list(), serviceA[:r.IntN(len(serviceA))]...), spans...)
}

func TestProtobufAndJSONGiveTheSameEvents(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	for _, other := range []string{"skip", "inside", "all"} {
		d := newSpans(t, map[string]any{"other": other, "content": r.IntN(2) == 0})
		events := 0
		for range 500 {
			batch := randomBatch(r)
			a, b := decodeBatch(d, inProtobuf(t, batch)), decodeBatch(d, inJSON(t, batch))
			require.Equal(t, a, b, "seed %d", seed)
			require.Len(t, batch.ResourceSpans[0].ScopeSpans[0].Spans, len(a.events)+len(a.refusals)+a.skipped, "seed %d", seed)
			events += len(a.events)
		}
		require.Greater(t, events, 500)
	}
}
