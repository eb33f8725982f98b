package decode_test

import (
	"encoding/json"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	collogs "go.opentelemetry.io/proto/otlp/logs/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
)

// checkOTLP decodes a record twice and holds what comes of it against the contract.
func checkOTLP(t *testing.T, d *decode.OTLPDecoder, value []byte) otlpResult {
	t.Helper()
	before := string(value)
	got := decodeOTLP(d, value)
	require.Equal(t, got, decodeOTLP(d, value), "a record gives the same events every time")
	require.Equal(t, before, string(value), "a record is not written to")
	last := int32(-1)
	for _, i := range got.indexes {
		require.GreaterOrEqual(t, i, max(last, 0))
		last = i
	}
	for i := range got.events {
		ev := &got.events[i]
		require.NotEmpty(t, ev.AgentID)
		require.NotEmpty(t, ev.Action)
		require.NotEmpty(t, ev.EventID)
		require.LessOrEqual(t, len(ev.Attributes), schemas.MaxAttributes)
		require.LessOrEqual(t, len(ev.Resources), schemas.MaxResources)
		require.Equal(t, *ev, deepClone(ev))
	}
	return got
}

// FuzzOTLPAgainstTheGeneratedCode: what the generated code reads is read, span by
// span; nothing at all makes the decoder panic.
func FuzzOTLPAgainstTheGeneratedCode(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 30 {
		f.Add(otlpProto(f, randomBatch(r)))
	}
	f.Add(otlpProto(f, logBatch(serviceA, claudeRecord("tool_result", "tool_name", "Bash", "tool_parameters", `{"bash_command":"x"}`))))
	f.Add([]byte("\x0a\x03\x12\x01\x12"))
	spans := otlpSpans(f, func(o *decode.OTLPOptions) { o.Encoding, o.Other = decode.OTLPProto, decode.OTLPAll })
	opt := decode.DefaultOTLPOptions()
	opt.Encoding = decode.OTLPProto
	logs, err := decode.NewOTLPLogs(opt)
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, value []byte) {
		got := checkOTLP(t, spans, value)
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
		got = checkOTLP(t, logs, value)
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

// FuzzOTLPJSON: any text is read or refused once, and what is JSON is never
// refused for not being it.
func FuzzOTLPJSON(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 30 {
		f.Add(otlpJSON(f, randomBatch(r)))
	}
	f.Add(otlpJSON(f, logBatch(serviceA, claudeRecord("tool_result", "tool_name", "Read", "tool_input", `{"file_path":"\ud800"}`))))
	for _, s := range []string{
		`{}`, ``, `[]`, `{"resourceSpans":[{"resource":null,"scopeSpans":[{"spans":[{"spanId":"zz","kind":"SPAN_KIND_SERVER","endTimeUnixNano":1e3,"attributes":[{"key":"a\ud800","value":{"intValue":"7","doubleValue":"NaN"}}]}]}]}]}`,
		`{"resourceSpans":{"a":[}]}}`, `{"x":[[[[`, `{"resourceSpans":[[{"spans":1}]]}`,
	} {
		f.Add([]byte(s))
	}
	spans := otlpSpans(f, func(o *decode.OTLPOptions) { o.Encoding, o.Other = decode.OTLPJSON, decode.OTLPAll })
	opt := decode.DefaultOTLPOptions()
	opt.Encoding = decode.OTLPJSON
	logs, err := decode.NewOTLPLogs(opt)
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, value []byte) {
		for _, d := range []*decode.OTLPDecoder{spans, logs} {
			got := checkOTLP(t, d, value)
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
