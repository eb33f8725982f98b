package policy

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/plumbline-sec/plumbline/schemas"
)

// What the schema can't say is checked here: annotations, the words that some texts are one
// of, and that of another agent nothing is known but its name.

// Weekdays are the values of context.weekday, as time.Weekday numbers them.
var Weekdays = [7]string{"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"}

// NoRisk is the value of principal.risk beside the severities.
const NoRisk = "none"

// words are the texts that a field is one of.
var words = [fieldCount][]string{
	ofStatus:      {"", schemas.StatusActive, schemas.StatusSuspended, schemas.StatusDecommissioned},
	ofCriticality: {"", schemas.CriticalityLow, schemas.CriticalityNormal, schemas.CriticalityHigh},
	ofRisk:        {NoRisk, schemas.SeverityLow, schemas.SeverityMedium, schemas.SeverityHigh, schemas.SeverityCritical},
	ofWeekday:     Weekdays[:],
	ofOutcome:     {schemas.OutcomeSuccess, schemas.OutcomeFailure, schemas.OutcomeDenied},
}

var (
	idForm   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]{0,99}$`)
	maxNotes = map[string]int{"title": 200, "runbook": 500}
)

// checker names what is wrong in one policy.
type checker struct {
	parser *parser
	file   string
	one    *piece
	c      *compiled
}

// wrong names a mistake at the first place where the policy says what, or at its beginning.
func (k *checker) wrong(what, problem, fix string) {
	m := &Mistake{File: k.file, Policy: k.c.ID, Line: k.one.line, Column: k.one.column, Problem: problem, Fix: fix}
	if i := bytes.Index(k.one.text, []byte(what)); i >= 0 {
		m.Line, m.Column = k.one.at(i)
	}
	if m.Policy == k.c.Place {
		m.Policy = ""
	}
	k.parser.wrong(m)
}

func (k *checker) annotations(notes cedar.Annotations) {
	k.c.Severity = schemas.SeverityMedium
	names := make([]string, 0, len(notes))
	for name := range notes {
		names = append(names, string(name))
	}
	slices.Sort(names)
	for _, name := range names {
		value := string(notes[types.AnnotationKey(name)])
		at := "@" + name
		switch name {
		case "id":
			if !idForm.MatchString(value) || strings.HasPrefix(value, grantPrefix) {
				k.wrong(at, strconv.Quote(value)+" is no id", "write up to 100 letters, digits, . _ / and -, such as no-mail-outside")
				continue
			}
			k.c.ID = value
		case "title", "runbook":
			if len(value) > maxNotes[name] || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' }) {
				k.wrong(at, at+" is too long, or holds characters that are not printed", fmt.Sprintf("write a line of at most %d bytes", maxNotes[name]))
			}
			if name == "title" {
				k.c.Title = value
			} else {
				k.c.Runbook = value
			}
		case "severity":
			if !slices.Contains(words[ofRisk][1:], value) {
				k.wrong(at, strconv.Quote(value)+" is no severity", "write one of "+strings.Join(words[ofRisk][1:], ", "))
			}
			k.c.Severity = value
		case "mode":
			if value != "observe" {
				k.wrong(at, strconv.Quote(value)+" is no mode of a policy", `write @mode("observe"), or leave it out`)
			}
			k.c.Observe = true
		case "tags":
			k.tags(at, value)
		default:
			k.wrong(at, at+" means nothing here", "write @id, @title, @severity, @tags, @runbook or @mode")
		}
	}
}

func (k *checker) tags(at, value string) {
	var ids []string
	for id := range strings.SplitSeq(value, ",") {
		ids = append(ids, strings.TrimSpace(id))
	}
	if _, err := schemas.ParseTags(ids); err != nil {
		k.wrong(at, err.Error(), `write ids as their publishers write them, with commas between: @tags("ASI02, T1567.002")`)
		return
	}
	k.c.Tags = ids
}

// quoted finds what an error of the validator is about.
var quoted = regexp.MustCompile("`([^`]+)`")

// maxGuards is how often a policy may ask whether something is there: the time that the
// validator takes grows with the third power of it.
const maxGuards = 20

func (k *checker) schema(tree *ast.Policy) {
	guards := 0
	for _, c := range tree.Conditions {
		ast.Inspect(ast.NewNode(c.Body), func(n ast.IsNode) bool {
			switch n.(type) {
			case ast.NodeTypeHas, ast.NodeTypeHasTag:
				guards++
			}
			return true
		})
	}
	if guards > maxGuards {
		k.wrong("has", fmt.Sprintf("asks %d times whether something is there", guards), fmt.Sprintf("write has and hasTag at most %d times in a policy", maxGuards))
		return
	}
	v, err := validator()
	if err == nil {
		err = v.Policy("", tree)
	}
	if err == nil {
		return
	}
	var all interface{ Unwrap() []error }
	list := []error{err}
	if errors.As(err, &all) {
		list = all.Unwrap()
	}
	var said []string
	for _, e := range list {
		text := strings.ReplaceAll(e.Error(), "`", "")
		if general, _, ok := strings.Cut(text, " in context for "); ok {
			if text = general + " in context"; strings.HasPrefix(text, "attribute") {
				text += " not found" // once, not for every action
			}
		}
		if slices.Contains(said, text) || len(said) == 10 || len(said) > 0 && strings.HasPrefix(text, "unable to find") {
			continue
		}
		said = append(said, text)
		what := "\x00"
		if found := quoted.FindStringSubmatch(e.Error()); found != nil {
			what = found[1]
		}
		k.wrong(what, text, schemaFix(text))
	}
}

// schemaFix says what to write in the place of what the schema does not have.
func schemaFix(text string) string {
	has := func(s string) bool { return strings.Contains(text, s) }
	switch {
	case has("unrecognized action"):
		return `write Plumbline::Action::"read", "write", "delete", "send", "execute", "message", "delegate", "model_call", "auth" or "other"`
	case has("unrecognized entity type"):
		return "write Plumbline::Agent, Plumbline::PeerGroup, Plumbline::Tenant or Plumbline::Resource"
	case has("unable to find an applicable action"):
		return "the principal is an Agent, in a PeerGroup or a Tenant; the resource is a Resource or an Agent"
	case has("optional attribute") && has("source_ip"):
		return "write context has source_ip && in front: not every event has an address"
	case has("on entity type Plumbline::Agent"):
		return "an agent has owner, criticality, environment, status, vendor, registered, labels, risk, kind, id, site, leaves"
	case has("on entity type Plumbline::Resource"):
		return "a resource has kind, id, site, leaves"
	case has("in context"):
		return "a context has tool, bytes_sent, bytes_received, model, on_behalf_of, credential_type, hour, weekday, source_ip, version, outcome"
	}
	return "docs/policy.md lists the attributes and their types"
}

// conditions checks what is compared with words, and what is asked of another agent.
func (k *checker) conditions(tree *ast.Policy) {
	for _, c := range tree.Conditions {
		ast.Inspect(ast.NewNode(c.Body), func(n ast.IsNode) bool {
			switch n := n.(type) {
			case ast.NodeTypeEquals:
				k.word(n.Left, n.Right)
			case ast.NodeTypeNotEquals:
				k.word(n.Left, n.Right)
			case ast.NodeTypeContains:
				if set, ok := n.Left.(ast.NodeTypeSet); ok {
					for _, e := range set.Elements {
						k.word(e, n.Right)
					}
				}
			case ast.NodeTypeAccess:
				k.ofPrincipal(n.Arg, string(n.Value))
			case ast.NodeTypeHas:
				k.ofPrincipal(n.Arg, string(n.Value))
			}
			return true
		})
	}
}

// ofPrincipal refuses to ask another agent for what a registration says.
func (k *checker) ofPrincipal(of ast.IsNode, name string) {
	f, ok := fieldOf(ast.NodeTypeVariable{Name: "principal"}, name)
	if !ok || f < ofOwner || f > ofRisk {
		return
	}
	if v, is := of.(ast.NodeTypeVariable); !is || v.Name == "resource" {
		k.wrong(name, name+" is known of the principal alone", "write principal."+name+"; of another agent only its id is known")
	}
}

func (k *checker) word(a, b ast.IsNode) {
	access, f, ok := accessed(a)
	lit := b
	if !ok {
		if access, f, ok = accessed(b); !ok {
			return
		}
		lit = a
	}
	v, ok := lit.(ast.NodeValue)
	if !ok || words[f] == nil {
		return
	}
	if s, ok := v.Value.(types.String); ok && !slices.Contains(words[f], string(s)) {
		k.wrong(strconv.Quote(string(s)), fmt.Sprintf("%s is never %q", access, string(s)), "write one of "+strings.TrimPrefix(strings.Join(words[f], ", "), ", "))
	}
}
