package detector_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/detector/signal"
	"github.com/plumbline-sec/plumbline/schemas"
)

// attacked is a fleet of some weeks, in which one agent sends a lot to a new place and
// another one runs away; every 50th event comes twice.
func attacked(f func(ev *schemas.Activity)) {
	fleet := newFleet(11, 8)
	for day := range 15 {
		for i, ev := range fleet.day(day) {
			f(&ev)
			if i%50 == 0 {
				f(&ev)
			}
			if day < 12 || i%700 != 0 {
				continue
			}
			for n := range 40 {
				bad := ev
				bad.EventID += "-" + string(rune('a'+n%26)) + string(rune('a'+n/26))
				bad.Resources = []string{"url:https://paste.example.net/" + bad.EventID}
				bad.Access, bad.BytesSent = schemas.AccessSend, uint64(n*n)*20_000
				f(&bad)
			}
		}
	}
}

func TestWhoAsksHowAScoreCameAboutChangesNothing(t *testing.T) {
	var asked, left recorder
	cfg := detector.DefaultConfig()
	a := detector.Started(t, cfg, &asked)
	b := detector.Started(t, cfg, &left)
	n := 0
	attacked(func(ev *schemas.Activity) {
		var v detector.Verdict
		if n++; n%3 == 0 {
			v = a.Process(ev)
		} else {
			v, _ = a.ProcessExplained(ev)
		}
		if want := b.Process(ev); want.Surprise != v.Surprise || len(want.Signals) > 0 || len(v.Signals) > 0 {
			require.Equal(t, want, v)
		}
	})
	require.Greater(t, len(left.alerts), 4)
	require.Equal(t, left, asked)
	require.Equal(t, b.Save(), a.Save())
}

func TestALadderHoldsTheNumbersOfTheVerdict(t *testing.T) {
	var sink recorder
	cfg := detector.DefaultConfig()
	cfg.Signals = map[string]detector.SignalConfig{schemas.SignalDrift: {Off: true}, schemas.SignalCallRate: {AtLeast: 60}}
	d := detector.Started(t, cfg, &sink)
	opened, updated, same, under, nothing, least := 0, 0, 0, 0, 0, 0
	n := 0
	attacked(func(ev *schemas.Activity) {
		if n++; n%5 > 0 && ev.Time < fleetStart+12*dayMS {
			d.Process(ev)
			return
		}
		before := len(sink.alerts)
		v, l := d.ProcessExplained(ev)
		require.Equal(t, ev.EventID, l.EventID)
		require.Equal(t, v.Surprise, l.Surprise) //nolint:testifylint // the same bits
		require.Equal(t, v.Score, l.Score)       //nolint:testifylint // the same bits
		require.Equal(t, v.Duplicate, l.Duplicate)
		require.InDelta(t, min(max(50+10*(l.Surprise-l.Threshold), 0), 100), l.Score, 1e-9)
		require.Len(t, signal.All(), len(l.Signals)+len(l.Silent))
		_, err := json.Marshal(l)
		require.NoError(t, err)
		last := math.Inf(1)
		for i, r := range l.Signals {
			require.LessOrEqual(t, r.Evidence, last)
			last = r.Evidence
			require.InDelta(t, -math.Log10(r.Lambda/r.Share), r.Evidence, 1e-9)
			require.Greater(t, r.X, 0.0)
			require.NotEmpty(t, r.Text)
			require.FileExists(t, filepath.Join("..", r.Source))
			if i < len(v.Signals) && v.Signals[i].Name == r.Name {
				require.InEpsilon(t, v.Signals[i].P, r.Lambda, 1e-3)
			}
		}
		for _, s := range l.Silent {
			require.Equal(t, s.Name == schemas.SignalDrift, s.Because == "off")
			if s.Because == "under at_least, 60 calls" {
				least++
			}
		}
		if l.Fusion == nil {
			nothing++
			require.Empty(t, l.Signals)
			require.Contains(t, l.NoAlert, "nothing")
			return
		}
		require.Equal(t, l.Signals[0].Evidence, l.Fusion.Evidence) //nolint:testifylint // the same bits
		require.InDelta(t, l.Fusion.Surprise-l.Fusion.Steered, l.Surprise, 1e-12)
		require.Equal(t, l.Score >= 50, l.Severity != "")
		require.Equal(t, l.Alert == nil, l.NoAlert != "")
		var told *schemas.Alert
		for _, al := range sink.alerts[before:] {
			if c := al.Evidence.CompletedBy; al.Status != schemas.StatusClose && c != nil {
				told = al
			}
		}
		require.Equal(t, told == nil, l.Alert == nil)
		switch {
		case told == nil && l.Severity == "":
			under++
		case told == nil:
			same++
			require.Contains(t, l.NoAlert, "more of the same in episode ")
		default:
			require.Equal(t, told.AlertID, l.Alert.AlertID)
			require.Equal(t, told.Severity, l.Severity)
			require.Equal(t, told.Summary, l.Alert.Summary)
			require.NotEmpty(t, l.Grounds)
			if told.Status == schemas.StatusOpen {
				opened++
			} else {
				updated++
			}
		}
	})
	for what, n := range map[string]int{"opened": opened, "updated": updated, "more of the same": same, "under the threshold": under, "nothing": nothing, "at_least": least} {
		require.Positive(t, n, what)
	}
}

func TestEveryStepOfALadderNamesAFileThatIsThere(t *testing.T) {
	for _, s := range detector.LadderSteps() {
		require.NotEmpty(t, s.Means)
		_, err := os.Stat(filepath.Join("..", s.Source))
		require.NoError(t, err, s.Name)
	}
}
