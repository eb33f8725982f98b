package baseline

import "github.com/plumbline-sec/plumbline/detector/internal/prefetch"

// fetched is how many elements of a table are fetched before its use: all of most.
const fetched = 128

// Fetch asks for the memory that the next event will look at; it changes nothing.
func (n *Novelty) Fetch() {
	prefetch.Slice(n.Known.slots[:min(len(n.Known.slots), fetched)])
	prefetch.Slice(n.Steps.tags[:min(len(n.Steps.tags), fetched)])
}
