package detector_test

import (
	"bufio"
	"cmp"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/schemas"
)

// A scenario is a text of steps; '#' begins a comment. The clock begins on Monday
// 2024-06-03 00:00 UTC. Words of a step are separated by blanks; a value with
// blanks, or with escapes, stands in double quotes as in Go.
//
//	at 3d4h5m              set the clock: since the beginning, never backwards in a run
//	peers 12 in crm        name a group of agents for `history`: peer-1 .. peer-12
//	history 14d PER AGENT  ordinary traffic of the named agents from the clock on, and the
//	                       clock after it: PER calls every hour, spread evenly, alternating
//	                       between two tools, twice each, five files and (each 8th call) one destination
//	event KEY=VALUE ...    one event: agent, group, session, tool, access, resource (repeatable),
//	                       sent, received, tokens, cost (an attribute), outcome, invalid (a field, repeatable), id, target, behalf, name, tenant, back (a duration
//	                       before the clock)
//	repeat N every 1s KEY=VALUE ...   N events, the clock moving; %d in a value is the number
//	quiet 7h               the clock moves, and an event of another agent moves the watermark
//	expect silence         no alert since the last expect
//	expect alert KEY=VALUE ...  the next alert not yet expected has: status, agent, severity, lead
//	                       (its first signal), signal (repeatable), title, summary, counterfactual,
//	                       query, first_seen, resource (of the evidence), suppressed; texts by what they contain
//	expect updates 3..5    that many alerts with status update come next
//	expect only            no further alert than those expected
//	expect score 60..100   of the last event
//	expect surprise below 1    of the last event; or above
//	expect duplicate | late    of the last event
//	expect stats duplicates=1 late=0 open=0 agents=2
//	config max_agents=3 max_tenants=2 budget=0.01   before the first step; metric=NAME:FIELD:TAKE:UNIT
//	override KEY=VALUE ...     before the first step: tenant, group, agent (patterns), budget, quiet,
//	                       off (a signal), least (SIGNAL:VALUE)
type scenario struct {
	t     *testing.T
	file  string
	line  int
	cfg   detector.Config
	d     *detector.Detector
	sink  recorder
	clock schemas.Millis
	begun schemas.Millis
	group string
	names []string
	seq   int
	next  int // alert to be expected next
	last  detector.Verdict
}

func TestScenarios(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "*.scenario"))
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 12)
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".scenario"), func(t *testing.T) {
			text, err := os.ReadFile(name)
			require.NoError(t, err)
			s := &scenario{t: t, file: name, cfg: detector.DefaultConfig(), clock: fleetStart, begun: fleetStart}
			s.cfg.Version, s.cfg.Hash = "test", "cafe"
			s.run(string(text))
			_ = detector.Loaded(t, s.cfg, &s.sink, s.d.Save())
		})
	}
}

func (s *scenario) run(text string) {
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		s.line++
		words := s.words(lines.Text())
		if len(words) > 0 {
			s.step(words[0], words[1:])
		}
	}
}

func (s *scenario) fail(format string, args ...any) {
	s.t.Helper()
	for i, a := range s.sink.alerts {
		s.t.Logf("alert %d: %s %s %s score %v %s | %s | %s", i, a.Status, a.Agent.ID, a.Severity, a.Score, leads(a), a.Summary, a.Counterfactual)
	}
	s.t.Fatalf("%s:%d: %s", s.file, s.line, fmt.Sprintf(format, args...))
}

func leads(a *schemas.Alert) []string {
	var names []string
	for _, g := range a.Signals {
		names = append(names, fmt.Sprintf("%s(%v of %v)", g.Name, g.Observed, g.Expected))
	}
	return names
}

