package policy

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"

	"github.com/plumbline-sec/plumbline/schemas"
)

// Schema is the schema that policies are checked against, as Cedar writes one.
//
//go:embed plumbline.cedarschema
var Schema string

// Options say what holds where no policy does, and whether policies are in force.
type Options struct {
	DefaultDeny bool // otherwise what no policy forbids is permitted
	Observe     bool // nothing is denied: what would be is observed
}

// Set is policies that were read and checked.
type Set struct {
	opt      Options
	policies []*compiled
	byID     map[cedar.PolicyID]*compiled
	index    index
	hash     string
}

// compiled is a policy and what of it the engine needs.
type compiled struct {
	schemas.Policy
	text   *cedar.Policy // as it was written
	rest   *cedar.Policy // what is left of it to be decided for a candidate
	reads  reads
	within within
}

// Mistake is one thing that is wrong in policy files.
type Mistake struct {
	File    string `json:"file"`
	Line    int    `json:"line,omitempty"`   // 1-based; 0: of the file as a whole
	Column  int    `json:"column,omitempty"` // 1-based, in characters
	Policy  string `json:"policy,omitempty"` // its id, where it has one
	Problem string `json:"problem"`
	Fix     string `json:"fix,omitempty"`
	Source  string `json:"-"` // the line
}

// Error returns the mistake with its place.
func (m *Mistake) Error() string {
	var b strings.Builder
	b.WriteString(m.File)
	if m.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", m.Line, m.Column)
	}
	b.WriteString(": ")
	if m.Policy != "" {
		fmt.Fprintf(&b, "policy %q: ", m.Policy)
	}
	b.WriteString(m.Problem)
	if m.Fix != "" {
		b.WriteString("; " + m.Fix)
	}
	return b.String()
}

// maxMistakes bounds what is said about policies.
const maxMistakes = 100

// Error is what is wrong in policy files, in their order.
type Error struct{ Mistakes []*Mistake }

// Error returns the mistakes, one a line.
func (e *Error) Error() string {
	lines := make([]string, len(e.Mistakes))
	for i, m := range e.Mistakes {
		lines[i] = m.Error()
	}
	return strings.Join(lines, "\n")
}

// File is the text of a policy file.
type File struct {
	Name string
	Text []byte
}

// Files returns the files that names and patterns mean, in their order and each once. An
// error is a *Mistake of the name that is at fault.
func Files(patterns []string) ([]string, error) {
	var out []string
	for _, p := range patterns {
		found, err := filepath.Glob(p)
		switch info, statErr := os.Stat(p); {
		case statErr == nil && info.IsDir():
			return nil, &Mistake{File: p, Problem: "is a directory", Fix: "write " + filepath.Join(p, "*.cedar")}
		case statErr == nil:
			found = []string{p} // also where it has characters of a pattern
		case err != nil:
			return nil, &Mistake{File: p, Problem: "is no pattern of file names", Fix: "write one such as policies/*.cedar"}
		case len(found) == 0:
			return nil, &Mistake{File: p, Problem: "is no file, and no file's name is like it", Fix: "name files, or a pattern such as policies/*.cedar"}
		}
		for _, f := range found {
			if f = filepath.Clean(f); !slices.Contains(out, f) {
				if out = append(out, f); len(out) > MaxFiles {
					return nil, &Mistake{File: p, Problem: fmt.Sprintf("is the %d. file", len(out)), Fix: fmt.Sprintf("name at most %d", MaxFiles)}
				}
			}
		}
	}
	return out, nil
}

// Load reads and checks policy files. An error is an *Error where files are at fault.
func Load(patterns []string, opt Options) (*Set, error) {
	names, err := Files(patterns)
	var m *Mistake
	if errors.As(err, &m) {
		return nil, &Error{[]*Mistake{m}}
	}
	files, total := make([]File, 0, len(names)), 0
	for _, name := range names {
		text, err := readFile(name)
		if errors.As(err, &m) {
			return nil, &Error{[]*Mistake{m}}
		}
		if err != nil {
			return nil, err
		}
		if total += len(text); total > MaxTotalBytes {
			return nil, &Error{[]*Mistake{{File: name, Problem: fmt.Sprintf("is one too many: the files together have over %d bytes", MaxTotalBytes), Fix: "leave files out"}}}
		}
		files = append(files, File{name, text})
	}
	return Parse(files, opt)
}

func readFile(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("read policies: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, &Mistake{File: name, Problem: "is no regular file", Fix: "name a file"}
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read policies: %w", err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	text, err := io.ReadAll(io.LimitReader(f, MaxFileBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read policies: %w", err)
	}
	if len(text) > MaxFileBytes {
		return nil, &Mistake{File: name, Problem: fmt.Sprintf("has over %d bytes", MaxFileBytes), Fix: "split it"}
	}
	return text, nil
}

// Parse checks policies.
func Parse(files []File, opt Options) (*Set, error) {
	p := parser{set: &Set{opt: opt, byID: map[cedar.PolicyID]*compiled{}}}
	for _, f := range files {
		if p.file(f); p.full() {
			break
		}
	}
	if len(p.mistakes) > 0 {
		return nil, &Error{p.mistakes}
	}
	p.set.index = newIndex(p.set.policies)
	for _, c := range p.set.policies {
		c.rest = cedar.NewPolicyFromAST(rest(c.text))
	}
	p.set.hash = p.set.fingerprint()
	return p.set, nil
}

// Hash is the fingerprint of what decides: the policies, without comments and layout, and
// what holds where none does.
func (s *Set) Hash() string { return s.hash }

// Len returns how many policies there are.
func (s *Set) Len() int { return len(s.policies) }

