package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/plumbline-sec/plumbline/internal/input"
	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/pipeline/kafka"
	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
)

// appender is what a sender needs of Kafka.
type appender interface {
	Append(ctx context.Context, tp pipeline.TopicPartition, records []pipeline.Record) (pipeline.Appended, error)
}

// sender sends lines.
//
// Invariants:
//  1. The lines of one key are appended in the order of the input: one request is
//     in flight per partition.
//  2. A line is counted as sent when all in-sync replicas have it.
//  3. Memory is bounded by three chunks and what the longest line takes.
type sender struct {
	kafka      appender
	topic      string
	partitions int32
	options    input.Options
	tally      *tally
	console    *console

	rate     float64       // lines a second, 0: no limit
	patience time.Duration // how long brokers may be away

	read, sent, bytes, refused, letters atomic.Int64
	total                               int64 // bytes of input, 0: unknown
	started                             time.Time
}

// sendSummary is the result of `send`.
type sendSummary struct {
	Sent        int64   `json:"sent"`
	Refused     int64   `json:"refused"`      // for their size
	DeadLetters int64   `json:"dead_letters"` // of those sent: something in them is no event
	Bytes       int64   `json:"bytes"`
	Seconds     float64 `json:"seconds"`
	Rate        float64 `json:"rate"` // lines a second
}

func newSender(k appender, topic string, partitions int32, f form, con *console) *sender {
	f.options.MaxRecord = kafka.MaxRecordBytes
	t := newTally(f, con.line)
	t.next = "see with plumbline decode what they become; the service keeps them as dead letters"
	return &sender{kafka: k, topic: topic, partitions: partitions, options: f.options, tally: t, console: con}
}

var errInterrupted = errors.New("interrupted")

// send sends all inputs. What the summary says holds in the case of an error too.
func (s *sender) send(ctx context.Context, in *inputs) (sendSummary, error) {
	s.started, s.total = time.Now(), in.total
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	chunks := make(chan chunk, 1)
	readErr := make(chan error, 1)
	cut := &chunker{opt: s.options, maxLines: chunkLines, out: chunks}
	if s.rate > 0 {
		cut.maxLines = max(1, min(chunkLines, int(s.rate/20)))
	}
	go func() { // ends with the input or ctx; a read that blocks ends with the process
		defer close(chunks)
		readErr <- s.readAll(ctx, in, cut)
	}()
	stopProgress := s.console.during(s.progress)
	err := s.chunks(ctx, chunks)
	stopProgress()
	if err == nil {
		err = <-readErr
	}
	if ctx.Err() != nil {
		err = errInterrupted
	}
	return s.summary(), err
}

func (s *sender) readAll(ctx context.Context, in *inputs, cut *chunker) error {
	for _, file := range in.names {
		r, name, closeFile, err := in.open(file)
		if err != nil {
			return err
		}
		err = cut.read(ctx, name, r)
		closeFile()
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *sender) summary() sendSummary {
	sum := sendSummary{Sent: s.sent.Load(), Refused: s.refused.Load(), DeadLetters: s.letters.Load(), Bytes: s.bytes.Load(), Seconds: time.Since(s.started).Seconds()}
	if sum.Seconds > 0 {
		sum.Rate = float64(sum.Sent) / sum.Seconds
	}
	return sum
}

// chunks sends one chunk after the other.
func (s *sender) chunks(ctx context.Context, chunks <-chan chunk) error {
	var lines int64
	for {
		var c chunk
		var more bool
		select {
		case c, more = <-chunks:
		case <-ctx.Done():
			return ctx.Err()
		}
		if !more {
			return nil
		}
		if s.rate > 0 && !sleep(ctx, time.Until(s.started.Add(time.Duration(float64(lines)/s.rate*float64(time.Second))))) {
			return ctx.Err()
		}
		lines += int64(len(c.lines))
		if err := s.chunk(ctx, c); err != nil {
			return err
		}
		s.read.Add(c.read)
		if !c.last {
			continue
		}
		if err := s.tally.end(); err != nil {
			return err
		}
		s.tally.begin("")
	}
}

// batch is what goes into one partition, in order.
type batch struct {
	file    string
	records []pipeline.Record
	lines   []int64
}

// chunk sends the lines of c, all partitions at once.
func (s *sender) chunk(ctx context.Context, c chunk) error {
	batches := make(map[int32]*batch)
	if s.tally.file != c.file {
		s.tally.begin(c.file)
	}
	for _, l := range c.lines {
		s.tally.at(l.number)
		if l.tooLong {
			s.refuse(c.file, l.number, fmt.Sprintf("%d bytes, at most %d", l.size, s.options.MaxRecord))
			continue
		}
		key := s.key(l.data)
		p := int32(l.number % int64(s.partitions)) // what has no key has no order either
		if key != nil {
			p = schemas.Partition(key, s.partitions)
		}
		b := batches[p]
		if b == nil {
			b = &batch{file: c.file}
			batches[p] = b
		}
		b.records = append(b.records, pipeline.Record{Key: key, Value: l.data})
		b.lines = append(b.lines, l.number)
	}
	s.letters.Store(s.tally.letters)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		first error
	)
	for p, b := range batches {
		wg.Go(func() {
			if err := s.batch(ctx, pipeline.TopicPartition{Topic: s.topic, Partition: p}, *b); err != nil {
				mu.Lock()
				if first == nil {
					first = err
				}
				mu.Unlock()
				cancel()
			}
		})
	}
	wg.Wait()
	return first
}

