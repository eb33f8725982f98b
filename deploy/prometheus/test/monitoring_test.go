// Package test holds the dashboards and alarms to what the service exports and the
// documentation says. It is a module of its own: Prometheus and Grafana's SDK are
// heavier than all that the service needs.
package test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	grafana "github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

const (
	rulesFile  = "../plumbline.rules.yaml"
	page       = "../../../docs/operations.md"
	dashboards = "../../grafana/dashboards"
)

// Every dashboard is what Grafana's own schema says, down to the options of panels.
func TestDashboardsAreOfGrafanasSchema(t *testing.T) {
	plugins.RegisterDefaultPlugins()
	for name, b := range read(t, dashboards+"/*.json") {
		// No mistakes are a nil slice in an error that is not nil.
		var mistakes cog.BuildErrors
		require.ErrorAs(t, new(grafana.Dashboard).UnmarshalJSONStrict(b), &mistakes, name)
		require.Empty(t, mistakes, name)
	}
}

func read(t *testing.T, pattern string) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob(pattern)
	require.NoError(t, err)
	require.NotEmpty(t, files)
	out := make(map[string][]byte)
	for _, f := range files {
		out[filepath.Base(f)], err = os.ReadFile(f)
		require.NoError(t, err)
	}
	return out
}

type rule struct {
	Record, Alert, Expr string
	For                 string
	Labels, Annotations map[string]string
}

func rules(t *testing.T) []rule {
	t.Helper()
	b, err := os.ReadFile(rulesFile)
	require.NoError(t, err)
	var file struct {
		Groups []struct {
			Name  string
			Rules []rule
		}
	}
	require.NoError(t, yaml.Unmarshal(b, &file))
	var out []rule
	for _, g := range file.Groups {
		out = append(out, g.Rules...)
	}
	require.NotEmpty(t, out)
	return out
}

// row is a line of the table of alarms.
type row struct{ severity, when string }

var (
	tableRow = regexp.MustCompile(`(?m)^\| <a id="(\w+)"></a>(\w+) \((\w+)\) \| ([^|]+) \|`)
	amount   = regexp.MustCompile(`(\d[\d,]*(?:\.\d+)?)(?: (min|h|d|MiB|%)(?:\W|$))?`)
	quoted   = regexp.MustCompile("`([a-z_]+)(?:{[^`]*})?`")
)

func table(t *testing.T) map[string]row {
	t.Helper()
	b, err := os.ReadFile(page)
	require.NoError(t, err)
	out := make(map[string]row)
	for _, m := range tableRow.FindAllStringSubmatch(string(b), -1) {
		require.Equal(t, m[1], m[2], "an alarm's anchor is its name")
		require.NotContains(t, out, m[1])
		out[m[1]] = row{severity: m[3], when: m[4]}
	}
	return out
}

// Rules and table have the same alarms, of the same severity, about the same metrics,
// with the same thresholds and times.
func TestEveryAlarmIsWhatThePageSays(t *testing.T) {
	rows := table(t)
	for _, r := range rules(t) {
		if r.Alert == "" {
			continue
		}
		t.Run(r.Alert, func(t *testing.T) {
			row, ok := rows[r.Alert]
			require.True(t, ok, "it has no row in %s", page)
			delete(rows, r.Alert)
			require.Equal(t, row.severity, r.Labels["severity"])
			require.NotEmpty(t, r.Annotations["summary"])
			require.NotEmpty(t, r.Annotations["description"])
			require.True(t, strings.HasSuffix(r.Annotations["runbook_url"], "/docs/operations.md#"+r.Alert))
			said, meant := thresholdsOf(t, row.when), thresholdsIn(t, r)
			require.Equal(t, slices.Sorted(maps.Keys(said)), slices.Sorted(maps.Keys(meant)))
			for _, m := range quoted.FindAllStringSubmatch(row.when, -1) {
				if m[1] != "old" {
					require.Contains(t, strings.ReplaceAll(r.Expr, "plumbline:lag_seconds", "lag_records records_total"), m[1])
				}
			}
		})
	}
	require.Empty(t, rows, "rows without a rule")
}

// thresholdsOf are the numbers and times of a cell: "over 1 % within 15 min".
func thresholdsOf(t *testing.T, cell string) map[string]bool {
	t.Helper()
	out := make(map[string]bool)
	for _, m := range amount.FindAllStringSubmatch(cell, -1) {
		n, err := strconv.ParseFloat(strings.ReplaceAll(m[1], ",", ""), 64)
		require.NoError(t, err)
		switch m[2] {
		case "min":
			out[time.Duration(n*float64(time.Minute)).String()] = true
		case "h":
			out[time.Duration(n*float64(time.Hour)).String()] = true
		case "d":
			out[time.Duration(n*24*float64(time.Hour)).String()] = true
		case "MiB":
			out[number(n*(1<<20))] = true
		case "%":
			out[number(n/100)] = true
		default:
			out[number(n)] = true
		}
	}
	delete(out, "0")
	return out
}

func number(n float64) string { return strconv.FormatFloat(n, 'g', -1, 64) }

