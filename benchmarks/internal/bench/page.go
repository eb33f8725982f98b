package bench

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Page is a page of results, in Markdown.
type Page struct{ bytes.Buffer }

// Line adds a line of text.
func (p *Page) Line(format string, args ...any) { fmt.Fprintf(p, format+"\n", args...) }

// Row adds a row of a table.
func (p *Page) Row(cells ...any) {
	for _, c := range cells {
		p.WriteString("| " + strings.ReplaceAll(fmt.Sprint(c), "|", "\\|") + " ")
	}
	p.WriteString("|\n")
}

// Table begins a table with these columns.
func (p *Page) Table(columns ...any) {
	p.WriteByte('\n')
	p.Row(columns...)
	p.Line("|%s", strings.Repeat("---|", len(columns)))
}

// Publish writes NAME.md into dir, and NAME.json beside it where there are data.
// Without a directory the page goes to stdout.
func (p *Page) Publish(dir, name string, data any, stdout io.Writer) error {
	if dir == "" {
		_, err := stdout.Write(p.Bytes())
		return err
	}
	if data != nil {
		js, err := json.MarshalIndent(data, "", "  ")
		if err != nil {
			return fmt.Errorf("results: %w", err)
		}
		if err := Save(dir, name+".json", append(js, '\n')); err != nil {
			return err
		}
	}
	return Save(dir, name+".md", p.Bytes())
}

// Save writes a file of results.
func Save(dir, name string, content []byte) error {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // a directory of the repository
		return fmt.Errorf("results: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil { //nolint:gosec // a file of the repository
		return fmt.Errorf("results: %w", err)
	}
	return nil
}
