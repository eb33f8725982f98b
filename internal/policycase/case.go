// Package policycase tests policies by cases: an event, what is registered of its agent,
// and what is expected to be decided. It is what `plumbline policy test` runs.
package policycase

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/plumbline-sec/plumbline/pipeline/policy"
	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
)

// Bounds of a file of cases.
const (
	maxFile  = 4 << 20
	maxCases = 10_000
)

// The values of Case.Expect.
const (
	Permit  = "permit"
	Deny    = "deny"
	Observe = "observe"
)

// Mistake is what is wrong in a file of cases.
type Mistake struct {
	File    string
	Line    int // 0: of the file as a whole
	Problem string
}

// Error returns the mistake with its place.
func (m *Mistake) Error() string {
	if m.Line == 0 {
		return m.File + ": " + m.Problem
	}
	return fmt.Sprintf("%s:%d: %s", m.File, m.Line, m.Problem)
}

// File is a file of cases.
type File struct {
	Name string
	// Policies are files and patterns, relative to the file; nil: those of the config.
	Policies []string
	Default  string // permit or deny; empty: that of the config
	Cases    []Case
}

// Case is an event and what is expected of it.
type Case struct {
	Line         int
	Name         string
	Event        schemas.Activity
	Registration *schemas.Registration
	Risk         string
	Expect       string
	Resource     string   // of which decision; empty: the worst
	By           []string // ids of the policies that decide; nil: any
}

// The form of a case in YAML.
type (
	caseYAML struct {
		Name         string            `yaml:"name"`
		Event        map[string]any    `yaml:"event"`
		Registration *registrationYAML `yaml:"registration"`
		Risk         string            `yaml:"risk"`
		Expect       string            `yaml:"expect"`
		Resource     string            `yaml:"resource"`
		By           *[]string         `yaml:"by"`
	}
	registrationYAML struct {
		Status       string            `yaml:"status"`
		Owner        string            `yaml:"owner"`
		Environment  string            `yaml:"environment"`
		Vendor       string            `yaml:"vendor"`
		Criticality  string            `yaml:"criticality"`
		PeerGroup    string            `yaml:"peer_group"`
		TimeZone     string            `yaml:"time_zone"`
		Tools        *[]string         `yaml:"tools"`
		Destinations *[]string         `yaml:"destinations"`
		Agents       *[]string         `yaml:"agents"`
		Labels       map[string]string `yaml:"labels"`
	}
)

// Read reads a file of cases. An error is a *Mistake where the file is at fault.
func Read(name string) (*File, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("read cases: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, &Mistake{File: name, Problem: fmt.Sprintf("is no file of at most %d bytes", maxFile)}
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read cases: %w", err)
	}
	return Parse(name, text)
}

// Parse reads cases.
func Parse(name string, text []byte) (*File, error) {
	wrong := func(n ast.Node, format string, args ...any) error {
		m := &Mistake{File: name, Problem: fmt.Sprintf(format, args...)}
		if n != nil && n.GetToken() != nil {
			m.Line = n.GetToken().Position.Line
		}
		return m
	}
	doc, err := parser.ParseBytes(text, 0)
	if err != nil {
		return nil, yamlMistake(name, err)
	}
	f := &File{Name: name}
	if len(doc.Docs) != 1 || doc.Docs[0].Body == nil {
		return nil, wrong(nil, "holds %d documents: write one, with cases", len(doc.Docs))
	}
	keys, err := mapping(doc.Docs[0].Body)
	if err != nil {
		return nil, wrong(doc.Docs[0].Body, "is no mapping: write cases, and below it a list")
	}
	for _, kv := range keys {
		var err error
		switch key := kv.Key.String(); key {
		case "policies":
			err = yaml.NodeToValue(kv.Value, &f.Policies)
		case "default":
			if err = yaml.NodeToValue(kv.Value, &f.Default); err == nil && f.Default != Permit && f.Default != Deny {
				return nil, wrong(kv.Value, "default: %q is neither permit nor deny", f.Default)
			}
		case "cases":
			list, ok := kv.Value.(*ast.SequenceNode)
			if !ok {
				return nil, wrong(kv, "cases is no list")
			}
			for i, n := range list.Values {
				if i == maxCases {
					return nil, wrong(n, "is case %d: write at most %d in a file", i+1, maxCases)
				}
				one, err := read(n)
				if err != nil {
					return nil, caseMistake(name, n, err)
				}
				f.Cases = append(f.Cases, *one)
			}
		default:
			return nil, wrong(kv, "%q is unknown: write policies, default or cases", key)
		}
		if err != nil {
			return nil, yamlMistake(name, err)
		}
	}
	if len(f.Cases) == 0 {
		return nil, wrong(nil, "has no case")
	}
	for i, p := range f.Policies {
		if !filepath.IsAbs(p) {
			f.Policies[i] = filepath.Join(filepath.Dir(name), p)
		}
	}
	return f, nil
}

