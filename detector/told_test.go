package detector_test

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/internal/scenario"
	"github.com/plumbline-sec/plumbline/internal/simulator"
	"github.com/plumbline-sec/plumbline/schemas"
)

// teller checks every alert against the events that went before it.
type teller struct {
	t        *testing.T
	now      *schemas.Activity // the event at hand
	ids      map[string]bool
	episodes map[string]*told
	newest   map[string]*told // by agent
	single   int              // openings by one call alone
	exact    int              // places whose events were counted one by one
}

// event is the event at hand, which is one of the agent's newest episode.
func (c *teller) event(ev *schemas.Activity) {
	c.now = ev
	c.ids[strings.Clone(ev.EventID)] = true
	if e := c.newest[ev.AgentID]; e != nil {
		e.touch(ev)
	}
}

type told struct {
	risk, alerts int
	worst        string
	score        float64
	count        int64
	touched      map[string]uint64 // resource or other agent: events since the opening
}

func (e *told) touch(ev *schemas.Activity) {
	things := slices.Clone(ev.Resources)
	if ev.TargetAgentID != "" {
		things = append(things, "agent:"+ev.TargetAgentID)
	}
	slices.Sort(things)
	for _, r := range slices.Compact(things) {
		e.touched[strings.Clone(r)]++
	}
}

func (c *teller) Window(*schemas.Window) {}

var order = []string{schemas.SeverityLow, schemas.SeverityMedium, schemas.SeverityHigh, schemas.SeverityCritical}

func (c *teller) Alert(a *schemas.Alert) {
	t, ev := c.t, a.Evidence
	e := c.episodes[a.EpisodeID]
	if e == nil {
		e = &told{touched: map[string]uint64{}}
		e.touch(c.now)
		c.episodes[a.EpisodeID], c.newest[strings.Clone(a.Agent.ID)] = e, e
	}
	e.alerts++
	e.risk += a.Episode.RiskAdded
	assert.Equal(t, e.alerts, a.Episode.Alerts)
	assert.Equal(t, schemas.Risk(a.Episode.Severity), e.risk, "risk adds up to that of the worst, once")
	if slices.Index(order, a.Severity) > slices.Index(order, e.worst) {
		e.worst = a.Severity
	}
	assert.GreaterOrEqual(t, slices.Index(order, a.Episode.Severity), slices.Index(order, e.worst), a.Summary)
	assert.GreaterOrEqual(t, a.Episode.Score, a.Score)
	assert.GreaterOrEqual(t, a.Episode.Score, e.score, "the highest so far does not fall")
	e.score = a.Episode.Score
	assert.GreaterOrEqual(t, ev.EventCount, int64(len(ev.EventIDs)), "ids are of the events that count")
	assert.GreaterOrEqual(t, ev.EventCount, e.count)
	e.count = ev.EventCount
	c.sums(a, e)
	if a.Status == schemas.StatusClose {
		assert.Equal(t, e.worst, a.Severity, "a close tells the worst")
		return
	}
	c.completed(a)
}

