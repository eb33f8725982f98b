// Package otel proves the way of OpenTelemetry with the real parts: the
// OpenTelemetry Go SDK sends spans and log records over OTLP to an OpenTelemetry
// Collector, whose Kafka exporter writes them to a broker, where `plumbline run`
// reads them.
//
// It is a module of its own, so that Plumbline does not depend on a collector.
package otel
