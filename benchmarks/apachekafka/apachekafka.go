// Package apachekafka runs one broker of the real Apache Kafka, in KRaft mode on
// loopback, from a directory of jars that fetch.sh has filled.
package apachekafka

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Broker is one broker. It comes back with its data, at its address.
type Broker struct {
	Home   string // of the jars
	Dir    string // of its data
	Listen string // host:port
	// Advertise is the host that clients are told to connect to, where it is not the
	// one in Listen.
	Advertise string

	cmd   *exec.Cmd
	ended chan struct{}
}

func (k *Broker) advertised() string {
	_, port, err := net.SplitHostPort(k.Listen)
	if err != nil || k.Advertise == "" {
		return k.Listen
	}
	return net.JoinHostPort(k.Advertise, port)
}

// Addr is where clients connect.
func (k *Broker) Addr() string { return k.Listen }

func (k *Broker) java(class string, args ...string) *exec.Cmd {
	args = append([]string{
		"-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", filepath.Join(k.Home, "*"), class,
	}, args...)
	return exec.Command("java", args...) //nolint:gosec,noctx // the directory is the operator's
}

// Start starts it and returns when it listens.
func (k *Broker) Start() error {
	if err := os.MkdirAll(k.Dir, 0o700); err != nil {
		return fmt.Errorf("kafka: %w", err)
	}
	properties := filepath.Join(k.Dir, "server.properties")
	if _, err := os.Stat(properties); err != nil {
		controller, err := freePort()
		if err != nil {
			return err
		}
		text := strings.Join([]string{
			"process.roles=broker,controller", "node.id=1", "controller.quorum.voters=1@" + controller,
			"listeners=PLAINTEXT://" + k.Listen + ",CONTROLLER://" + controller, "controller.listener.names=CONTROLLER",
			"advertised.listeners=PLAINTEXT://" + k.advertised(), "log.dirs=" + filepath.Join(k.Dir, "log"),
			"offsets.topic.replication.factor=1", "offsets.topic.num.partitions=4", "transaction.state.log.replication.factor=1",
			"transaction.state.log.min.isr=1", "auto.create.topics.enable=false", "group.initial.rebalance.delay.ms=0",
			"group.min.session.timeout.ms=500",
		}, "\n") + "\n"
		if err := os.WriteFile(properties, []byte(text), 0o600); err != nil {
			return fmt.Errorf("kafka: %w", err)
		}
		if out, err := k.java("kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", properties).CombinedOutput(); err != nil {
			return fmt.Errorf("kafka: format: %w: %s", err, out)
		}
	}
	log, err := os.OpenFile(filepath.Join(k.Dir, "kafka.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("kafka: %w", err)
	}
	k.cmd = k.java("kafka.Kafka", properties)
	k.cmd.Stdout, k.cmd.Stderr = log, log
	if err := errors.Join(k.cmd.Start(), log.Close()); err != nil {
		return fmt.Errorf("kafka: %w", err)
	}
	k.ended = make(chan struct{})
	go func() {
		defer close(k.ended)
		_ = k.cmd.Wait()
	}()
	for range 600 {
		if c, err := net.DialTimeout("tcp", k.Listen, time.Second); err == nil { //nolint:noctx // at once
			return c.Close()
		}
		select {
		case <-k.ended:
			return fmt.Errorf("kafka ended: see %s", log.Name())
		case <-time.After(100 * time.Millisecond):
		}
	}
	return errors.New("kafka does not listen after a minute")
}

// Stop ends it and keeps its data.
func (k *Broker) Stop() error {
	if k.cmd == nil {
		return nil
	}
	_ = k.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-k.ended:
	case <-time.After(20 * time.Second):
		_ = k.cmd.Process.Kill()
		<-k.ended
	}
	return nil
}

// freePort returns an address that was free a moment ago.
func freePort() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // at once
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	return ln.Addr().String(), ln.Close()
}
