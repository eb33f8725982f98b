package rebuild_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/internal/analyst"
	"github.com/plumbline-sec/plumbline/internal/rebuild"
	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/pipeline/clickhouse"
	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/siem"
)

// memory is a warehouse of one partition.
type memory struct {
	rows   []pipeline.ActivityRow
	hashes []string
}

func (m *memory) LogSpan(context.Context, int32) (clickhouse.LogSpan, error) {
	if len(m.rows) == 0 {
		return clickhouse.LogSpan{}, nil
	}
	return clickhouse.LogSpan{First: m.rows[0].Log.Offset, Last: m.rows[len(m.rows)-1].Log.Offset, Rows: uint64(len(m.rows))}, nil
}

func (m *memory) LoggedEvents(_ context.Context, _ int32, from, before int64, each func(*pipeline.ActivityRow) error) error {
	for i := range m.rows {
		if o := m.rows[i].Log.Offset; o >= from && o < before {
			if err := each(&m.rows[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *memory) LoggedRegistrations(context.Context, int32, int64, func(*pipeline.ActivityRow) error) error {
	return nil
}

func (m *memory) ConfigHashes(context.Context, schemas.Millis) ([]string, error) {
	return m.hashes, nil
}

// sink keeps what a service would have stored.
type sink struct {
	t      *testing.T
	at     int64
	alerts []analyst.Step
}

func (s *sink) Alert(a *schemas.Alert) {
	b, err := siem.JSON.Append(nil, a)
	require.NoError(s.t, err)
	step := analyst.Step{Published: string(b), Log: pipeline.Place{Offset: s.at}}
	require.NoError(s.t, json.Unmarshal(b, &step.Alert))
	s.alerts = append(s.alerts, step)
}

func (s *sink) Window(*schemas.Window) {}

// story is two weeks of three agents and then an exfiltration, as the warehouse has it.
func story(t *testing.T) (*memory, []analyst.Step, detector.Config) {
	t.Helper()
	const hour = 3_600_000
	cfg := detector.DefaultConfig()
	cfg.Version, cfg.Hash = "test", "cafe"
	out := &sink{t: t}
	d, err := detector.New(cfg, out)
	require.NoError(t, err)
	m := &memory{hashes: []string{"cafe"}}
	for i := range int64(14*24*6 + 1) {
		at := schemas.Millis(1_717_372_800_000 + i*hour/6)
		ev := schemas.Activity{
			EventID: fmt.Sprint("e-", i), Time: at, TenantID: "default", AgentID: fmt.Sprint("bot-", i%3), PeerGroup: "crm", Action: "tool_call", Tool: "mail",
			Access: schemas.AccessSend, Resources: []string{"email:team@corp.example"}, BytesSent: uint64(300 + i%50), Outcome: schemas.OutcomeSuccess,
		}
		if i == 14*24*6 {
			ev.BytesSent = 400_000_000
		}
		out.at = i
		d.Arrived(at)
		d.Process(&ev)
		m.rows = append(m.rows, pipeline.ActivityRow{Event: ev, Origin: schemas.Origin{Source: "s", Topic: "t", Offset: i}, Log: pipeline.Place{Offset: i}, LogTime: at})
	}
	require.NotEmpty(t, out.alerts)
	return m, out.alerts, cfg
}

func TestAnAlertIsProvenOrTheReasonIsSaid(t *testing.T) {
	for name, c := range map[string]struct {
		change func(m *memory, alerts []analyst.Step, cfg *detector.Config)
		reason string // empty: it is proven
	}{
		"as it was": {func(*memory, []analyst.Step, *detector.Config) {}, ""},
		"written twice by route": {func(m *memory, _ []analyst.Step, _ *detector.Config) {
			again := m.rows[100]
			again.Log.Offset = 100 // an older decoding, behind the newer one
			again.Event.BytesSent = 9e9
			m.rows = append(m.rows[:101], append([]pipeline.ActivityRow{again}, m.rows[101:]...)...)
		}, ""},
		"another config":  {func(_ *memory, _ []analyst.Step, cfg *detector.Config) { cfg.Hash = "beef" }, "the config differs: the alert was raised with config_hash cafe, this one has beef"},
		"another version": {func(_ *memory, _ []analyst.Step, cfg *detector.Config) { cfg.Version = "new" }, "the version differs: the alert was raised by test, this is new"},
		"configs before": {func(m *memory, _ []analyst.Step, cfg *detector.Config) {
			m.hashes, cfg.AlertsPerAgentDay = []string{"babe", "cafe"}, 0.02
		}, "the baselines were learnt with other configs too: config_hash [babe]"},
		"a changed event": {func(m *memory, _ []analyst.Step, _ *detector.Config) { m.rows[len(m.rows)-1].Event.BytesSent++ }, "one of them was changed after it was stored"},
		"no beginning":    {func(m *memory, _ []analyst.Step, _ *detector.Config) { m.rows = m.rows[700:] }, "the beginning is not there: events are stored from offset 700 of partition 0 on"},
		"a hole": {
			func(m *memory, _ []analyst.Step, _ *detector.Config) { m.rows = append(m.rows[:500], m.rows[900:]...) },
			"400 offsets of the log have no stored event, the first of them 500 to 899 (appended between 2024-06-06 11:10:00 and 2024-06-09 06:00:00)",
		},
		"not yet there": {func(m *memory, _ []analyst.Step, _ *detector.Config) { m.rows = m.rows[:2000] }, "offset 2016, is not stored; the last one before it is 1999"},
		"nothing there": {func(m *memory, _ []analyst.Step, _ *detector.Config) { m.rows = nil }, "no event of partition 0 of plumbline.activity is stored with its place"},
		"no place":      {func(_ *memory, alerts []analyst.Step, _ *detector.Config) { alerts[0].Log = pipeline.NoPlace }, "before the warehouse kept the order of the log"},
	} {
		t.Run(name, func(t *testing.T) {
			m, alerts, cfg := story(t)
			c.change(m, alerts, &cfg)
			results, err := rebuild.Alerts(t.Context(), m, alerts[:1], rebuild.Options{Detector: cfg})
			require.NoError(t, err)
			r := results[0]
			require.Equal(t, c.reason == "", r.Proven, "%+v", r)
			if c.reason == "" {
				require.Empty(t, r.Reasons)
				require.Equal(t, alerts[0].AlertID, r.Ladder.Alert.AlertID)
				require.EqualValues(t, 14*24*6+1, r.Events)
				return
			}
			require.NotEmpty(t, r.Reasons)
			require.Contains(t, r.Reasons[0], c.reason)
		})
	}
}

// An agent that works by day, ticks by night, and at last ticks alone. Ticks are not stored.
func TestAlertsThatTicksBroughtAboutAreProven(t *testing.T) {
	const hour, minute = 3_600_000, 60_000
	cfg := detector.DefaultConfig()
	cfg.Version, cfg.Hash = "test", "cafe"
	out := &sink{t: t}
	d, err := detector.New(cfg, out)
	require.NoError(t, err)
	m := &memory{hashes: []string{"cafe"}}
	for i := range int64(30 * 24 * 6) {
		at := schemas.Millis(1_717_372_800_000 + i*hour/6)
		if i%6 == 1 && i%(3*24*6) != 1 { // one in three days has no tick at midnight
			d.Arrived(at - 7*minute + 15)
			d.Tick(at - 7*minute)
			out.at++
		}
		if h := i / 6 % 24; h < 7 || h > 20 || i > 29*24*6+80 {
			continue
		}
		ev := schemas.Activity{
			EventID: fmt.Sprint("e-", i), Time: at, TenantID: "default", AgentID: "alone", PeerGroup: "crm", Action: "tool_call", Tool: "mail",
			Access: schemas.AccessSend, Resources: []string{"email:team@corp.example"}, BytesSent: uint64(300 + i%50), Outcome: schemas.OutcomeSuccess,
		}
		if i == 20*24*6+100 {
			ev.BytesSent = 400_000_000
		}
		d.Arrived(at)
		d.Process(&ev)
		m.rows = append(m.rows, pipeline.ActivityRow{Event: ev, Origin: schemas.Origin{Source: "s", Topic: "t", Offset: i}, Log: pipeline.Place{Offset: out.at}, LogTime: at})
		out.at++
	}
	require.Greater(t, len(out.alerts), 2)
	silence := out.alerts[len(out.alerts)-1]
	require.Equal(t, schemas.SignalSilence, silence.Signals[0].Name)
	require.Greater(t, silence.Log.Offset, m.rows[len(m.rows)-1].Log.Offset)
	results, err := rebuild.Alerts(t.Context(), m, out.alerts, rebuild.Options{Detector: cfg})
	require.NoError(t, err)
	for i, r := range results {
		require.True(t, r.Proven, "%s: %+v", out.alerts[i].Title, r)
		require.Positive(t, r.Events)
	}
	// Where the events were others, so are the alerts.
	m.rows = m.rows[:len(m.rows)-5]
	results, err = rebuild.Alerts(t.Context(), m, []analyst.Step{silence}, rebuild.Options{Detector: cfg})
	require.NoError(t, err)
	require.False(t, results[0].Proven)
}
