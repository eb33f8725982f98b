package app

import (
	"bytes"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestADiskThatRunsFullIsSaidOnceAndFailsReadinessUntilThereIsRoom(t *testing.T) {
	var log bytes.Buffer
	d := newDisk(t.TempDir(), zerolog.New(&log))
	n, err := d.free()
	require.NoError(t, err)
	require.Positive(t, n)

	room := uint64(diskLow)
	d.free = func() (uint64, error) { return room, nil }
	d.look()
	require.NoError(t, d.check())
	assert.Empty(t, log.String())

	room = 3 << 20
	d.look()
	d.look()
	require.ErrorContains(t, d.check(), "3 MiB are free on the disk of "+d.dir)
	assert.Equal(t, 1, strings.Count(log.String(), "runs full"))

	room = diskLow
	d.look()
	d.look()
	require.NoError(t, d.check())
	assert.Equal(t, 1, strings.Count(log.String(), "room again"))
}

func TestADirectoryThatIsGoneFailsReadiness(t *testing.T) {
	require.ErrorContains(t, newDisk(t.TempDir()+"/none", zerolog.Nop()).check(), "no such file")
}
