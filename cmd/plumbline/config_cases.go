package main

import (
	"cmp"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/plumbline-sec/plumbline/internal/app"
	"github.com/plumbline-sec/plumbline/internal/scenario"
	"github.com/plumbline-sec/plumbline/pipeline/terminal"
)

// configTestCmd is `plumbline config test`.
type configTestCmd struct {
	Files  []string `arg:"" name:"file" help:"Files of cases, patterns of their names, or directories, of which each *.scenario is taken."`
	JUnit  string   `name:"junit" placeholder:"FILE" help:"Write the results here too, as JUnit XML."`
	Output Output   `enum:"text,json" default:"text" help:"Form of the result: text or json (one object a case)."`
}

// Help is the long help.
func (c *configTestCmd) Help() string {
	return `Runs cases through the detector with this config: events, and which alerts or which silence is expected of them. A case is text:

  case a mail to a stranger
  peers 6 in crm
  history 14d 12
  expect silence
  event agent=peer-3 tool=mail access=send resource=email:drop@evil.example sent=43200000
  expect alert status=open agent=peer-3 severity>=high
  expect only

docs/tuning.md explains each step. All agents of a case are in one partition. Exit code 1: an expectation did not hold; 2: a file or the config is wrong.

Examples:
  plumbline config test --config deploy/tuning.yaml deploy/tuning
  plumbline config test --config plumbline.yaml 'cases/*.scenario' --junit results.xml`
}

// caseResult is what a case came to.
type caseResult struct {
	File    string  `json:"file"`
	Line    int     `json:"line"` // of the case; where it failed, of the expectation
	Name    string  `json:"case"`
	Passed  bool    `json:"passed"`
	Problem string  `json:"problem,omitempty"`
	Alert   string  `json:"alert,omitempty"` // the sentence of the one that came
	Seconds float64 `json:"seconds"`
}

// Run tests.
func (c *configTestCmd) Run(ctx context.Context, g *Globals) error {
	cfg, err := g.Load()
	if err != nil {
		return err
	}
	files, err := caseFiles(c.Files)
	if err != nil {
		return usageError{err}
	}
	var cases []scenario.Case
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return usageError{err}
		}
		in, err := scenario.Read(file, string(text))
		if err != nil {
			return usageError{err}
		}
		for i := range in {
			if !in[i].Expects() {
				return usageError{&scenario.Mistake{File: file, Line: in[i].Line, Problem: "the case expects nothing: write `expect alert` or `expect silence`"}}
			}
		}
		cases = append(cases, in...)
	}
	opt := scenario.Options{Detector: app.DetectorConfig(cfg, Version())}
	var results []caseResult
	failed := 0
	for i := range cases {
		r, err := runCase(ctx, &cases[i], opt)
		if err != nil {
			return err
		}
		if !r.Passed {
			failed++
		}
		results = append(results, r)
		if err := printCase(g, c.Output, &r); err != nil {
			return err
		}
	}
	return finishCases(g, c.Output, c.JUnit, "plumbline config test", results, failed)
}

// finishCases writes what cases came to, and fails where one failed.
func finishCases(g *Globals, output Output, junit, suite string, results []caseResult, failed int) error {
	if junit != "" {
		if err := writeJUnit(junit, suite, results); err != nil {
			return usageError{fmt.Errorf("--junit: %w", err)}
		}
	}
	if output == OutputText {
		fmt.Fprintf(g.Stdout, "%d of %s passed\n", len(results)-failed, counted(int64(len(results)), "case"))
	}
	if failed > 0 {
		return errSilent
	}
	return nil
}

func runCase(ctx context.Context, one *scenario.Case, opt scenario.Options) (caseResult, error) {
	r := caseResult{File: one.File, Line: one.Line, Name: cmp.Or(one.Name, filepath.Base(one.File)), Passed: true}
	start := time.Now()
	_, err := one.Run(ctx, opt)
	r.Seconds = time.Since(start).Seconds()
	var (
		failure *scenario.Failure
		mistake *scenario.Mistake
	)
	switch {
	case errors.As(err, &failure):
		r.Passed, r.Line, r.Problem = false, failure.Line, failure.Problem
		if failure.Alert != nil {
			r.Alert = failure.Alert.Summary
		}
		return r, nil
	case errors.As(err, &mistake):
		return r, usageError{err}
	}
	return r, err
}

func printCase(g *Globals, output Output, r *caseResult) error {
	if output == OutputJSON {
		return g.printJSON(r)
	}
	return g.printVisible(func(w io.Writer) error {
		if r.Passed {
			_, err := fmt.Fprintf(w, "ok    %s: %s\n", terminal.Escape(r.File), terminal.Escape(r.Name))
			return err
		}
		_, err := fmt.Fprintf(w, "FAIL  %s:%d: %s\n      %s\n", terminal.Escape(r.File), r.Line, terminal.Escape(r.Name), terminal.Escape(r.Problem))
		if err == nil && r.Alert != "" {
			_, err = fmt.Fprintf(w, "      alert: %s\n", terminal.Escape(r.Alert))
		}
		return err
	})
}

// caseFiles are the files that arguments name, each once.
func caseFiles(args []string) ([]string, error) {
	var files []string
	for _, arg := range args {
		info, err := os.Stat(arg)
		switch {
		case err == nil && info.IsDir():
			before := len(files)
			err = filepath.WalkDir(arg, func(path string, d fs.DirEntry, err error) error {
				if err == nil && !d.IsDir() && filepath.Ext(path) == ".scenario" {
					files = append(files, path)
				}
				return err
			})
			if err == nil && len(files) == before {
				err = fmt.Errorf("no *.scenario is in directory %s", arg)
			}
			if err != nil {
				return nil, err
			}
		case err == nil:
			files = append(files, arg)
		default:
			found, err := filepath.Glob(arg)
			if err != nil {
				return nil, fmt.Errorf("pattern %s: %w", arg, err)
			}
			if len(found) == 0 {
				return nil, fmt.Errorf("no file is called %s, and none is like it", arg)
			}
			files = append(files, found...)
		}
	}
	var once []string
	for _, f := range files {
		if f = filepath.Clean(f); !slices.Contains(once, f) {
			once = append(once, f)
		}
	}
	return once, nil
}

// junitSuite is what CI systems read of test results.
type junitSuite struct {
	XMLName  xml.Name    `xml:"testsuite"`
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Class   string        `xml:"classname,attr"`
	Name    string        `xml:"name,attr"`
	Time    string        `xml:"time,attr"` // seconds
	Failure *junitFailure `xml:"failure"`
}

type junitFailure struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

func writeJUnit(file, suiteName string, results []caseResult) error {
	suite := junitSuite{Name: suiteName, Tests: len(results)}
	for _, r := range results {
		one := junitCase{Class: r.File, Name: r.Name, Time: fmt.Sprintf("%.3f", r.Seconds)}
		if !r.Passed {
			suite.Failures++
			one.Failure = &junitFailure{r.Problem, fmt.Sprintf("%s:%d: %s\n%s", r.File, r.Line, r.Problem, r.Alert)}
		}
		suite.Cases = append(suite.Cases, one)
	}
	b, err := xml.MarshalIndent(suite, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the results: %w", err)
	}
	return os.WriteFile(file, []byte(xml.Header+string(b)+"\n"), 0o600)
}
