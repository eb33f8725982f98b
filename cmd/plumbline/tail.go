package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/plumbline-sec/plumbline/internal/analyst"
	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/pipeline/kafka"
	"github.com/plumbline-sec/plumbline/pipeline/terminal"
	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
)

// tailCmd is `plumbline tail`.
type tailCmd struct {
	Agent    string `placeholder:"[TENANT/]ID" help:"Show the events of this agent, in place of alerts. With --tenant it is the ID alone."`
	Since    string `placeholder:"WHEN" help:"Show first what came since: 1h, 7d, 2026-03-14 or 2026-03-14T13:00:00Z."`
	Severity string `enum:",low,medium,high,critical" default:"" placeholder:"LEVEL" help:"Only alerts that are at least that bad: low, medium, high, critical."`
	Tenant   string `placeholder:"ID" help:"Only what is of this tenant."`
	Group    string `placeholder:"NAME" help:"Only alerts about agents of this peer group."`
	Signal   string `placeholder:"NAME" help:"Only alerts of this signal, as bytes_sent."`
	Status   string `enum:",open,update,close" default:"" placeholder:"STEP" help:"Only this step of episodes: open, update, close."`
	serviceDir
	Output Output `enum:"text,json" default:"text" help:"Form of a line: text, or json as it stands in the topic."`
}

// Help is the long help.
func (c *tailCmd) Help() string {
	return `Reads Kafka beside the service: it joins no group and commits nothing. --since goes by when a line was published; the times that are shown are those of the events, in UTC. It ends with Ctrl-C, exit code 0.

Examples:
  plumbline tail
  plumbline tail --since 1h --severity high --status open
  plumbline tail --agent invoice-bot-07 --since 10m
  plumbline tail --signal new_destination --output json | jq .summary`
}

