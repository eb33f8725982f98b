package main

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/plumbline-sec/plumbline/internal/app"
	"github.com/plumbline-sec/plumbline/internal/config"
	"github.com/plumbline-sec/plumbline/internal/policycase"
	"github.com/plumbline-sec/plumbline/pipeline/policy"
)

// policyTestCmd is `plumbline policy test`.
type policyTestCmd struct {
	Files  []string `arg:"" name:"file" help:"Files of cases (YAML), or patterns of their names."`
	JUnit  string   `name:"junit" placeholder:"FILE" help:"Write the results here too, as JUnit XML."`
	Output Output   `enum:"text,json" default:"text" help:"Form of the result: text or json (one object a case)."`
}

// Help is the long help.
func (c *policyTestCmd) Help() string {
	return `Decides on events as the service does and compares with what is expected. A file names its policies, relative to itself, or is about those of the config:

  policies: [agents.cedar]
  default: deny
  cases:
    - name: a mail to a stranger
      registration: {owner: it, criticality: high}
      event: {tenant_id: acme, agent_id: crm-1, peer_group: crm, tool: mail.send, access: send, resources: ["email:x@evil.example"]}
      expect: deny
      by: [no-mail-outside]

expect is permit, deny or observe: the worst of the event's decisions, or that of resource. by are the ids of all policies that decide; [] is the default. risk is the severity of the agent's open episode. Exit code 1: an expectation did not hold; 2: a file, a policy or the config is wrong.

Examples:
  plumbline policy test 'deploy/policies/*.yaml'
  plumbline policy test --config plumbline.yaml cases.yaml --junit results.xml`
}

// Run tests.
func (c *policyTestCmd) Run(ctx context.Context, g *Globals) error {
	names, err := policy.Files(c.Files)
	if err != nil {
		return usageError{err}
	}
	var cfg *config.Config
	var results []caseResult
	failed := 0
	for _, name := range names {
		f, err := policycase.Read(name)
		if err != nil {
			return usageError{err}
		}
		if cfg == nil {
			if cfg, err = g.Load(); err != nil {
				return err
			}
		}
		set, err := c.set(cfg, f)
		if err != nil {
			return err
		}
		for i := range f.Cases {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			one, start := &f.Cases[i], time.Now()
			problem := one.Run(policy.NewEngine(set))
			r := caseResult{
				File: name, Line: one.Line, Name: cmp.Or(one.Name, filepath.Base(name)),
				Passed: problem == "", Problem: problem, Seconds: time.Since(start).Seconds(),
			}
			if !r.Passed {
				failed++
			}
			results = append(results, r)
			if err := printCase(g, c.Output, &r); err != nil {
				return err
			}
		}
	}
	return finishCases(g, c.Output, c.JUnit, "plumbline policy test", results, failed)
}

// set loads the policies of a file of cases.
func (c *policyTestCmd) set(cfg *config.Config, f *policycase.File) (*policy.Set, error) {
	opt := app.PolicyOptions(cfg)
	if f.Default != "" {
		opt.DefaultDeny = f.Default == policycase.Deny
	}
	files := f.Policies
	if files == nil {
		files = cfg.Policy.Files
	}
	if len(files) == 0 && !slices.ContainsFunc(f.Cases, func(one policycase.Case) bool { return one.Registration != nil }) {
		return nil, usageError{fmt.Errorf("%s names no policies, and the config has none: write policies: [%s]", f.Name, strings.TrimSuffix(filepath.Base(f.Name), filepath.Ext(f.Name))+".cedar")}
	}
	set, err := policy.Load(files, opt)
	return set, asUsage(app.PolicyError(err))
}
