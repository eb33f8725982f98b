// Package telemetry is how the service shows itself to its operators: the log,
// the metrics registry, and the admin server with metrics and health.
//
// Invariants:
//  1. Nothing here is global: each logger, registry and server is made by its
//     constructor and handed on.
//  2. The admin server answers while the rest is down; a health check that hangs
//     delays an answer by checkTimeout at most, and is never started twice at once.
//  3. Stop ends every goroutine that Start began. Stop without Start, and a second
//     Stop, do nothing.
//
// The package imports internal/config and libraries; it never imports a role.
package telemetry
