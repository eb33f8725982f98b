package kafka

import (
	"context"
	"fmt"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/plumbline-sec/plumbline/pipeline"
)

// Fetch returns committed records from offset on. It waits up to
// Config.FetchMaxWait for data.
func (c *Client) Fetch(ctx context.Context, tp pipeline.TopicPartition, offset int64) (pipeline.Fetched, error) {
	buffer := c.grabBuffer()
	res, err := c.roundTrip(ctx, newFetchRequest(tp, offset, int32(c.cfg.FetchMaxWait.Milliseconds()), c.ask(tp.Topic), buffer))
	if err != nil {
		// The buffer is not reused: after a cancelled call the connection may
		// still write into it.
		return pipeline.Fetched{}, fmt.Errorf("fetch %s/%d at %d: %w", tp.Topic, tp.Partition, offset, err)
	}
	r, ok := res.(*fetchResponse)
	if !ok {
		return pipeline.Fetched{}, fmt.Errorf("fetch %s/%d at %d: unexpected answer %T", tp.Topic, tp.Partition, offset, res)
	}
	if r.errorCode != 0 {
		c.releaseBuffer(buffer)
		return pipeline.Fetched{}, c.fetchError(tp, offset, kafkago.Error(r.errorCode))
	}
	p := newParser(tp, offset, r.aborted)
	err = p.recordSet(r.recordSet)
	c.learnGrowth(tp.Topic, p.read, p.cost())
	if !p.referenced {
		if r.recordSet != nil {
			buffer = r.recordSet
		}
		c.releaseBuffer(buffer)
	}
	if err != nil && p.next == offset {
		return pipeline.Fetched{}, err
	}
	// What stands before a broken batch is handed out; the next call meets it.
	return pipeline.Fetched{Records: p.records, Next: p.next, HighWatermark: r.highWatermark, LogStart: r.logStart}, nil
}

// ask is how many bytes to fetch of a topic: no more than come to fetchBudget in
// memory if they grow as the last ones did.
func (c *Client) ask(topic string) int32 {
	growth := 4.0
	if g, ok := c.growth.Load(topic); ok {
		growth = g.(float64) //nolint:forcetypeassert // ours
	}
	return max(min(mostFetch, int32(fetchBudget/growth)), leastFetch)
}

// mostFetch is what a fetch asks for; a larger batch still comes, alone. leastFetch
// keeps a producer of bombs from making everybody's reads tiny.
const (
	mostFetch  = 8 << 20
	leastFetch = 256 << 10
)

// learnGrowth notes what fetched bytes came to. A little is no measure.
func (c *Client) learnGrowth(topic string, fetched, inMemory int) {
	if fetched >= leastFetch/4 {
		c.growth.Store(topic, max(1, float64(inMemory)/float64(fetched)))
	}
}

func (c *Client) fetchError(tp pipeline.TopicPartition, offset int64, err kafkago.Error) error {
	cause := c.hint(err)
	if err == kafkago.OffsetOutOfRange {
		cause = fmt.Errorf("%w: %w", pipeline.ErrOffsetOutOfRange, err)
	}
	return fmt.Errorf("fetch %s/%d at %d: %w", tp.Topic, tp.Partition, offset, cause)
}

// maxPooled keeps a single huge batch from being held for ever.
const maxPooled = 16 << 20

func (c *Client) grabBuffer() []byte {
	if b, ok := c.raw.Get().(*[]byte); ok {
		return (*b)[:0]
	}
	return nil
}

func (c *Client) releaseBuffer(b []byte) {
	if cap(b) == 0 || cap(b) > maxPooled {
		return
	}
	b = b[:0]
	c.raw.Put(&b)
}
