// Package broker is the embedded Kafka: franz-go's kfake as a single persistent
// broker, so that one machine without a Kafka runs the same client code over the
// same protocol as a cluster.
//
// Invariants:
//
//  1. An acknowledged record, a created topic and a committed offset survive
//     kill -9 of the process: each is handed to the kernel by a write before
//     the answer leaves.
//  2. A topic exists only after CreateTopics: nothing creates one by naming it.
//  3. One process owns a data directory (see package claim). What is damaged in it is
//     mended or named before it is opened, and no offset is given twice (see package
//     datadir).
//  4. A topic with message.timestamp.type=LogAppendTime gives every record the
//     broker's time at which its batch was appended (see appendtime.go).
//  5. Bytes that are not Kafka's protocol end their connection and nothing else
//     (see guard.go).
//  6. What a request makes the broker hold and do is bounded: what a batch unpacks to,
//     how long requests are alone and together, what one of them creates or asks for
//     (see guard.go, inspect.go, unpack.go and control.go, which state the bounds).
//
// Not obvious: kfake answers every request on one goroutine, so a large produce
// delays everybody by the time of one write. Its in-memory state is an index of
// the batches, not the records. Retention runs here, every five minutes, because
// kfake's own timer does not start for topics that were loaded from disk.
package broker

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/plumbline-sec/plumbline/internal/embedded/broker/datadir"
	"github.com/plumbline-sec/plumbline/internal/embedded/claim"
)

// Config says what Start runs.
type Config struct {
	// DataDir keeps topics, records and offsets. Empty: everything is in memory
	// and gone with the process.
	DataDir string
	// Listen is the address, host:port; port 0 takes a free one.
	Listen string
	// Advertise is the host that clients are told to connect to, where it is not
	// the one in Listen. Where Listen names every interface, the default is
	// 127.0.0.1.
	Advertise string
	// TLS, if set, is what the listener speaks.
	TLS *tls.Config
	// Options are more of kfake's, for tests and benchmarks: users, shorter sessions.
	Options []kfake.Opt
	Logger  zerolog.Logger
}

// ListenKey is the setting that chooses the address, for messages.
const ListenKey = "embedded.kafka_listen"

const clusterID = "plumbline-embedded"

// retentionEvery is Kafka's log.retention.check.interval.ms.
const retentionEvery = 5 * time.Minute

// Broker is a running broker.
type Broker struct {
	cluster *kfake.Cluster
	addr    string
	dir     *claim.Dir
	stop    chan struct{}
	done    sync.WaitGroup
	once    sync.Once
	err     error
}

// Start runs a broker until Stop. Errors: *claim.PortError, *claim.HeldError, or
// what made the data directory unreadable.
func Start(cfg Config) (*Broker, error) {
	b := &Broker{stop: make(chan struct{})}
	if cfg.DataDir != "" {
		dir, err := claim.Directory(cfg.DataDir, 5*time.Second)
		if err != nil {
			return nil, fmt.Errorf("embedded kafka: %w", err)
		}
		b.dir = dir
		if err := datadir.Mend(cfg.DataDir, clusterID, cfg.Logger); err != nil {
			return nil, errors.Join(fmt.Errorf("embedded kafka: data directory: %w", err), b.release())
		}
	}
	ln, err := claim.Port("embedded kafka", cfg.Listen, ListenKey)
	if err != nil {
		return nil, errors.Join(err, b.release())
	}
	b.addr = claim.Reachable(ln.Addr())
	if cfg.Advertise != "" {
		b.addr = net.JoinHostPort(cfg.Advertise, strconv.Itoa(ln.Addr().(*net.TCPAddr).Port)) //nolint:forcetypeassert // claim.Port listens on TCP
	}
	in := newInspector()
	b.cluster, err = kfake.NewCluster(options(cfg, guard(ln, cfg.TLS, b.addr, in, cfg.Logger))...)
	if err != nil {
		_ = ln.Close() // kfake may have closed it
		return nil, errors.Join(fmt.Errorf("embedded kafka: start on %s: %w", cfg.DataDir, err), b.release())
	}
	if b.dir != nil {
		if err := b.dir.Publish(claim.Note{PID: os.Getpid(), Addr: b.addr}); err != nil {
			return nil, errors.Join(fmt.Errorf("embedded kafka: %w", err), b.Stop())
		}
	}
	interceptAll(b.cluster, cfg.DataDir, in, cfg.Logger)
	close(in.ready)
	b.done.Go(b.retain)
	return b, nil
}

// Addr is the host:port that clients connect to.
func (b *Broker) Addr() string { return b.addr }

// Stop writes the state and ends the broker. It may be called twice.
func (b *Broker) Stop() error {
	b.once.Do(func() {
		close(b.stop)
		b.done.Wait()
		b.cluster.Close()
		b.err = b.release()
	})
	return b.err
}

func (b *Broker) release() error {
	if b.dir == nil {
		return nil
	}
	if err := b.dir.Release(); err != nil {
		return fmt.Errorf("release data directory: %w", err)
	}
	return nil
}

// retain applies retention until Stop. It must have returned before the cluster
// is closed: a closed cluster answers nobody, and the call would never return.
func (b *Broker) retain() {
	tick := time.NewTicker(retentionEvery)
	defer tick.Stop()
	for {
		select {
		case <-b.stop:
			return
		case <-tick.C:
			b.cluster.ApplyRetention()
		}
	}
}

func options(cfg Config, ln net.Listener) []kfake.Opt {
	opts := []kfake.Opt{
		kfake.NumBrokers(1),
		kfake.ClusterID(clusterID),
		kfake.DefaultNumPartitions(1),
		kfake.WithLogger(logger{cfg.Logger}),
		kfake.ListenFn(func(string, string) (net.Listener, error) { return ln, nil }),
	}
	if cfg.DataDir != "" {
		opts = append(opts, kfake.DataDir(cfg.DataDir))
		// kfake stores the users that it was started with, in clear, and would prefer the
		// stored ones at the next start.
		_ = os.Remove(filepath.Join(cfg.DataDir, "sasl.json"))
	}
	return append(opts, cfg.Options...)
}

// logger gives kfake's lines to zerolog. Its info lines are per request.
type logger struct{ log zerolog.Logger }

func (l logger) Logf(level kfake.LogLevel, format string, args ...any) {
	switch level {
	case kfake.LogLevelError:
		l.log.Error().Msgf("embedded kafka: "+format, args...)
	case kfake.LogLevelWarn:
		l.log.Warn().Msgf("embedded kafka: "+format, args...)
	case kfake.LogLevelInfo, kfake.LogLevelDebug:
		l.log.Debug().Msgf("embedded kafka: "+format, args...)
	case kfake.LogLevelNone:
	}
}
