package baseline_test

import (
	"bytes"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/detector/baseline"
	"github.com/plumbline-sec/plumbline/detector/internal/wire"
	"github.com/plumbline-sec/plumbline/internal/seeded"
)

// eventHash spreads small numbers over all bits, as the hashes of ids are.
func eventHash(n int) uint64 { return baseline.Hash(1, "event-"+strconv.Itoa(n)) }

func enoughRoom() *baseline.Room { return &baseline.Room{Limit: 1 << 20} }

func TestABatchThatIsSentTwiceIsRecognisedWhole(t *testing.T) {
	for _, size := range []int{1, 64, 200, 1000, 3000} {
		t.Run(strconv.Itoa(size), func(t *testing.T) {
			var r baseline.Recent
			room := enoughRoom()
			for i := range size {
				require.Equal(t, baseline.SeenNew, r.See(eventHash(i), eventHash(i+1e6), room))
			}
			again := 0
			for i := range size {
				if r.See(eventHash(i), eventHash(i+1e6), room) == baseline.SeenRepeated {
					again++
				}
			}
			require.GreaterOrEqual(t, again, size*98/100)
		})
	}
}

func TestAnIDIsNoReasonToSkipAnEvent(t *testing.T) {
	var r baseline.Recent
	room := enoughRoom()
	require.Equal(t, baseline.SeenNew, r.See(eventHash(1), eventHash(100), room))
	for i := range 1000 {
		require.Equal(t, baseline.SeenReused, r.See(eventHash(1), eventHash(200+i), room), "other content")
	}
	require.LessOrEqual(t, r.Bytes(), 512, "one id takes no more than its set")
}

func TestWhatIsRepeatedOverAndOverIsActivity(t *testing.T) {
	var r baseline.Recent
	counted := 0
	for range 100 {
		if r.See(eventHash(1), eventHash(2), enoughRoom()) == baseline.SeenNew {
			counted++
		}
	}
	require.Equal(t, 97, counted, "the first, and all but the three repetitions that a producer may need")
}

func TestRecognisingKeepsToItsRoom(t *testing.T) {
	room := &baseline.Room{Limit: 4096}
	rs := make([]baseline.Recent, 5)
	for i := range rs {
		for k := range 5000 {
			rs[i].See(eventHash(k), eventHash(k), room)
		}
	}
	used := int64(0)
	for i := range rs {
		require.GreaterOrEqual(t, rs[i].Bytes(), 512, "what each may have")
		used += rs[i].Extra()
	}
	require.Equal(t, used, room.Used)
	require.LessOrEqual(t, room.Used, room.Limit)
	for i := range rs {
		for range 12 {
			rs[i].Settle(room) // days without an event
		}
	}
	require.Zero(t, room.Used)
}

// A model of a list remembers all; what Recent forgets is only what eight others in its
// set pushed out.
func TestWhatIsRecognisedCameBeforeAndWasTheSame(t *testing.T) {
	rng := seeded.Rand(t)
	var r baseline.Recent
	room := enoughRoom()
	type key struct{ id, content int }
	seen, ids := map[key]int{}, map[int]bool{}
	missed := 0
	for range 20_000 {
		k := key{rng.IntN(150), rng.IntN(2)}
		got := r.See(eventHash(k.id), eventHash(k.content+1e6), room)
		switch {
		case got == baseline.SeenRepeated, got == baseline.SeenAgain:
			require.Positive(t, seen[k])
		case got == baseline.SeenReused:
			require.True(t, ids[k.id])
		case seen[k] > 0 && seen[k] < 4:
			missed++
		}
		seen[k]++
		ids[k.id] = true
		if rng.IntN(500) == 0 {
			c := wire.Encoder(nil)
			r.Code(c)
			var o baseline.Recent
			d := wire.Decoder(c.Bytes())
			o.Code(d)
			require.NoError(t, d.Err())
			e := wire.Encoder(nil)
			o.Code(e)
			require.True(t, bytes.Equal(c.Bytes(), e.Bytes()))
			r = o
		}
	}
	require.Less(t, missed, 40)
}
