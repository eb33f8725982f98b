package broker_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/embedded/broker/brokertest"
)

func TestTheBrokerLeavesTheLastOfTheDiskToOthersAndGoesOnWhenThereIsRoom(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "mount", "-t", "tmpfs", "-o", "size=80m", "plumbline-test", dir).CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: a small disk can't be mounted here: %s", out)
	}
	t.Cleanup(func() { _ = exec.Command("umount", "-l", dir).Run() }) //nolint:noctx // the test's context has ended
	c := client(t, brokertest.Start(t, brokertest.WithDataDir(filepath.Join(dir, "kafka"))))
	createTopic(t, c, "events", nil)
	now := time.Now()
	require.NoError(t, produce(t.Context(), c, "events", 0, record("there is room", now)))

	other := filepath.Join(dir, "another-program")
	require.NoError(t, os.WriteFile(other, make([]byte, 20<<20), 0o600))
	err := produce(t.Context(), c, "events", 0, record("refused", now))
	require.ErrorIs(t, err, kafka.KafkaStorageError)
	commit(t, c, "g", 1)
	require.EqualValues(t, 1, committed(t, c, "g"), "an offset can still be committed")

	require.NoError(t, os.Remove(other))
	require.NoError(t, produce(t.Context(), c, "events", 0, record("room again", now)))
	records := fetchAll(t, c, "events", 0, 2)
	require.Equal(t, "there is room", records[0].value)
	require.Equal(t, "room again", records[1].value)
}