// Run shows what comes until ctx ends.
func (c *tailCmd) Run(ctx context.Context, g *Globals) error {
	since, err := parseSince(c.Since, time.Now())
	if err != nil {
		return usageError{err}
	}
	topic, show := pipeline.TopicAlerts, c.alert
	if c.Agent != "" {
		if c.Severity+c.Group+c.Signal+c.Status != "" {
			return usageError{errors.New("--agent shows events: --severity, --group, --signal and --status are of alerts")}
		}
		topic, show = pipeline.TopicActivity, c.event
	}
	service, err := g.Service(c.DataDir)
	if err != nil {
		return err
	}
	client, err := service.client(ctx)
	if err != nil {
		return err
	}
	defer client.Close() //nolint:errcheck // nothing was written
	n, err := partitionsOf(ctx, client, topic)
	if err != nil {
		return unlessStopped(ctx, err)
	}
	var partitions []int32
	for p := range n {
		if topic == pipeline.TopicAlerts || p == schemas.Partition(c.key(), n) {
			partitions = append(partitions, p)
		}
	}
	look := g.look()
	var mu sync.Mutex
	t := &tailer{client: client, console: newConsole(g.Stderr)}
	t.show = func(rec *pipeline.Record) error {
		line := show(rec, look)
		if line == "" {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		return g.printVisible(func(w io.Writer) error {
			_, err := io.WriteString(w, line+"\n")
			return err
		})
	}
	return unlessStopped(ctx, t.run(ctx, topic, partitions, since))
}

// unlessStopped is err, but for who ended the command: that is how it ends.
func unlessStopped(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return nil
}

// key is that of the agent's records.
func (c *tailCmd) key() []byte {
	tenant, agent := c.Tenant, c.Agent
	if tenant == "" {
		var ok bool
		if tenant, agent, ok = strings.Cut(c.Agent, "/"); !ok {
			tenant, agent = schemas.DefaultTenant, c.Agent
		}
	}
	return schemas.AppendKey(nil, tenant, agent)
}

// alert is the line of an alert; empty: it is not wanted.
func (c *tailCmd) alert(rec *pipeline.Record, l look) string {
	var a schemas.Alert
	if json.Unmarshal(rec.Value, &a) != nil {
		return ""
	}
	signal := func(s schemas.AlertSignal) bool { return s.Name == c.Signal }
	switch {
	case c.Severity != "" && analyst.Rank(a.Severity) < analyst.Rank(c.Severity),
		c.Tenant != "" && a.TenantID != c.Tenant,
		c.Group != "" && a.Agent.PeerGroup != c.Group,
		c.Status != "" && a.Status != c.Status,
		c.Signal != "" && !slices.ContainsFunc(a.Signals, signal):
		return ""
	case c.Output == OutputJSON:
		return string(rec.Value)
	}
	who := terminal.Escape(a.Agent.ID)
	if a.TenantID != schemas.DefaultTenant {
		who = terminal.Escape(a.TenantID) + "/" + who
	}
	before := clockOf(a.Time) + "  "
	after := fmt.Sprintf("  %-6s  %5.1f  %s  %s  %s", terminal.Escape(a.Status), a.Score, terminal.Escape(a.EpisodeID[:min(shortID, len(a.EpisodeID))]), who, terminal.Escape(a.Title))
	const severity = 8
	if l.width > 0 {
		after = terminal.Cut(after, max(l.width-len(before)-severity, 1))
	}
	return before + l.severity(a.Severity, severity) + after
}

// event is the line of an event of the agent.
func (c *tailCmd) event(rec *pipeline.Record, l look) (line string) {
	if string(rec.Key) != string(c.key()) || rec.Header(schemas.RecordHeader) != nil {
		return ""
	}
	if c.Output == OutputJSON {
		return string(rec.Value)
	}
	in := decode.Record{Topic: pipeline.TopicActivity, Offset: rec.Offset, Time: rec.Time, Key: rec.Key, Value: rec.Value}
	decode.NewCanonical().Decode(&in, func(_ int32, ev *schemas.Activity, refusal *decode.Refusal) {
		if refusal != nil {
			return
		}
		words := []string{clockOf(ev.Time), terminal.Pad(terminal.Escape(cmp.Or(ev.Outcome, "-")), 7), terminal.Escape(cmp.Or(ev.Tool, ev.Action, "-"))}
		for _, w := range []string{ev.Access, strings.Join(ev.Resources, " ")} {
			if w != "" {
				words = append(words, terminal.Escape(w))
			}
		}
		words = append(words, bytesText(int64(ev.BytesSent))+" sent", bytesText(int64(ev.BytesReceived))+" received", terminal.Escape(ev.EventID))
		if line = strings.Join(words, "  "); l.width > 0 {
			line = terminal.Cut(line, l.width)
		}
	})
	return line
}

// tailer reads partitions of a topic.
//
// Invariants:
//  1. It belongs to no group and commits nothing.
//  2. What was there before it began is shown in the order of append times, then
//     each partition as it comes.
//  3. It says when it can't read, and when it can again.
type tailer struct {
	client  *kafka.Client
	console *console
	show    func(*pipeline.Record) error
}

// cursor is where one partition stands.
type cursor struct {
	pipeline.TopicPartition
	next   int64
	end    int64 // where what was there before ends
	held   []pipeline.Record
	failed bool
}

func (t *tailer) run(ctx context.Context, topic string, partitions []int32, since time.Time) error {
	var cursors []*cursor
	for _, p := range partitions {
		c := &cursor{TopicPartition: pipeline.TopicPartition{Topic: topic, Partition: p}}
		_, end, err := t.client.Bounds(ctx, c.TopicPartition)
		if err != nil {
			return err
		}
		c.next, c.end = end, end
		if !since.IsZero() {
			if c.next, err = t.client.OffsetAt(ctx, c.TopicPartition, since); err != nil {
				return err
			}
		}
		cursors = append(cursors, c)
	}
	if err := t.history(ctx, cursors); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var all sync.WaitGroup
	for _, c := range cursors {
		all.Go(func() { // ends with ctx
			for {
				if err := t.fetch(ctx, c); err != nil {
					cancel(err)
					return
				}
				for i := range c.held {
					if err := t.show(&c.held[i]); err != nil {
						cancel(err)
						return
					}
				}
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}

// history shows what stands before the end, of all partitions the oldest first.
func (t *tailer) history(ctx context.Context, cursors []*cursor) error {
	for {
		var first *cursor
		for _, c := range cursors {
			for len(c.held) == 0 && c.next < c.end {
				if err := t.fetch(ctx, c); err != nil {
					return err
				}
			}
			if len(c.held) > 0 && (first == nil || c.held[0].Time < first.held[0].Time) {
				first = c
			}
		}
		if first == nil {
			return nil
		}
		if err := t.show(&first.held[0]); err != nil {
			return err
		}
		first.held = first.held[1:]
	}
}

// fetch reads on, for as long as it takes.
func (t *tailer) fetch(ctx context.Context, c *cursor) error {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		f, err := t.client.Fetch(ctx, c.TopicPartition, c.next)
		var (
			access  *kafka.AccessError
			corrupt *pipeline.CorruptError
		)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			if c.failed {
				t.console.line("plumbline: reading " + c.String() + " again")
			}
			c.held, c.next, c.failed = f.Records, f.Next, false
			return nil
		case errors.As(err, &access):
			return err
		case errors.As(err, &corrupt) && corrupt.Next > c.next:
			t.console.line("plumbline: left out: " + oneLine(err))
			c.next = corrupt.Next
			continue
		case errors.Is(err, pipeline.ErrOffsetOutOfRange):
			if start, _, berr := t.client.Bounds(ctx, c.TopicPartition); berr == nil && start != c.next {
				t.console.line(fmt.Sprintf("plumbline: offset %d of %s is gone: the topic was made again, or retention removed it; going on at %d", c.next, c, start))
				c.next, c.end = start, min(c.end, start)
				continue
			}
		}
		c.failed = true
		t.console.say(strconv.Itoa(int(c.Partition)), "can't read "+c.String()+", trying again: "+oneLine(err))
		if !sleep(ctx, wait) {
			return ctx.Err()
		}
	}
}
