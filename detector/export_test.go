package detector

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/detector/internal/wire"
)

// Save returns the records of d, each behind its length: that of the partition, then
// the agents', the longest inactive first, and those of registrations alone. It changes nothing.
func (d *Detector) Save() []byte {
	out := appendSized(nil, d.appendPartition(nil))
	for _, a := range d.inOrder() {
		out = appendSized(out, appendAgent(nil, a))
	}
	alone := slices.DeleteFunc(slices.Clone(d.cutting.registered), func(r *registered) bool { return r.agent != nil })
	slices.SortFunc(alone, func(a, b *registered) int {
		return cmp.Or(cmp.Compare(a.TenantID, b.TenantID), cmp.Compare(a.AgentID, b.AgentID))
	})
	for _, r := range alone {
		out = appendSized(out, appendRegistered(nil, r))
	}
	return out
}

func appendSized(dst, record []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(record)))
	return append(dst, record...)
}

// Load restores what Save returned.
func Load(cfg Config, sink Sink, saved []byte) (*Detector, error) {
	records, err := Split(saved)
	if err != nil {
		return nil, err
	}
	return RestoreCuts(cfg, sink, records[0], slices.Values(records[1:]))
}

// Started returns a detector that has seen nothing.
func Started(tb testing.TB, cfg Config, sink Sink) *Detector {
	tb.Helper()
	d, err := New(cfg, sink)
	require.NoError(tb, err)
	return d
}

// Loaded returns the detector that Save wrote.
func Loaded(tb testing.TB, cfg Config, sink Sink, saved []byte) *Detector {
	tb.Helper()
	d, err := Load(cfg, sink, saved)
	require.NoError(tb, err)
	return d
}

// Split returns the records of what Save returned.
func Split(saved []byte) ([][]byte, error) {
	var records [][]byte
	for len(saved) > 0 {
		size, n := binary.Uvarint(saved)
		if n <= 0 || size > uint64(len(saved)-n) {
			return nil, fmt.Errorf("%w: cut off", wire.ErrCorrupt)
		}
		records = append(records, saved[n:n+int(size)])
		saved = saved[n+int(size):]
	}
	if len(records) == 0 {
		return nil, fmt.Errorf("%w: nothing", wire.ErrCorrupt)
	}
	return records, nil
}
