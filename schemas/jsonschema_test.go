package schemas_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/simulator"
	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
)

var update = flag.Bool("update", false, "write the JSON Schemas anew")

// node is a JSON Schema, or a part of one.
type node map[string]any

const schemaBase = "urn:plumbline:"

// document is a schema file.
func document(name, title, description string, n node) node {
	n["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	n["$id"] = schemaBase + name
	n["title"], n["description"] = title, description
	return n
}

var severities = []string{schemas.SeverityLow, schemas.SeverityMedium, schemas.SeverityHigh, schemas.SeverityCritical}

// enums are the fields that take one of few values.
var enums = map[string][]string{
	"Alert.status":     {schemas.StatusOpen, schemas.StatusUpdate, schemas.StatusClose},
	"Alert.severity":   severities,
	"Episode.severity": severities,
	"Episode.reason": {
		schemas.ReasonOpened, schemas.ReasonWorse, schemas.ReasonNewKind, schemas.ReasonNewPlace, schemas.ReasonMoved, schemas.ReasonMoreAgents, schemas.ReasonEnded,
		schemas.ReasonNewCredential, schemas.ReasonNewVersion, schemas.ReasonNewResource,
	},
	"AlertSignal.baseline": {schemas.BaselineAgent, schemas.BaselinePeers, schemas.BaselineAssumed, schemas.BaselineRegistration, schemas.BaselinePolicy},
	"AlertSignal.led_by": {
		schemas.LedByDestination, schemas.LedByStore, schemas.LedByAgent, schemas.LedByTool, schemas.LedByToolUse,
		schemas.LedByResource, schemas.LedBySequence, schemas.LedByNetwork, schemas.LedByCredential,
	},
}

// ofType is the schema of what encoding/json makes of a type.
func ofType(t *testing.T, ty reflect.Type) node {
	t.Helper()
	if ty == reflect.TypeFor[schemas.Millis]() {
		return node{"type": "string", "format": "date-time"}
	}
	switch ty.Kind() { //nolint:exhaustive // the rest fails the test
	case reflect.Pointer:
		return ofType(t, ty.Elem())
	case reflect.String:
		return node{"type": "string"}
	case reflect.Float64:
		return node{"type": "number"}
	case reflect.Int, reflect.Int64:
		return node{"type": "integer"}
	case reflect.Uint64:
		return node{"type": "integer", "minimum": 0}
	case reflect.Slice:
		return node{"type": "array", "items": ofType(t, ty.Elem())}
	case reflect.Map:
		return node{"type": "object", "additionalProperties": ofType(t, ty.Elem())}
	case reflect.Struct:
		properties, required := node{}, []string{}
		for f := range ty.Fields() {
			name, omit := strings.CutSuffix(f.Tag.Get("json"), ",omitempty")
			p := ofType(t, f.Type)
			if values, ok := enums[ty.Name()+"."+name]; ok {
				p["enum"] = values
			}
			properties[name] = p
			if !omit {
				required = append(required, name)
			}
		}
		return node{"type": "object", "properties": properties, "required": required}
	default:
		t.Fatalf("no schema for %s", ty)
		return nil
	}
}

// activitySchema is that of the table of fields, as route writes an event.
func activitySchema(t *testing.T) node {
	t.Helper()
	properties := node{}
	for f := range schemas.FieldCount {
		var p node
		switch v := f.Of(&schemas.Activity{}).(type) {
		case *[]schemas.Attribute:
			p = ofType(t, reflect.TypeFor[map[string]string]())
		case *schemas.Flags:
			p = ofType(t, reflect.TypeFor[[]string]())
		default:
			p = ofType(t, reflect.TypeOf(v).Elem())
		}
		if values := f.Values(); values != nil {
			p["enum"] = values
		}
		properties[f.String()] = p
	}
	properties["time"] = node{"anyOf": []node{{"type": "string", "format": "date-time"}, {"type": "integer", "minimum": 1}}}
	properties["tenant_id"] = node{"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"}
	properties["agent_id"] = node{"type": "string", "minLength": 1, "maxLength": schemas.MaxIdentityBytes}
	properties["resources"].(node)["maxItems"] = schemas.MaxResources
	return node{"type": "object", "properties": properties, "required": []string{"agent_id"}}
}

func schemaFiles(t *testing.T) map[string]node {
	t.Helper()
	return map[string]node{
		"activity.schema.json": document("activity.schema.json", "Activity event",
			"One action of one agent: what the decoder `activity` reads, and, with recorded_at and flags, what stands in plumbline.activity. Only agent_id is required; fields that are not here become attributes.",
			activitySchema(t)),
		"alert.schema.json": document("alert.schema.json", "Alert",
			"One step in the life of an episode, as it stands in plumbline.alerts. Fields are added, never repurposed.", ofType(t, reflect.TypeFor[schemas.Alert]())),
		"window.schema.json": document("window.schema.json", "Window",
			"One hour of one agent, as it stands in plumbline.windows.", ofType(t, reflect.TypeFor[schemas.Window]())),
	}
}

func TestTheJSONSchemasAreThoseOfTheTypes(t *testing.T) {
	for name, n := range schemaFiles(t) {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		require.NoError(t, e.Encode(n))
		if *update {
			require.NoError(t, os.WriteFile(name, b.Bytes(), 0o600))
		}
		have, err := os.ReadFile(name)
		require.NoError(t, err, "run make golden")
		require.Equal(t, b.String(), string(have), "%s: run make golden and read the diff", name)
	}
}

func compiled(t *testing.T, name string) *jsonschema.Schema {
	t.Helper()
	f, err := os.Open(name)
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	doc, err := jsonschema.UnmarshalJSON(f)
	require.NoError(t, err)
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	require.NoError(t, c.AddResource(schemaBase+name, doc))
	s, err := c.Compile(schemaBase + name)
	require.NoError(t, err)
	return s
}

func valid(t *testing.T, s *jsonschema.Schema, text []byte) error {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	require.NoError(t, err)
	return s.Validate(doc) //nolint:wrapcheck // the test looks at it
}

func TestEventsFollowTheActivitySchemaAsSentAndAsRouteWritesThem(t *testing.T) {
	s := compiled(t, "activity.schema.json")
	fleet, err := simulator.New(simulator.Options{Agents: 20, Days: 2, Seed: 3})
	require.NoError(t, err)
	var lines [][]byte
	for ev := (schemas.Activity{}); fleet.Next(&ev); {
		lines = append(lines, schemas.AppendActivity(nil, &ev))
	}
	if trace, err := os.ReadFile(filepath.Join("..", "..", "shared", "data", "agentdojo", "train.jsonl")); err == nil {
		lines = append(lines, bytes.Split(bytes.TrimSpace(trace), []byte("\n"))...)
	} else {
		t.Logf("SKIPPED, no real traces: %v", err)
	}
	require.Greater(t, len(lines), 1000)
	d := decode.NewActivity()
	for _, line := range lines {
		require.NoError(t, valid(t, s, line), string(line))
		d.Decode(&decode.Record{Topic: "t", Value: line}, func(_ int32, ev *schemas.Activity, refusal *decode.Refusal) {
			require.Nil(t, refusal)
			canonical := schemas.AppendActivity(nil, ev)
			require.NoError(t, valid(t, s, canonical), string(canonical))
		})
	}
	for _, bad := range []string{
		`{}`, `{"agent_id":""}`, `{"agent_id":7}`, `{"agent_id":"a","tenant_id":"a/b"}`, `{"agent_id":"a","access":"admire"}`, `{"agent_id":"a","bytes_sent":-1}`,
		`{"agent_id":"a","resources":"file:x"}`, `{"agent_id":"a","time":"yesterday"}`,
	} {
		require.Error(t, valid(t, s, []byte(bad)), bad)
	}
}

func TestAlertsAndWindowsFollowTheirSchemas(t *testing.T) {
	for name, v := range map[string]any{
		"alert.schema.json": schemas.Alert{
			Status: schemas.StatusOpen, Severity: schemas.SeverityHigh, Time: 1, FirstSeen: 1, LastSeen: 1, Signals: []schemas.AlertSignal{{Name: "drift", WindowStart: 1, Baseline: schemas.BaselineAgent, FirstSeen: []string{"x"}}},
			Episode:  schemas.Episode{Reason: schemas.ReasonOpened, Severity: schemas.SeverityHigh},
			Evidence: schemas.Evidence{EventIDs: []string{}, Resources: []string{}, Tools: []string{}}, Tags: schemas.Tags{OwaspASI: []string{}, ATLAS: []string{}, Attack: []string{}},
		},
		"window.schema.json": schemas.Window{Start: 1, Signals: map[string]schemas.WindowSignal{"drift": {}}},
	} {
		s := compiled(t, name)
		text, err := json.Marshal(v)
		require.NoError(t, err)
		require.NoError(t, valid(t, s, text), string(text))
		require.Error(t, valid(t, s, []byte(`{}`)))
		require.NoError(t, valid(t, s, append(text[:len(text)-1:len(text)-1], `,"added_later":1}`...)))
	}
}
