package main

import (
	"cmp"
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
	Reload   configReloadCmd   `cmd:"" help:"Have the running service read its config file again."`
	Diff     configDiffCmd     `cmd:"" help:"Say in which keys two configs differ, and what each change does."`
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

type configDiffCmd struct {
	Old    string `arg:"" help:"The config in force."`
	New    string `arg:"" help:"The candidate."`
	Output Output `enum:"text,json" default:"text" help:"Form of the result: text or json."`
}

// Help is the long help.
func (c *configDiffCmd) Help() string {
	return `Compares what is in force: defaults count as if they were written out, and comments and the order of keys not at all. A line says what a change does: "verdicts", the same events may be judged differently (config_hash changes); "restart", only a service that starts anew takes it over. What such a change would have done is what plumbline backtest shows.

Exit codes: 0 they are equal, 1 they differ, 2 one of them has a mistake.

Example:
  plumbline config diff plumbline.yaml stricter.yaml`
}

// configDiff is the result of `config diff`.
type configDiff struct {
	OldHash string          `json:"old_config_hash"`
	NewHash string          `json:"new_config_hash"`
	Changes []config.Change `json:"changes"`
}

// Run compares.
func (c *configDiffCmd) Run(g *Globals) error {
	if g.ConfigFile != "" {
		return usageError{errors.New("--config is not read here: name the two files")}
	}
	var both [2]*config.Config
	for i, file := range []string{c.Old, c.New} {
		cfg, err := (&Globals{ConfigFile: file}).Load()
		if err != nil {
			return err
		}
		both[i] = cfg
	}
	d := configDiff{OldHash: both[0].Hash(), NewHash: both[1].Hash(), Changes: config.Diff(both[0], both[1])}
	err := c.print(g, &d)
	if err == nil && len(d.Changes) > 0 {
		err = errSilent
	}
	return err
}

func (c *configDiffCmd) print(g *Globals, d *configDiff) error {
	if c.Output == OutputJSON {
		d.Changes = append([]config.Change{}, d.Changes...) // an empty list, not null
		return g.printJSON(d)
	}
	if len(d.Changes) == 0 {
		fmt.Fprintf(g.Stdout, "equal (config_hash %s)\n", d.OldHash)
		return nil
	}
	return g.printVisible(func(w io.Writer) error {
		for _, change := range d.Changes {
			fmt.Fprintln(w, changeText(change))
		}
		_, err := fmt.Fprintf(w, "config_hash %s -> %s\n", d.OldHash, d.NewHash)
		return err
	})
}

// changeText is a change on a line.
func changeText(c config.Change) string {
	said := terminal.Escape(c.Key) + ": " + cmp.Or(terminal.Escape(c.Old), "none") + " -> " + cmp.Or(terminal.Escape(c.New), "none")
	if c.Old == c.New {
		said += " (another one)"
	}
	if c.Verdicts {
		said += " [verdicts]"
	}
	if c.Restart {
		said += " [restart]"
	}
	return said
}
