package detector

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// BenchmarkRecords encodes the records of a partition, and restores them.
func BenchmarkRecords(b *testing.B) {
	d := Started(b, DefaultConfig(), nowhere{})
	for _, ev := range cutEvents(rand.New(rand.NewPCG(1, 1)), 20_000) {
		d.Process(&ev)
	}
	partition := d.appendPartition(nil)
	var agents [][]byte
	for _, a := range d.cutting.all {
		agents = append(agents, appendAgent(nil, a))
	}
	b.Run("encode agents", func(b *testing.B) {
		b.ReportAllocs()
		var record []byte
		for i := range b.N {
			record = appendAgent(record[:0], d.cutting.all[i%len(d.cutting.all)])
		}
	})
	b.Run("encode partition", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			partition = d.appendPartition(partition[:0])
		}
	})
	b.Run("restore", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			if _, err := RestoreCuts(DefaultConfig(), nowhere{}, partition, slices.Values(agents)); err != nil {
				b.Fatal(err)
			}
		}
	})
}
