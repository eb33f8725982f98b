package main

import (
	"context"
	"fmt"

	"github.com/plumbline-sec/plumbline/internal/embedded"
)

// setupCmd is `plumbline setup`.
type setupCmd struct {
	CacheDir string `placeholder:"DIR" help:"Where to keep the engine. Without it $PLUMBLINE_CACHE, else the user's cache directory."`
	Output   Output `enum:"text,json" default:"text" help:"Form of the result: text or json."`
}

// Help is the long help.
func (c *setupCmd) Help() string {
	return `The embedded ClickHouse is fetched once (about 180 MB), with npm and its configuration (registry, proxy, credentials), and checked against the checksum in this program. A service that uses a ClickHouse server (clickhouse.addr) does not need it.`
}

// Run installs the engine where it is missing.
func (c *setupCmd) Run(ctx context.Context, g *Globals) error {
	path, err := embedded.InstallClickHouse(ctx, c.CacheDir, g.Stderr)
	if err != nil {
		return err
	}
	if c.Output == OutputJSON {
		return g.printJSON(map[string]string{"engine": path})
	}
	fmt.Fprintf(g.Stdout, "the embedded ClickHouse engine is in %s\n", path)
	return nil
}
