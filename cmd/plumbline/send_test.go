package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/embedded/broker/brokertest"
	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/pipeline/kafka"
	"github.com/plumbline-sec/plumbline/schemas"
)

const testTopic = "agent-activity"

// newTopic makes testTopic on the broker and returns a client of it and a config
// file that names it.
func newTopic(t *testing.T, addr string, partitions int32, settings map[string]string) (*kafka.Client, string) {
	t.Helper()
	client, err := kafka.New(kafka.Config{Brokers: []string{addr}}, zerolog.Nop())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	require.NoError(t, client.EnsureTopics(t.Context(), []kafka.TopicSpec{{Name: testTopic, Partitions: partitions, Configs: settings}}))
	return client, writeFile(t, "kafka.yaml", "kafka: {brokers: \""+addr+"\"}\n")
}

// events are n events of one agent.
func events(n int) []string {
	var out []string
	for i := range n {
		out = append(out, event("a", i))
	}
	return out
}

// stored reads the topic to its end, by partition.
func stored(t *testing.T, client *kafka.Client, partitions int32) map[int32][]pipeline.Record {
	t.Helper()
	out := make(map[int32][]pipeline.Record)
	for p := range partitions {
		tp := pipeline.TopicPartition{Topic: testTopic, Partition: p}
		at, end, err := client.Bounds(t.Context(), tp)
		require.NoError(t, err)
		for at < end {
			f, err := client.Fetch(t.Context(), tp, at)
			require.NoError(t, err)
			out[p] = append(out[p], f.Records...)
			at = f.Next
		}
	}
	return out
}

func summaryOf(t *testing.T, r result) sendSummary {
	t.Helper()
	var s sendSummary
	require.NoError(t, json.Unmarshal([]byte(r.stdout), &s), "stdout: %s, stderr: %s", r.stdout, r.stderr)
	return s
}

func event(agent string, n int) string {
	return fmt.Sprintf(`{"tenant_id":"acme","agent_id":%q,"event_id":"%s-%d","tool":"t"}`, agent, agent, n)
}

func TestLinesArriveKeyedPartitionedAndInOrder(t *testing.T) {
	const partitions, agents, each = 5, 20, 50
	client, cfg := newTopic(t, brokertest.Start(t), partitions, nil)
	var text strings.Builder
	for n := range each {
		for a := range agents {
			text.WriteString(event(fmt.Sprintf("agent-%d", a), n) + "\n")
		}
	}
	text.WriteString("this is no event\n\n{\"tool\":\"nobody\"}\n{\"agent_id\":\"alone\"}\n")
	first, second := writeFile(t, "1.jsonl", text.String()), writeFile(t, "2.jsonl", event("last", 1))

	r := good(t, "send", first, second, "--config", cfg, "--output", "json")
	sum := summaryOf(t, r)
	require.Equal(t, int64(agents*each+4), sum.Sent)
	require.Zero(t, sum.Refused)
	require.Equal(t, int64(text.Len()-agents*each-4+len(event("last", 1))), sum.Bytes)
	require.Positive(t, sum.Rate)

	next := make(map[string]int)
	keyless := 0
	for p, records := range stored(t, client, partitions) {
		for _, rec := range records {
			if rec.Key == nil {
				keyless++
				continue
			}
			require.Equal(t, schemas.Partition(rec.Key, partitions), p, "the partition is that of Kafka's own partitioner")
			tenant, agent, _ := strings.Cut(string(rec.Key), "/")
			if agent == "alone" {
				require.Equal(t, schemas.DefaultTenant, tenant, "the key is what decoding resolves")
				continue
			}
			if agent == "last" {
				continue
			}
			require.Equal(t, event(agent, next[agent]), string(rec.Value), "the lines of an agent stay in order")
			next[agent]++
		}
	}
	require.Len(t, next, agents)
	require.Equal(t, 2, keyless, "what is no event is sent without a key")
}

func TestWhatComesThroughAPipeIsSentAndTheSummaryIsReadable(t *testing.T) {
	client, cfg := newTopic(t, brokertest.Start(t), 1, nil)
	cmd := command(t, "send", "-", "--config", cfg, "--topic", testTopic)
	cmd.Stdin = strings.NewReader(event("a", 1) + "\n" + event("a", 2) + "\n")
	r := finish(t, cmd)
	require.Equal(t, 0, r.code, r.stderr)
	require.Regexp(t, `^sent 2 lines \(\d+ B\) to agent-activity in \d+\.\d s, \d+/s; refused 0\n$`, r.stdout)
	require.Empty(t, r.stderr)
	require.Len(t, stored(t, client, 1)[0], 2)
}