// words splits a line; a quoted value may stand behind a key.
func (s *scenario) words(line string) []string {
	var out []string
	for line = strings.TrimLeft(line, " \t"); line != "" && line[0] != '#'; line = strings.TrimLeft(line, " \t") {
		word := ""
		for line != "" && line[0] != ' ' && line[0] != '\t' {
			if line[0] != '"' {
				word, line = word+line[:1], line[1:]
				continue
			}
			quoted, err := strconv.QuotedPrefix(line)
			if err != nil {
				s.fail("quote: %v", err)
			}
			plain, err := strconv.Unquote(quoted)
			if err != nil {
				s.fail("quote: %v", err)
			}
			word, line = word+plain, line[len(quoted):]
		}
		out = append(out, word)
	}
	return out
}

func (s *scenario) override(args []string) {
	o := detector.Override{Signals: make(map[string]detector.SignalConfig)}
	for _, kv := range args {
		k, v, _ := strings.Cut(kv, "=")
		switch k {
		case "tenant":
			o.Tenant = v
		case "group":
			o.PeerGroup = v
		case "agent":
			o.Agent = v
		case "budget":
			o.AlertsPerAgentDay = s.number(v)
		case "quiet":
			o.QuietTime = s.duration(v)
		case "off":
			o.Signals[v] = detector.SignalConfig{Off: true}
		case "least":
			name, value, _ := strings.Cut(v, ":")
			o.Signals[name] = detector.SignalConfig{AtLeast: s.number(value)}
		default:
			s.fail("override %q", k)
		}
	}
	s.cfg.Overrides = append(s.cfg.Overrides, o)
}

func (s *scenario) step(verb string, args []string) {
	if verb == "config" {
		for _, kv := range args {
			k, v, _ := strings.Cut(kv, "=")
			switch k {
			case "max_tenants":
				s.cfg.MaxTenants = int(s.number(v))
			case "max_agents":
				s.cfg.MaxAgents = int(s.number(v))
			case "budget":
				s.cfg.AlertsPerAgentDay = s.number(v)
			case "metric":
				f := strings.Split(v, ":")
				s.cfg.Metrics = append(s.cfg.Metrics, detector.Metric{Name: f[0], Field: f[1], Take: f[2], Unit: f[3]})
			case "quiet":
				s.cfg.QuietTime = s.duration(v)
			case "off":
				s.cfg.Signals = map[string]detector.SignalConfig{v: {Off: true}}
			default:
				s.fail("config %q", k)
			}
		}
		return
	}
	if verb == "override" {
		s.override(args)
		return
	}
	if s.d == nil {
		var err error
		if s.d, err = detector.New(s.cfg, &s.sink); err != nil {
			s.fail("%v", err)
		}
	}
	switch verb {
	case "at":
		to := s.begun + schemas.Millis(s.duration(args[0]).Milliseconds())
		if to < s.clock {
			s.fail("the clock is already past %s", args[0])
		}
		s.clock = to
	case "peers":
		s.group, s.names = args[2], nil
		for i := range int(s.number(args[0])) {
			s.names = append(s.names, fmt.Sprintf("peer-%d", i+1))
		}
	case "history":
		s.history(s.duration(args[0]), s.number(args[1]), args[2:])
	case "event":
		s.event(args, 0)
	case "repeat":
		gap := schemas.Millis(s.duration(args[2]).Milliseconds())
		for i := range int(s.number(args[0])) {
			s.event(args[3:], i)
			s.clock += gap
		}
	case "quiet":
		s.clock += schemas.Millis(s.duration(args[0]).Milliseconds())
		s.event([]string{"agent=clock", "group=clock", "tool=tick"}, 0)
	case "expect":
		s.expect(args[0], args[1:])
	default:
		s.fail("no step is called %q", verb)
	}
}

func (s *scenario) number(v string) float64 {
	x, err := strconv.ParseFloat(v, 64)
	if err != nil {
		s.fail("%q is no number", v)
	}
	return x
}

func (s *scenario) duration(v string) time.Duration {
	days, rest, ok := strings.Cut(v, "d")
	total := time.Duration(0)
	if ok {
		total = time.Duration(s.number(days)) * 24 * time.Hour
	} else {
		rest = v
	}
	if rest == "" {
		return total
	}
	x, err := time.ParseDuration(rest)
	if err != nil {
		s.fail("%q is no duration", v)
	}
	return total + x
}

