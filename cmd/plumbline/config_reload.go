package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/plumbline-sec/plumbline/internal/app"
	"github.com/plumbline-sec/plumbline/internal/config"
	"github.com/plumbline-sec/plumbline/pipeline/terminal"
)

type configReloadCmd struct {
	File   string `arg:"" optional:"" help:"The config, as --config names it."`
	Admin  string `placeholder:"HOST:PORT" help:"Admin address of the service, in the place of admin.listen."`
	Output Output `enum:"text,json" default:"text" help:"Form of the result: text or json."`
}

// Help is the long help.
func (c *configReloadCmd) Help() string {
	return `Asks the service at admin.listen to read its own config file again, and says what that did: which changes are in force, and which need a restart. A config with a mistake changes nothing. What decides about verdicts takes effect partition by partition, each at a checkpoint that is made at once; the service's log names the offset, and so does plumbline state show.

Exit codes: 0 what differs is in force, or needs a restart as said; 1 the service refused its file or does not answer; 2 the file that was named has a mistake.

Examples:
  plumbline config reload --config /etc/plumbline.yaml
  plumbline config reload --admin 10.0.0.7:9600`
}

// reloadPatience is how long a service may take to read its file.
const reloadPatience = 30 * time.Second

// Run asks the service.
func (c *configReloadCmd) Run(ctx context.Context, g *Globals) error {
	if err := g.named(c.File); err != nil {
		return err
	}
	addr := c.Admin
	if addr == "" {
		cfg, err := g.Load()
		if err != nil {
			return err
		}
		if addr = cfg.Admin.Listen; addr == config.NoListen {
			return usageError{errors.New("admin.listen is none: send SIGHUP to the service, or change the file, which it watches")}
		}
	}
	out, err := askReload(ctx, addr)
	if err != nil {
		return fmt.Errorf("%w; a service that is started has read its file", err)
	}
	if c.Output == OutputJSON {
		err = g.printJSON(out)
	} else {
		err = g.printVisible(func(w io.Writer) error { return printReloaded(w, out) })
	}
	if err == nil && out.Result == app.ReloadRefused {
		err = errSilent
	}
	return err
}

func askReload(ctx context.Context, addr string) (out app.Reloaded, err error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return out, usageError{fmt.Errorf("admin address: %w", err)}
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost" // it listens everywhere
	}
	ctx, cancel := context.WithTimeout(ctx, reloadPatience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+net.JoinHostPort(host, port)+"/-/reload", nil)
	if err != nil {
		return out, usageError{err}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return out, fmt.Errorf("the service does not answer: %w", err)
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	body, err := io.ReadAll(io.LimitReader(resp.Body, 8<<20))
	if err == nil && resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusUnprocessableEntity {
		err = fmt.Errorf("%s: %.200s", resp.Status, body)
	}
	if err == nil {
		err = json.Unmarshal(body, &out)
	}
	if err != nil {
		return out, fmt.Errorf("the answer of %s: %w", addr, err)
	}
	return out, nil
}

func printReloaded(w io.Writer, r app.Reloaded) error {
	file := terminal.Escape(r.File)
	switch r.Result {
	case app.ReloadRefused:
		fmt.Fprintf(w, "refused: the config before stays in force (config_hash %s)\n", r.Hash)
		for _, m := range r.Mistakes {
			fmt.Fprintln(w, m.Error())
		}
		if r.Error != "" {
			fmt.Fprintln(w, terminal.Escape(r.Error))
		}
	case app.ReloadUnchanged:
		fmt.Fprintf(w, "%s: nothing differs that can change without a restart (config_hash %s)\n", file, r.Hash)
	default:
		fmt.Fprintf(w, "%s: reloaded, config_hash %s -> %s; each partition goes over to it at a checkpoint of its own\n", file, r.Before, r.Hash)
	}
	for _, change := range r.Applied {
		fmt.Fprintln(w, "  "+changeText(change))
	}
	var err error
	for _, change := range r.Restart {
		_, err = fmt.Fprintln(w, "  "+changeText(change))
	}
	return err
}
