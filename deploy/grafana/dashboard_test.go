// Package grafana holds the dashboards to what they show: every statement is run on
// the real engine over a fleet with attacks, as a user who may only read.
package grafana

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// dashboard is what the tests need to know of Grafana's model.
type dashboard struct {
	UID, Title, Description, Timezone string
	SchemaVersion                     int
	Tags                              []string
	Panels                            []panel
	Templating                        struct{ List []variable }
	Annotations                       struct{ List []annotation }
}

type panel struct {
	ID                       int
	Type, Title, Description string
	GridPos                  struct{ X, Y, W, H int }
	Targets                  []target
	Repeat                   string
	FieldConfig              struct {
		Overrides []struct {
			Matcher    struct{ ID, Options string }
			Properties json.RawMessage
		}
	}
}

type target struct {
	Datasource   struct{ Type, UID string }
	RawSQL, Expr string
	Format       any
}

type annotation struct {
	Name   string
	Target target
}

type variable struct {
	Name, Type  string
	Query       any
	Current     struct{ Value any }
	Multi       bool
	IncludeAll  bool
	AllValue    string
	Description string
}

// sql is the statement of a query variable of ClickHouse, else empty.
func (v *variable) sql() string {
	q, _ := v.Query.(map[string]any)
	s, _ := q["rawSql"].(string)
	return s
}

func load(tb testing.TB) map[string]*dashboard {
	tb.Helper()
	files, err := filepath.Glob("dashboards/*.json")
	require.NoError(tb, err)
	require.NotEmpty(tb, files)
	out := make(map[string]*dashboard)
	for _, file := range files {
		b, err := os.ReadFile(file)
		require.NoError(tb, err)
		d := &dashboard{}
		require.NoError(tb, json.Unmarshal(b, d), file)
		require.Equal(tb, "plumbline-"+strings.TrimSuffix(filepath.Base(file), ".json"), d.UID)
		require.NotContains(tb, out, d.UID)
		out[d.UID] = d
	}
	return out
}

func TestDashboardsCanBeReadWithoutTheirAuthor(t *testing.T) {
	for uid, d := range load(t) {
		t.Run(uid, func(t *testing.T) {
			require.NotEmpty(t, d.Title)
			require.NotEmpty(t, d.Description)
			require.Contains(t, d.Tags, "plumbline")
			require.Equal(t, "utc", d.Timezone, "the command line, alerts and logs say UTC too")
			require.Equal(t, 42, d.SchemaVersion)
			ids := make(map[int]bool)
			taken := make(map[[2]int]string)
			for _, p := range d.Panels {
				require.NotEmpty(t, p.Title)
				require.False(t, ids[p.ID], "two panels have the id %d", p.ID)
				ids[p.ID] = true
				if p.Type != "row" {
					require.NotEmpty(t, p.Description, p.Title)
					require.NotEmpty(t, p.Targets, p.Title)
				}
				g := p.GridPos
				require.LessOrEqual(t, g.X+g.W, 24, p.Title)
				for x := g.X; x < g.X+g.W; x++ {
					for y := g.Y; y < g.Y+g.H; y++ {
						require.Empty(t, taken[[2]int{x, y}], "%q lies over another panel", p.Title)
						taken[[2]int{x, y}] = p.Title
					}
				}
			}
		})
	}
}

// A data source is named by a variable, so that another Grafana's can be chosen; its
// default is the one that provisioning makes.
func TestPanelsReadTheDataSourcesThatAreProvisioned(t *testing.T) {
	provisioned, err := os.ReadFile("provisioning/datasources/plumbline.yaml")
	require.NoError(t, err)
	for uid, d := range load(t) {
		types := make(map[string]string)
		for _, v := range d.Templating.List {
			if v.Type == "datasource" {
				kind, ok := v.Query.(string)
				require.True(t, ok)
				types["${"+v.Name+"}"] = kind
				require.Contains(t, string(provisioned), fmt.Sprintf("uid: %s\n    type: %s\n", v.Current.Value, kind), uid)
			}
		}
		for _, p := range d.Panels {
			for _, q := range p.Targets {
				require.Equal(t, types[q.Datasource.UID], q.Datasource.Type, "%s: %s", uid, p.Title)
			}
		}
	}
}

var (
	toDashboard = regexp.MustCompile(`/d/([a-z-]+)\?([^"]*)`)
	toVariable  = regexp.MustCompile(`var-(\w+)=`)
)

func TestLinksLeadToDashboardsWithTheirVariables(t *testing.T) {
	all := load(t)
	found := 0
	for uid := range all {
		b, err := os.ReadFile("dashboards/" + strings.TrimPrefix(uid, "plumbline-") + ".json")
		require.NoError(t, err)
		for _, link := range toDashboard.FindAllStringSubmatch(string(b), -1) {
			to := all[link[1]]
			require.NotNil(t, to, link[0])
			for _, name := range toVariable.FindAllStringSubmatch(link[2], -1) {
				require.True(t, has(to, name[1]), "%s has no variable %s", link[1], name[1])
				found++
			}
		}
	}
	require.Positive(t, found)
}

func has(d *dashboard, name string) bool {
	for _, v := range d.Templating.List {
		if v.Name == name {
			return true
		}
	}
	return false
}