// sums: places are a part of the totals.
func (c *teller) sums(a *schemas.Alert, e *told) {
	ev := a.Evidence
	require.NotNil(c.t, ev.Totals)
	for _, p := range ev.Places {
		assert.LessOrEqual(c.t, p.Events, ev.Totals.Events)
		assert.LessOrEqual(c.t, p.BytesSent, ev.Totals.BytesSent)
		assert.LessOrEqual(c.t, p.BytesReceived, ev.Totals.BytesReceived)
		switch touched := e.touched[p.Resource]; {
		case a.Status == schemas.StatusClose: // it ended before the event at hand
		case len(e.touched) <= 32:
			c.exact++
			assert.Equal(c.t, touched, p.Events, "%s: %s", p.Resource, a.Summary)
		default:
			assert.LessOrEqual(c.t, p.Events, touched, "%s: %s", p.Resource, a.Summary)
		}
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
		want := map[string][]string{
			schemas.LedByDestination: {"First contact with a destination", "New address at a destination that this agent knows", "Destination still new to this agent"},
			schemas.LedByAgent:       {"First contact with another agent", "Other agent still new to this agent"},
			schemas.LedByTool:        {"Tool that this agent has not used before", "Tool still new to this agent"},
			schemas.LedByToolUse:     {"Tool used on a kind of resource new to this agent", "Tool on a kind of resource still new to this agent"},
			schemas.LedByStore:       {"First write to a place new to this agent", "Place to write to still new to this agent"},
		}
		assert.Contains(t, want[lead.LedBy], a.Title)
		assert.Equal(t, strings.Contains(a.Title, "still new"), strings.Contains(a.Summary, "new to it since"), a.Summary)
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
	for _, tails := range []simulator.Tails{simulator.TailsNB, simulator.TailsHeavy} {
		t.Run(string(tails), func(t *testing.T) {
			fleet, err := simulator.New(simulator.Options{Agents: 80, Days: 21, Seed: 11, Tails: tails, Kinds: simulator.Kinds()})
			require.NoError(t, err)
			c := &teller{t: t, ids: map[string]bool{}, episodes: map[string]*told{}, newest: map[string]*told{}}
			d := detector.Started(t, detector.DefaultConfig(), c)
			var ev schemas.Activity
			for fleet.Next(&ev) {
				c.event(&ev)
				d.Process(&ev)
			}
			require.Greater(t, len(c.episodes), 30)
			require.Greater(t, c.single, 15)
			require.Greater(t, c.exact, 100)
		})
	}
}

// A newcomer whose acts counted in its tenant's swarm, and who is none any more, has an
// episode of its own that begins with the event that opens it.
func TestAnEpisodeCountsItsFirstEventWhereTheSwarmGoesOn(t *testing.T) {
	var text strings.Builder
	text.WriteString("peers 6 in crm\nhistory 24h 12\n")
	line := func(i int, session string, at int, sent int) {
		to := "email:team@corp.example"
		if sent > 1000 {
			to = fmt.Sprintf("email:drop%d@evil%d.example", at, at)
		}
		fmt.Fprintf(&text, "event agent=new-%d group=crm session=%s%d tool=mail access=send resource=%s sent=%d\n", i, session, i, to, sent)
	}
	for range 7 {
		for i := range 6 {
			line(i, "s", i, 300)
		}
		text.WriteString("history 1h 12\n")
	}
	text.WriteString("history 14h 12\n")
	for i := range 6 {
		line(i, "t", i, 43_200_000)
	}
	text.WriteString("history 4h 12\n")
	for i := range 6 {
		line(i, "u", i+10, 43_200_000)
	}
	alerts := play(t, text.String())
	opened := 0
	for _, a := range alerts {
		if a.Status == schemas.StatusOpen {
			opened++
			assert.NotZero(t, a.Evidence.Totals.Events, a.Agent.ID)
			assert.NotEmpty(t, a.Evidence.Places, a.Agent.ID)
		}
	}
	require.Greater(t, opened, 4)
}

func TestAnEventThatComesAgainProvesNothingMore(t *testing.T) {
	const again = "event agent=peer-3 id=x session=a tool=mail access=send resource=email:drop@evil.example sent=43200000\n"
	alerts := play(t, "peers 12 in crm\nhistory 14d 12\n"+again+again+again+"quiet 7h\n")
	last := alerts[len(alerts)-1]
	require.Equal(t, schemas.StatusClose, last.Status)
	assert.EqualValues(t, 1, last.Evidence.EventCount)
	assert.Equal(t, []string{"x"}, last.Evidence.EventIDs)
	assert.EqualValues(t, 1, last.Evidence.Totals.Events)
	assert.EqualValues(t, 43_200_000, last.Evidence.Totals.BytesSent)
}

func TestWhatAnEpisodeSendsSaturates(t *testing.T) {
	line := func(sent uint64) string {
		return fmt.Sprintf("event agent=peer-3 session=a tool=mail access=send resource=email:drop@evil.example sent=%d\n", sent)
	}
	alerts := play(t, "peers 12 in crm\nhistory 14d 12\n"+line(43_200_000)+line(math.MaxInt64)+line(math.MaxInt64)+line(math.MaxInt64)+"quiet 7h\n")
	last := alerts[len(alerts)-1]
	assert.Equal(t, uint64(math.MaxUint64), last.Evidence.Totals.BytesSent)
	assert.Equal(t, uint64(math.MaxUint64), last.Evidence.Places[0].BytesSent)
}

// An episode that the release before left open goes on with counts that add up.
func TestAnOpenEpisodeOfTheFormatBeforeGoesOn(t *testing.T) {
	b, err := os.ReadFile("testdata/records-v2-open.bin")
	require.NoError(t, err)
	r := &recorder{}
	d := detector.Loaded(t, detector.DefaultConfig(), r, b)
	require.NotZero(t, d.Stats().OpenEpisodes)
	for _, tenant := range []string{"default", "acme", "second"} {
		d.Process(&schemas.Activity{EventID: "z", AgentID: "clock", TenantID: tenant, PeerGroup: "x", Time: d.Stats().Watermark + 3*24*hourMS})
	}
	require.NotEmpty(t, r.alerts)
	for _, a := range r.alerts {
		ev := a.Evidence
		assert.GreaterOrEqual(t, ev.EventCount, int64(len(ev.EventIDs)))
		for _, p := range ev.Places {
			assert.LessOrEqual(t, p.Events, ev.Totals.Events)
			assert.LessOrEqual(t, p.BytesSent, ev.Totals.BytesSent)
		}
		assert.Zero(t, a.Episode.RiskAdded, "it was told before")
		assert.Equal(t, a.Severity, a.Episode.Severity)
	}
}

// play runs the text of a scenario and returns its alerts.
func play(t *testing.T, text string) []*schemas.Alert {
	t.Helper()
	cases, err := scenario.Read(t.Name(), text)
	require.NoError(t, err)
	res, err := cases[0].Run(t.Context(), scenario.Options{Detector: detector.DefaultConfig(), Tunes: true})
	require.NoError(t, err)
	return res.Alerts
}

// An event that proved an earlier episode comes again in one that nothing with an id has
// proved: what completes an alert is among its events all the same.
func TestARepeatedEventCompletesAnAlertOfEventsWithoutIDs(t *testing.T) {
	const mail = "event agent=peer-3 session=a tool=mail access=send "
	alerts := play(t, "peers 12 in crm\nhistory 14d 12\n"+
		mail+"id=x resource=email:team@corp.example sent=4320000000\nquiet 7h\n"+
		mail+"id= resource=email:drop@evil.example sent=400\n"+
		mail+"id=x resource=email:team@corp.example sent=4320000000\nquiet 7h\n")
	completed := 0
	for _, a := range alerts {
		if done := a.Evidence.CompletedBy; done.EventID != "" {
			completed++
			assert.Contains(t, a.Evidence.EventIDs, done.EventID)
		}
		assert.GreaterOrEqual(t, a.Evidence.EventCount, int64(len(a.Evidence.EventIDs)))
	}
	require.Greater(t, completed, 2, "the second episode has alerts of the repeated event")
}
