package main

import (
	"context"
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

// apacheKafka is one broker of the real thing, in KRaft mode, from a directory of
// jars that kafka.sh has filled.
type apacheKafka struct {
	ctx    context.Context //nolint:containedctx // of the case
	home   string
	listen string
	dir    string
	cmd    *exec.Cmd
	ended  chan struct{}
}

func (k *apacheKafka) addr() string { return k.listen }

func (k *apacheKafka) java(ctx context.Context, class string, args ...string) *exec.Cmd {
	args = append([]string{
		"-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", filepath.Join(k.home, "*"), class,
	}, args...)
	return exec.CommandContext(ctx, "java", args...) //nolint:gosec // the directory is the operator's
}

func (k *apacheKafka) start() error {
	if err := os.MkdirAll(k.dir, 0o700); err != nil {
		return fmt.Errorf("kafka: %w", err)
	}
	properties := filepath.Join(k.dir, "server.properties")
	if _, err := os.Stat(properties); err != nil {
		controller, err := freePort()
		if err != nil {
			return err
		}
		text := strings.Join([]string{
			"process.roles=broker,controller", "node.id=1", "controller.quorum.voters=1@" + controller,
			"listeners=PLAINTEXT://" + k.listen + ",CONTROLLER://" + controller, "controller.listener.names=CONTROLLER",
			"advertised.listeners=PLAINTEXT://" + k.listen, "log.dirs=" + filepath.Join(k.dir, "log"),
			"offsets.topic.replication.factor=1", "offsets.topic.num.partitions=4", "transaction.state.log.replication.factor=1",
			"transaction.state.log.min.isr=1", "auto.create.topics.enable=false", "group.initial.rebalance.delay.ms=0",
			"group.min.session.timeout.ms=1000",
		}, "\n") + "\n"
		if err := os.WriteFile(properties, []byte(text), 0o600); err != nil {
			return fmt.Errorf("kafka: %w", err)
		}
		if out, err := k.java(k.ctx, "kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", properties).CombinedOutput(); err != nil {
			return fmt.Errorf("kafka: format: %w: %s", err, out)
		}
	}
	log, err := os.OpenFile(filepath.Join(k.dir, "kafka.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600) //nolint:gosec // in our own directory
	if err != nil {
		return fmt.Errorf("kafka: %w", err)
	}
	k.cmd = k.java(context.WithoutCancel(k.ctx), "kafka.Kafka", properties)
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
		if c, err := net.DialTimeout("tcp", k.listen, time.Second); err == nil { //nolint:noctx // at once
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

func (k *apacheKafka) stop() error {
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
