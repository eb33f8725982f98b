package main

import (
	"encoding/json"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
	kafkago "github.com/segmentio/kafka-go"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/embedded/broker"
	"github.com/plumbline-sec/plumbline/internal/synced"
	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/pipeline/kafka"
	"github.com/plumbline-sec/plumbline/schemas"
)

// tailed is a `plumbline tail` that runs.
type tailed struct {
	t           *testing.T
	out, errors synced.Buffer
	stop        func() int
}

func tailing(t *testing.T, args ...string) *tailed {
	t.Helper()
	cmd := command(t, append([]string{"tail"}, args...)...)
	w := &tailed{t: t}
	cmd.Stdout, cmd.Stderr = &w.out, &w.errors
	require.NoError(t, cmd.Start())
	w.stop = func() int {
		require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
		_ = cmd.Wait()
		return cmd.ProcessState.ExitCode()
	}
	return w
}

func (w *tailed) shows(words ...string) {
	w.t.Helper()
	require.Eventually(w.t, func() bool {
		for _, word := range words {
			if !strings.Contains(w.out.String(), word) {
				return false
			}
		}
		return true
	}, 20*time.Second, 20*time.Millisecond, "%q\nout: %s\nerrors: %s", words, &w.out, &w.errors)
}

func TestTailShowsWhatWasAndWhatComesAndComesBack(t *testing.T) {
	const partitions = 2
	dir := t.TempDir()
	begin := func(listen string) *broker.Broker {
		b, err := broker.Start(broker.Config{DataDir: dir, Listen: listen, Logger: zerolog.Nop()})
		require.NoError(t, err)
		return b
	}
	b := begin("127.0.0.1:0")
	client, config := newTopic(t, b.Addr(), 1, nil)
	stamped := map[string]string{"message.timestamp.type": "LogAppendTime"}
	require.NoError(t, client.EnsureTopics(t.Context(), []kafka.TopicSpec{
		{Name: pipeline.TopicAlerts, Partitions: partitions, Configs: stamped}, {Name: pipeline.TopicActivity, Partitions: partitions, Configs: stamped},
	}))
	publish := func(partition int32, row pipeline.AlertRow) {
		t.Helper()
		require.NoError(t, client.Produce(t.Context(), pipeline.TopicPartition{Topic: pipeline.TopicAlerts, Partition: partition}, []pipeline.Record{{Value: row.JSON}}))
		time.Sleep(5 * time.Millisecond) // append times tell the partitions' records apart
	}
	publish(0, step("5b340001", "open", rogue, "low", 55, 0))
	publish(1, step("5b340001", "update", rogue, "critical", 90, 1))
	publish(0, step("5b340002", "open", "quiet", "medium", 60, 10))

	live := tailing(t, "--config", config)
	was := tailing(t, "--config", config, "--since", "1h")
	severe := tailing(t, "--config", config, "--since", "1h", "--severity", "high", "--signal", "bytes_sent", "--group", "legal", "--tenant", "default", "--output", "json")
	opened := tailing(t, "--config", config, "--since", "1h", "--status", "open")
	none := tailing(t, "--config", config, "--since", "1h", "--signal", "silence")
	was.shows("5b340002")
	publish(1, step("5b340003", "open", "loud", "high", 80, 20))
	for _, w := range []*tailed{was, severe, opened} {
		w.shows("5b340003")
	}
	require.Eventually(t, func() bool { // what it misses before it has begun is not its to show
		publish(1, step("5b340004", "close", "loud", "high", 80, 30))
		return strings.Contains(live.out.String(), "5b340004")
	}, 20*time.Second, 100*time.Millisecond, &live.errors)
	require.True(t, strings.HasPrefix(was.out.String(), "2026-09-21 14:13:20  low       open     55.0  5b340001  "+rogue+"  Title a\\u001b[2J"), &was.out)
	lines := strings.Split(was.out.String(), "\n")
	require.Contains(t, lines[1], "update   90.0", "the oldest first, whatever the partition")
	require.NotContains(t, live.out.String(), "5b340001")
	require.NotContains(t, opened.out.String(), "update")
	var a schemas.Alert
	worst, _, _ := strings.Cut(severe.out.String(), "\n")
	require.NoError(t, json.Unmarshal([]byte(worst), &a))
	require.Equal(t, "critical", a.Severity)

	// The brokers go, and come back.
	addr := b.Addr()
	require.NoError(t, b.Stop())
	require.Eventually(t, func() bool { return strings.Contains(was.errors.String(), "can't read plumbline.alerts/") }, 30*time.Second, 20*time.Millisecond)
	b = begin(addr)
	defer func() { require.NoError(t, b.Stop()) }()
	require.Eventually(t, func() bool {
		return client.Produce(t.Context(), pipeline.TopicPartition{Topic: pipeline.TopicAlerts}, []pipeline.Record{{Value: step("5b340005", "open", "back", "low", 51, 40).JSON}}) == nil
	}, 20*time.Second, 100*time.Millisecond)
	was.shows("5b340005")
	require.Contains(t, was.errors.String(), "reading plumbline.alerts/0 again")
	require.Equal(t, 1, strings.Count(was.out.String(), "5b340002"), "nothing is shown twice")
	for _, w := range []*tailed{live, was, severe, opened, none} {
		require.Equal(t, exitGood, w.stop(), &w.errors)
		requireHarmless(t, w.out.String())
	}
	require.Empty(t, none.out.String())

	// An agent's events.
	ev := func(tenant, agent string) pipeline.Record {
		a := schemas.Activity{EventID: "e-" + agent, Time: storyTime, TenantID: tenant, AgentID: agent, PeerGroup: "legal", Action: "tool_call", Tool: "mail" + hostile, Outcome: "success", BytesSent: 2048}
		return pipeline.Record{Key: schemas.AppendKey(nil, tenant, agent), Value: schemas.AppendActivity(nil, &a)}
	}
	for _, rec := range []pipeline.Record{ev("default", rogue), ev("default", "other"), ev("acme", rogue)} {
		tp := pipeline.TopicPartition{Topic: pipeline.TopicActivity, Partition: schemas.Partition(rec.Key, partitions)}
		require.NoError(t, client.Produce(t.Context(), tp, []pipeline.Record{rec}))
	}
	for _, args := range [][]string{{"--agent", rogue}, {"--agent", "acme/" + rogue}, {"--agent", rogue, "--tenant", "acme"}} {
		w := tailing(t, append(args, "--config", config, "--since", "1d")...)
		w.shows("2026-09-21 14:13:20  success  maila\\u001b[2J", "2.0 KiB sent")
		require.Equal(t, exitGood, w.stop())
		require.Equal(t, 1, strings.Count(w.out.String(), "\n"), &w.out)
	}
	transport := &kafkago.Transport{}
	defer transport.CloseIdleConnections()
	groups, err := (&kafkago.Client{Addr: kafkago.TCP(addr), Transport: transport}).ListGroups(t.Context(), &kafkago.ListGroupsRequest{})
	require.NoError(t, err)
	require.Empty(t, groups.Groups, "nothing was joined or committed")

	r := plumbline(t, "tail", "--agent", "a", "--severity", "high")
	require.Equal(t, exitUsage, r.code)
	r = plumbline(t, "tail", "--since", "yesterday")
	require.Equal(t, exitUsage, r.code)
}

func TestALineOfTailIsCutToTheTerminalAndItsSeverityPainted(t *testing.T) {
	c := tailCmd{Output: OutputText}
	row := step("5b340001", "open", rogue, "critical", 55, 0)
	line := c.alert(&pipeline.Record{Value: row.JSON}, look{width: 60, color: true})
	require.Contains(t, line, "\x1b[")
	require.NotContains(t, c.alert(&pipeline.Record{Value: row.JSON}, look{}), "\x1b[")
	require.Empty(t, c.alert(&pipeline.Record{Value: []byte("no alert")}, look{}))
	require.NotContains(t, line, "\n")
	require.Contains(t, line, "…")
}