// history is calm, regular traffic; with one name it is that agent's, with none
// that of the named peers.
func (s *scenario) history(length time.Duration, perHour float64, agents []string) {
	if len(agents) == 0 {
		agents = s.names
	}
	gap := schemas.Millis(float64(hourMS) / perHour / float64(len(agents)))
	end := s.clock + schemas.Millis(length.Milliseconds())
	for i := 0; s.clock < end; i++ {
		a := i % len(agents)
		n := i / len(agents)
		args := []string{
			"agent=" + agents[a], fmt.Sprintf("session=%s-%d", agents[a], n/9), fmt.Sprintf("sent=%d", 300+(n*37)%150),
			fmt.Sprintf("received=%d", 4000+(n*97)%3000), fmt.Sprintf("tokens=%d", 800+(n*53)%400), fmt.Sprintf("cost=%.4f", 0.02+float64((n*29)%100)/10000),
			fmt.Sprintf("tool=tool-%d", n/2%2), fmt.Sprintf("resource=file:%s-%d", agents[a], n%5), "access=read",
		}
		if n%8 == 7 {
			args = append(args[:6], "tool=mail", "resource=email:team@corp.example", "access=send")
		}
		s.event(args, i)
		s.clock += gap
	}
}

func (s *scenario) event(args []string, number int) {
	s.seq++
	ev := schemas.Activity{
		EventID: fmt.Sprintf("ev-%d", s.seq), Time: s.clock, TenantID: "acme", PeerGroup: s.group, Action: "tool_call",
		Outcome: schemas.OutcomeSuccess,
	}
	texts := map[string]*string{
		"agent": &ev.AgentID, "group": &ev.PeerGroup, "session": &ev.SessionID, "tool": &ev.Tool, "access": &ev.Access, "outcome": &ev.Outcome,
		"id": &ev.EventID, "target": &ev.TargetAgentID, "behalf": &ev.OnBehalfOf, "name": &ev.AgentName, "tenant": &ev.TenantID,
	}
	numbers := map[string]*uint64{"sent": &ev.BytesSent, "received": &ev.BytesReceived, "tokens": &ev.TokensOut}
	for _, kv := range args {
		k, v, _ := strings.Cut(kv, "=")
		v = strings.ReplaceAll(v, "%d", strconv.Itoa(number))
		switch {
		case texts[k] != nil:
			*texts[k] = v
			continue
		case numbers[k] != nil:
			*numbers[k] = uint64(s.number(v))
			continue
		}
		switch k {
		case "resource":
			ev.Resources = append(ev.Resources, v)
		case "cost":
			ev.Attributes = append(ev.Attributes, schemas.Attribute{Key: "cost", Value: v})
		case "attribute":
			ev.Attributes = append(ev.Attributes, schemas.Attribute{Key: "to", Value: v})
		case "invalid":
			ev.Flags.FieldsInvalid = append(ev.Flags.FieldsInvalid, v)
		case "back":
			ev.Time -= schemas.Millis(s.duration(v).Milliseconds())
		default:
			s.fail("event has no %q", k)
		}
	}
	s.last = s.d.Process(&ev)
	if v := &s.last; math.IsInf(v.Surprise, 0) || math.IsNaN(v.Surprise) || math.IsNaN(v.Score) {
		s.fail("surprise %v, score %v", v.Surprise, v.Score)
	}
}

