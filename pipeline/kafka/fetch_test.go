package kafka

import (
	"bytes"
	"testing"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/embedded/broker/brokertest"
	"github.com/plumbline-sec/plumbline/pipeline"
)

func TestWhatGrowsInMemoryIsReadInSmallerPieces(t *testing.T) {
	c, err := New(Config{Brokers: []string{brokertest.Start(t)}}, zerolog.Nop())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	require.NoError(t, c.EnsureTopics(t.Context(), []TopicSpec{{Name: "t"}}))
	tp := pipeline.TopicPartition{Topic: "t"}

	// A mebibyte of text that compresses about ten times, and more than 100 of them.
	text := bytes.Repeat([]byte("an agent reads file:report.xlsx and says nothing; "), 1<<20/50)
	for i := range text {
		if i%97 == 0 {
			text[i] = byte('a' + i*31%26)
		}
	}
	const records = 120
	for range records {
		require.NoError(t, c.Produce(t.Context(), tp, []pipeline.Record{{Value: text}}))
	}
	assert.EqualValues(t, fetchBudget/4, c.ask("t"), "before anything is known")
	next, most := int64(0), 0
	for next < records {
		got, err := c.Fetch(t.Context(), tp, next)
		require.NoError(t, err)
		require.Greater(t, got.Next, next)
		next = got.Next
		most = max(most, len(got.Records)*len(text))
	}
	assert.LessOrEqual(t, most, fetchBudget+2*len(text))
	assert.Less(t, c.ask("t"), int32(fetchBudget/4), "it grows more than fourfold: less is asked for")

	c.learnGrowth("t", 1<<20, 900<<20)
	assert.EqualValues(t, leastFetch, c.ask("t"), "bombs make nobody's reads tiny")
	c.learnGrowth("t", 1000, 1000)
	assert.EqualValues(t, leastFetch, c.ask("t"), "a little is no measure")
	c.learnGrowth("t", 1<<20, 1<<20)
	assert.EqualValues(t, mostFetch, c.ask("t"))
}
