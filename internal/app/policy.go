package app

import (
	"errors"
	"strconv"

	"github.com/plumbline-sec/plumbline/internal/config"
	"github.com/plumbline-sec/plumbline/pipeline/policy"
)

// PolicyOptions are those of the config.
func PolicyOptions(cfg *config.Config) policy.Options {
	return policy.Options{DefaultDeny: cfg.Policy.Default == config.PolicyDeny, Observe: cfg.Policy.Mode == config.PolicyObserve}
}

// Policies loads the policies of the config; nil where it names none.
func Policies(cfg *config.Config) (*policy.Set, error) {
	if len(cfg.Policy.Files) == 0 {
		return nil, nil //nolint:nilnil // no policies and no error
	}
	set, err := policy.Load(cfg.Policy.Files, PolicyOptions(cfg))
	return set, PolicyError(err)
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

// checkPolicy is what config asks about its policies.
func checkPolicy(cfg *config.Config) []config.Mistake {
	_, err := Policies(cfg)
	var mistakes *config.Error
	switch {
	case errors.As(err, &mistakes):
		for i := range mistakes.Mistakes {
			if m := &mistakes.Mistakes[i]; m.Line == 0 { // it stands in the config
				m.Problem, m.File = strconv.Quote(m.File)+" "+m.Problem, ""
			}
		}
		return mistakes.Mistakes
	case err != nil:
		return []config.Mistake{{Problem: err.Error(), Fix: "let the service read the file"}}
	}
	return nil
}
