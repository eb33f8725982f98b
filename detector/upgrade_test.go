package detector_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/schemas"
)

// released is the log that the release with an older format left.
func released(t *testing.T, format int) *detector.CutStore {
	t.Helper()
	records, err := detector.Split(recordsOf(t, format))
	require.NoError(t, err)
	r := &detector.CutStore{}
	r.Partition(records[0])
	for _, record := range records[1:] {
		r.Agent(record)
	}
	r.Confirm(true)
	return r
}

// formats counts the agents' records of each format.
func formats(r *detector.CutStore) map[int]int {
	n := map[int]int{}
	for _, record := range r.Agents {
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
			agents := len(log.Agents)
			through, restored := &fed{}, &fed{}
			d := log.Restore(t, detector.DefaultConfig(), through)
			at := 0
			for ; at < len(events)/4; at++ {
				if ev := events[at]; ev.AgentID < "agent-002" {
					d.Process(&ev)
				}
			}
			log.Add(d)
			n := formats(log)
			require.Positive(t, n[format], "%v", n)
			require.Positive(t, n[detector.RecordFormat], "%v", n)
			require.GreaterOrEqual(t, len(log.Agents), agents)

			back := log.Restore(t, detector.DefaultConfig(), restored)
			require.Equal(t, d.Stats().Agents, back.Stats().Agents)
			*through = fed{}
			feed(d, asSent(events[at:]), through)
			feed(back, asSent(events[at:]), restored)
			require.NotEmpty(t, restored.alerts)
			requireSame(t, through, restored)
			log.Add(back)
			log.Restore(t, detector.DefaultConfig(), &recorder{})
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
	d := detector.Started(t, cfg, &recorder{})
	events := troubled(9, 5, 3)
	half := len(events) / 2
	for i := range events[:half] {
		d.Process(&events[i])
	}
	log := &detector.CutStore{}
	log.Add(d)
	cfg.Metrics = []detector.Metric{sum, size}
	through, restored := &fed{}, &fed{}
	d = log.Restore(t, cfg, through)
	d.Process(&events[half])
	log.Add(d)
	back := log.Restore(t, cfg, restored)
	*through = fed{}
	feed(d, asSent(events[half+1:]), through)
	feed(back, asSent(events[half+1:]), restored)
	requireSame(t, through, restored)
}
