package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/plumbline-sec/plumbline/internal/config"
	"github.com/plumbline-sec/plumbline/pipeline/kafka"
	"github.com/plumbline-sec/plumbline/pipeline/terminal"
)

// sendCmd is `plumbline send`.
type sendCmd struct {
	Files    []string      `arg:"" optional:"" name:"file" help:"Files of JSON lines, also packed with gzip or zstd, sent in this order; - is standard input."`
	Topic    string        `placeholder:"TOPIC" help:"Topic to send to. Without it that of the first source in the config."`
	Rate     float64       `placeholder:"N" help:"Most lines a second. Without it as fast as Kafka takes them."`
	Patience time.Duration `default:"5m" help:"How long brokers may be away while sending."`
	inputFlag
	serviceDir
	Output Output `enum:"text,json" default:"text" help:"Form of the summary: text or json."`
}

// Help is the long help.
func (c *sendCmd) Help() string {
	return `Each line becomes one record, keyed by tenant_id/agent_id as the source's decoder reads them, in the partition that Kafka's own partitioner gives that key; the lines of an agent stay in order. A line with events of several agents has no key. A line that is no event is sent too, without a key: the service puts it into the dead-letter topic, where it is counted. A line that is larger than the topic takes is refused, with its number, and the others go on; the exit code is then 1.

A line is sent at least once: a retry after a lost acknowledgement can send it again, and the detector counts an event_id once.

` + inputHelp + `

Examples:
  plumbline send events.jsonl
  plumbline simulate --agents 50 --days 1 | plumbline send - --rate 1000`
}

// connectPatience is how long brokers may be away before the first line is sent: a
// wrong address should show soon.
const connectPatience = 10 * time.Second

// topicPatience is how long a topic may be missing.
const topicPatience = 3 * time.Second

// Run sends.
func (c *sendCmd) Run(ctx context.Context, g *Globals) error {
	files, err := c.or(c.Files)
	if err != nil {
		return err
	}
	service, err := g.Service(c.DataDir)
	if err != nil {
		return err
	}
	cfg := service.cfg
	if c.Rate < 0 || c.Patience < 0 {
		return usageError{errors.New("--rate and --patience can't be negative")}
	}
	topic := c.Topic
	if topic == "" {
		topic = cfg.Sources[0].Topic
	}
	in, err := openInputs(files, g.Stdin)
	if err != nil {
		return usageError{err}
	}

	client, err := service.client(ctx)
	if err != nil {
		return err
	}
	defer client.Close() //nolint:errcheck // every record is acknowledged by then, or reported
	partitions, err := partitionsOf(ctx, client, topic)
	if err != nil {
		return err
	}
	form, err := formOf(cfg, topic)
	if err != nil {
		return err
	}
	s := newSender(client, topic, partitions, form, newConsole(g.Stderr))
	s.rate, s.patience = c.Rate, c.Patience
	sum, err := s.send(ctx, in)
	if perr := c.print(g, topic, sum); perr != nil {
		return errors.Join(err, perr)
	}
	if err == nil && sum.Refused > 0 {
		err = fmt.Errorf("%d lines were refused for their size", sum.Refused)
	}
	return err
}

func (c *sendCmd) print(g *Globals, topic string, sum sendSummary) error {
	if c.Output == OutputJSON {
		return g.printJSON(sum)
	}
	letters := ""
	if sum.DeadLetters > 0 {
		letters = fmt.Sprintf("; dead letters %d", sum.DeadLetters)
	}
	fmt.Fprintf(g.Stdout, "sent %d lines (%s) to %s in %.1f s, %.0f/s; refused %d%s\n",
		sum.Sent, bytesText(sum.Bytes), terminal.Escape(topic), sum.Seconds, sum.Rate, sum.Refused, letters)
	return nil
}

// partitionsOf asks for the topic until the brokers answer. A topic that is not
// there may be about to be made by a service that is starting.
func partitionsOf(ctx context.Context, client *kafka.Client, topic string) (int32, error) {
	wait, cancel := context.WithTimeout(ctx, connectPatience)
	defer cancel()
	started := time.Now()
	for {
		n, err := client.Partitions(wait, topic)
		var access *kafka.AccessError
		switch {
		case err == nil:
			return n, nil
		case ctx.Err() != nil:
			return 0, errInterrupted
		case errors.As(err, &access):
			return 0, err
		case errors.Is(err, kafkago.UnknownTopicOrPartition) && time.Since(started) > topicPatience:
			return 0, fmt.Errorf("topic %s does not exist: create it, or start the service, which creates the topics of its sources", topic)
		}
		if !sleep(wait, 500*time.Millisecond) {
			if ctx.Err() != nil {
				return 0, errInterrupted
			}
			return 0, fmt.Errorf("gave up after %s: %w", connectPatience, err)
		}
	}
}

// formOf returns the form of the source that reads the topic; for a topic that no
// source reads, that of activity events.
func formOf(cfg *config.Config, topic string) (form, error) {
	for _, s := range cfg.Sources {
		if s.Topic == topic {
			return newForm(s.Decoder, s.Options)
		}
	}
	return newForm(activityForm, nil)
}
