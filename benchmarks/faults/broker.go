package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/rs/zerolog"

	embedded "github.com/plumbline-sec/plumbline/pipeline/embedded/broker"
)

// broker is the Kafka of a case. It comes back with its data, at its address.
type broker interface {
	addr() string
	start() error
	stop() error
}

// sessionTimeout is as short as the broker lets it be.
func sessionTimeout(o options) time.Duration {
	if o.kafkaHome != "" {
		return 6 * time.Second
	}
	return 2 * time.Second
}

func (h *harness) newBroker(ctx context.Context, dir string) (broker, error) {
	listen, err := freePort()
	if err != nil {
		return nil, err
	}
	var b broker = &embeddedBroker{listen: listen, dir: filepath.Join(dir, "kafka")}
	if h.o.kafkaHome != "" {
		b = &apacheKafka{ctx: ctx, home: h.o.kafkaHome, listen: listen, dir: filepath.Join(dir, "kafka")}
	}
	return b, b.start()
}

type embeddedBroker struct {
	listen, dir string
	b           *embedded.Broker
}

func (e *embeddedBroker) addr() string { return e.listen }

func (e *embeddedBroker) start() (err error) {
	e.b, err = embedded.Start(embedded.Config{DataDir: e.dir, Listen: e.listen, MinSessionTimeout: time.Second, Logger: zerolog.Nop()})
	if err != nil {
		return fmt.Errorf("broker: %w", err)
	}
	return nil
}

func (e *embeddedBroker) stop() error { return e.b.Stop() }
