package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/plumbline-sec/plumbline/benchmarks/internal/bench"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/plumbline-sec/plumbline/pipeline"
)

// halfRead has an instance stop in mid-stream, sends the rest, and returns where
// route will go on in each partition.
func halfRead(ctx context.Context, w *world) ([partitions]int64, error) {
	var at [partitions]int64
	i, err := begin(ctx, w, nil)
	if err != nil {
		return at, err
	}
	pause(ctx, loadTime/3)
	if err := i.stop(); err != nil {
		return at, err
	}
	if err := w.during(ctx, nap(ctx)); err != nil {
		return at, err
	}
	client := kafkago.Client{Addr: kafkago.TCP(w.broker.Addr())}
	got, err := client.OffsetFetch(ctx, &kafkago.OffsetFetchRequest{GroupID: pipeline.GroupRoute, Topics: map[string][]int{sourceTopic: {0, 1}}})
	if err != nil {
		return at, fmt.Errorf("read the committed offsets: %w", err)
	}
	for _, p := range got.Topics[sourceTopic] {
		at[p.Partition] = max(0, p.CommittedOffset)
	}
	return at, nil
}

// gone notes that the records of a partition from an offset on, up to another, are
// no more.
func (w *world) gone(p int, from, to int64) error {
	if from < 0 || to > int64(len(w.lines[p])) || from >= to {
		return fmt.Errorf("partition %d: there is nothing to lose from %d to %d of %d", p, from, to, len(w.lines[p]))
	}
	if w.lost == nil {
		w.lost = make(map[int]bool)
	}
	for _, i := range w.lines[p][from:to] {
		w.lost[i] = true
	}
	return nil
}

// retention has the broker delete records that were not read yet.
func retention(ctx context.Context, w *world) error {
	at, err := halfRead(ctx, w)
	if err != nil {
		return err
	}
	for p, from := range at {
		to := from + 700
		if err := w.gone(p, from, to); err != nil {
			return err
		}
		if err := w.client.DeleteRecords(ctx, pipeline.TopicPartition{Topic: sourceTopic, Partition: int32(p)}, to); err != nil {
			return err
		}
	}
	_, err = w.start(launch{})
	return err
}

// corrupted turns a bit of a batch on the disk of Apache Kafka, which does not look
// at it again.
func corrupted(ctx context.Context, w *world) error {
	at, err := halfRead(ctx, w)
	if err != nil {
		return err
	}
	if err := w.broker.Stop(); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(w.dir, "kafka", "*", sourceTopic+"-0", "*.log"))
	if err != nil || len(files) != 1 {
		return fmt.Errorf("the partition's segment: %v, %w", files, err)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		return fmt.Errorf("segment: %w", err)
	}
	from, to, where := int64(0), int64(0), 0
	for pos := 0; pos+61 < len(data) && from <= at[0]+1000; pos += 12 + int(binary.BigEndian.Uint32(data[pos+8:])) {
		from, where = int64(binary.BigEndian.Uint64(data[pos:])), pos+100
		to = from + int64(binary.BigEndian.Uint32(data[pos+23:])) + 1
	}
	if err := w.gone(0, from, to); err != nil {
		return err
	}
	data[where] ^= 0x20
	if err := errors.Join(os.WriteFile(files[0], data, 0o600), w.broker.Start()); err != nil { //nolint:gosec // in the case's directory
		return fmt.Errorf("segment: %w", err)
	}
	_, err = w.start(launch{})
	return err
}

// expected is what must come out in the end: the events that are stored, and the
// alerts.
func (w *world) expected(ctx context.Context) (events int, alerts map[string]bool, err error) {
	if w.alerts != nil {
		return len(w.h.ids), w.alerts, nil
	}
	if len(w.lost) == 0 {
		return len(w.h.ids), w.h.alerts, nil
	}
	var rest bytes.Buffer
	for i, line := range w.h.lines {
		if !w.lost[i] {
			rest.Write(append(line, '\n'))
		}
	}
	path := filepath.Join(w.dir, "rest.jsonl")
	if err := os.WriteFile(path, rest.Bytes(), 0o600); err != nil {
		return 0, nil, fmt.Errorf("events: %w", err)
	}
	alerts, err = w.h.replay(ctx, path)
	return len(w.h.ids) - len(w.lost), alerts, err
}

// admitted is how many lost records the instances logged.
func (w *world) admitted() (n int, err error) {
	files, err := filepath.Glob(filepath.Join(w.dir, "service-*.log"))
	for _, f := range files {
		err = errors.Join(err, bench.EachLine(f, func(line []byte) error {
			var l struct {
				Lost int `json:"lost"`
			}
			if bytes.Contains(line, []byte(`"lost"`)) {
				if err := json.Unmarshal(line, &l); err != nil {
					return fmt.Errorf("log: %w", err)
				}
				n += l.Lost
			}
			return nil
		}))
	}
	return n, err
}
