package pipeline

import (
	"context"
	"errors"
	"time"

	"github.com/rs/zerolog"
)

// Retry is one thing that is tried until it succeeds: each failure is counted and
// shows in the role's health, waits are longer each time, and the log hears of the
// first failure and then of one every ten seconds.
type Retry struct {
	What   string  // as it stands in Health
	Msg    string  // of the log
	Health *Health // nil: it is no reason to be unready
	Logger zerolog.Logger
	Count  func() // nil: there is no metric of it

	delay  time.Duration
	said   time.Time
	unread int // tries that found a batch which can't be read, since the last that worked
}

// Until calls try until it returns nil. It gives up when ctx ends, whose error it
// returns then, and when the error is ErrFenced: what belongs to somebody else
// does not come back.
func (r *Retry) Until(ctx context.Context, try func() error) error {
	for {
		err := try()
		switch {
		case err == nil:
			r.worked()
			return nil
		case errors.Is(err, ErrFenced):
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		}
		r.failed(ctx, err)
	}
}

// failed notes a failure and waits until the next try.
func (r *Retry) failed(ctx context.Context, err error) {
	r.note(err)
	r.delay = min(max(2*r.delay, 100*time.Millisecond), 5*time.Second)
	sleep(ctx, r.delay)
}

func (r *Retry) note(err error) {
	if r.Count != nil {
		r.Count()
	}
	if r.Health != nil {
		r.Health.failing(r.What, err)
	}
	if now := time.Now(); r.said.IsZero() || now.Sub(r.said) >= 10*time.Second {
		r.said = now
		r.Logger.Warn().Err(err).Msg(r.Msg)
	}
}

func (r *Retry) worked() {
	if r.Health != nil {
		r.Health.working(r.What)
	}
	r.reset()
}

func (r *Retry) reset() { r.delay, r.said, r.unread = 0, time.Time{}, 0 }

// corruptTries is how often a batch that can't be read is fetched before it is
// given up: about ten seconds, in which a broker may heal it from a replica.
const corruptTries = 6

// intact reports whether err is about a batch that its producer wrote as it is.
// No replica has it otherwise, and to try again would be a gift: each compression
// bomb of some kilobytes would hold up its partition for the time of all tries.
func intact(err error) bool {
	var corrupt *CorruptError
	return errors.As(err, &corrupt) && corrupt.Intact
}

// staysUnreadable reports whether a read that failed found a batch that is given up.
// What else fails counts neither for nor against it: a broker that was away may still
// heal it, and a network that fails now and then must not keep a partition at it.
func (r *Retry) staysUnreadable(err error) bool {
	if !errors.Is(err, ErrCorrupt) {
		return false
	}
	r.unread++
	return r.unread > corruptTries || intact(err)
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
