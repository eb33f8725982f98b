package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/plumbline-sec/plumbline/internal/config"
)

// healthCmd is `plumbline health`: for container images, which have no other program
// that could ask.
type healthCmd struct {
	Admin string `placeholder:"HOST:PORT" help:"Admin address of the service, in the place of admin.listen; the config is then not read."`
	Live  bool   `help:"Ask whether a restart would help (/healthz), in the place of whether the work is done (/readyz)."`
}

// Help is the long help.
func (c *healthCmd) Help() string {
	return `Asks the service that runs on this machine with the same config, at admin.listen, and prints its answer. Exit code 1: it says no, or does not answer.

A probe asks with --admin: a mistake in the config's file is no fault of the service, which goes on with the config before.`
}

// healthPatience is longer than the service takes for its slowest check.
const healthPatience = 3 * time.Second

// Run asks.
func (c *healthCmd) Run(ctx context.Context, g *Globals) error {
	addr := c.Admin
	if addr == "" {
		cfg, err := g.Load()
		if err != nil {
			return err
		}
		if addr = cfg.Admin.Listen; addr == config.NoListen {
			return usageError{errors.New("admin.listen is none: the service does not say how it is")}
		}
	}
	page := "/readyz"
	if c.Live {
		page = "/healthz"
	}
	ctx, cancel := context.WithTimeout(ctx, healthPatience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+page, http.NoBody)
	if err != nil {
		return fmt.Errorf("ask %s: %w", addr, err)
	}
	req.Host = "localhost"                                                      // where it listens on every interface, it is asked over loopback
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // no proxy: it is this machine
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("no service answers: %w", err)
	}
	err = g.printVisible(func(w io.Writer) error {
		_, err := io.Copy(w, io.LimitReader(resp.Body, 64<<10))
		return err
	})
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return errSilent
	}
	return nil
}
