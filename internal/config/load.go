package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
)

// maxFile bounds what is read as a config: a file that large is another one.
const maxFile = 4 << 20

// Load reads the config file at path; an empty path means the defaults. An error
// is an *Error where the text of the file is at fault.
func Load(path string, forms Forms) (*Config, error) {
	if path == "" {
		cfg := Default()
		return cfg, cfg.Validate(forms)
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("config file %s does not exist; leave out --config to run with the defaults", path)
	case err != nil:
		return nil, fmt.Errorf("read config: %w", err)
	case info.IsDir():
		return nil, fmt.Errorf("config file %s is a directory; name a file in it", path)
	case info.Size() > maxFile:
		return nil, fmt.Errorf("config file %s has %d bytes; a config has at most %d", path, info.Size(), maxFile)
	}
	src, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read config: %w", err)
	}
	return Parse(path, src, forms)
}

// Parse reads a config; name is what errors call it.
func Parse(name string, src []byte, forms Forms) (*Config, error) {
	text := strings.TrimPrefix(string(src), "\ufeff")
	d := &decoder{
		file: name, lines: strings.Split(text, "\n"),
		where: make(map[string]position), wrong: make(map[string]bool), expanded: make(map[string]expanded),
	}
	cfg := Default()
	if body := d.parse(text); body != nil {
		d.decode(body, cfg)
	}
	// A file that can't be parsed says nothing about the rest.
	var elsewhere []Mistake // in files that the config names
	if !d.unreadable {
		for _, m := range cfg.check(forms) {
			if m.Line > 0 {
				elsewhere = append(elsewhere, m)
				continue
			}
			if d.reported(m.Key) {
				continue
			}
			if e, ok := d.expanded[m.Key]; ok {
				m.Problem = strings.ReplaceAll(m.Problem, strconv.Quote(e.value), strconv.Quote(e.raw))
			}
			d.add(d.find(m.Key), m)
		}
	}
	if len(d.mistakes)+len(elsewhere) > 0 {
		slices.SortStableFunc(d.mistakes, func(a, b Mistake) int {
			if a.Line != b.Line {
				return a.Line - b.Line
			}
			return a.Column - b.Column
		})
		return nil, &Error{Mistakes: append(d.mistakes, elsewhere...)}
	}
	return cfg, nil
}

// parse returns the root of the file, or nil where it is empty or unreadable.
func (d *decoder) parse(text string) ast.Node {
	// Duplicate keys are reported by the decoder, along with everything else.
	file, err := parser.Parse(joinFlowScalars(lexer.Tokenize(text)), 0, parser.AllowDuplicateMapKey())
	if err != nil {
		d.unreadable = true
		var at position
		problem := err.Error()
		if syntax, ok := errors.AsType[yaml.Error](err); ok {
			problem = syntax.GetMessage()
			if tk := syntax.GetToken(); tk != nil {
				at = positionOf(tk)
			}
		}
		m := Mistake{Problem: "not valid YAML: " + problem}
		if strings.Contains(d.line(at), "\t") {
			m.Fix = "indent with spaces, YAML permits no tabs"
		}
		d.add(at, m)
		return nil
	}
	var body ast.Node
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if body != nil {
			d.add(positionOf(firstToken(doc.Body)), Mistake{Problem: "a second document begins here", Fix: "keep the config in one document, without ---"})
			break
		}
		body = doc.Body
	}
	return body
}

// YAML returns the effective config as a file, secrets masked.
func (c *Config) YAML() ([]byte, error) {
	b, err := yaml.MarshalWithOptions(c, yaml.Indent(2), yaml.IndentSequence(true))
	if err != nil {
		return nil, fmt.Errorf("print config: %w", err)
	}
	return b, nil
}

// JSON returns the effective config as JSON, secrets masked.
func (c *Config) JSON() ([]byte, error) {
	b, err := c.YAML()
	if err != nil {
		return nil, err
	}
	if b, err = yaml.YAMLToJSON(b); err != nil {
		return nil, fmt.Errorf("print config: %w", err)
	}
	return b, nil
}
