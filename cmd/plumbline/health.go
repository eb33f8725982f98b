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
	Live bool `help:"Ask whether a restart would help (/healthz), in the place of whether the work is done (/readyz)."`
}

// Help is the long help.
func (c *healthCmd) Help() string {
	return `Asks the service that runs on this machine with the same config, at admin.listen, and prints its answer. Exit code 1: it says no, or does not answer.`
}

// healthPatience is longer than the service takes for its slowest check.
const healthPatience = 3 * time.Second

// Run asks.
func (c *healthCmd) Run(ctx context.Context, g *Globals) error {
	cfg, err := g.Load()
	if err != nil {
		return err
	}
	if cfg.Admin.Listen == config.NoListen {
		return usageError{errors.New("admin.listen is none: the service does not say how it is")}
	}
	page := "/readyz"
	if c.Live {
		page = "/healthz"
	}
	ctx, cancel := context.WithTimeout(ctx, healthPatience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+cfg.Admin.Listen+page, http.NoBody)
	if err != nil {
		return fmt.Errorf("ask %s: %w", cfg.Admin.Listen, err)
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
