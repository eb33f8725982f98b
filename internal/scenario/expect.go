package scenario

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/plumbline-sec/plumbline/schemas"
)

func (s *scenario) expect(what string, args []string) {
	if least := map[string]int{"score": 1, "surprise": 2, "updates": 1, "stats": 1}[what]; len(args) < least {
		s.wrong("too few words behind expect %s: %d needed", what, least)
	}
	switch what {
	case "silence":
		for _, a := range s.sink.alerts[s.next:] {
			if s.unlike(a, args) == "" {
				s.fail(a, "expected silence, got alert %s of severity %s about %s", a.Status, a.Severity, a.Agent.ID)
			}
		}
	case "only":
		if n := len(s.sink.alerts) - s.next; n > 0 {
			a := s.sink.alerts[s.next]
			s.fail(a, "expected no further alert, got %d, the first: %s of severity %s about %s", n, a.Status, a.Severity, a.Agent.ID)
		}
	case "alert":
		if s.next >= len(s.sink.alerts) {
			s.fail(nil, "expected alert %s, got none (the last event has score %.1f of 100, 50 is the threshold)", strings.Join(args, " "), s.last.Score)
		}
		a := s.sink.alerts[s.next]
		if why := s.unlike(a, args); why != "" {
			s.fail(a, "expected alert %s, got one whose %s", strings.Join(args, " "), why)
		}
		s.next++
	case "some":
		s.some(args)
	case "score":
		low, high, _ := strings.Cut(args[0], "..")
		if v := s.last.Score; v < s.number(low) || v > s.number(high) {
			s.fail(nil, "score %.1f (signals %+v), expected %s", v, s.last.Signals, args[0])
		}
	case "surprise":
		limit := s.number(args[1])
		if v := s.last.Surprise; args[0] == "below" && v >= limit || args[0] == "above" && v <= limit {
			s.fail(nil, "surprise %.2f, expected %s", v, strings.Join(args, " "))
		}
	case "duplicate":
		if !s.last.Duplicate {
			s.fail(nil, "not taken for a duplicate")
		}
	case "late":
		if !s.last.Late {
			s.fail(nil, "not taken as late")
		}
	case "updates":
		n := 0.0
		for s.next < len(s.sink.alerts) && s.sink.alerts[s.next].Status == schemas.StatusUpdate {
			s.next++
			n++
		}
		low, high, _ := strings.Cut(args[0], "..")
		if n < s.number(low) || n > s.number(high) {
			s.fail(nil, "%v updates, expected %s", n, args[0])
		}
	case "stats":
		s.stats(args)
	default:
		s.wrong("nothing to expect is called %q", what)
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
		if _, known := got[k]; !known {
			s.wrong("stats have no %q", k)
		}
		if float64(got[k]) != s.number(v) {
			s.fail(nil, "%s is %d, expected %s", k, got[k], v)
		}
	}
}

// some passes over alerts until one is as described.
func (s *scenario) some(args []string) {
	var came []string
	for i, a := range s.sink.alerts[s.next:] {
		why := s.unlike(a, args)
		if why == "" {
			s.next += i + 1
			return
		}
		came = append(came, why)
	}
	if len(came) == 0 {
		s.fail(nil, "expected some alert %s, got none (the last event has score %.1f of 100, 50 is the threshold)", strings.Join(args, " "), s.last.Score)
	}
	s.fail(s.sink.alerts[s.next], "expected some alert %s, got %d others, the first one's %s", strings.Join(args, " "), len(came), came[0])
}

var severities = []string{schemas.SeverityLow, schemas.SeverityMedium, schemas.SeverityHigh, schemas.SeverityCritical}

// atLeast compares by the last sign of key, > or <; equal is enough.
func atLeast[T cmp.Ordered](got, bound T, key string) bool {
	if strings.HasSuffix(key, ">") {
		return got >= bound
	}
	return got <= bound
}

// unlike says what of an alert is not as described; empty: nothing.
func (s *scenario) unlike(a *schemas.Alert, args []string) string {
	var (
		names []string
		first schemas.AlertSignal
		lead  string
	)
	for _, g := range a.Signals {
		names = append(names, g.Name)
	}
	if len(names) > 0 {
		first, lead = a.Signals[0], names[0]
	}
	for _, kv := range args {
		k, v, _ := strings.Cut(kv, "=")
		ok, got := false, ""
		has := func(text string) { got, ok = text, strings.Contains(text, v) }
		switch k {
		case "status":
			got, ok = a.Status, a.Status == v
		case "agent":
			got, ok = a.Agent.ID, a.Agent.ID == v
		case "tenant":
			got, ok = a.TenantID, a.TenantID == v
		case "group":
			got, ok = a.Agent.PeerGroup, a.Agent.PeerGroup == v
		case "severity>", "severity<":
			bound := slices.Index(severities, v)
			if bound < 0 {
				s.wrong("%q is no severity: low, medium, high, critical", v)
			}
			got = a.Severity
			ok = atLeast(slices.Index(severities, got), bound, k)
		case "score>", "score<":
			got = strconv.FormatFloat(a.Score, 'f', 1, 64)
			ok = atLeast(a.Score, s.number(v), k)
		case "severity":
			got, ok = a.Severity, slices.Contains(strings.Split(v, "|"), a.Severity)
		case "lead":
			got, ok = lead, slices.Contains(strings.Split(v, "|"), lead)
		case "signal":
			got, ok = strings.Join(names, " "), slices.Contains(names, v)
		case "session":
			got, ok = a.SessionID, a.SessionID == v
		case "kind":
			got, ok = a.Kind, a.Kind == v
		case "owner":
			got, ok = a.Agent.Owner, a.Agent.Owner == v
		case "title":
			has(a.Title)
		case "summary":
			has(a.Summary)
		case "counterfactual":
			has(a.Counterfactual)
		case "query":
			has(a.Query)
		case "first_seen":
			has(strings.Join(first.FirstSeen, " "))
		case "resource":
			got, ok = strings.Join(a.Evidence.Resources, " "), slices.Contains(a.Evidence.Resources, v)
		case "evidence":
			has(strings.Join(a.Evidence.EventIDs, " "))
		case "target":
			if c := a.Evidence.CompletedBy; c != nil {
				got = c.Target
			}
			ok = got == v
		case "place":
			if len(a.Evidence.Places) > 0 {
				got = a.Evidence.Places[0].Resource
			}
			ok = got == v
		case "count":
			got = strconv.FormatInt(a.Evidence.EventCount, 10)
			ok = got == v
		case "reason":
			got, ok = a.Episode.Reason, a.Episode.Reason == v
		case "led":
			got, ok = first.LedBy, first.LedBy == v
		case "baseline":
			got, ok = first.Baseline, first.Baseline == v
		case "attack":
			got = strings.Join(a.Tags.Attack, " ")
			ok = got == v || v == "none" && got == ""
		case "suppressed":
			got = strconv.Itoa(a.Suppressed)
			ok = got == v || v == "some" && a.Suppressed > 0
		default:
			s.wrong("an alert has no %q", k)
		}
		if !ok {
			return fmt.Sprintf("%s is %q", strings.TrimRight(k, "<>"), got)
		}
	}
	return ""
}