// Policies returns what alerts say of the policies, in the order of the files.
func (s *Set) Policies() []*schemas.Policy {
	out := make([]*schemas.Policy, len(s.policies))
	for i, c := range s.policies {
		out[i] = &c.Policy
	}
	return out
}

func (s *Set) fingerprint() string {
	h := sha256.New()
	fmt.Fprintf(h, "deny=%t observe=%t\n", s.opt.DefaultDeny, s.opt.Observe)
	texts := make([]string, 0, len(s.policies))
	for _, c := range s.policies {
		texts = append(texts, string(c.text.MarshalCedar()))
	}
	slices.Sort(texts)
	for _, text := range texts {
		fmt.Fprintf(h, "%q\n", text)
	}
	return hex.EncodeToString(h.Sum(nil)[:6])
}

type parser struct {
	src      []byte // of the file at hand
	set      *Set
	mistakes []*Mistake
}

func (p *parser) full() bool { return len(p.mistakes) >= maxMistakes }

func (p *parser) wrong(m *Mistake) {
	if !p.full() {
		m.Source = lineOf(p.src, m.Line)
		p.mistakes = append(p.mistakes, m)
	}
}

// lineOf returns a line, as far as one shows it.
func lineOf(src []byte, n int) string {
	for ; n > 1; n-- {
		i := bytes.IndexByte(src, '\n')
		if i < 0 {
			return ""
		}
		src = src[i+1:]
	}
	line, _, _ := bytes.Cut(src, []byte("\n"))
	return strings.ToValidUTF8(strings.ReplaceAll(string(line[:min(len(line), 200)]), "\t", " "), "\uFFFD")
}

func (p *parser) file(f File) {
	p.src = f.Text
	pieces, wrong := split(f.Text)
	for _, one := range pieces {
		if p.policy(f.Name, one); p.full() {
			return
		}
		if len(p.set.policies) > MaxPolicies {
			p.wrong(&Mistake{File: f.Name, Line: one.line, Column: one.column, Problem: fmt.Sprintf("is policy %d of the set", len(p.set.policies)), Fix: fmt.Sprintf("write at most %d: a policy of a group stands for those of its agents", MaxPolicies)})
			return
		}
	}
	if wrong != nil {
		wrong.File = f.Name
		p.wrong(wrong)
	}
}

// at is where a byte of a piece stands in the file.
func (one *piece) at(offset int) (line, column int) {
	before := string(one.text[:min(offset, len(one.text))])
	if i := strings.LastIndexByte(before, '\n'); i >= 0 {
		return one.line + strings.Count(before, "\n"), len([]rune(before[i+1:])) + 1
	}
	return one.line, one.column + len([]rune(before))
}

var parseError = regexp.MustCompile(`(?s)^(?:parser error: )?(?:parse error at )?<input>:(\d+):(\d+):? (.*)$`)

// wanted is how the parser says what it expected.
var wanted = regexp.MustCompile(`exact got .* want (.*)$`)

func (p *parser) policy(file string, one piece) {
	var text cedar.Policy
	if err := text.UnmarshalCedar(one.text); err != nil {
		p.wrong(syntax(file, &one, err))
		return
	}
	c := &compiled{text: &text}
	c.ID = file + ":" + strconv.Itoa(one.line)
	c.Place = file + ":" + strconv.Itoa(one.line)
	before := len(p.mistakes)
	k := checker{parser: p, file: file, one: &one, c: c}
	k.annotations(text.Annotations())
	tree := (*ast.Policy)(text.AST())
	k.schema(tree)
	k.conditions(tree)
	if len(p.mistakes) > before {
		p.set.policies = append(p.set.policies, c) // it counts
		return
	}
	if other := p.set.byID[cedar.PolicyID(c.ID)]; other != nil {
		k.wrong(`@id("`, "its @id is that of the policy at "+other.Place, "give each policy an @id of its own")
		return
	}
	c.Forbids = text.Effect() == cedar.Forbid
	c.reads, c.within = readsOf(tree)
	p.set.policies = append(p.set.policies, c)
	p.set.byID[cedar.PolicyID(c.ID)] = c
}

// syntax says where the parser stumbled, in the words of who writes.
func syntax(file string, one *piece, err error) *Mistake {
	m := &Mistake{File: file, Line: one.line, Column: one.column, Problem: err.Error()}
	if found := parseError.FindStringSubmatch(err.Error()); found != nil {
		line, _ := strconv.Atoi(found[1])
		column, _ := strconv.Atoi(found[2])
		if m.Problem = found[3]; line > 0 {
			if m.Line = one.line + line - 1; line == 1 {
				column += one.column - 1
			}
			m.Column = column
		} else { // nothing follows
			m.Line, m.Column = one.at(len(one.text))
		}
	}
	m.Problem = "not valid Cedar: " + wanted.ReplaceAllString(strings.TrimPrefix(m.Problem, `"": `), "expected $1")
	switch last := one.text[len(one.text)-1]; {
	case last != ';':
		m.Fix = "end the policy with a semicolon"
	case strings.Contains(m.Problem, "unexpected effect"):
		m.Fix = "begin a policy with permit or forbid"
	default:
		m.Fix = "docs/policy.md shows how a policy is written"
	}
	return m
}

// validator checks against the schema.
var validator = sync.OnceValues(func() (*validate.Validator, error) {
	var s schema.Schema
	s.SetFilename("plumbline.cedarschema")
	if err := s.UnmarshalCedar([]byte(Schema)); err != nil {
		return nil, fmt.Errorf("read the schema of policies: %w", err)
	}
	resolved, err := s.Resolve()
	if err != nil {
		return nil, fmt.Errorf("resolve the schema of policies: %w", err)
	}
	return validate.New(resolved), nil
})
