package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/plumbline-sec/plumbline/internal/demo"
)

// question is a query, where it stands and what is asked there.
type question struct{ place, title, sql string }

var (
	// block is a fenced block of SQL, with whatever indents it.
	block = regexp.MustCompile("(?s)```sql\n(.*?)```")
	// command is `plumbline query "..."`, in a shell's double quotes.
	command = regexp.MustCompile(`plumbline query[^"\n]*"((?:SELECT|WITH)[^"]*)"`)
	// request is a query over HTTP.
	request = regexp.MustCompile(`curl '[^']*' --data-binary '(SELECT.*)'\n`)
	// heading is one of a page.
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	format  = regexp.MustCompile(` FORMAT \w+\s*$`)
)

// documented returns the queries of all pages and of the help of the commands in the
// repository at root, and those that the demo proposes, each once.
func documented(root string) ([]question, error) {
	var out []question
	seen := make(map[string]bool)
	add := func(q question) {
		q.sql = strings.TrimSpace(format.ReplaceAllString(q.sql, ""))
		if !seen[q.sql] {
			seen[q.sql] = true
			out = append(out, q)
		}
	}
	files, err := pages(root)
	if err != nil {
		return nil, err
	}
	for _, name := range files {
		b, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return nil, fmt.Errorf("read a page: %w", err)
		}
		for _, q := range queriesOf(name, string(b)) {
			add(q)
		}
	}
	for _, q := range (&demo.Summary{Found: []demo.Finding{{AgentID: exampleAgent}}}).Queries("plumbline") {
		if q.SQL == "" {
			continue
		}
		add(question{"internal/demo", q.What, q.SQL})
	}
	return out, nil
}

// pages are the files of the repository that show queries, docs/clickhouse.md first.
func pages(root string) ([]string, error) {
	const first = "docs/clickhouse.md"
	out := []string{first, "README.md"}
	for _, dir := range []string{"docs", "deploy", "cmd/plumbline"} {
		err := fs.WalkDir(os.DirFS(root), dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && path != first && d.Type().IsRegular() && !strings.HasSuffix(path, "_test.go") {
				out = append(out, path)
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("find the pages: %w", err)
		}
	}
	return out, nil
}

// queriesOf finds the queries of one page, in its order.
func queriesOf(name, text string) []question {
	type place struct {
		at  int
		sql string
	}
	var found []place
	for _, form := range []*regexp.Regexp{block, command, request} {
		for _, m := range form.FindAllStringSubmatchIndex(text, -1) {
			found = append(found, place{m[2], text[m[2]:m[3]]})
		}
	}
	slices.SortFunc(found, func(a, b place) int { return a.at - b.at })
	var out []question
	for _, f := range found {
		title := ""
		if strings.HasSuffix(name, ".md") {
			for _, h := range heading.FindAllStringSubmatchIndex(text[:f.at], -1) {
				title = text[h[2]:h[3]]
			}
		}
		out = append(out, question{name, title, f.sql})
	}
	return out
}
