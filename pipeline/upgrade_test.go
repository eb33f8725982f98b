package pipeline_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/pipeline/detect"
	"github.com/plumbline-sec/plumbline/pipeline/statelog"
	"github.com/plumbline-sec/plumbline/schemas"
)

// released returns the records that the release with an older format wrote: that of the
// partition, then the agents'.
func released(t *testing.T, format int) [][]byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "detector", "testdata", fmt.Sprintf("records-v%d.bin", format)))
	require.NoError(t, err)
	var records [][]byte
	for len(b) > 0 {
		size, n := binary.Uvarint(b)
		records = append(records, b[n:n+int(size)])
		b = b[n+int(size):]
	}
	return records
}

// formats counts the agents of each format that a log comes to.
func (r *rig) formats() map[int]int {
	r.t.Helper()
	s, err := statelog.Read(r.t.Context(), r.cluster, 0)
	require.NoError(r.t, err)
	n := map[int]int{}
	for _, record := range s.Agents {
		if record[0] == 0 {
			n[int(record[1])]++
		} else {
			n[1]++
		}
	}
	return n
}

// TestSlicesOfTwoReleasesInOneLog starts this release on the checkpoint of one before,
// and restarts it while its checkpoints hold a part of the agents only.
func TestSlicesOfTwoReleasesInOneLog(t *testing.T) {
	for _, format := range []int{1, 2, 3} {
		t.Run(strconv.Itoa(format), func(t *testing.T) {
			old := released(t, format)
			chunk := []byte{1, 1, 0}
			for i, record := range old {
				kind := byte('A')
				if i == 0 {
					kind = 'P'
				}
				chunk = binary.AppendUvarint(append(chunk, kind), uint64(len(record)))
				chunk = append(chunk, record...)
			}
			r := newRig(t, 1)
			r.every, r.whole = time.Hour, 1 // slices, and a checkpoint at each stop
			_, err := r.cluster.Put(baselines,
				pipeline.Record{Key: []byte("open"), Value: []byte(`{"format":1,"epoch":1,"nonce":"n"}`)},
				pipeline.Record{Key: []byte("chunk"), Value: chunk},
				pipeline.Record{Key: []byte("marker"), Value: fmt.Appendf(nil, `{"format":1,"epoch":1,"attempt":1,"counter":1,"offset":0,"partitions":1,`+
					`"slices":8,"snapshot":%d,"outputs":{},"window":[{"epoch":1,"attempt":1,"start":1,"chunks":1}]}`, format)})
			require.NoError(t, err)
			require.Equal(t, map[int]int{format: len(old) - 1}, r.formats())

			mixed, sent := 0, 0
			s, err := statelog.Read(t.Context(), r.cluster, 0)
			require.NoError(t, err)
			clock, err := detect.Check(s)
			require.NoError(t, err)
			at := time.UnixMilli(int64(clock)) // no hour closes: only who acts changes
			for range 12 {
				s := r.start("route", "detect")
				for range 3 {
					r.send(line("agent-000", sent, at.Add(time.Duration(sent)*time.Millisecond), ""))
					sent++
				}
				require.Eventually(t, func() bool {
					return testutil.ToFloat64(s.metrics.Records.WithLabelValues("detect", pipeline.TopicActivity)) >= 3
				}, 10*time.Second, time.Millisecond, r.logged())
				require.NoError(t, s.stop())
				require.InDelta(t, 0, testutil.ToFloat64(s.detect.StateLost), 0)
				n := r.formats()
				require.Equal(t, len(old)-1, n[format]+n[detector.RecordFormat], "%v", n)
				if n[format] > 0 && n[detector.RecordFormat] > 0 {
					mixed++
				}
			}
			require.Positive(t, mixed)
			require.Zero(t, r.formats()[format], "each was written anew in its turn")
			got, _ := r.state(0)
			require.Contains(t, got, schemas.DefaultTenant+"/agent-000")
		})
	}
}
