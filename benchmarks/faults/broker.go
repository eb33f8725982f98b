package main

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/plumbline-sec/plumbline/benchmarks/internal/stack"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kfake"

	embedded "github.com/plumbline-sec/plumbline/internal/embedded/broker"
	"github.com/plumbline-sec/plumbline/pipeline/kafka/kafkatest"
)

// broker is the Kafka of a case. It comes back with its data, at its address.
type broker interface {
	Addr() string
	Start() error
	Stop() error
}

// sessionTimeout is as short as the broker lets it be.
func sessionTimeout(o options) time.Duration {
	if o.kafkaHome != "" {
		return 6 * time.Second
	}
	return 2 * time.Second
}

func (h *harness) newBroker(dir string) (broker, error) {
	listen, err := stack.FreeAddr()
	if err != nil {
		return nil, err
	}
	var b broker = &embeddedBroker{listen: listen, advertise: advertise, dir: filepath.Join(dir, "kafka")}
	if h.o.kafkaHome != "" {
		b = &kafkatest.Broker{Home: h.o.kafkaHome, Listen: listen, Advertise: advertise, Dir: filepath.Join(dir, "kafka")}
	}
	return b, b.Start()
}

// advertise is the host that brokers name to their clients. A proxy listens there,
// on the broker's own port: all of 127.0.0.0/8 is this machine.
const advertise = "127.0.0.2"

type embeddedBroker struct {
	listen, advertise, dir string
	b                      *embedded.Broker
}

// Addr is where clients connect.
func (e *embeddedBroker) Addr() string { return e.listen }

// Start starts it, with the data that it had.
func (e *embeddedBroker) Start() (err error) {
	e.b, err = embedded.Start(embedded.Config{DataDir: e.dir, Listen: e.listen, Advertise: e.advertise, Options: []kfake.Opt{kfake.GroupMinSessionTimeout(time.Second)}, Logger: zerolog.Nop()})
	if err != nil {
		return fmt.Errorf("broker: %w", err)
	}
	return nil
}

// Stop ends it.
func (e *embeddedBroker) Stop() error { return e.b.Stop() }
