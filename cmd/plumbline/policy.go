package main

import (
	"errors"
	"fmt"

	"github.com/plumbline-sec/plumbline/internal/app"
	"github.com/plumbline-sec/plumbline/internal/config"
	"github.com/plumbline-sec/plumbline/pipeline/policy"
)

// policyCmd is `plumbline policy`.
type policyCmd struct {
	Check   policyCheckCmd   `cmd:"" help:"Name every mistake of policy files, each with its line and what to write instead."`
	Test    policyTestCmd    `cmd:"" help:"Run cases against policies: events, and what is expected to be decided."`
	Suggest policySuggestCmd `cmd:"" help:"Suggest policies of least privilege from what was observed, to be reviewed."`
	Unused  policyUnusedCmd  `cmd:"" help:"List the policies that applied to nothing that was observed."`
}

// policyCheckCmd is `plumbline policy check`.
type policyCheckCmd struct {
	Files  []string `arg:"" optional:"" name:"file" help:"Policy files or patterns of their names. Without any: those of the config, policy.files."`
	Schema bool     `help:"Print the Cedar schema that policies are checked against, and nothing else."`
	Output Output   `enum:"text,json" default:"text" help:"Form of the result: text or json."`
}

// Help is the long help.
func (c *policyCheckCmd) Help() string {
	return `Reads the files as one set, as the service does: syntax, the schema (every attribute and its type, whatever may be absent), annotations, ids, and words that a field never is. docs/policy.md explains how policies are written.

Exit codes: 0 they are good, 2 a file has a mistake.

Examples:
  plumbline policy check 'deploy/policies/*.cedar'
  plumbline policy check --config plumbline.yaml
  plumbline policy check --schema > plumbline.cedarschema`
}

// policyCheck is the result of `policy check`.
type policyCheck struct {
	OK       bool              `json:"ok"`
	Files    []string          `json:"files,omitempty"`
	Policies int               `json:"policies"`
	Hash     string            `json:"policy_hash,omitempty"`
	Mistakes []*policy.Mistake `json:"mistakes,omitempty"`
}

// Run checks.
func (c *policyCheckCmd) Run(g *Globals) error {
	if c.Schema {
		_, err := fmt.Fprint(g.Stdout, policy.Schema)
		return err
	}
	files, opt, err := g.policies(c.Files)
	if err != nil {
		return err
	}
	set, err := policy.Load(files, opt)
	var mistakes *policy.Error
	switch {
	case c.Output == OutputJSON && (err == nil || errors.As(err, &mistakes)):
		r := policyCheck{OK: err == nil, Files: files}
		if err == nil {
			r.Policies, r.Hash = set.Len(), set.Hash()
			return g.printJSON(r)
		}
		r.Mistakes = mistakes.Mistakes
		if err := g.printJSON(r); err != nil {
			return err
		}
		return usageError{fmt.Errorf("%s in the policies", counted(int64(len(r.Mistakes)), "mistake"))}
	case err != nil:
		return asUsage(app.PolicyError(err))
	}
	fmt.Fprintf(g.Stdout, "good: %s, policies: %d, policy_hash: %s\n", counted(int64(len(files)), "file"), set.Len(), set.Hash())
	return nil
}

// policies returns the files that are named, or those of the config, and the options of
// the config.
func (g *Globals) policies(named []string) ([]string, policy.Options, error) {
	opt := policy.Options{}
	if g.ConfigFile == "" && len(named) > 0 {
		files, err := policy.Files(named)
		return files, opt, asUsage(err)
	}
	load := config.Load
	if len(named) > 0 { // those of the config don't matter
		load = func(path string, forms config.Forms) (*config.Config, error) {
			forms.CheckPolicy = nil
			return config.Load(path, forms)
		}
	}
	cfg, err := load(g.ConfigFile, app.Forms())
	if err != nil {
		return nil, opt, asUsage(err)
	}
	if len(named) == 0 {
		if named = cfg.Policy.Files; len(named) == 0 {
			return nil, opt, usageError{errors.New("the config names no policy.files: name files of policies here, or write policy: {files: [policies/*.cedar]} into it")}
		}
	}
	files, err := policy.Files(named)
	return files, app.PolicyOptions(cfg), asUsage(err)
}

// asUsage makes an error one of usage, unless it is one of the config, which says so.
func asUsage(err error) error {
	var mistakes *config.Error
	if err == nil || errors.As(err, &mistakes) {
		return err
	}
	return usageError{err}
}
