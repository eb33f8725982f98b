package siem_test

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/schemas/siem"
)

const deploy = "../../deploy/siem"

func deployed(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(deploy, filepath.FromSlash(name)))
	require.NoError(t, err)
	return b
}

func TestTheSentinelTableHasEveryColumnInItsType(t *testing.T) {
	var table struct {
		Properties struct {
			Schema struct {
				Columns []struct{ Name, Type string }
			}
		}
	}
	require.NoError(t, json.Unmarshal(deployed(t, "sentinel/table.json"), &table))
	types := make(map[string]string)
	for _, c := range table.Properties.Schema.Columns {
		types[c.Name] = c.Type
	}
	for _, a := range allAlerts(t, nil) {
		var record map[string]any
		require.NoError(t, json.Unmarshal(check(t, siem.ASIM, a), &record))
		for key, value := range record {
			switch types[key] {
			case "string", "datetime":
				require.IsType(t, "", value, key)
			case "int":
				require.InDelta(t, float64(int32(value.(float64))), value, 0, key)
			case "dynamic":
				require.IsType(t, map[string]any{}, value, key)
			default:
				t.Fatalf("the table has no column %s", key)
			}
		}
	}
}

// What the template leaves to Elasticsearch becomes a keyword, or what its first number is.
func TestTheElasticTemplateHasECSsTypes(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "siem", "ecs", "ecs-9.4.0-compact.json"))
	if err != nil {
		t.Skipf("SKIPPED, the template is not checked against ECS: %v", err)
	}
	var ecs struct{ Fields map[string]struct{ T string } }
	require.NoError(t, json.Unmarshal(raw, &ecs))
	var template struct {
		Template struct{ Mappings map[string]any }
	}
	require.NoError(t, json.Unmarshal(deployed(t, "elastic/index-template.json"), &template))
	types := make(map[string]string)
	var walk func(prefix string, properties any)
	walk = func(prefix string, properties any) {
		for name, v := range properties.(map[string]any) {
			v := v.(map[string]any)
			if inner, ok := v["properties"]; ok {
				walk(prefix+name+".", inner)
			} else {
				types[prefix+name] = v["type"].(string)
			}
		}
	}
	walk("", template.Template.Mappings["properties"])
	for _, target := range []string{"url:https://h.example:8443/p?q", "ip:203.0.113.9:443"} {
		for path := range flat(t, check(t, siem.ECS, to(target))) {
			switch want := ecs.Fields[path].T; want {
			case "", "keyword": // plumbline.*, and what strings become
			default:
				require.Equal(t, want, types[path], path)
			}
		}
	}
}

func TestWhatIsDeployedForSplunkNamesWhatAlertsHave(t *testing.T) {
	var record struct {
		Sourcetype string
		Event      map[string]any
	}
	require.NoError(t, json.Unmarshal(check(t, siem.Splunk, exfiltration()), &record))
	section := regexp.MustCompile(`^\[(.+)\]$`)
	setting := regexp.MustCompile(`^[A-Za-z_.]+ = .+$`)
	for _, name := range []string{"props.conf", "eventtypes.conf", "tags.conf", "savedsearches.conf"} {
		sections := 0
		lines := bufio.NewScanner(strings.NewReader(string(deployed(t, "splunk/default/"+name))))
		for lines.Scan() {
			line := lines.Text()
			switch {
			case line == "" || strings.HasPrefix(line, "#"):
			case section.MatchString(line):
				sections++
			default:
				require.Positive(t, sections, "%s: %q stands in no section", name, line)
				require.Regexp(t, setting, line, name)
			}
		}
		require.Positive(t, sections, name)
	}
	require.Contains(t, string(deployed(t, "splunk/default/props.conf")), "["+record.Sourcetype+"]\n")
	require.Contains(t, string(deployed(t, "splunk/default/eventtypes.conf")), `sourcetype="`+record.Sourcetype+`"`)
	search := regexp.MustCompile(`\| table ([^\n]+)`).FindStringSubmatch(string(deployed(t, "splunk/default/savedsearches.conf")))
	require.NotNil(t, search)
	for field := range strings.SplitSeq(search[1], ", ") {
		field, nested, _ := strings.Cut(strings.TrimSuffix(strings.TrimSpace(field), "{}"), ".")
		if field == "_time" {
			continue
		}
		require.Contains(t, record.Event, field)
		if nested != "" {
			require.Contains(t, record.Event[field], nested)
		}
	}
}

func TestTheOtherDeployedFilesAreWellFormedAndReadTheRightTopic(t *testing.T) {
	for name, topic := range map[string]string{
		"splunk/connector.json": "siem.splunk", "elastic/filebeat.yml": "siem.ecs", "elastic/logstash.conf": "siem.ecs", "sentinel/logstash.conf": "siem.asim",
		"elastic/index-template.json": "",
	} {
		text := deployed(t, name)
		require.Contains(t, string(text), topic)
		switch filepath.Ext(name) {
		case ".json":
			require.True(t, json.Valid(text), name)
		case ".yml":
			var v map[string]any
			require.NoError(t, yaml.Unmarshal(text, &v), name)
		default:
			require.Equal(t, strings.Count(string(text), "{"), strings.Count(string(text), "}"), name)
		}
	}
}
