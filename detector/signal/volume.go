package signal

import (
	"math"

	"github.com/plumbline-sec/plumbline/detector/baseline"
	"github.com/plumbline-sec/plumbline/detector/score"
	"github.com/plumbline-sec/plumbline/schemas"
)

// volume is the bytes that an agent sends or receives, the stronger of two tests.
// A call: Student's t on log(1 + bytes/128) less the tool's offset, mean and variance
// shrunk to the peers. The open hour: the sum against a log-normal of mean
// mu*bytes and relative variance over + v/mu, mu the hour's calls that carry
// bytes, or against one of its calls having brought all that is too much. Unit:
// bytes.
type volume struct{ out bool }

func (s volume) Info() Info {
	i := Info{
		Name: schemas.SignalBytesReceived, Family: FamilyVolume, Unit: "bytes", Weight: weightBytes, TestsPerDay: testsOfCalls,
		Title: "Far more data received than this agent receives",
		Model: "a call: Student's t on log(1 + bytes/128); the hour: log-normal, or one big jump",
		File:  "volume.go",
	}
	if s.out {
		i.Name, i.Leaves = schemas.SignalBytesSent, true
		i.Title = "Far more data sent than this agent sends"
	}
	return i
}

func (s volume) pick(c *Context) (own *baseline.Volume, at *baseline.VolumeAt, total, calls uint64) {
	own, at = &c.Own.Received, &c.Received
	if s.out {
		own, at = &c.Own.Sent, &c.Sent
	}
	switch {
	case c.Win == nil:
	case s.out:
		total, calls = c.Win.Sent, c.Win.SentCalls
	default:
		total, calls = c.Win.Received, c.Win.ReceivedCalls
	}
	return own, at, total, calls
}

// call returns what the event moves.
func (s volume) call(c *Context) *baseline.Call {
	if s.out {
		return &c.SentCall
	}
	return &c.ReceivedCall
}

func (s volume) Score(c *Context) float64 {
	call := s.call(c)
	if c.Ev == nil || call.Bytes == 0 {
		return 0
	}
	x := s.callTail(c, call.Size)
	if c.Win == nil {
		return x
	}
	// The sum stays large for the rest of the hour: only calls that have a fair part
	// in it raise it again.
	if _, _, total, calls := s.pick(c); 2*call.Bytes*calls >= total {
		x = max(x, s.hourTail(c, -1))
	}
	return x
}

// callTail is the evidence of a call of that size.
func (s volume) callTail(c *Context, size float64) float64 {
	_, at, _, _ := s.pick(c)
	if !at.Valid {
		return 0
	}
	t := (size - s.call(c).Offset - at.Mean) / at.Scale
	if t < 1 {
		return 0
	}
	return score.StudentT(t, at.DF)
}

// hour is what was expected of the whole hour when it opened.
func (s volume) hour(c *Context) *baseline.BytesAt {
	if s.out {
		return &c.Win.Bytes[0]
	}
	return &c.Win.Bytes[1]
}

// hourTail is the evidence of the hour's sum (v < 0) or of another value.
func (s volume) hourTail(c *Context, v float64) float64 {
	_, _, total, calls := s.pick(c)
	if v < 0 {
		v = float64(total)
		if calls < 2 {
			return 0 // one call is the other test's
		}
	}
	h := s.hour(c)
	if h.Mean == 0 || v < sumFrom*h.Mean {
		return 0
	}
	// Sizes have heavy tails: a sum is large because all of it is, or because one call
	// was (Foss, Korshunov and Zachary 2011, the principle of a single big jump).
	return score.Either(score.LogNormal(v, h.Mean, h.RelVar), s.callTail(c, baseline.Size(v-h.Mean))-math.Log10(max(float64(calls), 1)))
}

// whole reports whether the hour is stronger evidence than the call.
func (s volume) whole(c *Context) bool {
	return c.Win != nil && s.hourTail(c, -1) > s.callTail(c, s.call(c).Size)
}

func (s volume) Tail(c *Context, v float64) float64 {
	if s.whole(c) {
		return s.hourTail(c, v)
	}
	return s.callTail(c, baseline.Size(v))
}

func (s volume) Observe(c *Context) Detail {
	if s.whole(c) {
		d, _ := s.Close(c)
		return d
	}
	own, at, _, _ := s.pick(c)
	call := s.call(c)
	return Detail{
		Observed: float64(call.Bytes), Expected: baseline.BytesOf(at.Mean + call.Offset), Start: c.At, Samples: float64(own.N),
		Baseline: c.whose(float64(own.N)),
	}
}

func (s volume) Explain(c *Context) Detail {
	verb, where := "received ", " from "
	if s.out {
		verb, where = "sent ", " to "
	}
	if s.whole(c) {
		d, _ := s.Close(c)
		d.High = score.Quantile(func(v float64) float64 { return s.hourTail(c, v) }, intervalDecades, d.Expected, quantileSteps)
		d.Text = verb + Bytes(d.Observed) + " since " + c.hour().Time().Format("15:04") + " UTC" + c.usually(d.Baseline, "such hours") + Bytes(d.High) + ", " + Bytes(d.Expected) + " expected"
		return d
	}
	_, at, _, _ := s.pick(c)
	q := score.Quantile(func(t float64) float64 { return score.StudentT(t, at.DF) }, intervalDecades, 1, quantileSteps)
	d := s.Observe(c)
	d.High = baseline.BytesOf(at.Mean + s.call(c).Offset + float64(q*at.Scale))
	if d.NamesTarget = c.Target != ""; !d.NamesTarget {
		where = ""
	}
	d.Text = verb + Bytes(d.Observed) + " in one call" + where + Quote(c.Target) + c.usually(d.Baseline, "its "+c.toolCalls()) + Bytes(d.High) + ", " + Bytes(d.Expected) + " expected"
	return d
}

func (s volume) Close(c *Context) (Detail, bool) {
	own, _, total, _ := s.pick(c)
	h := s.hour(c)
	if h.Mean == 0 {
		return Detail{}, false
	}
	d := c.hourly(float64(total), h.Mean, float64(own.N))
	d.High = max(score.LogNormalQuantile(intervalDecades, h.Mean, h.RelVar), sumFrom*h.Mean)
	return d, true
}
