package mapping_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/schemas/decode"
	"github.com/plumbline-sec/plumbline/schemas/decode/decodetest"
	"github.com/plumbline-sec/plumbline/schemas/decode/forms"
)

// The samples follow the records that the makers of the products publish.
func TestTheShippedMappingsReadTheRecordsOfTheirProducts(t *testing.T) {
	want := map[string][]string{
		"azure-activity": {"5f0c2d1e tool_call MICROSOFT.KEYVAULT/VAULTS/WRITE write denied"},
		"databricks":     {"invoice-sp tool_call unityCatalog:getTable  denied"},
		"entra": {
			"5f0c2d1e auth Sign-in activity  success", "5f0c2d1e auth Sign-in activity  denied", "7d3e auth Sign-in activity  success",
			"5f0c2d1e tool_call GET Microsoft Graph read success",
		},
		"gcp-audit": {
			"invoice@acme.iam.gserviceaccount.com tool_call storage.googleapis.com:storage.objects.get read success",
			"principal://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/subject/agent tool_call cloudresourcemanager.googleapis.com:SetIamPolicy write denied",
		},
		"github": {
			"release-agent[bot] tool_call git.clone read success", "release-agent[bot] tool_call protected_branch.destroy delete success",
			"release-agent[bot] tool_call api.request DELETE /repos/:owner/:repo/git/refs/* delete denied", "deploy_key:SHA256:oVkw tool_call git.fetch read success",
		},
		"gitlab": {"DeployKey:build key tool_call repository_git_operation:git-upload-pack read success"},
		"kubernetes": {
			"system:serviceaccount:agents:invoice tool_call get secrets read success", "system:serviceaccount:agents:invoice tool_call create pods/exec execute denied",
		},
		"litellm": {"invoice-bot model_call acompletion  success", "invoice-bot tool_call find_customer  success"},
		"m365":    {"CopilotStudio.Declarative.T_1.contract model_call Copilot:CopilotInteraction  success"},
		"mcp-gateway": {
			"support-agent tool_call find_customer execute success", "support-agent tool_call resources/read read denied",
		},
		"okta":      {"0oa1 auth app.oauth2.as.token.grant.access_token  success", "00u1 tool_call user.account.privilege.grant  denied"},
		"slack":     {"A1 tool_call file_downloaded read success"},
		"snowflake": {"INVOICE_AGENT tool_call SELECT read success", "INVOICE_AGENT tool_call DROP delete denied"},
	}
	files, err := filepath.Glob("../../../deploy/sources/*.yaml")
	require.NoError(t, err)
	seen := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		var config struct {
			Sources []struct {
				Name, Decoder string
				Options       map[string]any
			}
		}
		require.NoError(t, yaml.Unmarshal(text, &config))
		if config.Sources[0].Decoder != "mapping" {
			continue
		}
		seen++
		name := config.Sources[0].Name
		t.Run(name, func(t *testing.T) {
			sample, err := os.ReadFile(strings.TrimSuffix(file, ".yaml") + ".json")
			require.NoError(t, err)
			d := decodetest.New(t, "mapping", config.Sources[0].Options)
			var have []string
			for in := json.NewDecoder(bytes.NewReader(sample)); in.More(); {
				var record json.RawMessage
				require.NoError(t, in.Decode(&record))
				rec := &decode.Record{Topic: "t", Time: decodetest.Later, Value: record}
				for _, ev := range decodetest.All(t, d, rec) {
					require.Empty(t, ev.Flags.FieldsInvalid)
					require.NotEqual(t, decodetest.Later, ev.Time, "the record says when")
					have = append(have, strings.Join([]string{ev.AgentID, ev.Action, ev.Tool, ev.Access, ev.Outcome}, " "))
				}
				decodetest.Check(t, d, rec)
			}
			require.Equal(t, want[name], have)
		})
	}
	require.Len(t, want, seen)
}

func TestPlacesAreJoinedAndChosenByConditions(t *testing.T) {
	d := decodetest.New(t, "mapping", map[string]any{
		"only": []any{map[string]any{"kind": "call", "deep.x": "*"}, map[string]any{"kind": []any{"job", "task"}}},
		"fields": map[string]any{
			"agent_id": []any{"{ns}/{name}", "svc:{name} if kind!=call", "name"},
			"action":   []any{"=delegate if to", "=tool_call if kind=call,task", "=job"},
			"tool":     []any{"{verb} {list[*].n}", "verb if !list"},
			"access":   "{verb}",
			"time":     "{day}T00:00:00Z",
		},
		"values":    map[string]any{"access": map[string]any{"get": "read", "*": ""}},
		"resources": map[string]any{"k8s": []any{"{ns}/{name}", "name if kind=job"}, "": "url if kind=call"},
	})
	for record, want := range map[string]string{
		`{"kind":"call","deep":{"x":1},"ns":"a","name":"b","verb":"get","list":[{"n":"p"},{"n":"q"}],"day":"2024-06-03","url":"u:1"}`: "a/b tool_call get p read 2024-06-03T00:00:00.000Z u:1 k8s:a/b",
		`{"kind":"job","name":"b","verb":"get","to":"c"}`:             "svc:b delegate get read 2024-06-03T08:01:40.000Z k8s:b",
		`{"kind":"task","name":"b","verb":"put","list":[],"url":"u"}`: "svc:b tool_call   2024-06-03T08:01:40.000Z ",
		`{"kind":"call","name":"b"}`:                                  "passed over",
		`{"kind":"other","name":"b"}`:                                 "passed over",
	} {
		have := "passed over"
		for _, ev := range decodetest.All(t, d, &decode.Record{Topic: "t", Time: decodetest.Time, Value: []byte(record)}) {
			have = strings.Join([]string{ev.AgentID, ev.Action, ev.Tool, ev.Access, ev.Time.String(), strings.Join(ev.Resources, " ")}, " ")
		}
		require.Equal(t, want, have, record)
	}
	_, err := forms.New("mapping", map[string]any{
		"only": []any{"x"}, "fields": map[string]any{"agent_id": "{a", "bytes_sent": "{a}", "tool": "a if b c"}, "resources": map[string]any{"r": "=x"},
	})
	for _, part := range []string{"only[0] needs keys", "has a { without its }", "is a text, and bytes_sent takes none", `"b c" has "b c" in it`, "resources.r is no path"} {
		require.ErrorContains(t, err, part)
	}
}
