package baseline

import "github.com/plumbline-sec/plumbline/detector/internal/wire"

// Sighting says whether an event has come before.
type Sighting uint8

// What Recent.See answers.
const (
	SeenNew      Sighting = iota // an event of its own
	SeenRepeated                 // the same event once more: the same id, the same content
	SeenAgain                    // and more often than a producer repeats one
	SeenReused                   // an event of its own under the id of another
)

// Bounds of a Recent.
const (
	recentWays = 8
	recentFree = 8       // sets that every agent may have: 64 events, 512 bytes
	recentMost = 1 << 10 // sets: 8192 events, 64 KiB
	// mostRepeats is how often one event is taken for a repetition: a producer that did
	// not hear the acknowledgement sends it again a few times. What is still sent after
	// that is activity.
	mostRepeats = 3
	fewRepeats  = 1 // are nothing unusual
	repeatsMask = 7
)

// Recent recognises events that came before: a cache of sets of eight, each event 32
// bits of its id and 29 of its content beside how often it was repeated. An event is
// found until eight others fell into its set; the sets double when three eighths are in use,
// up to 1024 of them as long as the partition has room, so that a batch or a file that
// is sent twice is recognised whole.
//
// The hashes are public: an attacker can find an event that is taken for the
// repetition of another. So a repetition is judged by what it touches and moves, and
// only not counted; and one event is repeated mostRepeats times at most.
type Recent struct {
	sets [][recentWays]seenEvent // a power of two of them, each with the newest last
	used int                     // events in them
	come uint32                  // new events since Settle
}

type seenEvent struct{ id, content uint32 } // content 0: empty

// Room bounds what all agents of a partition spend on recognising events beyond what
// each may have.
type Room struct {
	Used, Limit int64 // bytes
}

const recentSetBytes = 8 * recentWays

// Bytes returns the memory of the sets.
func (r *Recent) Bytes() int { return recentSetBytes * len(r.sets) }

// extra is what of it counts against the room.
func extra(sets int) int64 { return recentSetBytes * int64(max(sets-recentFree, 0)) }

// Extra returns the bytes that count against the room.
func (r *Recent) Extra() int64 { return extra(len(r.sets)) }

// See remembers the event of this id and content, and says whether it came before.
func (r *Recent) See(id, content uint64, room *Room) Sighting {
	e := seenEvent{uint32(id>>32) | 1, uint32(content>>32)&^repeatsMask | repeatsMask + 1}
	if r.sets == nil {
		r.sets = make([][recentWays]seenEvent, 1)
	}
	set := r.set(e.id)
	says := SeenNew
	for i := range set {
		o := &set[i]
		if o.content == 0 || o.id != e.id {
			continue
		}
		if o.content&^repeatsMask == e.content {
			if o.content&repeatsMask == mostRepeats {
				return SeenNew
			}
			if o.content++; o.content&repeatsMask > fewRepeats {
				return SeenAgain
			}
			return SeenRepeated
		}
		says = SeenReused
	}
	r.come++
	if set[0].content != 0 && 8*r.used >= 3*recentWays*len(r.sets) && r.grow(2*len(r.sets), room) {
		set = r.set(e.id)
	}
	r.put(set, e)
	return says
}

// set is where events of an id are.
func (r *Recent) set(id uint32) *[recentWays]seenEvent {
	return &r.sets[int(id>>1)&(len(r.sets)-1)]
}

// put makes e the newest of its set; the oldest of a full one makes room.
func (r *Recent) put(set *[recentWays]seenEvent, e seenEvent) {
	if set[0].content == 0 {
		r.used++
	}
	copy(set[:], set[1:])
	set[recentWays-1] = e
}

// grow gives r that many sets, where there is room.
func (r *Recent) grow(sets int, room *Room) bool {
	more := extra(sets) - r.Extra()
	if sets > recentMost || more > 0 && room.Used+more > room.Limit {
		return false
	}
	r.resize(sets, room)
	return true
}

func (r *Recent) resize(sets int, room *Room) {
	room.Used += extra(sets) - r.Extra()
	old := r.sets
	r.sets, r.used = make([][recentWays]seenEvent, sets), 0
	for way := range recentWays { // the oldest of all sets first
		for i := range old {
			if e := old[i][way]; e.content != 0 {
				r.put(r.set(e.id), e)
			}
		}
	}
}

// Settle ends a day: a table that was made for far more events than the day had gives
// half of its room back.
func (r *Recent) Settle(room *Room) {
	if n := len(r.sets); n > recentFree && int(r.come) < n { // an eighth of what it holds
		r.resize(n/2, room)
	}
	r.come = 0
}

// Release gives all room back.
func (r *Recent) Release(room *Room) { room.Used -= r.Extra() }

// Code encodes or decodes r. Format 1 knew ids alone: what it holds is passed over.
func (r *Recent) Code(c *wire.Coder) {
	if c.Reading() && c.Version < 2 {
		*r = Recent{}
		skipRecentIDs(c)
		return
	}
	n := c.Len("sets", len(r.sets), recentMost, 1)
	if c.Reading() {
		*r = Recent{}
		if n&(n-1) != 0 {
			c.Fail("%d sets of events", n)
			return
		}
		if n > 0 {
			r.sets = make([][recentWays]seenEvent, n)
		}
	}
	c.In("sets")
	for i := range r.sets {
		set := &r.sets[i]
		c.At(i)
		// What was never filled is not written: a young agent's record is short.
		from := 0
		for from < recentWays && set[from].content == 0 {
			from++
		}
		from = recentWays - c.Len("set", recentWays-from, recentWays, 8)
		for j := from; j < recentWays; j++ {
			c.Fixed32("id", &set[j].id)
			c.Fixed32("content", &set[j].content)
			if c.Reading() {
				r.used++
				if set[j].content>>3 == 0 || set[j].id&1 == 0 || r.set(set[j].id) != set {
					c.Fail("event in set %d", i)
				}
			}
		}
	}
	c.Out()
	c.U32("come", &r.come)
}

// skipRecentIDs reads past what format 1 held: eight sets of eight hashes of ids.
func skipRecentIDs(c *wire.Coder) {
	for range 8 {
		var next uint8
		c.U8("next", &next)
		for range c.Len("ids", 0, 8, 8) {
			var h uint64
			c.Fixed64("id", &h)
		}
	}
}