func TestALineThatIsTooLargeIsRefusedWithItsNumberAndTheOthersGoOn(t *testing.T) {
	// What the broker weighs is the compressed batch: only noise stays large.
	noise := make([]byte, 600<<10)
	source := rand.NewChaCha8([32]byte{1})
	_, _ = source.Read(noise)
	overTopic := fmt.Sprintf(`{"agent_id":"a","event_id":"big","x":"%x"}`, noise)
	overAll := `{"agent_id":"a","x":"` + strings.Repeat("x", kafka.MaxRecordBytes) + `"}`
	client, cfg := newTopic(t, brokertest.Start(t), 1, map[string]string{"max.message.bytes": "500000"})
	in := writeFile(t, "in.jsonl", strings.Join([]string{event("a", 1), overTopic, event("a", 2), overAll, event("a", 3)}, "\n"))

	r := plumbline(t, "send", in, "--config", cfg, "--output", "json")
	require.Equal(t, 1, r.code)
	sum := summaryOf(t, r)
	require.Equal(t, int64(3), sum.Sent)
	require.Equal(t, int64(2), sum.Refused)
	require.Contains(t, r.stderr, fmt.Sprintf("plumbline: %s, line 2 refused: %d bytes, over max.message.bytes of topic agent-activity", in, len(overTopic)))
	require.Contains(t, r.stderr, fmt.Sprintf("plumbline: %s, line 4 refused: %d bytes, at most %d", in, len(overAll), kafka.MaxRecordBytes))
	require.Contains(t, r.stderr, "plumbline: 2 lines were refused for their size\n")
	records := stored(t, client, 1)[0]
	require.Len(t, records, 3)
	for i, rec := range records {
		require.Equal(t, event("a", i+1), string(rec.Value))
	}
}

func TestATopicThatDoesNotExistIsNamed(t *testing.T) {
	addr := brokertest.Start(t)
	cfg := writeFile(t, "kafka.yaml", "kafka: {brokers: \""+addr+"\"}\n")
	r := plumbline(t, "send", writeFile(t, "in.jsonl", event("a", 1)), "--config", cfg, "--topic", "nowhere")
	require.Equal(t, 1, r.code)
	require.Equal(t, "plumbline: topic nowhere does not exist: create it, or start the service, which creates the topics of its sources\n", r.stderr)
}

func TestWrongCredentialsAreNamedWithoutShowingThem(t *testing.T) {
	addr := brokertest.Start(t, brokertest.WithUser(kafka.MechanismSCRAMSHA256, "plumbline", "right"))
	cfg := writeFile(t, "kafka.yaml", "kafka: {brokers: \""+addr+"\", sasl: {mechanism: scram-sha-256, username: plumbline, password: \"${PLUMBLINE_TEST_PASSWORD}\"}}\n")
	cmd := command(t, "send", writeFile(t, "in.jsonl", event("a", 1)), "--config", cfg)
	cmd.Env = append(os.Environ(), "PLUMBLINE_TEST_PASSWORD=hunter2")
	r := finish(t, cmd)
	require.Equal(t, 1, r.code)
	require.Contains(t, r.stderr, "kafka.sasl")
	require.NotContains(t, r.stderr, "hunter2")
}

func TestACertificateThatIsNotTrustedEndsAtOnce(t *testing.T) {
	server, _ := brokertest.TLS(t, false)
	addr := brokertest.Start(t, brokertest.WithTLS(server))
	cfg := writeFile(t, "kafka.yaml", "kafka: {brokers: \""+addr+"\", tls: {enabled: true}}\n")
	begin := time.Now()
	r := plumbline(t, "send", writeFile(t, "in.jsonl", event("a", 1)), "--config", cfg)
	require.Equal(t, 1, r.code)
	require.Contains(t, r.stderr, "kafka.tls.ca_file")
	require.Less(t, time.Since(begin), connectPatience, "waiting would not help")
}

