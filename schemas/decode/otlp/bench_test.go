package otlp_test

import (
	"fmt"
	"testing"

	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
	"github.com/plumbline-sec/plumbline/schemas/decode/decodetest"
)

// typicalTraces is a batch of runs: an agent, two calls of a model, two tools with
// an HTTP call below each.
func typicalTraces() *trace.TracesData {
	var spans []*trace.Span
	for i := range 20 {
		id := func(n int) string { return fmt.Sprintf("%04d%04d", i, n) }
		agent := agentSpan(id(0), "", "planner")
		agent.Attributes = append(agent.Attributes, attrs("gen_ai.agent.id", "ag-7", "gen_ai.conversation.id", "conv-1")...)
		for n := range 2 {
			spans = append(spans,
				span(id(10+n), id(20+n), "GET", client, "http.request.method", "GET", "server.address", "x.example.com", "url.full", "https://x.example.com/q", "http.response.status_code", 200),
				toolSpan(id(20+n), id(0), "gen_ai.tool.call.id", "call_1", "gen_ai.tool.call.arguments", `{"query":"hotels in Zurich"}`, "gen_ai.tool.call.result", "a list of hotels"),
				span(id(30+n), id(0), "chat m", client, "gen_ai.operation.name", "chat", "gen_ai.provider.name", "openai", "gen_ai.request.model", "m",
					"gen_ai.usage.input_tokens", 1200, "gen_ai.usage.output_tokens", 80, "server.address", "api.example.com"))
		}
		spans = append(spans, agent)
	}
	return spanBatch(serviceA, spans...)
}

// BenchmarkDecode reports what an entry of the batch costs, events and skipped alike,
// beside what the generated code takes to unmarshal it.
func BenchmarkDecode(b *testing.B) {
	batch := typicalTraces()
	entries := len(batch.ResourceSpans[0].ScopeSpans[0].Spans)
	for _, c := range []struct {
		name  string
		value []byte
	}{{"protobuf", inProtobuf(b, batch)}, {"JSON", inJSON(b, batch)}} {
		b.Run(c.name, func(b *testing.B) {
			d := newSpans(b, nil)
			rec := decode.Record{Topic: "otlp", Time: decodetest.Time, Value: c.value}
			events := 0
			b.SetBytes(int64(len(c.value)))
			b.ReportAllocs()
			for b.Loop() {
				events = 0
				d.Decode(&rec, func(_ int32, ev *schemas.Activity, _ *decode.Refusal) { events++ })
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(entries), "ns/span")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(events), "ns/event")
		})
	}
	b.Run("generated", func(b *testing.B) {
		value := inProtobuf(b, batch)
		b.SetBytes(int64(len(value)))
		b.ReportAllocs()
		for b.Loop() {
			var m trace.TracesData
			if err := proto.Unmarshal(value, &m); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(entries), "ns/span")
	})
}
