package otlp_test

import (
	"encoding/binary"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	resource "go.opentelemetry.io/proto/otlp/resource/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/internal/simulator"
	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
)

// fleetAlerts is a detector and the alerts that it gave.
type fleetAlerts struct {
	detector *detector.Detector
	lines    []string
	opened   int
	events   int
}

func newFleetAlerts(t *testing.T) *fleetAlerts {
	t.Helper()
	f := &fleetAlerts{}
	d, err := detector.New(detector.DefaultConfig(), f)
	require.NoError(t, err)
	f.detector = d
	return f
}

func (f *fleetAlerts) Window(*schemas.Window) {}

func (f *fleetAlerts) Alert(a *schemas.Alert) {
	line, err := json.Marshal(a)
	if err != nil {
		panic(err)
	}
	f.lines = append(f.lines, string(line))
	if a.Status == schemas.StatusOpen {
		f.opened++
	}
}

// feed decodes a record as replay does, where no broker gives a time.
func (f *fleetAlerts) feed(t *testing.T, d decode.Decoder, value []byte) {
	t.Helper()
	d.Decode(&decode.Record{Topic: "fleet", Value: value}, func(_ int32, ev *schemas.Activity, refusal *decode.Refusal) {
		require.Nil(t, refusal)
		f.detector.Process(ev)
		f.events++
	})
}

// fleetSpan writes an event as an instrumented agent would: by the conventions
// where they have a name, by plumbline.FIELD where they have none. The first of an
// agent's spans in a batch is the agent's own, and the others stand below it.
func fleetSpan(ev *schemas.Activity, id uint64, agents map[string][]byte) *trace.Span {
	s := &trace.Span{
		TraceId: traceID, SpanId: binary.BigEndian.AppendUint64(nil, id), Name: ev.Action,
		StartTimeUnixNano: (uint64(ev.Time) - ev.DurationMS) * 1e6, EndTimeUnixNano: uint64(ev.Time) * 1e6,
	}
	add := func(name, value string) {
		if value != "" {
			s.Attributes = append(s.Attributes, attrs(name, value)...)
		}
	}
	count := func(name string, n uint64) {
		if n > 0 {
			s.Attributes = append(s.Attributes, attrs(name, n)...)
		}
	}
	operation := map[string]string{"tool_call": "execute_tool", "model_call": "chat"}[ev.Action]
	if parent, ok := agents[ev.AgentID]; ok {
		s.ParentSpanId = parent
	} else {
		agents[ev.AgentID] = s.SpanId
		operation = "invoke_agent"
		add("gen_ai.agent.id", ev.AgentID)
		add("gen_ai.agent.name", ev.AgentName)
		add("gen_ai.agent.version", ev.AgentVersion)
	}
	if operation == "" {
		operation = ev.Action
	}
	add("gen_ai.operation.name", operation)
	if operation == "invoke_agent" || operation == "chat" {
		add("plumbline.action", ev.Action)
		add("plumbline.tool", ev.Tool)
	}
	add("gen_ai.tool.name", ev.Tool)
	add("gen_ai.conversation.id", ev.SessionID)
	add("enduser.id", ev.OnBehalfOf)
	add("gen_ai.request.model", ev.Model)
	count("gen_ai.usage.input_tokens", ev.TokensIn)
	count("gen_ai.usage.output_tokens", ev.TokensOut)
	count("http.request.body.size", ev.BytesSent)
	count("http.response.body.size", ev.BytesReceived)
	add("network.local.address", ev.SourceIP)
	switch ev.Outcome {
	case schemas.OutcomeDenied:
		s.Attributes = append(s.Attributes, attrs("http.response.status_code", 403)...)
	case schemas.OutcomeFailure:
		s.Status = &trace.Status{Code: trace.Status_STATUS_CODE_ERROR}
	}
	add("plumbline.event_id", ev.EventID)
	add("plumbline.peer_group", ev.PeerGroup)
	add("plumbline.access", ev.Access)
	add("plumbline.target_agent_id", ev.TargetAgentID)
	add("plumbline.credential_id", ev.CredentialID)
	add("plumbline.credential_type", ev.CredentialType)
	if len(ev.Resources) > 0 {
		s.Attributes = append(s.Attributes, attrs("plumbline.resources", append([]string(nil), ev.Resources...))...)
	}
	for _, a := range ev.Attributes {
		add(a.Key, strings.Clone(a.Value))
	}
	return s
}

// TestAFleetFedAsOTLPGivesTheAlertsOfTheFleetFedCanonically: whole alerts, ids
// included, from protobuf and from JSON.
func TestAFleetFedAsOTLPGivesTheAlertsOfTheFleetFedCanonically(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	fleet, err := simulator.New(simulator.Options{Agents: 30, Days: 8, Seed: 7, Tenants: 2, Kinds: simulator.Kinds(), Count: 9})
	require.NoError(t, err)
	canonical, protobuf, jsonText := newFleetAlerts(t), newFleetAlerts(t), newFleetAlerts(t)
	activity, spans := decode.NewActivity(), newSpans(t, nil)

	var batch *trace.TracesData
	tenant, inBatch := "", 0
	var agents map[string][]byte
	flush := func() {
		if batch == nil {
			return
		}
		protobuf.feed(t, spans, inProtobuf(t, batch))
		jsonText.feed(t, spans, inJSON(t, batch))
		batch, tenant, inBatch = nil, "", 0
	}
	var ev schemas.Activity
	var id uint64
	for fleet.Next(&ev) {
		canonical.feed(t, activity, simulator.AppendSource(nil, &ev))
		if batch == nil {
			batch, agents = &trace.TracesData{}, map[string][]byte{}
		}
		if ev.TenantID != tenant {
			tenant = ev.TenantID
			batch.ResourceSpans = append(batch.ResourceSpans, &trace.ResourceSpans{
				Resource:   &resource.Resource{Attributes: attrs("service.name", "fleet", "tenant.id", tenant)},
				ScopeSpans: []*trace.ScopeSpans{{Scope: &common.InstrumentationScope{Name: "fleet"}}},
			})
		}
		id++
		scope := batch.ResourceSpans[len(batch.ResourceSpans)-1].ScopeSpans[0]
		scope.Spans = append(scope.Spans, fleetSpan(&ev, id, agents))
		if inBatch++; inBatch == 200 {
			flush()
		}
	}
	flush()
	t.Logf("%d events, %d alerts opened, %d records of alerts", canonical.events, canonical.opened, len(canonical.lines))
	require.Greater(t, canonical.opened, 5, "alerts to compare")
	require.Equal(t, canonical.events, protobuf.events)
	require.Equal(t, canonical.lines, protobuf.lines)
	require.Equal(t, canonical.lines, jsonText.lines)
}