// key returns the record key of the agent that a line is about, nil where none can
// be made out or where it is about several.
func (s *sender) key(data []byte) (key []byte) {
	rec := decode.Record{Topic: s.topic, Time: schemas.Millis(time.Now().UnixMilli()), Value: data}
	several := false
	s.tally.Decode(&rec, func(_ int32, ev *schemas.Activity, refusal *decode.Refusal) {
		if refusal != nil || several {
			return
		}
		own := schemas.AppendKey(nil, ev.TenantID, ev.AgentID)
		several = key != nil && !bytes.Equal(key, own)
		key = own
	})
	if several {
		return nil
	}
	return key
}

// batch sends b until it is acknowledged or refused for its size.
func (s *sender) batch(ctx context.Context, tp pipeline.TopicPartition, b batch) error {
	var failingSince time.Time
	wait := 250 * time.Millisecond
	for len(b.records) > 0 {
		done, err := s.kafka.Append(ctx, tp, b.records)
		s.acknowledged(b.records[:done.Count])
		b.records, b.lines = b.records[done.Count:], b.lines[done.Count:]
		if done.Count > 0 {
			failingSince, wait = time.Time{}, 250*time.Millisecond
		}
		var access *kafka.AccessError
		switch {
		case err == nil:
			continue
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, pipeline.ErrTooLarge):
			return s.divide(ctx, tp, b, err)
		case errors.As(err, &access):
			return err
		}
		if failingSince.IsZero() {
			failingSince = time.Now()
		}
		if time.Since(failingSince) >= s.patience {
			return fmt.Errorf("gave up after %s: %w", s.patience, err)
		}
		s.console.say("retry", oneLine(err)+"; retrying")
		if !sleep(ctx, wait) {
			return ctx.Err()
		}
		wait = min(2*wait, 5*time.Second)
	}
	return nil
}

// divide finds the record that the broker refuses for its size, keeping the order
// of the others.
func (s *sender) divide(ctx context.Context, tp pipeline.TopicPartition, b batch, err error) error {
	if len(b.records) == 1 {
		s.refuse(b.file, b.lines[0], fmt.Sprintf("%d bytes, over max.message.bytes of topic %s (%s)", len(b.records[0].Value), s.topic, oneLine(err)))
		return nil
	}
	half := len(b.records) / 2
	if err := s.batch(ctx, tp, batch{file: b.file, records: b.records[:half], lines: b.lines[:half]}); err != nil {
		return err
	}
	return s.batch(ctx, tp, batch{file: b.file, records: b.records[half:], lines: b.lines[half:]})
}

func (s *sender) acknowledged(records []pipeline.Record) {
	n := 0
	for i := range records {
		n += len(records[i].Value)
	}
	s.bytes.Add(int64(n))
	s.sent.Add(int64(len(records)))
}

func (s *sender) refuse(file string, number int64, why string) {
	n := s.refused.Add(1)
	switch {
	case n <= maxRefusals:
		s.console.line(fmt.Sprintf("plumbline: %s, line %d refused: %s", file, number, why))
	case n == maxRefusals+1:
		s.console.line("plumbline: further refused lines are only counted")
	}
}

func (s *sender) progress() string {
	sum := s.summary()
	text := fmt.Sprintf("%d lines sent, %s, %.0f/s", sum.Sent, bytesText(sum.Bytes), sum.Rate)
	if s.total > 0 {
		text += fmt.Sprintf(", %d %%", 100*s.read.Load()/s.total)
	}
	if sum.Refused > 0 {
		text += fmt.Sprintf(", %d refused", sum.Refused)
	}
	return text
}

// sleep waits for d, and reports whether it did so to the end.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// bytesText is a number of bytes for people.
func bytesText(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	v, names := float64(n)/unit, []string{"KiB", "MiB", "GiB", "TiB"}
	for len(names) > 1 && v >= unit {
		v, names = v/unit, names[1:]
	}
	return fmt.Sprintf("%.1f %s", v, names[0])
}
