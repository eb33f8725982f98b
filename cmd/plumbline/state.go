package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/pipeline/detect"
	"github.com/plumbline-sec/plumbline/pipeline/kafka"
	"github.com/plumbline-sec/plumbline/pipeline/statelog"
	"github.com/plumbline-sec/plumbline/pipeline/terminal"
	"github.com/plumbline-sec/plumbline/schemas"
)

// stateCmd is `plumbline state`.
type stateCmd struct {
	Split stateSplitCmd `cmd:"" help:"Move the state to more partitions, while nothing runs."`
	Show  stateShowCmd  `cmd:"" help:"What the newest checkpoint of every partition holds."`
}

type stateShowCmd struct {
	serviceDir
	Agent  string `placeholder:"ID" help:"Print what the newest checkpoint holds of one agent, field by field."`
	Tenant string `placeholder:"ID" default:"default" help:"The tenant of that agent."`
	Output Output `enum:"text,json" default:"text" help:"Form of the result: text or json."`
}

// Help is the long help.
func (c *stateShowCmd) Help() string {
	return `Reads the topic plumbline.baselines and changes nothing. It can be run beside the service.

BEHIND is how many records of plumbline.activity are read again after a crash. STATE is a fingerprint of all baselines of the partition, as they stand in the topic: two detectors of one release that saw the same events have the same one. Exit code 1: a partition has no checkpoint, or one that can't be restored.`
}

// partitionState is one row of `state show`.
type partitionState struct {
	Partition       int32  `json:"partition"`
	Error           string `json:"error,omitempty"`
	Epoch           uint64 `json:"epoch"`
	Checkpoints     uint64 `json:"checkpoints"`
	Offset          int64  `json:"offset"`
	Behind          int64  `json:"behind"`
	Agents          int    `json:"agents"`
	Bytes           int64  `json:"bytes"`
	LogRecords      int64  `json:"log_records"`
	Watermark       string `json:"watermark,omitempty"`
	DetectorVersion string `json:"detector_version,omitempty"`
	ConfigHash      string `json:"config_hash,omitempty"`
	ConfigSince     int64  `json:"config_since"` // the first offset that was judged by it
	State           string `json:"state,omitempty"`
}

// Run shows.
func (c *stateShowCmd) Run(ctx context.Context, g *Globals) error {
	service, err := g.Service(c.DataDir)
	if err != nil {
		return err
	}
	client, err := service.client(ctx)
	if err != nil {
		return err
	}
	defer client.Close() //nolint:errcheck // nothing was written
	n, err := partitionsOf(ctx, client, pipeline.TopicBaselines)
	if err != nil {
		return err
	}
	if c.Agent != "" {
		return c.agent(ctx, g, client, n)
	}
	rows := make([]partitionState, n)
	bad := false
	for p := range n {
		rows[p].Partition = p
		if err := rows[p].read(ctx, client); err != nil {
			rows[p].Error, bad = oneLine(err), true
		}
	}
	if c.Output == OutputJSON {
		err = g.printJSON(rows)
	} else {
		err = printStates(g, rows)
	}
	if err == nil && bad {
		err = errSilent
	}
	return err
}

// agent prints the record of one agent.
func (c *stateShowCmd) agent(ctx context.Context, g *Globals, client *kafka.Client, partitions int32) error {
	if c.Output == OutputJSON {
		return usageError{errors.New("--agent prints text: leave --output json away")}
	}
	key := schemas.AppendKey(nil, c.Tenant, c.Agent)
	p := schemas.Partition(key, partitions)
	s, err := statelog.Read(ctx, client, p)
	if err != nil {
		return err
	}
	record, known := s.Agents[string(key)]
	if !known {
		return fmt.Errorf("the newest checkpoint of partition %d holds no agent %q of tenant %q", p, c.Agent, c.Tenant)
	}
	text, err := detector.DumpAgent(record)
	if err != nil {
		return err
	}
	return g.printVisible(func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	})
}

// read fills the row.
func (r *partitionState) read(ctx context.Context, client *kafka.Client) error {
	s, err := statelog.Read(ctx, client, r.Partition)
	if err != nil {
		return err
	}
	r.Epoch, r.LogRecords = s.Epoch, s.End-s.Start
	if s.Marker == nil {
		return errors.New("no checkpoint")
	}
	m := s.Marker
	r.Checkpoints, r.Offset, r.Agents, r.Bytes = m.Counter, m.Offset, len(s.Agents), s.Bytes()
	r.DetectorVersion, r.ConfigHash, r.ConfigSince = m.DetectorVersion, m.ConfigHash, m.ConfigSince
	_, end, err := client.Bounds(ctx, pipeline.TopicPartition{Topic: pipeline.TopicActivity, Partition: r.Partition})
	if err != nil {
		return err
	}
	r.Behind = end - m.Offset
	w, err := detect.Check(s)
	if err != nil {
		return err
	}
	r.State = s.Fingerprint()
	if w > 0 {
		r.Watermark = w.String()
	}
	return nil
}

func printStates(g *Globals, rows []partitionState) error {
	w := tabwriter.NewWriter(g.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "PARTITION\tEPOCH\tCHECKPOINTS\tOFFSET\tBEHIND\tAGENTS\tSIZE\tWATERMARK\tVERSION\tCONFIG\tSINCE\tSTATE")
	for _, r := range rows {
		if r.Error != "" {
			fmt.Fprintf(w, "%d\t%s\n", r.Partition, terminal.Escape(r.Error))
			continue
		}
		fmt.Fprintf(w, "%d\t%d\t%d\t%d\t%d\t%d\t%s\t%s\t%s\t%s\t%d\t%s\n", r.Partition, r.Epoch, r.Checkpoints, r.Offset, r.Behind,
			r.Agents, bytesText(r.Bytes), r.Watermark, terminal.Escape(r.DetectorVersion), terminal.Escape(r.ConfigHash), r.ConfigSince, r.State)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}
