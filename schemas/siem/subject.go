package siem

import (
	"slices"
	"strings"

	"github.com/plumbline-sec/plumbline/schemas"
)

// subject is what an alert is about, read once for all the fields of a form.
type subject struct {
	target  string // "" where the call that completed the alert touched nothing
	agent   string // the other agent, where the target is one
	touched []touched
	called  int // how many of touched are of that call
}

// touched is a resource with what other logs know it by.
type touched struct {
	resource string
	pivots   []pivot
}

// subjectOf puts the target first, then what else the same call touched, then the rest.
func subjectOf(a *schemas.Alert) *subject {
	s := &subject{}
	left := maxAlertPivots
	add := func(r string) {
		if r == "" || len(s.touched) > schemas.MaxEvidence || slices.ContainsFunc(s.touched, func(t touched) bool { return t.resource == r }) {
			return
		}
		t := touched{resource: r}
		if left > 0 {
			t.pivots = pivotsOf(r)
			t.pivots = t.pivots[:min(len(t.pivots), left)]
			left -= len(t.pivots)
		}
		s.touched = append(s.touched, t)
	}
	if c := a.Evidence.CompletedBy; c != nil {
		s.target = c.Target
		if id, ok := strings.CutPrefix(c.Target, "agent:"); ok {
			s.agent = id
			if strings.HasPrefix(c.TargetAgentID, id) { // a target may be cut, this is not
				s.agent = c.TargetAgentID
			}
		}
		add(c.Target)
		for _, r := range c.Resources {
			add(r)
		}
		s.called = len(s.touched)
	}
	for _, r := range a.Evidence.Resources {
		add(r)
	}
	return s
}

// dest is the first that the target is known by.
func (s *subject) dest() *pivot {
	if s.target != "" && len(s.touched[0].pivots) > 0 {
		return &s.touched[0].pivots[0]
	}
	return &pivot{}
}

// first returns the first of the call's pivots that is wanted.
func (s *subject) first(wanted func(*pivot) bool) *pivot {
	for _, t := range s.touched[:s.called] {
		for i := range t.pivots {
			if wanted(&t.pivots[i]) {
				return &t.pivots[i]
			}
		}
	}
	return nil
}

func (s *subject) link() *pivot { return s.first(func(p *pivot) bool { return p.link != nil }) }

func (s *subject) file() *pivot { return s.first(func(p *pivot) bool { return p.file != "" }) }

// all returns what of gives for each pivot of all resources, each once.
func (s *subject) all(of func(*pivot) string) (list []string) { return gather(s.touched, of) }

// recipients are the mail addresses that the call was to.
func (s *subject) recipients() []string {
	return gather(s.touched[:s.called], func(p *pivot) string { return p.mail })
}

func gather(from []touched, of func(*pivot) string) (list []string) {
	for _, t := range from {
		for i := range t.pivots {
			if v := of(&t.pivots[i]); v != "" && !slices.Contains(list, v) {
				list = append(list, v)
			}
		}
	}
	return list
}

func hostOf(p *pivot) string { return p.host }

// fileName is what stands behind the last separator of a path.
func fileName(path string) string { return path[strings.LastIndexAny(path, `/\`)+1:] }
