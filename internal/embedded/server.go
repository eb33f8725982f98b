//go:build noembedded

package embedded

import (
	"context"
	"io"
	"net/http"

	"github.com/rs/zerolog"
)

// What this build is.
const (
	Build = "server"
	About = "This is the server build: Kafka and ClickHouse are those that the config names in kafka.brokers and clickhouse.addr; nothing is embedded."
)

// Included returns ErrNotIncluded in the server build.
func Included() error { return ErrNotIncluded }

// StartKafka is of the full build.
func StartKafka(string, string, zerolog.Logger) (Kafka, error) { return nil, ErrNotIncluded }

// StartClickHouse is of the full build.
func StartClickHouse(context.Context, ClickHouseConfig) (ClickHouse, error) {
	return nil, ErrNotIncluded
}

// InstallClickHouse is of the full build.
func InstallClickHouse(context.Context, string, io.Writer) (string, error) {
	return "", ErrNotIncluded
}

// ServeClickHouse is of the full build.
func ServeClickHouse(context.Context, ChildConfig) error { return ErrNotIncluded }

// FromClickHouse is of the full build.
func FromClickHouse(*http.Response) bool { return false }

// IsSetup reports whether the operator must change something before the stack can start.
func IsSetup(error) bool { return false }
