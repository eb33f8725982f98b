package otel

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/otelcol"
)

// exampleConfig is what users start from; the tests run exactly this file, with
// their own addresses.
const exampleConfig = "../../deploy/otel/collector.yaml"

// startCollector runs the Collector with the example config until the test ends.
// stop drains it.
func startCollector(t *testing.T, env map[string]string, encoding string) (stop func()) {
	t.Helper()
	for k, v := range env {
		t.Setenv(k, v)
	}
	uris := []string{"file:" + exampleConfig}
	for _, signal := range []string{"traces", "logs"} {
		uris = append(uris, fmt.Sprintf("yaml:exporters::kafka::%s::encoding: %s", signal, encoding))
	}
	uris = append(uris, "yaml:service::telemetry::metrics::level: none", "yaml:service::telemetry::logs::level: warn")
	settings := Settings(uris...)
	settings.DisableGracefulShutdown = true // the test's signals are not the Collector's
	c, err := otelcol.NewCollector(settings)
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- c.Run(context.Background()) }() // ends with Shutdown
	require.Eventually(t, func() bool {
		select {
		case err := <-done:
			t.Fatalf("the collector ended: %v", err)
		default:
		}
		return c.GetState() == otelcol.StateRunning
	}, 30*time.Second, 20*time.Millisecond)
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		c.Shutdown()
		require.NoError(t, <-done)
	}
	t.Cleanup(stop)
	return stop
}
