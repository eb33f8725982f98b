package pipeline_test

import (
	"encoding/json"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/pipeline"
)

// What agents say to models and tools passes through in attributes of many names. With
// the default options nothing of it is kept anywhere but in the dead letters, and there
// only where the source keeps records.
func TestWhatWasSaidIsNowhereButInDeadLetters(t *testing.T) {
	const canary = "CANARY7391"
	said := []string{
		"gen_ai.input.messages", "gen_ai.tool.call.arguments", "gen_ai.tool.call.result", "gen_ai.prompt.0.content", "input.value", "output.value", "traceloop.entity.input",
		"ai.toolCall.args", "gcp.vertex.agent.tool_response", "gen_ai.tool.input", "langfuse.observation.input", "mlflow.spanInputs", "tool_arguments",
		"all_messages_events", "metadata", "exception.message", "error.message", "my.own.prompt", "http.request.header.cookie",
	}
	attribute := func(key string, value any) map[string]any {
		kind := "stringValue"
		if _, ok := value.(uint64); ok {
			kind, value = "intValue", fmt.Sprint(value)
		}
		return map[string]any{"key": key, "value": map[string]any{kind: value}}
	}
	var batches []string
	for i, line := range fleet(3) {
		var ev struct {
			AgentID   string `json:"agent_id"`
			Tool      string
			Access    string
			Time      time.Time
			Resources []string
			BytesSent uint64 `json:"bytes_sent"`
		}
		require.NoError(t, json.Unmarshal([]byte(line), &ev))
		attributes := []any{
			attribute("gen_ai.operation.name", "execute_tool"), attribute("gen_ai.tool.name", ev.Tool), attribute("plumbline.agent_id", ev.AgentID), attribute("plumbline.access", ev.Access),
			attribute("plumbline.resources", ev.Resources[0]), attribute("plumbline.bytes_sent", ev.BytesSent),
			attribute(said[i%len(said)], `{"text":"`+canary+`"}`), attribute(said[(i+7)%len(said)], canary),
		}
		at := strconv.FormatInt(ev.Time.UnixNano(), 10)
		span := map[string]any{
			"spanId": fmt.Sprintf("%016x", i+1), "name": "execute_tool", "startTimeUnixNano": at, "endTimeUnixNano": at, "attributes": attributes,
			"status": map[string]any{"code": 2, "message": canary}, "events": []any{map[string]any{"name": "gen_ai.user.message", "attributes": []any{attribute("content", canary)}}},
		}
		passed := map[string]any{"spanId": "ff", "name": canary + " and so on, what somebody wrote", "attributes": []any{attribute("input.value", canary)}}
		batch, err := json.Marshal(map[string]any{"resourceSpans": []any{map[string]any{"scopeSpans": []any{map[string]any{"spans": []any{span, passed}}}}}})
		require.NoError(t, err)
		batches = append(batches, string(batch))
	}
	for _, bare := range []bool{false, true} {
		t.Run(fmt.Sprintf("dead letters of metadata alone: %t", bare), func(t *testing.T) {
			r := newRig(t, 1)
			r.form, r.lettersBare, r.level = "otlp_spans", bare, zerolog.TraceLevel
			r.send(batches...)
			r.send(`{"not":"a batch","text":"` + canary + `"}`)
			r.run(allRoles...)
			for _, topic := range []string{pipeline.TopicActivity, pipeline.TopicAlerts, ocsfTopic, pipeline.TopicWindows, pipeline.TopicBaselines} {
				records := r.cluster.All(topic)
				require.NotEmpty(t, records, topic)
				for _, rec := range records {
					require.NotContains(t, string(rec.Key)+string(rec.Value)+fmt.Sprint(rec.Headers), canary, topic)
				}
			}
			require.NotZero(t, r.warehouse.Stored("activity"), "its rows are made of the records of these topics alone")
			require.NotContains(t, r.logged(), canary)
			require.Contains(t, r.logged(), `"shape":"plain","sample":"(41 bytes)"`)
			letters := r.cluster.All(pipeline.TopicDeadLetter)
			require.Len(t, letters, 1)
			if bare {
				require.Empty(t, letters[0].Value)
				require.Equal(t, pipeline.Header{Key: pipeline.HeaderCut, Value: []byte("37")}, letters[0].Headers[len(letters[0].Headers)-1])
			} else {
				require.Contains(t, string(letters[0].Value), canary)
			}
		})
	}
}
