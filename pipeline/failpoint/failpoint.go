// Package failpoint names the places where a process may die, so that a test can
// make it die there. In a build without the tag `failpoints` it does nothing.
package failpoint

// The boundaries between what is acknowledged and what is not.
const (
	RouteWrite     = "route.write"     // events are to be written
	RouteWritten   = "route.written"   // they are, the offset is not committed
	DetectSent     = "detect.sent"     // alerts are sent, no checkpoint holds them
	StateOpen      = "state.open"      // the log of state is claimed
	StateChunk     = "state.chunk"     // a part of a checkpoint is written
	StateMarker    = "state.marker"    // a checkpoint is complete and not committed
	StateCommitted = "state.committed" // it is, the log is not trimmed
	ArchiveInsert  = "archive.insert"  // rows are to be inserted
	ArchiveDone    = "archive.done"    // they are, the offset is not committed
)

// All lists them.
func All() []string {
	return []string{
		RouteWrite, RouteWritten, DetectSent, StateOpen, StateChunk, StateMarker, StateCommitted, ArchiveInsert, ArchiveDone,
	}
}
