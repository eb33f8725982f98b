package chdb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// engineDir is where the engine keeps its own in the data directory (see ServeMain).
const engineDir = "engine"

// outage is a time in which the engine does not serve.
type outage struct {
	since time.Time
	why   error
}

// errStopped is the outage that somebody asked for.
var errStopped = errors.New("it was stopped")

// Restarts counts how often the child died and another served in its place.
func (s *Server) Restarts() int64 { return s.restarts.Load() }

// FailedStarts counts the attempts to start the child again that came to nothing:
// no process, or one that ended before it served.
func (s *Server) FailedStarts() int64 { return s.failed.Load() }

// Health returns nil while there is a child that has answered, else since when
// there is none, and why. It asks nobody: a child that hangs shows at a request.
func (s *Server) Health() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down == nil {
		return nil
	}
	return fmt.Errorf("the engine is down since %s: %w", s.down.since.UTC().Format(time.RFC3339), s.down.why)
}

// isDown notes why the engine does not serve; the outage keeps its beginning.
func (s *Server) isDown(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down == nil {
		s.down = &outage{since: time.Now()}
	}
	s.down.why = why
}

func (s *Server) isUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = nil
}

// begin starts the first child and waits until it answers. It returns none, and no
// error, where that is to be tried again.
func (s *Server) begin(ctx context.Context) (*child, error) {
	_, err := os.Stat(filepath.Join(s.cfg.DataDir, engineDir))
	used := err == nil
	c, err := s.launch()
	if err == nil {
		err = s.ready(ctx, c)
	}
	if err == nil || !s.cfg.KeepTrying || !used || ctx.Err() != nil {
		return c, err
	}
	if c != nil {
		c.kill()
		s.setChild(nil)
	}
	s.doesNotStart(1, err)
	return nil, nil //nolint:nilnil // neither a child nor a reason to give up
}

// supervise starts the child again whenever it ends, until Stop.
func (s *Server) supervise(c *child) {
	defer close(s.done)
	defer func() {
		s.isDown(errStopped)
		_ = s.ln.Close()
		_ = s.dir.Release()
	}()
	backoff := backoffMin
	if c == nil {
		c, backoff = s.revive(backoffMax, 1)
	}
	for c != nil {
		born := time.Now()
		select {
		case <-s.stop:
			s.quit(c)
			return
		case <-c.ended:
		}
		s.setChild(nil)
		s.isDown(c.why())
		if time.Since(born) > backoffReset {
			backoff = backoffMin
		}
		s.cfg.Logger.Error().Err(c.why()).Stringer("restart_in", backoff).Msg("embedded clickhouse ended unexpectedly")
		if c, backoff = s.revive(backoff, 0); c != nil {
			s.restarts.Add(1)
		}
	}
}

// revive tries to start a child until one serves, or returns nil at the stop. The
// first failure in a row is logged, the others are counted: they come every ten
// seconds for as long as nobody helps.
func (s *Server) revive(backoff time.Duration, failures int) (*child, time.Duration) {
	for {
		select {
		case <-s.stop:
			return nil, backoff
		case <-time.After(backoff):
		}
		backoff = min(2*backoff, backoffMax)
		c, err := s.launch()
		if err == nil {
			if err = s.awaitAnswer(c); err == nil {
				s.isUp()
				s.said = false
				c.tail.muted.Store(false)
				s.cfg.Logger.Info().Int("failed_starts", failures).Msg("embedded clickhouse serves again")
				return c, backoff
			}
			select {
			case <-s.stop: // it did not fail
				s.quit(c)
				return nil, backoff
			default:
				s.setChild(nil)
			}
		}
		failures++
		s.doesNotStart(failures, err)
	}
}

func (s *Server) doesNotStart(failures int, err error) {
	s.failed.Add(1)
	s.isDown(fmt.Errorf("it does not start (%d attempts): %w", failures, err))
	if failures > 1 {
		return
	}
	s.said = true
	s.cfg.Logger.Error().Err(err).Stringer("at_most_every", backoffMax).
		Msg("embedded clickhouse does not start; it is tried again and again, counted in embedded_clickhouse_failed_starts_total. " +
			"Look for what the error names: memory, the disk of data_dir, the library (`plumbline setup`). Detection goes on, rows wait in Kafka")
}

// awaitAnswer returns nil when the child has answered, an error when it has ended
// or Stop was called. A child that needs long is waited for: it may be recovering
// its tables, and killed it would begin again.
func (s *Server) awaitAnswer(c *child) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { // ends with ctx
		select {
		case <-s.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	for {
		err := s.ready(ctx, c)
		if err == nil || ctx.Err() != nil {
			return err
		}
		select {
		case <-c.ended:
			return c.why()
		default:
			s.isDown(err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(backoffMin):
		}
	}
}
