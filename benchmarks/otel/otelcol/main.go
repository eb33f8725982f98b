// Otelcol is an OpenTelemetry Collector with the parts that
// deploy/otel/collector.yaml uses, for whoever has none at hand.
package main

import (
	"os"

	"go.opentelemetry.io/collector/otelcol"

	"github.com/plumbline-sec/plumbline/benchmarks/otel"
)

func main() {
	if err := otelcol.NewCommand(otel.Settings()).Execute(); err != nil {
		os.Exit(1) //nolint:forbidigo // the command of a module of its own
	}
}
