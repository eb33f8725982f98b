package demo

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/internal/app"
	"github.com/plumbline-sec/plumbline/internal/config"
	"github.com/plumbline-sec/plumbline/internal/simulator"
	"github.com/plumbline-sec/plumbline/schemas"
)

func TestAnAlertBelongsToAnAttackOnItsAgentWhileItLastsAndADayAfter(t *testing.T) {
	l := simulator.Label{TenantID: "default", AgentID: "a", Start: 1_000_000_000, End: 1_000_060_000}
	at := func(agent string, when schemas.Millis) *schemas.Alert {
		return &schemas.Alert{TenantID: "default", Agent: schemas.AlertAgent{ID: agent}, Time: when}
	}
	for name, c := range map[string]struct {
		alert *schemas.Alert
		want  bool
	}{
		"before it":            {at("a", l.Start-1), false},
		"at its first event":   {at("a", l.Start), true},
		"an hour after it":     {at("a", l.End+3_600_000), true},
		"two days after it":    {at("a", l.End+2*dayMillis), false},
		"of another agent":     {at("b", l.Start), false},
		"of another's tenant":  {&schemas.Alert{TenantID: "t", Agent: schemas.AlertAgent{ID: "a"}, Time: l.Start}, false},
		"a day after, exactly": {at("a", l.End+dayMillis), true},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, during(&l, c.alert)) })
	}
}

func TestNoEventOfTheFleetLiesInTheFuture(t *testing.T) {
	now := time.Now()
	f, err := newFleet(Options{Agents: 40, History: 3, Live: 2, Seed: 7}, now)
	require.NoError(t, err)
	_, end := f.Span()
	require.LessOrEqual(t, end.Time(), now)
	var ev schemas.Activity
	for f.Next(&ev) {
		require.LessOrEqual(t, ev.Time, end)
	}
	require.Len(t, f.Labels(), len(simulator.Kinds())-1, "every kind but the ramp")
}

func TestAnUpdateIsShownWhereItSaysSomethingNew(t *testing.T) {
	var out bytes.Buffer
	s := newScreen(Options{Out: &out, Width: 80})
	for _, a := range []schemas.Alert{
		{EpisodeID: "e", Status: schemas.StatusOpen, Severity: schemas.SeverityLow, Title: "calls"},
		{EpisodeID: "e", Status: schemas.StatusUpdate, Severity: schemas.SeverityLow, Title: "calls"},
		{EpisodeID: "e", Status: schemas.StatusUpdate, Severity: schemas.SeverityHigh, Title: "calls"},
		{EpisodeID: "e", Status: schemas.StatusUpdate, Severity: schemas.SeverityHigh, Title: "data"},
		{EpisodeID: "f", Status: schemas.StatusUpdate, Severity: schemas.SeverityHigh, Title: "data"},
	} {
		s.alert(&a)
	}
	require.Equal(t, 3, strings.Count(out.String(), "worse: "), out.String())
}

func TestWhatIsShownFitsTheWidthAndMovesNoCursor(t *testing.T) {
	var out bytes.Buffer
	s := newScreen(Options{Out: &out, Terminal: true, Width: 80})
	s.alert(&schemas.Alert{
		Status: schemas.StatusOpen, Severity: schemas.SeverityHigh, Title: strings.Repeat("title ", 40),
		Agent: schemas.AlertAgent{ID: "evil\x1b[2J\rname"}, Summary: strings.Repeat("word ", 60) + "\u202e\u0085\u009b2J\ufeff\u200b\u2028",
	})
	for _, r := range out.String() {
		require.True(t, unicode.IsPrint(r) || r == '\n' || r == '\r' || r == '\x1b', "%U", r)
	}
	require.NotContains(t, out.String(), "\x1b[2J")
	require.NotContains(t, out.String(), "\u202e")
	for l := range strings.Lines(out.String()) {
		require.LessOrEqual(t, len([]rune(strings.TrimRight(l, "\n"))), 80)
	}
	require.Equal(t, "\x1b[31mab\x1b[0m", cut("\x1b[31mabc\x1b[0m", 2), "colour takes no column")
	require.Equal(t, "1,234,567", thousands(1234567))
}

// sink keeps alerts as watch does.
type sink struct{ w *watch }

func (s sink) Alert(a *schemas.Alert) { s.w.alerts = append(s.w.alerts, *a) }
func (sink) Window(*schemas.Window)   {}

// The demo's fleets end at a fixed time here: what the summary says of them does not
// depend on when the test runs.
func TestTheDemosFleetsKeepTheBudgetAndTheirAttacksAreFound(t *testing.T) {
	if testing.Short() {
		t.Skip("plays two weeks of six fleets")
	}
	attacks, found := 0, 0
	alarms, expected := 0.0, 0.0
	for seed := uint64(1); seed <= 3; seed++ {
		for _, hour := range []int{3, 15} {
			o := Options{Agents: 80, History: 14, Live: 2, Seed: seed}
			f, err := newFleet(o, time.Date(2026, 3, 12, hour, 10, 0, 0, time.UTC))
			require.NoError(t, err)
			d := &demo{opt: o, cfg: config.Default(), fleet: f, watch: newWatch(nil, nil)}
			d.feed.agentDays = make(map[agentDay]struct{})
			det, err := detector.New(app.DetectorConfig(d.cfg, "test"), sink{d.watch})
			require.NoError(t, err)
			var ev schemas.Activity
			for f.Next(&ev) {
				d.feed.agentDays[agentDay{ev.AgentID, int64(ev.Time) / dayMillis}] = struct{}{}
				det.Process(&ev)
			}
			s := d.sumUp(0)
			t.Logf("seed %d, hour %d: %d of %d attacks, %d false alerts, %.1f expected", seed, hour, s.AttacksFound, s.Attacks, s.FalseAlerts, s.ExpectedFalseAlerts)
			alarms += float64(s.FalseAlerts)
			expected += s.ExpectedFalseAlerts
			attacks += s.Attacks
			found += s.AttacksFound
		}
	}
	require.Equal(t, 48, attacks)
	require.GreaterOrEqual(t, found, 46)
	require.LessOrEqual(t, alarms, 1.5*expected)
}
