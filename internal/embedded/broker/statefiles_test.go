package broker_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/embedded/broker"
	"github.com/plumbline-sec/plumbline/internal/embedded/broker/brokertest"
	"github.com/plumbline-sec/plumbline/internal/embedded/broker/datadir"
	"github.com/plumbline-sec/plumbline/internal/seeded"
)

func TestAFlippedByteOfAStateFileLosesNoRecordAndIsNamed(t *testing.T) {
	s := newSite(t)
	r := seeded.Rand(t)
	for _, name := range []string{"meta.json", "topics.json", "acls.json", "quotas.json", "sasl.json", "broker_configs.json", "seq_windows.json", "groups.log", "pids.log", damagedPartition + "/snapshot.json", damagedPartition + "/0.idx"} {
		t.Run(name, func(t *testing.T) {
			for range 3 {
				data := copied(t, s.stopped)
				path := filepath.Join(data, name)
				raw, err := os.ReadFile(path)
				require.NoError(t, err)
				if len(raw) == 0 {
					return
				}
				at := r.IntN(len(raw))
				flip(t, path, at, 0x80) // which is no JSON any more, whatever it was
				b, err := broker.Start(broker.Config{DataDir: data, Listen: "127.0.0.1:0", Logger: zerolog.Nop()})
				if err != nil {
					file := new(datadir.FileError)
					require.ErrorAs(t, err, &file)
					assert.Equal(t, path, file.Path)
					assert.NotEmpty(t, file.Do)
					raw[at] ^= 0 // as it was
					require.NoError(t, os.WriteFile(path, raw, 0o600))
				} else {
					require.NoError(t, b.Stop())
				}
				o := open(t, data)
				assert.Equal(t, s.records, o.records, "byte %d", at)
				assert.Equal(t, s.end, o.next)
				if name != "groups.log" {
					assert.Equal(t, s.end, o.commit)
				}
			}
		})
	}
}

func TestADamagedCommitCostsOnlyItself(t *testing.T) {
	dir := t.TempDir()
	b := brokertest.StartBroker(t, brokertest.WithDataDir(dir))
	c := client(t, b.Addr())
	createTopic(t, c, "events", nil)
	for range 5 {
		require.NoError(t, produce(t.Context(), c, "events", 0, record("a", time.Now())))
	}
	for i := range 5 {
		commit(t, c, "group-"+strconv.Itoa(i), int64(i+1))
	}
	data := copied(t, dir)
	raw, err := os.ReadFile(filepath.Join(data, "groups.log"))
	require.NoError(t, err)
	at := bytes.LastIndex(raw, []byte("group-2"))
	require.Positive(t, at)
	flip(t, filepath.Join(data, "groups.log"), at, 1)
	// The process died while it wrote one more.
	f, err := os.OpenFile(filepath.Join(data, "groups.log"), os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.Write(raw[:20])
	require.NoError(t, err)
	require.NoError(t, f.Close())

	var log bytes.Buffer
	started := brokertest.StartBroker(t, brokertest.WithDataDir(data), brokertest.WithLogger(zerolog.New(&log)))
	c = client(t, started.Addr())
	for i := range 5 {
		if want := int64(i + 1); i != 2 {
			assert.Equal(t, want, committed(t, c, "group-"+strconv.Itoa(i)))
		}
	}
	assert.Equal(t, 1, strings.Count(log.String(), `"level":"error"`))
	assert.Contains(t, log.String(), "groups.log.damaged-")
	commit(t, c, "group-2", 3)
	killed := copied(t, data)
	c = client(t, brokertest.Start(t, brokertest.WithDataDir(killed)))
	assert.Equal(t, int64(3), committed(t, c, "group-2"), "what is committed afterwards is kept")
}

func TestTopicsThatAreMissingBesideTheirRecordsAreNotForgotten(t *testing.T) {
	s := newSite(t)
	for name, change := range map[string]struct{ old, new string }{
		"topics.json is gone":        {},
		"a topic has another name":   {"events", "evemts"},
		"an id is longer than an id": {`"id":"`, `"id":"AAAA`},
	} {
		t.Run(name, func(t *testing.T) {
			data := copied(t, s.stopped)
			path := filepath.Join(data, "topics.json")
			whole, err := os.ReadFile(path)
			require.NoError(t, err)
			require.NoError(t, os.Remove(path))
			if change.old != "" {
				require.NoError(t, os.WriteFile(path, bytes.Replace(whole, []byte(change.old), []byte(change.new), 1), 0o600))
			}
			_, err = broker.Start(broker.Config{DataDir: data, Listen: "127.0.0.1:0", Logger: zerolog.Nop()})
			require.ErrorContains(t, err, path)
			require.ErrorContains(t, err, "put back a copy of it")
			require.NoError(t, os.WriteFile(path, whole, 0o600))
			assert.Equal(t, s.records, open(t, data).records, "nothing was changed")
		})
	}
	data := copied(t, s.stopped)
	require.NoError(t, os.Remove(filepath.Join(data, "meta.json")))
	o := open(t, data)
	assert.Equal(t, s.records, o.records, "without meta.json")
	require.Len(t, o.lines, 1)
	assert.Contains(t, o.lines[0].Message, "meta.json")
}
