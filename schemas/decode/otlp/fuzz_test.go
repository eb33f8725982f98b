package otlp_test

import (
	"encoding/json"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	collogs "go.opentelemetry.io/proto/otlp/logs/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/plumbline-sec/plumbline/schemas/decode"
	"github.com/plumbline-sec/plumbline/schemas/decode/decodetest"
)

// checkBatch decodes a record twice and holds what comes of it against the contract.
func checkBatch(t *testing.T, d decode.Decoder, value []byte) batchResult {
	t.Helper()
	before := string(value)
	got := decodeBatch(d, value)
	require.Equal(t, got, decodeBatch(d, value), "a record gives the same events every time")
	require.Equal(t, before, string(value), "a record is not written to")
	decodetest.Check(t, d, &decode.Record{Topic: "otlp", Time: decodetest.Time, Value: value})
	for i := range got.events {
		require.NotEmpty(t, got.events[i].Action)
	}
	return got
}

// FuzzAgainstTheGeneratedCode: what the generated code reads is read, span by
// span; nothing at all makes the decoder panic.
func FuzzAgainstTheGeneratedCode(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 30 {
		f.Add(inProtobuf(f, randomBatch(r)))
	}
	f.Add(inProtobuf(f, logBatch(serviceA, claudeRecord("tool_result", "tool_name", "Bash", "tool_parameters", `{"bash_command":"x"}`))))
	f.Add([]byte("\x0a\x03\x12\x01\x12"))
	spans := newSpans(f, map[string]any{"encoding": "proto", "other": "all"})
	logs := newLogs(f, map[string]any{"encoding": "proto"})
	f.Fuzz(func(t *testing.T, value []byte) {
		got := checkBatch(t, spans, value)
		var batch trace.TracesData
		if proto.Unmarshal(value, &batch) == nil && len(batch.ResourceSpans) > 0 {
			n := 0
			for _, res := range batch.ResourceSpans {
				for _, scope := range res.ScopeSpans {
					n += len(scope.Spans)
				}
			}
			require.Equal(t, n, len(got.events)+len(got.refusals)+got.skipped)
			for _, refusal := range got.refusals {
				require.NotEqual(t, decode.ReasonNotOTLP, refusal.Reason)
			}
		}
		got = checkBatch(t, logs, value)
		var records collogs.LogsData
		if proto.Unmarshal(value, &records) == nil && len(records.ResourceLogs) > 0 {
			n := 0
			for _, res := range records.ResourceLogs {
				for _, scope := range res.ScopeLogs {
					n += len(scope.LogRecords)
				}
			}
			require.Equal(t, n, len(got.events)+len(got.refusals)+got.skipped)
		}
	})
}

// FuzzJSON: any text is read or refused once, and what is JSON is never
// refused for not being it.
func FuzzJSON(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 30 {
		f.Add(inJSON(f, randomBatch(r)))
	}
	f.Add(inJSON(f, logBatch(serviceA, claudeRecord("tool_result", "tool_name", "Read", "tool_input", `{"file_path":"\ud800"}`))))
	for _, s := range []string{
		`{}`, ``, `[]`, `{"resourceSpans":[{"resource":null,"scopeSpans":[{"spans":[{"spanId":"zz","kind":"SPAN_KIND_SERVER","endTimeUnixNano":1e3,"attributes":[{"key":"a\ud800","value":{"intValue":"7","doubleValue":"NaN"}}]}]}]}]}`,
		`{"resourceSpans":{"a":[}]}}`, `{"x":[[[[`, `{"resourceSpans":[[{"spans":1}]]}`,
	} {
		f.Add([]byte(s))
	}
	spans := newSpans(f, map[string]any{"encoding": "json", "other": "all"})
	logs := newLogs(f, map[string]any{"encoding": "json"})
	f.Fuzz(func(t *testing.T, value []byte) {
		for _, d := range []decode.Decoder{spans, logs} {
			got := checkBatch(t, d, value)
			for _, refusal := range got.refusals {
				require.NotEqual(t, decode.ReasonTooDeep, refusal.Reason)
				var object map[string]any
				if refusal.Reason == decode.ReasonNotJSON {
					require.Error(t, json.Unmarshal(value, &object), "%q", value)
				}
			}
		}
	})
}
