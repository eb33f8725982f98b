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
	try := func(request func() error) (err error) {
		for range 50 {
			if err = request(); err == nil {
				return nil
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
	for at := max(start, from); at < end; {
		var got pipeline.Fetched
		if err := try(func() (err error) { got, err = client.Fetch(ctx, tp, at); return err }); err != nil {
			return err
		}
		for i := range got.Records {
			if err := f(&got.Records[i]); err != nil {
				return fmt.Errorf("%s at %d: %w", tp.Topic, got.Records[i].Offset, err)
			}
		}
		at = got.Next
	}
	return nil
}