// mapping returns the entries of a mapping; one entry alone is a node of its own.
func mapping(n ast.Node) ([]*ast.MappingValueNode, error) {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values, nil
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, nil
	}
	return nil, errors.New("no mapping")
}

func yamlMistake(name string, err error) *Mistake {
	m := &Mistake{File: name, Problem: err.Error()}
	if of, ok := errors.AsType[yaml.Error](err); ok {
		if m.Problem = of.GetMessage(); of.GetToken() != nil {
			m.Line = of.GetToken().Position.Line
		}
	}
	return m
}

// caseMistake is at the case where the error says no other place.
func caseMistake(name string, n ast.Node, err error) *Mistake {
	m := yamlMistake(name, err)
	if m.Line == 0 {
		m.Line = n.GetToken().Position.Line
	}
	return m
}

func read(n ast.Node) (*Case, error) {
	var y caseYAML
	if err := yaml.NodeToValue(n, &y, yaml.Strict()); err != nil {
		return nil, err
	}
	c := &Case{Line: n.GetToken().Position.Line, Name: y.Name, Risk: y.Risk, Expect: y.Expect, Resource: y.Resource}
	if keys, err := mapping(n); err == nil && len(keys) > 0 {
		c.Line = keys[0].Key.GetToken().Position.Line
	}
	if y.By != nil {
		c.By = append([]string{}, *y.By...)
	}
	if !slices.Contains([]string{Permit, Deny, Observe}, y.Expect) {
		return nil, fmt.Errorf("expect: %q: write permit, deny or observe", y.Expect)
	}
	if risks := []string{"", policy.NoRisk, schemas.SeverityLow, schemas.SeverityMedium, schemas.SeverityHigh, schemas.SeverityCritical}; !slices.Contains(risks, y.Risk) {
		return nil, fmt.Errorf("risk: %q: write one of %s", y.Risk, strings.Join(risks[1:], ", "))
	}
	if err := c.event(y.Event); err != nil {
		return nil, err
	}
	if y.Registration != nil {
		reg, err := y.Registration.registration(&c.Event)
		if err != nil {
			return nil, err
		}
		c.Registration = reg
	}
	return c, nil
}

// noon is the time of an event that says none: a Monday, 12:00 UTC.
const noon = schemas.Millis(1_772_452_800_000)

// later is when events are recorded: after whatever time one says.
const later = schemas.Millis(253_370_764_800_000) // the year 9999

