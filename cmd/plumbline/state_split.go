package main

import (
	"context"
	"fmt"

	"github.com/rs/zerolog"

	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/pipeline/statelog"
)

type stateSplitCmd struct {
	serviceDir
	Output Output `enum:"text,json" default:"text" help:"Form of the result: text or json."`
}

// Help is the long help.
func (c *stateSplitCmd) Help() string {
	return `Every agent's baselines belong to a partition of plumbline.activity. This moves them when the topic gets more partitions; the new number must be a multiple of the old one.

1. Stop what sends events, or wait until route has nothing to read. Let detect catch up (plumbline state show: BEHIND is 0). Stop every instance.
2. Give plumbline.activity and plumbline.baselines the new number of partitions (kafka-topics.sh --alter).
3. plumbline state split
4. Set kafka.partitions to the new number and start.

Interrupted, it can be run again. Until step 4 the service refuses to start, so nothing can go wrong in between.`
}

// splitResult is the result of `state split`.
type splitResult struct {
	From       int32            `json:"from"`
	To         int32            `json:"to"`
	Partitions []splitPartition `json:"partitions"`
}

type splitPartition struct {
	Partition int32 `json:"partition"`
	Agents    int   `json:"agents"`
}

// Run splits.
func (c *stateSplitCmd) Run(ctx context.Context, g *Globals) error {
	service, err := g.Service(c.DataDir)
	if err != nil {
		return err
	}
	client, err := service.client(ctx)
	if err != nil {
		return err
	}
	defer client.Close() //nolint:errcheck // everything is acknowledged, or reported
	done := splitResult{Partitions: []splitPartition{}}
	split := statelog.Split{
		Log: client, Alerts: []string{pipeline.TopicAlerts}, Logger: zerolog.Nop(),
		Commit: func(ctx context.Context, tp pipeline.TopicPartition, offset int64) error {
			return client.CommitOffset(ctx, pipeline.GroupDetect, tp, offset)
		},
		Progress: func(p int32, agents int) {
			done.Partitions = append(done.Partitions, splitPartition{p, agents})
			if c.Output == OutputText {
				fmt.Fprintf(g.Stdout, "partition %d: %d agents\n", p, agents)
			}
		},
	}
	for _, o := range service.cfg.Outputs {
		split.Alerts = append(split.Alerts, o.Topic)
	}
	if _, err := partitionsOf(ctx, client, pipeline.TopicBaselines); err != nil {
		return err
	}
	if done.From, done.To, err = split.Run(ctx); err != nil {
		return err
	}
	if c.Output == OutputJSON {
		return g.printJSON(done)
	}
	if done.From == done.To {
		fmt.Fprintf(g.Stdout, "the state is of %d partitions already: nothing to do\n", done.To)
		return nil
	}
	fmt.Fprintf(g.Stdout, "the state of %d partitions is one of %d now: set kafka.partitions to %d, and start\n", done.From, done.To, done.To)
	return nil
}
