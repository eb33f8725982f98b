package scenario

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/pipeline/policy"
	"github.com/plumbline-sec/plumbline/schemas"
)

// split splits a line into words; a quoted value may stand behind a key.
func split(line string) ([]string, error) {
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
				return nil, err
			}
			plain, err := strconv.Unquote(quoted)
			if err != nil {
				return nil, err
			}
			word, line = word+plain, line[len(quoted):]
		}
		out = append(out, word)
	}
	return out, nil
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
		case "identity":
			if o.Identity == nil {
				o.Identity = make(map[string]string)
			}
			check, mode, _ := strings.Cut(v, ":")
			o.Identity[check] = mode
		default:
			s.wrong("override %q", k)
		}
	}
	s.cfg.Overrides = append(s.cfg.Overrides, o)
}

// leastWords is how many words a step has behind its own, at least.
var leastWords = map[string]int{
	"config": 1, "override": 1, "at": 1, "peers": 3, "history": 2, "event": 1, "register": 1, "origins": 1, "repeat": 4, "quiet": 1, "expect": 1,
}

func (s *scenario) step(verb string, args []string) {
	least, known := leastWords[verb]
	switch {
	case !known:
		s.wrong("no step is called %q", verb)
	case len(args) < least:
		s.wrong("too few words behind %s: %d needed", verb, least)
	case (verb == "config" || verb == "override") && !s.tunes:
		s.wrong("a case is tested with the config as it is: --config names it, %s can't change it", verb)
	case (verb == "config" || verb == "override") && s.d != nil:
		s.wrong("%s stands before the first step", verb)
	}
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
				if len(f) != 4 {
					s.wrong("a metric is NAME:FIELD:TAKE:UNIT, not %q", v)
				}
				s.cfg.Metrics = append(s.cfg.Metrics, detector.Metric{Name: f[0], Field: f[1], Take: f[2], Unit: f[3]})
			case "quiet":
				s.cfg.QuietTime = s.duration(v)
			case "identity":
				if s.cfg.Identity == nil {
					s.cfg.Identity = make(map[string]string)
				}
				check, mode, _ := strings.Cut(v, ":")
				s.cfg.Identity[check] = mode
			case "policy":
				s.policies += v + "\n"
			case "default":
				s.deny = v == "deny"
			case "off":
				s.cfg.Signals = map[string]detector.SignalConfig{v: {Off: true}}
			default:
				s.wrong("config %q", k)
			}
		}
		return
	}
	if verb == "override" {
		s.override(args)
		return
	}
	if s.d == nil {
		if s.policies != "" || s.deny {
			s.decide()
		}
		var err error
		if s.d, err = detector.New(s.cfg, &s.sink); err != nil {
			s.wrong("%v", err)
		}
	}
	switch verb {
	case "at":
		to := begin + schemas.Millis(s.duration(args[0]).Milliseconds())
		if to < s.clock {
			s.wrong("the clock is already past %s", args[0])
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
	case "origins":
		s.origins = args[0]
	case "register":
		s.register(args)
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
	}
}

// decide puts the policies of the case in the place of the config's.
func (s *scenario) decide() {
	set, err := policy.Parse([]policy.File{{Name: "case", Text: []byte(s.policies)}}, policy.Options{DefaultDeny: s.deny})
	if err != nil {
		s.wrong("%v", err)
	}
	s.cfg.Policies, s.cfg.NewDecider = set.Packed(), set.NewDecider
}

func (s *scenario) number(v string) float64 {
	x, err := strconv.ParseFloat(v, 64)
	if err != nil || math.IsNaN(x) {
		s.wrong("%q is no number", v)
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
		s.wrong("%q is no duration", v)
	}
	return total + x
}