// thresholdsIn are those of a rule. A comparison with zero goes without saying.
func thresholdsIn(t *testing.T, r rule) map[string]bool {
	t.Helper()
	out := make(map[string]bool)
	if r.For != "" {
		d, err := model.ParseDuration(r.For)
		require.NoError(t, err)
		out[time.Duration(d).String()] = true
	}
	inspect(t, r.Expr, func(n parser.Node) {
		switch n := n.(type) {
		case *parser.NumberLiteral:
			out[number(n.Val)] = true
		case *parser.MatrixSelector:
			out[n.Range.String()] = true
		case *parser.VectorSelector:
			if n.OriginalOffset > 0 {
				out[n.OriginalOffset.String()] = true
			}
		}
	})
	delete(out, "0")
	return out
}

func inspect(t *testing.T, expr string, each func(parser.Node)) {
	t.Helper()
	e, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	require.NoError(t, err, expr)
	parser.Inspect(e, func(n parser.Node, _ []parser.Node) error {
		if n != nil {
			each(n)
		}
		return nil
	})
}

// promtool, which .ci/run calls, shows that alarms fire; here, that none is left out.
func TestEveryAlarmHasATestThatItFires(t *testing.T) {
	b, err := os.ReadFile("../plumbline.rules.test.yaml")
	require.NoError(t, err)
	for _, r := range rules(t) {
		if r.Alert != "" {
			require.Contains(t, string(b), fmt.Sprintf(`{alertname="%s", severity="%s"}`, r.Alert, r.Labels["severity"]))
		}
	}
}

// expression is PromQL, and where it stands.
type expression struct{ where, expr, legend string }

var (
	labelValues = regexp.MustCompile(`^label_values\((.*), (\w+)\)$`)
	legendLabel = regexp.MustCompile(`{{(\w+)}}`)
)

func expressions(t *testing.T) (out []expression) {
	t.Helper()
	for _, r := range rules(t) {
		out = append(out, expression{where: "rule " + r.Alert + r.Record, expr: r.Expr})
	}
	for name, b := range read(t, dashboards+"/*.json") {
		var d struct {
			Panels []struct {
				Title   string
				Targets []struct{ Expr, LegendFormat string }
			}
			Templating struct {
				List []struct {
					Name       string
					Definition string
				}
			}
		}
		require.NoError(t, json.Unmarshal(b, &d))
		for _, p := range d.Panels {
			for _, q := range p.Targets {
				if q.Expr != "" {
					out = append(out, expression{name + ": " + p.Title, q.Expr, q.LegendFormat})
				}
			}
		}
		for _, v := range d.Templating.List {
			if m := labelValues.FindStringSubmatch(v.Definition); m != nil {
				out = append(out, expression{name + ": " + v.Name, "count by (" + m[2] + ") (" + m[1] + ")", ""})
			}
		}
	}
	return out
}

// Every expression parses, and names only metrics, labels included, that a service
// exports that has just met the faults.
func TestExpressionsNameWhatTheServiceExports(t *testing.T) {
	exported := scrape(t)
	exported["up"] = set("job", "instance")
	exported["ALERTS"] = set("alertname", "alertstate", "severity")
	exported["plumbline:lag_seconds"] = set("role")
	source := sourceText(t)
	for name, labels := range rare {
		require.NotContains(t, exported, name, "it is exported: take it out of the list")
		require.Contains(t, source, strconv.Quote(strings.TrimPrefix(name, "plumbline_")))
		exported[name] = set(labels...)
	}
	grafanas := strings.NewReplacer("$__rate_interval", "5m", "$__range", "1d", "$job", "plumbline", "$instance", "a")
	for _, e := range expressions(t) {
		known := set("job", "instance", "__name__")
		var used []string
		inspect(t, grafanas.Replace(e.expr), func(n parser.Node) {
			switch n := n.(type) {
			case *parser.VectorSelector:
				require.Contains(t, exported, n.Name, e.where)
				maps.Copy(known, exported[n.Name])
				if n.Name == "ALERTS" { // has the labels of all alarms
					for _, labels := range exported {
						maps.Copy(known, labels)
					}
				}
				for _, m := range n.LabelMatchers {
					require.True(t, exported[n.Name][m.Name] || known[m.Name] && (m.Name == "job" || m.Name == "instance" || m.Name == "__name__"), "%s: %s has no label %s", e.where, n.Name, m.Name)
				}
			case *parser.AggregateExpr:
				used = append(used, n.Grouping...)
			case *parser.BinaryExpr:
				if n.VectorMatching != nil {
					used = append(used, n.VectorMatching.MatchingLabels...)
				}
			}
		})
		for _, m := range legendLabel.FindAllStringSubmatch(e.legend, -1) {
			used = append(used, m[1])
		}
		for _, label := range used {
			require.True(t, known[label], "%s: no metric of it has the label %s", e.where, label)
		}
	}
}

// sourceText is the code that registers metrics.
func sourceText(t *testing.T) string {
	t.Helper()
	var out strings.Builder
	for _, dir := range []string{"../../../pipeline", "../../../internal/app"} {
		require.NoError(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			b, err := os.ReadFile(path)
			out.Write(b)
			return err
		}))
	}
	return out.String()
}

func set(labels ...string) map[string]bool {
	out := make(map[string]bool)
	for _, l := range labels {
		out[l] = true
	}
	return out
}
