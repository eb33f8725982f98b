package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/rs/zerolog"

	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/pipeline/kafka"
	"github.com/plumbline-sec/plumbline/schemas"
)

// stateCmd is `plumbline state`.
type stateCmd struct {
	Split stateSplitCmd `cmd:"" help:"Move the state to more partitions, while nothing runs."`
	Show  stateShowCmd  `cmd:"" help:"What the newest checkpoint of every partition holds."`
}

type stateShowCmd struct {
	DataDir string `placeholder:"DIR" help:"Data directory of a running service, in the place of data_dir."`
	Output  Output `enum:"text,json" default:"text" help:"Form of the result: text or json."`
}

// Help is the long help.
func (c *stateShowCmd) Help() string {
	return `Reads the topic plumbline.baselines and changes nothing. It can be run beside the service.

BEHIND is how many records of plumbline.activity are read again after a crash. STATE is a fingerprint of all baselines of the partition: two detectors that saw the same events have the same one. Exit code 1: a partition has no checkpoint, or one that can't be restored.`
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
	State           string `json:"state,omitempty"`
}

// Run shows.
func (c *stateShowCmd) Run(ctx context.Context, g *Globals) error {
	service, err := g.Service(c.DataDir)
	if err != nil {
		return err
	}
	at, err := service.kafka(ctx)
	if err != nil {
		return err
	}
	client, err := kafka.New(at, zerolog.Nop())
	if err != nil {
		return usageError{err}
	}
	defer client.Close() //nolint:errcheck // nothing was written
	n, err := partitionsOf(ctx, client, pipeline.TopicBaselines)
	if err != nil {
		return err
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

// read fills the row. The log may be trimmed while it is read.
func (r *partitionState) read(ctx context.Context, client *kafka.Client) error {
	var s *pipeline.State
	var err error
	for range 5 {
		if s, err = pipeline.ReadState(ctx, client, r.Partition); !errors.Is(err, pipeline.ErrOffsetOutOfRange) {
			break
		}
	}
	if err != nil {
		return err
	}
	r.Epoch, r.LogRecords = s.Epoch, s.End-s.Start
	if s.Marker == nil {
		return errors.New("no checkpoint")
	}
	m := s.Marker
	r.Checkpoints, r.Offset, r.Agents, r.Bytes = m.Counter, m.Offset, s.Agents, s.Bytes
	r.DetectorVersion, r.ConfigHash = m.DetectorVersion, m.ConfigHash
	_, end, err := client.Bounds(ctx, pipeline.TopicPartition{Topic: pipeline.TopicActivity, Partition: r.Partition})
	if err != nil {
		return err
	}
	r.Behind = end - m.Offset
	d, err := s.Restore(nothing{})
	if err != nil {
		return err
	}
	sum := sha256.Sum256(d.AppendSnapshot(nil))
	r.State = hex.EncodeToString(sum[:8])
	if w := d.Stats().Watermark; w > 0 {
		r.Watermark = w.String()
	}
	return nil
}

func printStates(g *Globals, rows []partitionState) error {
	w := tabwriter.NewWriter(g.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "PARTITION\tEPOCH\tCHECKPOINTS\tOFFSET\tBEHIND\tAGENTS\tSIZE\tWATERMARK\tVERSION\tCONFIG\tSTATE")
	for _, r := range rows {
		if r.Error != "" {
			fmt.Fprintf(w, "%d\t%s\n", r.Partition, escaped(r.Error))
			continue
		}
		fmt.Fprintf(w, "%d\t%d\t%d\t%d\t%d\t%d\t%s\t%s\t%s\t%s\t%s\n", r.Partition, r.Epoch, r.Checkpoints, r.Offset, r.Behind,
			r.Agents, bytesText(r.Bytes), r.Watermark, escaped(r.DetectorVersion), escaped(r.ConfigHash), r.State)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

// nothing takes what a detector says that nobody asked.
type nothing struct{}

// Alert implements detector.Sink.
func (nothing) Alert(*schemas.Alert) {}

// Window implements detector.Sink.
func (nothing) Window(*schemas.Window) {}
