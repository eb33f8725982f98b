package detector

import (
	"bytes"
	"hash/maphash"

	"github.com/plumbline-sec/plumbline/detector/internal/prefetch"
)

// With many agents every event waits for memory: no cache holds the state of all, and
// each thing that is looked up through another waits anew. Whoever knows the next
// records says so, and what three agents take is on its way while the events before
// theirs are processed: first the slot of the index, an event later the agent, an
// event after that what the agent points to.
type ahead struct {
	hash uint64 // of the last key
	a    *agent // of the key before, where it is known
}

// Lead is how many records before its own a key is best told to Ahead: one for each
// step.
const Lead = 3

// Ahead tells the key (schemas.AppendKey) of the record that follows Lead records
// after the one that is processed next. It is a hint: no result depends on it.
func (d *Detector) Ahead(key []byte) {
	tenantID, id, _ := bytes.Cut(key, []byte{'/'})
	t := d.last
	if t == nil || t.name != string(tenantID) {
		if t = d.byName[string(tenantID)]; t == nil {
			return
		}
	}
	if d.ahead.a != nil {
		d.ahead.a.fetch()
	}
	if d.ahead.a = d.index.guess(d.ahead.hash); d.ahead.a != nil {
		prefetch.Value(d.ahead.a)
	}
	d.ahead.hash = maphash.Bytes(d.index.seed, id) ^ t.hash
	prefetch.Value(&d.index.slots[d.index.home(d.ahead.hash)])
}

// fetch asks for what the agent points to and its next event will look at.
func (a *agent) fetch() {
	prefetch.String(a.id)
	prefetch.Slice(a.trail.buf)
	a.profile.Novelty.Fetch()
}
