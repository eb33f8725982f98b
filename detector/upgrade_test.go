package detector_test

import (
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/schemas"
)

// rolling is a log of checkpoints: the newest record of the partition and of every agent.
type rolling struct {
	partition []byte
	agents    map[string][]byte
}

func (r *rolling) Partition(record []byte)       { r.partition = append([]byte(nil), record...) }
func (r *rolling) Gone(tenantID, agentID string) { delete(r.agents, tenantID+"/"+agentID) }
func (r *rolling) Agent(record []byte) {
	tenantID, agentID, err := detector.AgentOf(record)
	if err != nil {
		panic(err)
	}
	r.agents[tenantID+"/"+agentID] = append([]byte(nil), record...)
}

// released is the log that the release with an older format left.
func released(t *testing.T, format int) *rolling {
	t.Helper()
	saved, err := os.ReadFile(filepath.Join("testdata", fmt.Sprintf("records-v%d.bin", format)))
	require.NoError(t, err)
	records, err := detector.Split(saved)
	require.NoError(t, err)
	r := &rolling{partition: records[0], agents: map[string][]byte{}}
	for _, record := range records[1:] {
		r.Agent(record)
	}
	return r
}

func (r *rolling) restore(t *testing.T, cfg detector.Config, sink detector.Sink) *detector.Detector {
	t.Helper()
	d, err := detector.RestoreCuts(cfg, sink, r.partition, maps.Values(r.agents))
	require.NoError(t, err)
	return d
}

// add appends a checkpoint of what has changed.
func (r *rolling) add(d *detector.Detector) {
	if d.CutWhole() {
		clear(r.agents)
	}
	d.BeginCut(r, nil)
	d.ContinueCut(math.MaxInt)
	d.ConfirmCut()
}

// formats counts the agents' records of each format.
func (r *rolling) formats() map[int]int {
	n := map[int]int{}
	for _, record := range r.agents {
		if record[0] == 0 {
			n[int(record[1])]++
		} else {
			n[1]++
		}
	}
	return n
}

// TestALogOfTwoReleasesIsRestored has the release before leave a log, half of whose
// agents then act under this one: checkpoints of what changed make it a log of two
// formats. Whoever restores that goes on like the process that never stopped.
func TestALogOfTwoReleasesIsRestored(t *testing.T) {
	var events []schemas.Activity // after those that the old releases saw
	all := troubled(9, 5, 8)
	for _, ev := range all {
		if ev.Time >= all[0].Time+6*24*hourMS {
			events = append(events, ev)
		}
	}
	for format := 1; format < detector.RecordFormat; format++ {
		t.Run(fmt.Sprint(format), func(t *testing.T) {
			log := released(t, format)
			agents := len(log.agents)
			through := &transcript{}
			d := log.restore(t, detector.DefaultConfig(), through)
			at := 0
			for ; at < len(events)/4; at++ {
				if ev := events[at]; ev.AgentID < "agent-002" {
					d.Process(&ev)
				}
			}
			log.add(d)
			n := log.formats()
			require.Positive(t, n[format], "%v", n)
			require.Positive(t, n[detector.RecordFormat], "%v", n)
			require.GreaterOrEqual(t, len(log.agents), agents)

			restored := &transcript{}
			back := log.restore(t, detector.DefaultConfig(), restored)
			require.Equal(t, d.Stats().Agents, back.Stats().Agents)
			through.verdicts.Reset()
			through.recorder = recorder{}
			through.run(t, d, events[at:])
			restored.run(t, back, events[at:])
			require.NotEmpty(t, restored.alerts)
			if through.bytes(t) != restored.bytes(t) {
				firstDifference(t, through.bytes(t), restored.bytes(t))
				t.Fatal("the outputs differ")
			}
			log.add(back)
			log.restore(t, detector.DefaultConfig(), &recorder{})
		})
	}
}

// TestMetricsThatChangeTheirPlacesAreNotMixedUp changes the order of the config's metrics
// while a checkpoint holds only what changes: by their numbers, agents' records of before
// would give one metric's baseline to the other.
func TestMetricsThatChangeTheirPlacesAreNotMixedUp(t *testing.T) {
	cfg := detector.DefaultConfig()
	size, sum := detector.Metric{Name: "size", Field: "bytes_received", Take: "mean"}, detector.Metric{Name: "sum", Field: "bytes_sent", Take: "sum"}
	cfg.Metrics = []detector.Metric{size, sum}
	d, err := detector.New(cfg, &recorder{})
	require.NoError(t, err)
	events := troubled(9, 5, 3)
	half := len(events) / 2
	for i := range events[:half] {
		d.Process(&events[i])
	}
	log := &rolling{agents: map[string][]byte{}}
	log.add(d)
	cfg.Metrics = []detector.Metric{sum, size}
	through, restored := &transcript{}, &transcript{}
	d = log.restore(t, cfg, through)
	d.Process(&events[half])
	log.add(d)
	back := log.restore(t, cfg, restored)
	through.recorder = recorder{}
	through.run(t, d, events[half+1:])
	restored.run(t, back, events[half+1:])
	require.Equal(t, through.bytes(t), restored.bytes(t))
}
