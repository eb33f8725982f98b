package detector_test

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/template"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/detector/signal"
	"github.com/plumbline-sec/plumbline/schemas"
)

const (
	workedBegin = "<!-- The worked event is generated: testdata/worked.md, go test ./detector -run Readme -update -->\n"
	workedEnd   = "<!-- The worked event ends. -->\n"
)

// worked returns how an event of an agent in a small fleet is explained: so many bytes, to
// that place, or to where the agent sends anyway; and how many calls came before.
func worked(t *testing.T) (explained func(sent uint64, place string) *detector.Ladder, calls int) {
	t.Helper()
	f, cfg := newFleet(11, 30), detector.DefaultConfig()
	d := detector.Started(t, cfg, &recorder{})
	for day := range 21 {
		for _, ev := range f.day(day) {
			d.Process(&ev)
			calls++
		}
	}
	a, saved := f.agents[6], d.Save()
	return func(sent uint64, place string) *detector.Ladder {
		d := detector.Loaded(t, cfg, &recorder{}, saved)
		if place == "" {
			place = a.dests[0]
		}
		_, l := d.ProcessExplained(&schemas.Activity{
			EventID: "worked", Time: fleetStart + 21*dayMS + 10*hourMS, TenantID: schemas.DefaultTenant, AgentID: a.id, PeerGroup: a.group,
			Action: "tool_call", SessionID: "worked", Tool: a.tools[0], Access: schemas.AccessSend, Resources: []string{place},
			BytesSent: sent, BytesReceived: 200, Outcome: schemas.OutcomeSuccess,
		})
		return l
	}, calls
}

func TestTheReadmeShowsHowAScoreIsMade(t *testing.T) {
	const sent, small, place = 100_000, 300, "email:orders@partner.example"
	explained, calls := worked(t)
	l, usual, little := explained(sent, place), explained(sent, ""), explained(small, place)
	require.Equal(t, l.Score, usual.Score) //nolint:testifylint // the text says: the same
	require.Equal(t, schemas.SignalNewDestination, little.Fusion.Led)
	require.NotNil(t, l.Alert)
	data := struct {
		L           *detector.Ladder
		Sent        float64
		Place       string
		Bytes, Dest detector.Rung
		Weak        []detector.Rung
		Small       float64
		Events      float64
		Signals     int
	}{L: l, Sent: sent, Place: place, Small: little.Score, Events: float64(calls), Signals: len(signal.All())}
	for _, r := range l.Signals {
		switch r.Name {
		case schemas.SignalBytesSent:
			data.Bytes = r
		case schemas.SignalNewDestination:
			data.Dest = r
		default:
			data.Weak = append(data.Weak, r)
		}
	}
	require.NotEmpty(t, data.Bytes.Name)
	require.NotEmpty(t, data.Dest.Name)
	require.Len(t, data.Weak, 1)

	number := func(x float64) string {
		if x >= 10 {
			return signal.Count(x)
		}
		return fmt.Sprintf("%.3g", x)
	}
	page, err := template.New("worked.md").Funcs(template.FuncMap{
		"f1": func(x float64) string { return fmt.Sprintf("%.1f", x) }, "f2": func(x float64) string { return fmt.Sprintf("%.2f", x) },
		"sci": func(x float64) string { return fmt.Sprintf("%.2g", x) }, "pct": func(x float64) string { return fmt.Sprintf("%.2g %%", 100*x) },
		"num": number, "bytes": signal.Bytes, "every": func(lambda float64) string { return signal.Every(1 / lambda) },
		"dec": func(x float64) float64 { return -math.Log10(x) },
	}).ParseFiles(filepath.Join("testdata", "worked.md"))
	require.NoError(t, err)
	var text strings.Builder
	require.NoError(t, page.Execute(&text, data))

	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	before, rest, ok := strings.Cut(string(readme), workedBegin)
	require.True(t, ok)
	shown, after, ok := strings.Cut(rest, workedEnd)
	require.True(t, ok)
	if *update {
		require.NoError(t, os.WriteFile("README.md", []byte(before+workedBegin+text.String()+workedEnd+after), 0o644))
		return
	}
	require.Equal(t, text.String(), shown, "run `go test ./detector -run Readme -update` and read the diff")
}

func TestTheReadmeHasASectionForEverySignal(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	config, err := os.ReadFile("../docs/configuration.md")
	require.NoError(t, err)
	all := append(signal.All(), signal.Metric(0, "NAME", "", signal.TakeMean))
	require.Equal(t, len(all), strings.Count(string(readme), "\n### `"), "a section of no signal")
	for _, s := range all {
		info := s.Info()
		if info.Name != schemas.SignalMetric+"NAME" {
			require.Contains(t, string(config), "`"+info.Name+"`")
		}
		_, section, ok := strings.Cut(string(readme), "\n### `"+info.Name+"`\n")
		require.True(t, ok, info.Name)
		section, _, _ = strings.Cut(section, "\n##")
		for _, want := range []string{
			"**Counts.** ", "**Formula.** ", "**Speaks.** ", "**Can't see.** ", "`signal/" + info.File + "`", fmt.Sprintf(" Weight %g.", info.Weight), "**Unit.** ",
		} {
			require.Contains(t, section, want, info.Name)
		}
	}
	for i, line := range strings.Split(string(readme), "\n") {
		require.Less(t, len([]rune(line)), 320, "line %d", i+1)
	}
}
