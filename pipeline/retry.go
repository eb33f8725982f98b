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

	delay time.Duration
	said  time.Time
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
		r.failed(err).Msg(r.Msg)
		r.wait(ctx)
	}
}

// failed notes a failure, and returns the line to log, which is nil and says
// nothing while the last one is not ten seconds old.
func (r *Retry) failed(err error) *zerolog.Event {
	if r.Count != nil {
		r.Count()
	}
	if r.Health != nil {
		r.Health.failing(r.What, err)
	}
	now := time.Now()
	if !r.said.IsZero() && now.Sub(r.said) < 10*time.Second {
		return nil
	}
	r.said = now
	return r.Logger.Warn().Err(err)
}

func (r *Retry) worked() {
	if r.Health != nil {
		r.Health.working(r.What)
	}
	r.reset()
}

func (r *Retry) reset() { r.delay, r.said = 0, time.Time{} }

func (r *Retry) wait(ctx context.Context) {
	r.delay = min(max(2*r.delay, 100*time.Millisecond), 5*time.Second)
	sleep(ctx, r.delay)
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