// event makes an event of its public form, as the decoder of sources does.
func (c *Case) event(fields map[string]any) error {
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		if schemas.LookupField(key) == schemas.FieldCount {
			return fmt.Errorf("event: %q is no field of an event", key)
		}
	}
	if fields == nil {
		return errors.New("event: is missing: write the fields of an event, as {tenant_id: acme, agent_id: a, tool: mail.send}")
	}
	if _, ok := fields["time"]; !ok {
		fields["time"] = noon.String()
	}
	b, err := json.Marshal(fields)
	if err != nil {
		return fmt.Errorf("event: %w", err)
	}
	decode.NewActivity().Decode(&decode.Record{Topic: "cases", Time: later, Value: b}, func(_ int32, ev *schemas.Activity, refusal *decode.Refusal) {
		if refusal != nil {
			err = fmt.Errorf("event: %w", refusal)
			return
		}
		if ev.Flags.Malformed() {
			err = errors.New("event: a field is of the wrong form, or too long")
		}
		c.Event = *ev
		c.Event.Resources, c.Event.Attributes = slices.Clone(ev.Resources), slices.Clone(ev.Attributes)
	})
	return err
}

func (y *registrationYAML) registration(ev *schemas.Activity) (*schemas.Registration, error) {
	for _, w := range []struct {
		key, value string
		of         []string
	}{
		{"status", y.Status, []string{"", schemas.StatusActive, schemas.StatusSuspended, schemas.StatusDecommissioned}},
		{"criticality", y.Criticality, []string{"", schemas.CriticalityLow, schemas.CriticalityNormal, schemas.CriticalityHigh}},
	} {
		if !slices.Contains(w.of, w.value) {
			return nil, fmt.Errorf("registration: %s: %q: write one of %s", w.key, w.value, strings.Join(w.of[1:], ", "))
		}
	}
	reg := &schemas.Registration{
		TenantID: ev.TenantID, AgentID: ev.AgentID, Time: noon, Status: y.Status, Owner: y.Owner, Environment: y.Environment,
		Vendor: y.Vendor, Criticality: y.Criticality, PeerGroup: y.PeerGroup, TimeZone: y.TimeZone,
	}
	for _, list := range []struct {
		from *[]string
		to   *[]string
	}{{y.Tools, &reg.Tools}, {y.Destinations, &reg.Destinations}, {y.Agents, &reg.Agents}} {
		if list.from != nil {
			*list.to = append([]string{}, *list.from...)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(y.Labels)) {
		reg.Labels = append(reg.Labels, schemas.Attribute{Key: key, Value: y.Labels[key]})
	}
	return reg, nil
}

// Run runs a case and returns what does not hold, "" where all does.
func (c *Case) Run(e *policy.Engine) string {
	decisions := e.Decide(nil, &c.Event, c.Registration, c.Risk)
	var at *schemas.PolicyDecision
	for i := range decisions {
		d := &decisions[i]
		if c.Resource != "" && d.Resource != c.Resource {
			continue
		}
		if at == nil || rank(d) > rank(at) {
			at = d
		}
	}
	if at == nil {
		var of []string
		for i := range decisions {
			of = append(of, decisions[i].Resource)
		}
		return fmt.Sprintf("no decision is of %q: there are decisions of %s", c.Resource, strings.Join(of, ", "))
	}
	got := [...]string{Permit, Observe, Deny}[rank(at)]
	ids := make([]string, 0, len(at.Policies))
	for _, p := range at.Policies {
		ids = append(ids, p.ID)
	}
	said := fmt.Sprintf("%s of %s by %s", got, at.Resource, cmp.Or(strings.Join(ids, ", "), "default: no policy applies"))
	if len(at.Failed) > 0 {
		said += "; not evaluated: " + strings.Join(at.Failed, ", ")
	}
	if got != c.Expect {
		return fmt.Sprintf("expected %s, got %s", c.Expect, said)
	}
	want := slices.Clone(c.By)
	slices.Sort(ids)
	if slices.Sort(want); c.By != nil && !slices.Equal(want, ids) {
		return fmt.Sprintf("expected it by %s, got %s", cmp.Or(strings.Join(want, ", "), "default"), said)
	}
	return ""
}

func rank(d *schemas.PolicyDecision) int {
	switch {
	case d.Denied:
		return 2
	case d.Observed:
		return 1
	}
	return 0
}
