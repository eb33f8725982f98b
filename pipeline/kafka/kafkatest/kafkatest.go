// Package kafkatest runs one broker of the real Apache Kafka, or a cluster of
// them, in KRaft mode on loopback, from a directory of jars that fetch.sh has filled.
package kafkatest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
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

	// id and voters are of a broker in a cluster: its number from 1 on, and the
	// addresses of all controllers.
	id     int
	voters []string

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
		if k.id == 0 {
			controller, err := freePort()
			if err != nil {
				return err
			}
			k.id, k.voters = 1, []string{controller}
		}
		voters := make([]string, len(k.voters))
		for i, addr := range k.voters {
			voters[i] = strconv.Itoa(i+1) + "@" + addr
		}
		text := strings.Join([]string{
			"process.roles=broker,controller", "node.id=" + strconv.Itoa(k.id), "controller.quorum.voters=" + strings.Join(voters, ","),
			"listeners=PLAINTEXT://" + k.Listen + ",CONTROLLER://" + k.voters[k.id-1], "controller.listener.names=CONTROLLER",
			"advertised.listeners=PLAINTEXT://" + k.advertised(), "log.dirs=" + filepath.Join(k.Dir, "log"),
			"offsets.topic.replication.factor=" + strconv.Itoa(len(voters)), "offsets.topic.num.partitions=4",
			"transaction.state.log.replication.factor=1", "transaction.state.log.min.isr=1",
			"min.insync.replicas=" + strconv.Itoa((len(voters)+1)/2),
			"broker.session.timeout.ms=3000", "broker.heartbeat.interval.ms=500", "auto.create.topics.enable=false", "group.initial.rebalance.delay.ms=0",
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

// Kill ends it at once, as a crash does.
func (k *Broker) Kill() {
	_ = k.cmd.Process.Kill()
	<-k.ended
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

// Cluster is three brokers, each of which is a controller too.
type Cluster struct{ Brokers [3]*Broker }

// NewCluster prepares a cluster that keeps its data under dir.
func NewCluster(home, dir string) (*Cluster, error) {
	c := new(Cluster)
	var voters []string
	for i := range c.Brokers {
		listen, err := freePort()
		if err != nil {
			return nil, err
		}
		controller, err := freePort()
		if err != nil {
			return nil, err
		}
		voters = append(voters, controller)
		c.Brokers[i] = &Broker{Home: home, Dir: filepath.Join(dir, strconv.Itoa(i+1)), Listen: listen, id: i + 1}
	}
	for _, b := range c.Brokers {
		b.voters = voters
	}
	return c, nil
}

// Addrs are where clients connect.
func (c *Cluster) Addrs() []string {
	return []string{c.Brokers[0].Listen, c.Brokers[1].Listen, c.Brokers[2].Listen}
}

// Addr is where clients may connect first.
func (c *Cluster) Addr() string { return c.Brokers[0].Listen }

// Start starts all: none listens before most of them have found each other.
func (c *Cluster) Start() error {
	return c.all((*Broker).Start)
}

// Stop ends all.
func (c *Cluster) Stop() error { return c.all((*Broker).Stop) }

func (c *Cluster) all(do func(*Broker) error) error {
	errs := make(chan error, len(c.Brokers))
	for _, b := range c.Brokers {
		go func() { errs <- do(b) }()
	}
	var err error
	for range c.Brokers {
		err = errors.Join(err, <-errs)
	}
	return err
}

// freePort returns an address that was free a moment ago.
func freePort() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // at once
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	return ln.Addr().String(), ln.Close()
}
