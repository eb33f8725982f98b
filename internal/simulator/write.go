package simulator

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/plumbline-sec/plumbline/schemas"
)

// AppendSource appends ev as a source record has it: its JSON form without what
// route adds.
func AppendSource(dst []byte, ev *schemas.Activity) []byte {
	at := ev.RecordedAt
	ev.RecordedAt = 0
	dst = schemas.AppendActivity(dst, ev)
	ev.RecordedAt = at
	return dst
}

// WriteEvents writes all events that are left as JSON lines. progress, where
// given, is called now and then with the time of the last event.
func (f *Fleet) WriteEvents(w io.Writer, progress func(schemas.Millis)) error {
	const flush, often = 64 << 10, 1 << 16
	buf := make([]byte, 0, flush+schemas.MaxStringBytes)
	var ev schemas.Activity
	for n := uint64(1); f.Next(&ev); n++ {
		buf = append(AppendSource(buf, &ev), '\n')
		if len(buf) >= flush {
			if _, err := w.Write(buf); err != nil {
				return fmt.Errorf("write events: %w", err)
			}
			buf = buf[:0]
		}
		if progress != nil && n%often == 0 {
			progress(ev.Time)
		}
	}
	if _, err := w.Write(buf); err != nil {
		return fmt.Errorf("write events: %w", err)
	}
	return nil
}

// Pace maps event time to the time of whoever plays a fleet live. It has no
// clock: the caller says how much time has passed, and does the waiting.
type Pace struct {
	From  schemas.Millis // event time at which the play begins
	Speed float64        // milliseconds of event time per millisecond; 1 is real time
}

// Wait returns how long to wait for an event, elapsed being the time since the
// play began. An event before From or one that is behind waits for nothing.
func (p Pace) Wait(at schemas.Millis, elapsed time.Duration) time.Duration {
	if at <= p.From {
		return 0
	}
	due := time.Duration(float64(at-p.From) / p.Speed * float64(time.Millisecond))
	return max(0, due-elapsed)
}

// Registrations say who the honest agents are, as their inventory would have it on the first
// day. Those that attacks bring along stand in none.
func (f *Fleet) Registrations() []schemas.Registration {
	out := make([]schemas.Registration, 0, f.honest)
	for _, a := range f.agents[:f.honest] {
		owner, _, _ := strings.Cut(a.role.team, "@")
		out = append(out, schemas.Registration{
			TenantID: a.tenant, AgentID: a.id, Time: f.start, Name: a.role.label, Owner: owner, Contact: a.role.team, Environment: "prod",
			PeerGroup: a.role.group, Versions: []string{versionBefore, versionAfter}, Credentials: []schemas.Credential{{ID: a.cred, Type: a.credTyp}},
		})
	}
	return out
}

// WriteRegistrations writes them as JSON lines.
func (f *Fleet) WriteRegistrations(w io.Writer) error {
	var buf []byte
	for _, r := range f.Registrations() {
		buf = append(schemas.AppendRegistration(buf[:0], &r), '\n')
		if _, err := w.Write(buf); err != nil {
			return fmt.Errorf("write registrations: %w", err)
		}
	}
	return nil
}
