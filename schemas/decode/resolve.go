package decode

import (
	"strconv"

	"github.com/plumbline-sec/plumbline/schemas"
)

// resolveTime settles when an event happened, once and for all, from what the
// event says (0: nothing usable) and when the broker took its record (0: there
// was no broker).
func resolveTime(ev *schemas.Activity, recorded schemas.Millis) {
	if !usable(recorded) {
		// 1 is the earliest time there is: behind every watermark.
		recorded = max(ev.Time, 1)
	}
	ev.RecordedAt = recorded
	switch {
	case ev.Time == 0:
		ev.Time = recorded
	case ev.Time > recorded+schemas.MaxClockAhead:
		ev.Time = recorded
		ev.Flags.TimeClamped = true
	case ev.Time < recorded-schemas.OldAfter:
		ev.Flags.Old = true
	}
}

// resolveCanonicalTime takes the times as route settled them.
func resolveCanonicalTime(ev *schemas.Activity, recorded schemas.Millis) {
	if ev.RecordedAt == 0 {
		if ev.RecordedAt = recorded; !usable(recorded) {
			ev.RecordedAt = max(ev.Time, 1)
		}
	}
	if ev.Time == 0 {
		ev.Time = ev.RecordedAt
	}
}

// appendOwnID appends the event_id of an event that brought none: that of the
// envelope around its record, or where it stands in its source.
func appendOwnID(dst []byte, rec *Record, index int32) []byte {
	if rec.Event == nil || rec.Event.ID == "" {
		return appendEventID(dst, rec, index)
	}
	if dst = append(dst, rec.Event.ID...); index > 0 {
		dst = strconv.AppendInt(append(dst, '/'), int64(index), 10)
	}
	return dst
}

// EventID is the id of an event that brought none: where it stands in its source.
func EventID(rec *Record, index int32) string { return string(appendOwnID(nil, rec, index)) }

// appendEventID appends where an event stands in its source.
func appendEventID(dst []byte, rec *Record, index int32) []byte {
	dst = append(dst, rec.Topic...)
	dst = append(dst, '/')
	dst = strconv.AppendInt(dst, int64(rec.Partition), 10)
	dst = append(dst, '/')
	dst = strconv.AppendInt(dst, rec.Offset, 10)
	if index > 0 {
		dst = append(dst, '/')
		dst = strconv.AppendInt(dst, int64(index), 10)
	}
	return dst
}
