package stack

import (
	"context"
	"fmt"
	"time"

	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/pipeline/kafka"
)

// Read calls f with every record of a partition, from an offset or from its first
// record to its end. A connection that was cut shows with the first request on it, so
// each request is tried for some seconds.
func Read(ctx context.Context, client *kafka.Client, tp pipeline.TopicPartition, from int64, f func(*pipeline.Record) error) error {
	var own error // of f: it is final
	try := func(request func() error) (err error) {
		for range 50 {
			if err = request(); err == nil || own != nil {
				return err
			}
			select {
			case <-ctx.Done():
				return err
			case <-time.After(100 * time.Millisecond):
			}
		}
		return err
	}
	var start, end int64
	if err := try(func() (err error) { start, end, err = client.Bounds(ctx, tp); return err }); err != nil {
		return err
	}
	at := max(start, from)
	return try(func() (err error) {
		at, err = pipeline.ReadRange(ctx, client, tp, at, end, nil, func(r *pipeline.Record) error {
			if err := f(r); err != nil {
				own = fmt.Errorf("%s at %d: %w", tp.Topic, r.Offset, err)
			}
			return own
		})
		return err
	})
}
