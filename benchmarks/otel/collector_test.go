package otel

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/exporter/kafkaexporter"
	"github.com/open-telemetry/opentelemetry-collector-contrib/processor/groupbytraceprocessor"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/provider/envprovider"
	"go.opentelemetry.io/collector/confmap/provider/yamlprovider"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/otelcol"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/batchprocessor"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	"go.opentelemetry.io/collector/service/telemetry/otelconftelemetry"
)

// exampleConfig is what users start from; the tests run exactly this file, with
// their own addresses.
const exampleConfig = "../../deploy/otel/collector.yaml"

// startCollector runs the Collector with the example config until the test ends.
// stop drains it.
func startCollector(t *testing.T, env map[string]string, encoding string) (stop func()) {
	t.Helper()
	text, err := os.ReadFile(exampleConfig)
	require.NoError(t, err)
	for k, v := range env {
		t.Setenv(k, v)
	}
	uris := []string{"yaml:" + string(text)}
	for _, signal := range []string{"traces", "logs"} {
		uris = append(uris, fmt.Sprintf("yaml:exporters::kafka::%s::encoding: %s", signal, encoding))
	}
	uris = append(uris, "yaml:service::telemetry::metrics::level: none", "yaml:service::telemetry::logs::level: warn")
	c, err := otelcol.NewCollector(otelcol.CollectorSettings{
		BuildInfo: component.BuildInfo{Command: "otelcol", Version: "test"},
		Factories: factories,
		ConfigProviderSettings: otelcol.ConfigProviderSettings{ResolverSettings: confmap.ResolverSettings{
			URIs:              uris,
			ProviderFactories: []confmap.ProviderFactory{yamlprovider.NewFactory(), envprovider.NewFactory()},
			DefaultScheme:     "env",
		}},
		DisableGracefulShutdown: true,
	})
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

func factories() (otelcol.Factories, error) {
	var f otelcol.Factories
	var err error
	if f.Receivers, err = otelcol.MakeFactoryMap[receiver.Factory](otlpreceiver.NewFactory()); err != nil {
		return f, err
	}
	if f.Processors, err = otelcol.MakeFactoryMap[processor.Factory](batchprocessor.NewFactory(), groupbytraceprocessor.NewFactory()); err != nil {
		return f, err
	}
	f.Exporters, err = otelcol.MakeFactoryMap[exporter.Factory](kafkaexporter.NewFactory())
	f.Telemetry = otelconftelemetry.NewFactory()
	return f, err
}
