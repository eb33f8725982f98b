package app

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/plumbline-sec/plumbline/internal/config"
	"github.com/plumbline-sec/plumbline/pipeline/detect"
	"github.com/plumbline-sec/plumbline/pipeline/policy"
)

// PolicyOptions are those of the config.
func PolicyOptions(cfg *config.Config) policy.Options {
	return policy.Options{DefaultDeny: cfg.Policy.Default == config.PolicyDeny, Observe: cfg.Policy.Mode == config.PolicyObserve}
}

// policySet is the policies of a config that was checked.
func policySet(cfg *config.Config) *policy.Set {
	if set, ok := cfg.Policy.Set.(*policy.Set); ok {
		return set
	}
	return policy.None()
}

// PolicyError shows what is wrong in policy files as what is wrong in a config is shown.
func PolicyError(err error) error {
	var in *policy.Error
	if !errors.As(err, &in) {
		return err
	}
	out := &config.Error{}
	for _, m := range in.Mistakes {
		problem := m.Problem
		if m.Policy != "" {
			problem = "policy " + m.Policy + ": " + problem
		}
		out.Mistakes = append(out.Mistakes, config.Mistake{File: m.File, Line: m.Line, Column: m.Column, Problem: problem, Fix: m.Fix, Source: m.Source})
	}
	return out
}

// readPolicies is what config asks about its policies.
func readPolicies(cfg *config.Config) (config.PolicySet, []config.Mistake) {
	set, err := policy.Load(cfg.Policy.Files, PolicyOptions(cfg))
	err = PolicyError(err)
	var mistakes *config.Error
	switch {
	case errors.As(err, &mistakes):
		for i := range mistakes.Mistakes {
			if m := &mistakes.Mistakes[i]; m.Line == 0 { // it stands in the config
				m.Problem, m.File = strconv.Quote(m.File)+" "+m.Problem, ""
			}
		}
		return nil, mistakes.Mistakes
	case err != nil:
		return nil, []config.Mistake{{Problem: err.Error(), Fix: "let the service read the file"}}
	case len(set.Packed()) > detect.MaxPolicies:
		return nil, []config.Mistake{{
			Problem: fmt.Sprintf("the policies take %d bytes compressed, and the state has room for %d", len(set.Packed()), detect.MaxPolicies),
			Fix:     "let one policy stand for several: of a group, or with a list of tools",
		}}
	case len(set.Packed()) == 0:
		return nil, nil
	}
	return set, nil
}
