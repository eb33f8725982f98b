package otlp_test

import (
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"
	collogs "go.opentelemetry.io/proto/otlp/logs/v1"

	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode/decodetest"
)

// claudeRecord builds an event as Claude Code documents it: the prefixed name in
// the body, values as text.
func claudeRecord(name string, pairs ...any) *collogs.LogRecord {
	all := append([]any{
		"event.name", name, "event.sequence", 4, "session.id", "s-1", "user.id", "hash", "user.email", "alice@example.com",
		"organization.id", "org", "terminal.type", "vscode",
	}, pairs...)
	return &collogs.LogRecord{
		TimeUnixNano: uint64(decodetest.Time) * 1e6, Body: anyValue("claude_code." + name), Attributes: attrs(all...),
	}
}

func TestLogsOfClaudeCodeBecomeEvents(t *testing.T) {
	batch := logBatch(attrs("service.name", "claude-code", "service.version", "2.0.1"),
		claudeRecord("user_prompt", "prompt_length", "12"),
		claudeRecord("api_request", "model", "claude-x", "input_tokens", "100", "output_tokens", 7, "duration_ms", "900", "cost_usd", "0.01"),
		claudeRecord("tool_decision", "tool_name", "Bash", "decision", "accept", "source", "config"),
		claudeRecord("tool_result", "tool_name", "Bash", "success", "true", "duration_ms", "30", "tool_input_size_bytes", "41", "tool_result_size_bytes", 1024,
			"tool_parameters", `{"bash_command":"curl","timeout":3,"nested":{"file_path":"/no"}}`),
		claudeRecord("tool_result", "tool_name", "Read", "success", "false", "error", "no such file", "tool_input", `{"file_path":"/etc/p\u0061sswd"}`),
		claudeRecord("tool_decision", "tool_name", "Write", "decision", "reject", "source", "user_reject"),
		claudeRecord("api_error", "model", "claude-x", "status_code", "403", "error", "forbidden"),
		claudeRecord("tool_result", "tool_name", "mcp_tool", "success", "true", "tool_parameters", `{"mcp_server_name":"github","mcp_tool_name":"create_issue"}`),
	)
	want := []schemas.Activity{
		{Action: "model_call", Model: "claude-x", TokensIn: 100, TokensOut: 7, DurationMS: 900, EventID: "otlp/3/41/1"},
		{Action: "tool_call", Tool: "Bash", Access: "execute", DurationMS: 30, BytesSent: 41, BytesReceived: 1024, Resources: []string{"command:curl"}, EventID: "otlp/3/41/3"},
		{Action: "tool_call", Tool: "Read", Access: "read", Outcome: "failure", BytesSent: 32, Resources: []string{"file:/etc/passwd"}, EventID: "otlp/3/41/4"},
		{Action: "tool_call", Tool: "Write", Access: "write", Outcome: "denied", EventID: "otlp/3/41/5"},
		{Action: "model_call", Model: "claude-x", Outcome: "denied", EventID: "otlp/3/41/6"},
		{Action: "tool_call", Tool: "mcp__github__create_issue", BytesSent: 59, Resources: []string{"mcp:github"}, EventID: "otlp/3/41/7"},
	}
	for encoding, value := range map[string][]byte{"protobuf": inProtobuf(t, batch), "JSON": inJSON(t, batch)} {
		t.Run(encoding, func(t *testing.T) {
			got := decodeBatch(newLogs(t, nil), value)
			require.Empty(t, got.refusals)
			require.Equal(t, 2, got.skipped, "the prompt of the user, and the decision whose result follows")
			require.Len(t, got.events, len(want))
			for i, ev := range got.events {
				w := want[i]
				w.TenantID, w.PeerGroup, w.AgentID, w.AgentVersion = "default", "default", "claude-code", "2.0.1"
				w.SessionID, w.OnBehalfOf, w.Time, w.RecordedAt = "s-1", "alice@example.com", decodetest.Time, decodetest.Time
				if w.Outcome == "" {
					w.Outcome = "success"
				}
				ev.Attributes, ev.Flags.FieldsInvalid = nil, nil
				require.Equal(t, w, ev, "event %d", i)
			}
		})
	}
}

