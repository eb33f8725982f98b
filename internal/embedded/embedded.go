// Package embedded is the embedded Kafka and ClickHouse as the product sees them, and
// the place where they are left out: a program built with the tag noembedded is the
// server build, which holds neither the broker nor the code around the engine. What it
// is asked of them then ends with ErrNotIncluded.
//
// The packages below it do the work. The product imports broker and chdb through this
// one only, which the linter watches; claim and browser are in both builds.
package embedded

import (
	"context"
	"errors"
	"io"

	"github.com/rs/zerolog"
)

// ErrNotIncluded says that this is the server build.
var ErrNotIncluded = errors.New("this is the server build, which has no embedded Kafka and ClickHouse: " +
	"name yours in kafka.brokers and clickhouse.addr, or use the full build (`make build`)")

// Kafka is a running broker.
type Kafka interface {
	Addr() string // host:port that clients connect to
	Stop() error
}

// ClickHouse is a running engine.
type ClickHouse interface {
	Addr() string  // host:port that clients connect to
	Health() error // nil while it serves
	Restarts() int64
	FailedStarts() int64
	Stop(ctx context.Context) error
}

// ClickHouseConfig says how to run the engine; chdb.Config describes the fields.
type ClickHouseConfig struct {
	DataDir, Listen          string
	Private, KeepTrying      bool
	Database, ReaderPassword string
	Logger                   zerolog.Logger
}

// ChildConfig says what the engine's own process serves.
type ChildConfig struct {
	DataDir, Lib string
	Stdin        io.Reader
	Logger       zerolog.Logger
}