// history is calm, regular traffic; with one name it is that agent's, with none
// that of the named peers.
func (s *scenario) history(length time.Duration, perHour float64, agents []string) {
	if len(agents) == 0 {
		agents = s.names
	}
	if len(agents) == 0 || !(perHour > 0 && float64(hourMS)/perHour/float64(len(agents)) >= 1) {
		s.wrong("history needs agents, of itself or of `peers`, and a number of calls an hour above 0 that leaves a millisecond between two")
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
		if s.origins != "" {
			args = append(args, fmt.Sprintf("ip=%s.%d.%d", s.origins, a, n%200), "credential=key-"+agents[a])
		}
		s.event(args, i)
		s.clock += gap
	}
}

// register says who an agent is.
func (s *scenario) register(args []string) {
	r := &schemas.Registration{TenantID: "acme", Time: s.clock}
	texts := map[string]*string{
		"agent": &r.AgentID, "tenant": &r.TenantID, "status": &r.Status, "owner": &r.Owner, "contact": &r.Contact,
		"criticality": &r.Criticality, "group": &r.PeerGroup,
	}
	for _, kv := range args {
		k, v, _ := strings.Cut(kv, "=")
		switch {
		case texts[k] != nil:
			*texts[k] = v
		case k == "version":
			r.Versions = append(r.Versions, v)
		case k == "credential":
			id, days, _ := strings.Cut(v, ":")
			c := schemas.Credential{ID: id}
			if days != "" {
				c.MaxAgeDays = int(s.number(days))
			}
			r.Credentials = append(r.Credentials, c)
		case k == "grant":
			r.Tools = append(r.Tools, v)
		case k == "until":
			r.ValidUntil = begin + schemas.Millis(s.duration(v).Milliseconds())
		case k == "back":
			r.Time -= schemas.Millis(s.duration(v).Milliseconds())
		default:
			s.wrong("a registration has no %q", k)
		}
	}
	s.d.Process(&schemas.Activity{Time: s.clock, TenantID: r.TenantID, AgentID: r.AgentID, Registration: r})
}

func (s *scenario) event(args []string, number int) {
	if err := s.ctx.Err(); err != nil {
		panic(stopped{err})
	}
	s.seq++
	ev := schemas.Activity{
		EventID: fmt.Sprintf("ev-%d", s.seq), Time: s.clock, TenantID: "acme", PeerGroup: s.group, Action: "tool_call",
		Outcome: schemas.OutcomeSuccess,
	}
	texts := map[string]*string{
		"agent": &ev.AgentID, "group": &ev.PeerGroup, "session": &ev.SessionID, "tool": &ev.Tool, "access": &ev.Access, "outcome": &ev.Outcome,
		"id": &ev.EventID, "target": &ev.TargetAgentID, "behalf": &ev.OnBehalfOf, "name": &ev.AgentName, "tenant": &ev.TenantID,
		"version": &ev.AgentVersion, "credential": &ev.CredentialID, "type": &ev.CredentialType, "ip": &ev.SourceIP,
	}
	numbers := map[string]*uint64{"sent": &ev.BytesSent, "received": &ev.BytesReceived, "tokens": &ev.TokensOut, "duration": &ev.DurationMS}
	for _, kv := range args {
		k, v, _ := strings.Cut(kv, "=")
		v = strings.ReplaceAll(v, "%d", strconv.Itoa(number))
		switch {
		case texts[k] != nil:
			*texts[k] = v
			continue
		case numbers[k] != nil:
			if *numbers[k] = uint64(s.number(v)); s.number(v) < 0 {
				s.wrong("%s is below 0", k)
			}
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
		case "expires":
			ev.CredentialExpires = begin + schemas.Millis(s.duration(v).Milliseconds())
		default:
			s.wrong("event has no %q", k)
		}
	}
	s.last = s.d.Process(&ev)
	if v := &s.last; math.IsInf(v.Surprise, 0) || math.IsNaN(v.Surprise) || math.IsNaN(v.Score) {
		s.fail(nil, "surprise %v, score %v", v.Surprise, v.Score)
	}
}