func TestSendingGoesOnAfterTheBrokersWereAway(t *testing.T) {
	dir := t.TempDir()
	b := brokertest.StartBroker(t, brokertest.WithDataDir(dir))
	addr := b.Addr()
	_, cfg := newTopic(t, addr, 1, nil)
	cmd := command(t, "send", "-", "--config", cfg, "--output", "json")
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	var stdout, stderr bytes.Buffer
	messages := &notifier{w: &stderr, on: "; retrying", seen: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &stdout, messages
	require.NoError(t, cmd.Start())

	_, err = io.WriteString(stdin, event("a", 0)+"\n")
	require.NoError(t, err)
	watch, err := kafka.New(kafka.Config{Brokers: []string{addr}}, zerolog.Nop())
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		_, end, err := watch.Bounds(t.Context(), pipeline.TopicPartition{Topic: testTopic})
		return err == nil && end == 1
	}, 20*time.Second, 20*time.Millisecond)
	require.NoError(t, watch.Close())
	require.NoError(t, b.Stop())

	for n := 1; n < 5; n++ {
		_, err = io.WriteString(stdin, event("a", n)+"\n")
		require.NoError(t, err)
	}
	select {
	case <-messages.seen:
	case <-time.After(45 * time.Second):
		t.Fatal("nobody was told that the brokers are away")
	}
	brokertest.StartBroker(t, brokertest.WithDataDir(dir), brokertest.WithListen(addr))
	require.NoError(t, stdin.Close())
	require.NoError(t, cmd.Wait(), "%s", &stderr)
	require.Equal(t, int64(5), summaryOf(t, result{stdout: stdout.String()}).Sent)

	again, err := kafka.New(kafka.Config{Brokers: []string{addr}}, zerolog.Nop())
	require.NoError(t, err)
	defer func() { require.NoError(t, again.Close()) }()
	var ids []string
	for _, rec := range stored(t, again, 1)[0] {
		if len(ids) == 0 || ids[len(ids)-1] != string(rec.Value) { // once more after a lost acknowledgement is permitted
			ids = append(ids, string(rec.Value))
		}
	}
	require.Equal(t, []string{event("a", 0), event("a", 1), event("a", 2), event("a", 3), event("a", 4)}, ids)
}

// notifier closes seen when a text was written.
type notifier struct {
	mu   sync.Mutex
	w    *bytes.Buffer
	on   string
	seen chan struct{}
}

func (n *notifier) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	before := strings.Contains(n.w.String(), n.on)
	n.w.Write(p)
	if !before && strings.Contains(n.w.String(), n.on) {
		close(n.seen)
	}
	return len(p), nil
}

func TestASignalStopsSendingWithASummaryOfWhatWasSent(t *testing.T) {
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			client, cfg := newTopic(t, brokertest.Start(t), 1, nil)
			cmd := command(t, "send", "-", "--config", cfg, "--output", "json")
			stdin, err := cmd.StdinPipe()
			require.NoError(t, err)
			var stdout, stderr bytes.Buffer
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			require.NoError(t, cmd.Start())
			// When the second line is there, the first is acknowledged: they go one
			// after the other.
			for n := range int64(2) {
				_, err = io.WriteString(stdin, event("a", int(n))+"\n")
				require.NoError(t, err)
				require.Eventually(t, func() bool {
					_, end, err := client.Bounds(t.Context(), pipeline.TopicPartition{Topic: testTopic})
					return err == nil && end == n+1
				}, 20*time.Second, 20*time.Millisecond)
			}
			require.NoError(t, cmd.Process.Signal(sig))
			require.Error(t, cmd.Wait())
			require.Equal(t, 1, cmd.ProcessState.ExitCode())
			require.Equal(t, "plumbline: interrupted\n", stderr.String())
			require.Contains(t, []int64{1, 2}, summaryOf(t, result{stdout: stdout.String()}).Sent)
		})
	}
}

func TestTheRateIsKept(t *testing.T) {
	_, cfg := newTopic(t, brokertest.Start(t), 1, nil)
	in := writeFile(t, "in.jsonl", strings.Repeat(event("a", 1)+"\n", 120))
	r := good(t, "send", in, "--config", cfg, "--rate", "100", "--output", "json")
	sum := summaryOf(t, r)
	require.Equal(t, int64(120), sum.Sent)
	require.GreaterOrEqual(t, sum.Seconds, 1.1, "120 lines at 100 a second take 1.2 s, less one portion")
}

// faulty is a Kafka whose appends fail as the test says; what succeeds is kept.
type faulty struct {
	mu     sync.Mutex
	fail   func(call int, records []pipeline.Record) (acknowledged int, err error)
	calls  int
	stored []string
}

func (f *faulty) Append(_ context.Context, _ pipeline.TopicPartition, records []pipeline.Record) (pipeline.Appended, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	n, err := len(records), error(nil)
	if f.fail != nil {
		n, err = f.fail(f.calls, records)
	}
	for _, r := range records[:n] {
		f.stored = append(f.stored, string(r.Value))
	}
	return pipeline.Appended{Count: n}, err
}

