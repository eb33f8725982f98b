package broker

import "context"

// inFlight is memory that is shared by those who wait for their part of it, in the order
// in which they came.
type inFlight struct {
	most int64
	turn chan struct{} // held by the one whose turn it is
	left chan int64    // holds what is left while nobody takes from it
	more chan struct{} // something was given back
}

func newInFlight(most int64) *inFlight {
	r := &inFlight{most: most, turn: make(chan struct{}, 1), left: make(chan int64, 1), more: make(chan struct{}, 1)}
	r.left <- most
	return r
}

// enter takes n, or everything where n is more than there is.
func (r *inFlight) enter(ctx context.Context, n int64) error {
	n = min(n, r.most)
	select {
	case r.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-r.turn }()
	for {
		left := <-r.left
		if left >= n {
			r.left <- left - n
			return nil
		}
		r.left <- left
		select {
		case <-r.more:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (r *inFlight) leave(n int64) {
	if n == 0 {
		return
	}
	r.left <- <-r.left + n
	select {
	case r.more <- struct{}{}:
	default:
	}
}
