//go:build !noembedded

package embedded

import (
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/rs/zerolog"

	"github.com/plumbline-sec/plumbline/internal/embedded/broker"
	"github.com/plumbline-sec/plumbline/internal/embedded/broker/datadir"
	"github.com/plumbline-sec/plumbline/internal/embedded/chdb"
)

// What this build is.
const (
	Build = "full"
	About = "Without a config, Kafka and ClickHouse are embedded, listen on loopback and keep their data in ./plumbline-data."
)

// Included returns ErrNotIncluded in the server build.
func Included() error { return nil }

// StartKafka runs a broker on the data in dir.
func StartKafka(dir, listen string, logger zerolog.Logger) (Kafka, error) {
	b, err := broker.Start(broker.Config{DataDir: dir, Listen: listen, Logger: logger})
	if err != nil {
		return nil, err
	}
	return b, nil
}

// StartClickHouse runs the installed engine in a child process.
func StartClickHouse(ctx context.Context, cfg ClickHouseConfig) (ClickHouse, error) {
	lib, err := chdb.Path("")
	if err != nil {
		return nil, err
	}
	cfg.Logger.Info().Msg("starting the embedded ClickHouse")
	s, err := chdb.Start(ctx, chdb.Config{
		DataDir: cfg.DataDir, Listen: cfg.Listen, Lib: lib, Private: cfg.Private, KeepTrying: cfg.KeepTrying,
		Database: cfg.Database, ReaderPassword: cfg.ReaderPassword, Logger: cfg.Logger,
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// InstallClickHouse gets the engine where it is missing, and returns where it is.
func InstallClickHouse(ctx context.Context, cacheDir string, progress io.Writer) (string, error) {
	return chdb.Install(ctx, chdb.InstallOptions{CacheDir: cacheDir, Progress: progress})
}

// ServeClickHouse is the engine's own process, until its parent goes away.
func ServeClickHouse(ctx context.Context, cfg ChildConfig) error {
	return chdb.ServeMain(ctx, chdb.ChildConfig(cfg))
}

// FromClickHouse reports whether an embedded engine sent an answer.
func FromClickHouse(resp *http.Response) bool { return resp.Header.Get("Server") == chdb.ServerName }

// IsSetup reports whether the operator must change something before the stack can start.
func IsSetup(err error) bool {
	var file *datadir.FileError
	return errors.As(err, &file) || errors.Is(err, chdb.ErrMissing) || errors.Is(err, chdb.ErrUnsupported)
}