func activity(t *testing.T) form {
	t.Helper()
	f, err := newForm(activityForm, nil)
	require.NoError(t, err)
	return f
}

func sendThrough(t *testing.T, k appender, patience time.Duration, lines ...string) (sendSummary, string, error) {
	t.Helper()
	var stderr bytes.Buffer
	s := newSender(k, "t", 1, activity(t), newConsole(&stderr))
	s.patience = patience
	in := &inputs{names: []string{"-"}, stdin: strings.NewReader(strings.Join(lines, "\n"))}
	sum, err := s.send(t.Context(), in)
	return sum, stderr.String(), err
}

func TestWhatWasAcknowledgedIsNotSentAgain(t *testing.T) {
	k := &faulty{fail: func(call int, records []pipeline.Record) (int, error) {
		if call == 1 {
			return 2, errors.New("the leader moved")
		}
		return len(records), nil
	}}
	sum, stderr, err := sendThrough(t, k, time.Minute, events(4)...)
	require.NoError(t, err)
	require.Equal(t, events(4), k.stored)
	require.Equal(t, int64(4), sum.Sent)
	require.Equal(t, "plumbline: the leader moved; retrying\n", stderr)
}

func TestTheLargeOneIsFoundAmongManyAndTheOrderStays(t *testing.T) {
	ev, large := events(5), event("large", 1)
	k := &faulty{fail: func(_ int, records []pipeline.Record) (int, error) {
		for _, r := range records {
			if string(r.Value) == large {
				return 0, pipeline.ErrTooLarge
			}
		}
		return len(records), nil
	}}
	sum, stderr, err := sendThrough(t, k, time.Minute, ev[0], ev[1], large, ev[2], ev[3], ev[4], large)
	require.NoError(t, err)
	require.Equal(t, ev, k.stored)
	require.Equal(t, int64(2), sum.Refused)
	require.Contains(t, stderr, "standard input, line 3 refused")
	require.Contains(t, stderr, "standard input, line 7 refused")
}

func TestPatienceEnds(t *testing.T) {
	k := &faulty{fail: func(int, []pipeline.Record) (int, error) { return 0, errors.New("nobody answers") }}
	sum, _, err := sendThrough(t, k, 300*time.Millisecond, event("a", 1))
	require.ErrorContains(t, err, "gave up after 300ms: nobody answers")
	require.Zero(t, sum.Sent)
	require.Greater(t, k.calls, 1)
}

func TestManyRefusalsAreNamedUpToALimitAndAllCounted(t *testing.T) {
	k := &faulty{fail: func(int, []pipeline.Record) (int, error) { return 0, pipeline.ErrTooLarge }}
	lines := make([]string, 3*maxRefusals)
	for i := range lines {
		lines[i] = event("a", i)
	}
	sum, stderr, err := sendThrough(t, k, time.Minute, lines...)
	require.NoError(t, err)
	require.Equal(t, int64(len(lines)), sum.Refused)
	require.Equal(t, maxRefusals, strings.Count(stderr, " refused: "))
	require.Equal(t, 1, strings.Count(stderr, "further refused lines are only counted"))
}

func TestProgressIsOneLineOnATerminalAndPlainLinesElsewhere(t *testing.T) {
	var b bytes.Buffer
	c := newConsole(&b)
	c.progress("1 line sent")
	c.progress("2 lines sent")
	c.line("a message")
	c.clear()
	require.Equal(t, "1 line sent\n2 lines sent\na message\n", b.String())
	require.Equal(t, 5*time.Second, c.every())

	b.Reset()
	c.terminal = true
	c.progress("1 line sent")
	c.progress("2 lines sent")
	c.line("a message")
	c.clear()
	require.Equal(t, "\r1 line sent\x1b[K\r2 lines sent\x1b[K\r\x1b[Ka message\n", b.String())
}

func TestProgressSaysHowFarTheFileIsRead(t *testing.T) {
	s := newSender(&faulty{}, "t", 1, activity(t), newConsole(io.Discard))
	s.started, s.total = time.Now().Add(-2*time.Second), 200
	s.read.Store(50)
	s.sent.Store(10)
	s.bytes.Store(3 << 20)
	s.refused.Store(1)
	require.Regexp(t, `^10 lines sent, 3\.0 MiB, \d/s, 25 %, 1 refused$`, s.progress())
	s.total = 0
	require.NotContains(t, s.progress(), "%")
}
