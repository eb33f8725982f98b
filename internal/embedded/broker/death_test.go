package broker_test

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/embedded/broker/brokertest"
)

// TestWhatIsAcknowledgedSurvivesKill9 kills the broker's process in the midst of
// produces and commits, several times over one directory.
func TestWhatIsAcknowledgedSurvivesKill9(t *testing.T) {
	exe, err := os.Executable()
	require.NoError(t, err)
	dir := t.TempDir()
	const deaths = 3
	acknowledged := int64(0) // offset after the last record that was acknowledged
	committedTo := int64(-1)
	for death := range deaths {
		cmd := exec.Command(exe)
		cmd.Env = append(os.Environ(), processEnv+"="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		addr, err := bufio.NewReader(out).ReadString('\n')
		require.NoError(t, err)
		c := client(t, strings.TrimSpace(addr))
		if death == 0 {
			createTopic(t, c, "events", map[string]string{"retention.ms": "-1"})
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			for ctx.Err() == nil {
				resp, err := c.Produce(ctx, &kafka.ProduceRequest{
					Topic: "events", Partition: 0, RequiredAcks: kafka.RequireAll,
					Records: kafka.NewRecordReader(record(strconv.FormatInt(acknowledged, 10), time.Now()), record("pair", time.Now())),
				})
				if err != nil || resp.Error != nil {
					return // the broker died under it
				}
				acknowledged = resp.BaseOffset + 2
				done, err := c.OffsetCommit(ctx, &kafka.OffsetCommitRequest{
					GroupID: "readers", GenerationID: -1,
					Topics: map[string][]kafka.OffsetCommit{"events": {{Partition: 0, Offset: acknowledged}}},
				})
				if err != nil || done.Topics["events"][0].Error != nil {
					return
				}
				committedTo = acknowledged
			}
		})
		time.Sleep(200 * time.Millisecond)
		require.NoError(t, cmd.Process.Kill())
		_ = cmd.Wait()
		cancel()
		wg.Wait()
	}
	require.Positive(t, committedTo)

	c := client(t, brokertest.Start(t, brokertest.WithDataDir(dir)))
	all := fetchAll(t, c, "events", 0, int(acknowledged))
	require.GreaterOrEqual(t, int64(len(all)), acknowledged)
	for i, r := range all {
		require.Equal(t, int64(i), r.offset, "no offset is missing, none is twice")
	}
	assert.GreaterOrEqual(t, committed(t, c, "readers"), committedTo)
	t.Logf("%d records and the offset %d acknowledged across %d deaths", acknowledged, committedTo, deaths)
}
