package detector_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/benchmarks/generator"
	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/schemas"
)

// teller checks every alert against the events that went before it.
type teller struct {
	t        *testing.T
	now      *schemas.Activity // the event at hand
	ids      map[string]bool
	episodes map[string]*told
	single   int // openings by one call alone
}

type told struct {
	risk, alerts int
	worst        string
	count        int64
}

func (c *teller) Window(*schemas.Window) {}

var order = []string{schemas.SeverityLow, schemas.SeverityMedium, schemas.SeverityHigh, schemas.SeverityCritical}

func (c *teller) Alert(a *schemas.Alert) {
	t, ev := c.t, a.Evidence
	e := c.episodes[a.EpisodeID]
	if e == nil {
		e = &told{}
		c.episodes[a.EpisodeID] = e
	}
	e.alerts++
	e.risk += a.Episode.RiskAdded
	assert.Equal(t, e.alerts, a.Episode.Alerts)
	assert.Equal(t, schemas.Risk(a.Episode.Severity), e.risk, "risk adds up to that of the worst, once")
	if slices.Index(order, a.Severity) > slices.Index(order, e.worst) {
		e.worst = a.Severity
	}
	assert.Equal(t, e.worst, a.Episode.Severity, a.Summary)
	assert.GreaterOrEqual(t, ev.EventCount, int64(len(ev.EventIDs)), "ids are of the events that count")
	assert.GreaterOrEqual(t, ev.EventCount, e.count)
	e.count = ev.EventCount
	c.sums(a)
	if a.Status == schemas.StatusClose {
		assert.Equal(t, e.worst, a.Severity, "a close tells the worst")
		assert.Zero(t, a.Episode.RiskAdded)
		return
	}
	c.completed(a)
}

// sums: places are a part of the totals.
func (c *teller) sums(a *schemas.Alert) {
	ev := a.Evidence
	require.NotNil(c.t, ev.Totals)
	for _, p := range ev.Places {
		assert.LessOrEqual(c.t, p.Events, ev.Totals.Events)
		assert.LessOrEqual(c.t, p.BytesSent, ev.Totals.BytesSent)
		assert.LessOrEqual(c.t, p.BytesReceived, ev.Totals.BytesReceived)
	}
	for _, id := range ev.EventIDs {
		assert.True(c.t, c.ids[id], "%s is the id of an event of this agent", id)
	}
}

// completed checks what is said of the event that completed the alert.
func (c *teller) completed(a *schemas.Alert) {
	t, ev, lead := c.t, a.Evidence, a.Signals[0]
	done := ev.CompletedBy
	if done == nil {
		assert.Contains(t, []string{schemas.SignalSilence, schemas.SignalNameFlood}, lead.Name)
		return
	}
	require.Equal(t, c.now.EventID, done.EventID)
	assert.Contains(t, ev.EventIDs, done.EventID)
	assert.Equal(t, c.now.BytesSent, done.BytesSent)
	assert.Equal(t, c.now.BytesReceived, done.BytesReceived)
	if done.Target == "" {
		assert.Empty(t, c.now.Resources)
	} else if done.Target != "agent:"+c.now.TargetAgentID {
		assert.Contains(t, c.now.Resources, done.Target, a.Summary)
	}
	if a.Status == schemas.StatusOpen && lead.WindowSeconds == 0 {
		c.single++
		assert.Equal(t, []string{done.EventID}, ev.EventIDs)
		assert.EqualValues(t, 1, ev.EventCount)
		assert.Len(t, ev.Resources, min(len(slices.Compact(slices.Sorted(slices.Values(c.now.Resources)))), schemas.MaxEvidence))
	}
	if strings.HasPrefix(lead.Name, "bytes_") && lead.WindowSeconds == 0 && done.Target != "" {
		assert.Contains(t, a.Summary, done.Target)
	}
	if lead.Name == schemas.SignalNewDestination {
		want := map[string]string{
			schemas.LedByDestination: "First contact with a destination", schemas.LedByAgent: "First contact with another agent",
			schemas.LedByTool: "Tool that this agent has not used before", schemas.LedByToolUse: "Tool used on a kind of resource new to this agent",
			schemas.LedByStore: "First write to a place new to this agent",
		}
		assert.Equal(t, want[lead.LedBy], a.Title)
	}
	kind, _, _ := strings.Cut(done.Target, ":")
	if slices.Contains(a.Tags.Attack, "T1567") {
		assert.Contains(t, []string{"url", "domain", "host", "http", "https"}, kind, a.Summary)
	}
	if slices.Contains(a.Tags.Attack, "T1048") {
		assert.Equal(t, "email", kind, a.Summary)
	}
}

func TestNoAlertContradictsItsEvents(t *testing.T) {
	for _, tails := range []generator.Tails{generator.TailsNB, generator.TailsHeavy} {
		t.Run(string(tails), func(t *testing.T) {
			fleet, err := generator.New(generator.Options{Agents: 80, Days: 21, Seed: 11, Tails: tails, Kinds: generator.Kinds()})
			require.NoError(t, err)
			c := &teller{t: t, ids: map[string]bool{}, episodes: map[string]*told{}}
			d, err := detector.New(detector.DefaultConfig(), c)
			require.NoError(t, err)
			var ev schemas.Activity
			for fleet.Next(&ev) {
				c.now = &ev
				c.ids[strings.Clone(ev.EventID)] = true
				d.Process(&ev)
			}
			require.Greater(t, len(c.episodes), 30)
			require.Greater(t, c.single, 15)
		})
	}
}
