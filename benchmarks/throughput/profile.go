package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
)

// profile is the top of a CPU profile, in two orders, as `go tool pprof` prints it.
type profile struct {
	Name string `json:"name"`
	Top  string `json:"top"`            // by the time in the functions themselves
	Cum  string `json:"top_cumulative"` // and in what they call
}

// addProfile puts the top of a CPU profile on the page: of the samples with a function
// on their stack that focus matches.
func (p *page) addProfile(ctx context.Context, name, path, focus string) error {
	top := func(order string) (string, error) {
		args := []string{"tool", "pprof", "-top", order, "-relative_percentages", "-nodecount=25", "-focus=" + focus, path}
		out, err := exec.CommandContext(ctx, "go", args...).Output() //nolint:gosec // a file that this program wrote
		return string(out), err
	}
	flat, err1 := top("-flat")
	cum, err2 := top("-cum")
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	p.Profiles = append(p.Profiles, profile{name, flat, cum})
	return nil
}
