package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/alecthomas/kong"

	"github.com/plumbline-sec/plumbline/internal/embedded"
)

// version is set by the linker (-X main.version=...); empty: the build info has it.
var version string

type versionCmd struct {
	Output Output `enum:"text,json" default:"text" help:"Form of the result: text or json."`
}

// buildVersion is the result of `version`.
type buildVersion struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Modified bool   `json:"modified,omitempty"` // built from a tree with uncommitted changes
	Go       string `json:"go"`
	Platform string `json:"platform"`
	Build    string `json:"build"` // full, or server: without the embedded stack
}

// Version returns what this program is: a release, a commit, or "dev".
func Version() string { return readVersion().Version }

func readVersion() buildVersion {
	v := buildVersion{Version: version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, Build: embedded.Build}
	if info, ok := debug.ReadBuildInfo(); ok {
		if v.Version == "" && info.Main.Version != "(devel)" {
			v.Version = info.Main.Version
		}
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				v.Commit = s.Value
			case "vcs.modified":
				v.Modified = s.Value == "true"
			}
		}
	}
	if v.Version == "" {
		v.Version = "dev"
	}
	return v
}

// Run prints the version.
func (c *versionCmd) Run(g *Globals) error {
	if c.Output == OutputJSON {
		return g.printJSON(readVersion())
	}
	return printVersion(g.Stdout)
}

// versionFlag is --version, which scripts try first.
type versionFlag bool

// BeforeReset prints the version in the place of running a command.
func (versionFlag) BeforeReset(app *kong.Kong) error {
	defer app.Exit(exitGood)
	return printVersion(app.Stdout)
}

func printVersion(w io.Writer) error {
	v := readVersion()
	commit := ""
	if v.Commit != "" {
		commit = ", commit " + v.Commit
		if v.Modified {
			commit += " with changes"
		}
	}
	if _, err := fmt.Fprintf(w, "plumbline %s (%s %s, %s build%s)\n", v.Version, v.Go, v.Platform, v.Build, commit); err != nil {
		return fmt.Errorf("print the version: %w", err)
	}
	return nil
}