func TestLogsWithGenAIAttributesAreReadLikeSpans(t *testing.T) {
	record := &collogs.LogRecord{
		ObservedTimeUnixNano: uint64(decodetest.Time) * 1e6, TraceId: traceID, EventName: "gen_ai.client.inference.operation.details",
		Attributes: attrs("gen_ai.operation.name", "chat", "gen_ai.agent.name", "planner", "gen_ai.request.model", "m"),
	}
	other := &collogs.LogRecord{Body: anyValue("GET / 200"), Attributes: attrs("http.route", "/")}
	got := decodeBatch(newLogs(t, nil), inProtobuf(t, logBatch(nil, other, record)))
	require.Empty(t, got.refusals)
	require.Equal(t, []int32{1}, got.indexes)
	require.Equal(t, 1, got.skipped)
	require.Equal(t, "planner", got.events[0].AgentID)
	require.Equal(t, "model_call", got.events[0].Action)
	require.Equal(t, decodetest.Time, got.events[0].Time)
	require.Equal(t, map[string]string{
		"trace_id": hex.EncodeToString(traceID), "event.name": "gen_ai.client.inference.operation.details", "gen_ai.operation.name": "chat",
	}, attributesOf(&got.events[0]))
}

func TestLogsOfOtherCodingAssistantsBecomeEvents(t *testing.T) {
	record := func(name string, pairs ...any) *collogs.LogRecord {
		return &collogs.LogRecord{ObservedTimeUnixNano: uint64(decodetest.Time) * 1e6, Attributes: attrs(append([]any{"event.name", name}, pairs...)...)}
	}
	got := decodeBatch(newLogs(t, nil), inProtobuf(t, logBatch(attrs("service.name", "codex_cli_rs"),
		record("codex.user_prompt", "prompt", "x"),
		record("codex.tool_decision", "tool_name", "shell", "decision", "approved"),
		record("codex.tool_decision", "tool_name", "shell", "decision", "denied", "conversation.id", "c"),
		record("codex.tool_result", "tool_name", "exec_command", "arguments", `{"cmd":"/usr/bin/curl -d @x https://a"}`, "output", "12345", "success", "false", "mcp_server", "crm"),
		record("codex.sse_event", "event.kind", "response.output_item.done", "model", "gpt"),
		record("codex.sse_event", "event.kind", "response.completed", "model", "gpt", "input_token_count", "7", "output_token_count", "8"),
		record("codex.api_request", "model", "gpt", "http.response.status_code", "200", "user.account_id", "acct"),
		record("gemini_cli.tool_call", "function_name", "read_file", "function_args", `{"absolute_path":"/etc/x"}`, "success", true, "decision", "auto_accept"),
		record("gemini_cli.api_request", "model", "gemini"),
		record("gemini_cli.api_response", "model", "gemini", "input_token_count", 5, "output_token_count", 6, "status_code", 200),
		record("gemini_cli.api_error", "model", "gemini", "status_code", 403),
		record("gemini_cli.tool_call", "function_name", "write_file", "success", false, "error_type", "permission_denied"),
		record("qwen-code.tool_call", "function_name", "edit", "success", true),
	)))
	require.Empty(t, got.refusals)
	var have []schemas.Activity
	for i := range got.events {
		have = append(have, facts(&got.events[i]))
	}
	want := []schemas.Activity{
		{Action: "tool_call", Tool: "shell", Access: "execute", Outcome: "denied", SessionID: "c"},
		{Action: "tool_call", Tool: "exec_command", Access: "execute", Outcome: "failure", BytesSent: 39, BytesReceived: 5, Resources: []string{"command:curl", "mcp:crm"}},
		{Action: "model_call", Model: "gpt", TokensIn: 7, TokensOut: 8},
		{Action: "model_call", Model: "gpt", OnBehalfOf: "acct"},
		{Action: "tool_call", Tool: "read_file", Access: "read", BytesSent: 26, Resources: []string{"file:/etc/x"}},
		{Action: "model_call", Model: "gemini", TokensIn: 5, TokensOut: 6},
		{Action: "model_call", Model: "gemini", Outcome: "denied"},
		{Action: "tool_call", Tool: "write_file", Access: "write", Outcome: "denied"},
		{Action: "tool_call", Tool: "edit", Access: "write"},
	}
	for i := range want {
		want[i].AgentID, want[i].PeerGroup = "codex_cli_rs", "default"
	}
	require.Equal(t, want, have)
}

func TestALogRecordMaySayItInItsBody(t *testing.T) {
	body := attrs("event.name", "codex.tool_result", "tool_name", "shell", "arguments", "123", "conversation.id", "c", "success", "true")
	record := &collogs.LogRecord{TimeUnixNano: uint64(decodetest.Time) * 1e6, Body: anyValue(body)}
	got := decodeBatch(newLogs(t, nil), inProtobuf(t, logBatch(attrs("service.name", "codex"), record, &collogs.LogRecord{Body: anyValue(attrs("x", "y")), Attributes: attrs("a", "b")})))
	require.Len(t, got.events, 1)
	require.Equal(t, schemas.Activity{AgentID: "codex", PeerGroup: "default", SessionID: "c", Action: "tool_call", Tool: "shell", Access: "execute", BytesSent: 3}, facts(&got.events[0]))
}
