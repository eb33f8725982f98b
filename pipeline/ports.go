// Package pipeline moves events: from the source topics through detection to
// the alert topics, and into the warehouse. Its three roles (packages route, detect,
// archive) share no memory, only topics. This package owns what they share: the
// ports, the loop that consumes, and what retries.
//
// Invariants:
//  1. No offset is committed before everything that follows from the records below
//     it is acknowledged (Consumer, Handler).
//  2. Records for one partition never overtake each other (Outbox).
//  3. What fails is counted and said once, then every ten seconds (Retry).
//
// It imports schemas. It never imports a role, the detector or an adapter: what
// roles need of Kafka and ClickHouse it states here as small interfaces.
package pipeline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/plumbline-sec/plumbline/schemas"
)

// Header is one header of a record.
type Header struct {
	Key   string
	Value []byte
}

// Record is one Kafka record. The bytes of a fetched record are never changed
// after Fetch returned them: they may be kept and shared.
type Record struct {
	Offset  int64
	Time    schemas.Millis // the broker's append time where the topic says so, else the producer's
	Key     []byte
	Value   []byte
	Headers []Header
}

// Header returns the value of a header, nil where there is none.
func (r *Record) Header(key string) []byte {
	for i := range r.Headers {
		if r.Headers[i].Key == key {
			return r.Headers[i].Value
		}
	}
	return nil
}

// TopicPartition names a partition.
type TopicPartition struct {
	Topic     string
	Partition int32
}

func (tp TopicPartition) String() string { return tp.Topic + "/" + strconv.Itoa(int(tp.Partition)) }

// Fetched is what one fetch returned.
type Fetched struct {
	Records []Record
	// Next is the offset to fetch next. It may move without records: control
	// records and aborted transactions are skipped.
	Next          int64
	HighWatermark int64
	LogStart      int64
}

// Errors that a role tells apart. Everything else that a Log returns is worth a
// retry.
var (
	// ErrOffsetOutOfRange: the offset is below the log's start (retention removed
	// what was not read: data loss) or beyond its end (the topic was recreated).
	ErrOffsetOutOfRange = errors.New("offset out of range")
	// ErrCorrupt: a batch failed its checksum or can't be parsed.
	ErrCorrupt = errors.New("corrupt record batch")
	// ErrTooLarge: the broker refuses a record or request of this size.
	ErrTooLarge = errors.New("message too large")
	// ErrFenced: this member no longer owns what it writes about.
	ErrFenced = errors.New("generation fenced")
	// ErrGroupActive: a group has members, so that its offsets are not for others to
	// commit.
	ErrGroupActive = errors.New("the consumer group has members: stop every instance first")
)

// CorruptError names a batch that can't be read. It is an ErrCorrupt.
type CorruptError struct {
	TopicPartition
	Offset int64 // of its first record
	Next   int64 // behind its last record; 0 where its header can't be trusted either
	Reason string
	// Intact: its checksum is right. Its producer wrote it so, and reading it again
	// gives the same.
	Intact bool
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("%s at offset %d: %v: %s", e.TopicPartition, e.Offset, ErrCorrupt, e.Reason)
}

// Unwrap returns ErrCorrupt.
func (e *CorruptError) Unwrap() error { return ErrCorrupt }

// Appended says where records went.
type Appended struct {
	First, Last int64 // offsets of the first and the last record
	Count       int
}

// Contiguous says whether no foreign record stands between them.
func (a Appended) Contiguous() bool { return a.Last-a.First+1 == int64(a.Count) }

// Log reads and writes partitions.
type Log interface {
	// Fetch returns records from offset on, committed ones only, in order. It
	// waits a moment for data and returns no records if none came.
	Fetch(ctx context.Context, tp TopicPartition, offset int64) (Fetched, error)
	// Produce appends records as one batch (or more, in order, where they exceed
	// the request size) and returns when all in-sync replicas have them.
	Produce(ctx context.Context, tp TopicPartition, records []Record) error
	// Append is Produce, and says where the records went.
	Append(ctx context.Context, tp TopicPartition, records []Record) (Appended, error)
	// DeleteRecords removes the records of a partition below an offset.
	DeleteRecords(ctx context.Context, tp TopicPartition, before int64) error
	// Bounds returns the offsets of the log's start and end.
	Bounds(ctx context.Context, tp TopicPartition) (start, end int64, err error)
	// Partitions returns how many partitions a topic has.
	Partitions(ctx context.Context, topic string) (int32, error)
}

// Group is one membership of a consumer group over fixed topics.
type Group interface {
	// Next joins and returns the next generation; the one before it has ended and
	// all functions started in it have returned.
	Next(ctx context.Context) (Generation, error)
	Close() error
}

// Assignment is a partition handed to this member, and where to go on: the
// committed offset, or the log's start where nothing was committed.
type Assignment struct {
	TopicPartition
	Offset    int64
	Committed bool // false: nothing was ever committed
}

// Generation is one period of ownership.
type Generation interface {
	Assignments() []Assignment
	// Start runs fn in a goroutine; ctx ends with the generation. The generation
	// ends when any fn returns.
	Start(fn func(ctx context.Context))
	// Commit commits the next offset to read, checked against the generation.
	Commit(tp TopicPartition, offset int64) error
}

// Place is a place in TopicActivity.
type Place struct {
	Partition int32
	Offset    int64
}

// NoPlace is that of what does not say it.
var NoPlace = Place{-1, -1}

// AppendTo appends the value of HeaderSource.
func (p Place) AppendTo(dst []byte) []byte {
	dst = append(strconv.AppendInt(dst, int64(p.Partition), 10), '/')
	return strconv.AppendInt(dst, p.Offset, 10)
}

// ParsePlace reads what AppendTo wrote.
func ParsePlace(b []byte) (Place, bool) {
	partition, offset, ok := bytes.Cut(b, []byte{'/'})
	if !ok {
		return NoPlace, false
	}
	p, err := strconv.ParseInt(string(partition), 10, 32)
	if err != nil {
		return NoPlace, false
	}
	o, err := strconv.ParseInt(string(offset), 10, 64)
	if err != nil {
		return NoPlace, false
	}
	return Place{int32(p), o}, true
}

// ActivityRow is one event on its way into the warehouse.
type ActivityRow struct {
	Event   schemas.Activity
	Origin  schemas.Origin
	Log     Place
	LogTime schemas.Millis // when it was appended there
	// Version is that of the decoding that made Event. Where one origin is stored
	// twice, the row with the higher version stays.
	Version uint32
}

// RegistrationRow is what was said once about an agent.
type RegistrationRow struct {
	Registration *schemas.Registration
	RecordedAt   schemas.Millis
	Origin       schemas.Origin
	Log          Place
	LogTime      schemas.Millis // when it was appended there
}

// AlertRow is one alert, with its canonical JSON as it stood in the topic.
type AlertRow struct {
	Alert      schemas.Alert
	JSON       []byte
	RecordedAt schemas.Millis
	Log        Place // of the event at which it was raised
}

// WindowRow is one window.
type WindowRow struct {
	Window     schemas.Window
	RecordedAt schemas.Millis
}

// Warehouse stores rows. Storing the same row twice leaves one row under the
// views. An insert returns when the rows are acknowledged; on an error none, some
// or all of them may be stored, and the caller inserts them again.
type Warehouse interface {
	InsertActivity(ctx context.Context, rows []ActivityRow) error
	InsertRegistrations(ctx context.Context, rows []RegistrationRow) error
	InsertAlerts(ctx context.Context, rows []AlertRow) error
	InsertWindows(ctx context.Context, rows []WindowRow) error
}