func (s *scenario) expect(what string, args []string) {
	switch what {
	case "silence":
		if n := len(s.sink.alerts) - s.next; n > 0 {
			s.fail("%d alerts where silence is expected, the first: %s", n, s.sink.alerts[s.next].Summary)
		}
	case "only":
		if n := len(s.sink.alerts) - s.next; n > 0 {
			s.fail("%d alerts beyond the expected ones, the first: %s %s", n, s.sink.alerts[s.next].Status, s.sink.alerts[s.next].Summary)
		}
	case "alert":
		if s.next >= len(s.sink.alerts) {
			s.fail("no further alert (last surprise %.2f)", s.last.Surprise)
		}
		s.alert(s.sink.alerts[s.next], args)
		s.next++
	case "score":
		low, high, _ := strings.Cut(args[0], "..")
		if v := s.last.Score; v < s.number(low) || v > s.number(high) {
			s.fail("score %.1f (signals %+v), expected %s", v, s.last.Signals, args[0])
		}
	case "surprise":
		limit := s.number(args[1])
		if v := s.last.Surprise; args[0] == "below" && v >= limit || args[0] == "above" && v <= limit {
			s.fail("surprise %.2f, expected %s", v, strings.Join(args, " "))
		}
	case "duplicate":
		if !s.last.Duplicate {
			s.fail("not taken for a duplicate")
		}
	case "late":
		if !s.last.Late {
			s.fail("not taken as late")
		}
	case "updates":
		n := 0.0
		for s.next < len(s.sink.alerts) && s.sink.alerts[s.next].Status == schemas.StatusUpdate {
			s.next++
			n++
		}
		low, high, _ := strings.Cut(args[0], "..")
		if n < s.number(low) || n > s.number(high) {
			s.fail("%v updates, expected %s", n, args[0])
		}
	case "stats":
		s.stats(args)
	default:
		s.fail("nothing is called %q", what)
	}
}

func (s *scenario) stats(args []string) {
	st := s.d.Stats()
	got := map[string]uint64{
		"duplicates": st.Duplicates, "late": st.Late, "open": uint64(st.OpenEpisodes), "agents": uint64(st.Agents), "evicted": st.Evicted,
		"tenants": uint64(st.Tenants),
	}
	for _, kv := range args {
		k, v, _ := strings.Cut(kv, "=")
		if float64(got[k]) != s.number(v) {
			s.fail("%s is %d, expected %s", k, got[k], v)
		}
	}
}

func (s *scenario) alert(a *schemas.Alert, args []string) {
	var names []string
	for _, g := range a.Signals {
		names = append(names, g.Name)
	}
	ev, lead := &a.Evidence, &a.Signals[0]
	is := map[string]string{ // of what is expected, one of the words between bars
		"status": a.Status, "agent": a.Agent.ID, "severity": a.Severity, "lead": lead.Name, "session": a.SessionID, "target": "", "place": "",
		"count": strconv.FormatInt(ev.EventCount, 10), "reason": a.Episode.Reason, "led": lead.LedBy, "baseline": lead.Baseline,
		"attack": cmp.Or(strings.Join(a.Tags.Attack, " "), "none"),
	}
	if ev.CompletedBy != nil {
		is["target"] = ev.CompletedBy.Target
	}
	if len(ev.Places) > 0 {
		is["place"] = ev.Places[0].Resource
	}
	holds := map[string]string{
		"title": a.Title, "summary": a.Summary, "counterfactual": a.Counterfactual, "query": a.Query, "first_seen": strings.Join(lead.FirstSeen, " "),
		"evidence": strings.Join(ev.EventIDs, " "),
	}
	lists := map[string][]string{"signal": names, "resource": ev.Resources}
	for _, kv := range args {
		k, v, _ := strings.Cut(kv, "=")
		got, ok := is[k]
		text, isText := holds[k]
		list, isList := lists[k]
		switch {
		case ok:
			ok = slices.Contains(strings.Split(v, "|"), got)
		case isText:
			got, ok = text, strings.Contains(text, v)
		case isList:
			got, ok = strings.Join(list, " "), slices.Contains(list, v)
		case k == "suppressed":
			got = strconv.Itoa(a.Suppressed)
			ok = got == v || v == "some" && a.Suppressed > 0
		default:
			s.fail("an alert has no %q", k)
		}
		if !ok {
			s.fail("alert %d: %s is %q, expected %q", s.next, k, got, v)
		}
	}
}
