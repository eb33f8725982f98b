package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/plumbline-sec/plumbline/internal/config"
	"github.com/plumbline-sec/plumbline/pipeline/terminal"
)

// configCmd is `plumbline config`.
type configCmd struct {
	Validate configValidateCmd `cmd:"" help:"Name every mistake of the config, each with its line and what to write instead."`
	Test     configTestCmd     `cmd:"" help:"Run cases against the config: events, and the alerts or the silence expected of them."`
	Print    configPrintCmd    `cmd:"" help:"Print the config that is in force: defaults included, secrets masked."`
}

// named takes a config that was named without --config.
func (g *Globals) named(file string) error {
	if file == "" {
		return nil
	}
	if g.ConfigFile != "" && g.ConfigFile != file {
		return usageError{errors.New("two configs are named, " + g.ConfigFile + " and " + file)}
	}
	g.ConfigFile = file
	return nil
}

type configValidateCmd struct {
	File   string `arg:"" optional:"" help:"The config, as --config names it."`
	Output Output `enum:"text,json" default:"text" help:"Form of the result: text or json."`
}

// validation is the result of `config validate`.
type validation struct {
	OK       bool             `json:"ok"`
	File     string           `json:"file,omitempty"`
	Hash     string           `json:"config_hash,omitempty"`
	Mistakes []config.Mistake `json:"mistakes,omitempty"`
}

// Run validates.
func (c *configValidateCmd) Run(g *Globals) error {
	if err := g.named(c.File); err != nil {
		return err
	}
	cfg, err := g.Load()
	if c.Output == OutputJSON {
		return c.json(g, cfg, err)
	}
	if err != nil {
		return err
	}
	what := g.ConfigFile
	if what == "" {
		what = "the default config"
	}
	fmt.Fprintf(g.Stdout, "%s is valid (config_hash %s)\n", terminal.Escape(what), cfg.Hash())
	return nil
}

func (c *configValidateCmd) json(g *Globals, cfg *config.Config, err error) error {
	v := validation{OK: err == nil, File: g.ConfigFile}
	if err == nil {
		v.Hash = cfg.Hash()
		return g.printJSON(v)
	}
	var mistakes *config.Error
	if !errors.As(err, &mistakes) {
		return err
	}
	v.Mistakes = mistakes.Mistakes
	if perr := g.printJSON(v); perr != nil {
		return perr
	}
	return usageError{fmt.Errorf("%s has %d mistakes", g.ConfigFile, len(v.Mistakes))}
}

type configPrintCmd struct {
	File   string `arg:"" optional:"" help:"The config, as --config names it."`
	Output Output `enum:"text,json" default:"text" help:"Form of the result: text (YAML) or json."`
}

// Run prints.
func (c *configPrintCmd) Run(g *Globals) error {
	if err := g.named(c.File); err != nil {
		return err
	}
	cfg, err := g.Load()
	if err != nil {
		return err
	}
	out, err := cfg.YAML()
	if c.Output == OutputJSON {
		out, err = cfg.JSON()
	}
	if err != nil {
		return err
	}
	return g.printVisible(func(w io.Writer) error {
		if _, err := w.Write(out); err != nil {
			return fmt.Errorf("print config: %w", err)
		}
		return nil
	})
}
