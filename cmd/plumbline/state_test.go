package main

import (
	varint "encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/internal/embedded/broker"
	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/pipeline/kafka"
	"github.com/plumbline-sec/plumbline/schemas"
)

// checkpointed is a checkpoint in one record.
type checkpointed []byte

func (c *checkpointed) entry(kind byte, record []byte) {
	*c = varint.AppendUvarint(append(*c, kind), uint64(len(record)))
	*c = append(*c, record...)
}

func (c *checkpointed) Partition(record []byte) { c.entry('P', record) }
func (c *checkpointed) Gone(string, string)     {}
func (c *checkpointed) Agent(record []byte)     { c.entry('A', record) }

type unheard struct{}

func (unheard) Alert(*schemas.Alert)   {}
func (unheard) Window(*schemas.Window) {}

func TestStateShowPrintsTheFieldsOfAnAgentEscaped(t *testing.T) {
	d, err := detector.New(detector.DefaultConfig(), unheard{})
	require.NoError(t, err)
	const hostile = "bot\x1b[2J\u202e\n"
	d.Process(&schemas.Activity{EventID: "e", Time: 1_700_000_000_000, TenantID: "acme", AgentID: hostile, PeerGroup: "g", Tool: "x", Outcome: schemas.OutcomeSuccess})
	checkpoint := checkpointed{1, 1, 0}
	d.BeginCut(&checkpoint, nil)
	require.True(t, d.ContinueCut(10))

	b, err := broker.Start(broker.Config{DataDir: t.TempDir(), Listen: "127.0.0.1:0", Logger: zerolog.Nop()})
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.Stop() })
	client, err := kafka.New(kafka.Config{Brokers: []string{b.Addr()}}, zerolog.Nop())
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	require.NoError(t, client.EnsureTopics(t.Context(), []kafka.TopicSpec{{Name: pipeline.TopicActivity}, {Name: pipeline.TopicBaselines}}))
	for _, r := range []pipeline.Record{
		{Key: []byte("open"), Value: []byte(`{"format":1,"epoch":1,"nonce":"n"}`)},
		{Key: []byte("chunk"), Value: checkpoint},
		{Key: []byte("marker"), Value: []byte(`{"format":1,"epoch":1,"attempt":1,"counter":1,"offset":0,"partitions":1,"slices":1,"snapshot":3,"outputs":{},"window":[{"epoch":1,"attempt":1,"start":1,"chunks":1}]}`)},
	} {
		require.NoError(t, client.Produce(t.Context(), pipeline.TopicPartition{Topic: pipeline.TopicBaselines}, []pipeline.Record{r}))
	}
	config := writeFile(t, "config.yaml", fmt.Sprintf("kafka: {brokers: [%q]}\nclickhouse: {addr: [\"127.0.0.1:1\"]}\n", b.Addr()))
	show := func(args ...string) result {
		return plumbline(t, append([]string{"state", "show", "--config", config}, args...)...)
	}

	r := show("--tenant", "acme", "--agent", hostile)
	require.Equal(t, 0, r.code, r.stderr)
	require.Contains(t, r.stdout, "tenant \"acme\"\nid \"bot\\x1b[2J\\u202e\\n\"\ngroup \"g\"\n")
	require.Contains(t, r.stdout, "\nprofile.rate.longMean 0\n")
	require.Contains(t, r.stdout, "\nprofile.rate.hour[3]: s 0, e 0\n")
	require.NotContains(t, strings.ReplaceAll(r.stdout, "\n", ""), "\x1b")

	r = show("--agent", hostile)
	require.Equal(t, 1, r.code)
	require.Contains(t, r.stderr, `of tenant "default"`)
	require.NotContains(t, r.stderr, "\x1b")
	require.Equal(t, 2, show("--agent", hostile, "--output", "json").code)

	r = show("--output", "json")
	require.Equal(t, 0, r.code, r.stderr)
	var rows []partitionState
	require.NoError(t, json.Unmarshal([]byte(r.stdout), &rows))
	require.Len(t, rows, 1)
	require.Len(t, rows[0].State, 16)
	require.Equal(t, 1, rows[0].Agents)
}
