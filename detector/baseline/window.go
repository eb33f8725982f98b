package baseline

import (
	"math"

	"github.com/plumbline-sec/plumbline/detector/internal/wire"
)

// MaxSignals bounds the signals of a window.
const MaxSignals = 24

// CodeMax codes one number for each signal. Format 1 had room for 16.
func CodeMax(c *wire.Coder, v *[MaxSignals]float32) {
	if c.Version < 2 {
		c.F32s(v[:16])
		return
	}
	c.F32s(v[:])
}

// Window is the open hour of an agent.
type Window struct {
	Open bool
	Hour int64 // hours since 1970

	Events, Late, Failures, Denied uint64
	Malformed                      uint64
	Sent, Received                 uint64
	SentCalls, ReceivedCalls       uint64
	Tools, Resources               uint64
	NewResources, NewDestinations  uint64
	Sessions                       uint64
	First, Last                    int64 // event times, milliseconds
	Crossings                      uint64
	Max                            [MaxSignals]float32 // the highest -log10 p of each signal
	Fused                          float32             // the highest fused evidence
	Surprise                       float64             // the highest
	InEpisode                      bool                // an episode from before this hour was open in it
	Rate                           RateAt              // what was expected of the hour when it opened
	RateFrom                       float64             // counts up to this are nothing unusual
	Bytes                          [2]BytesAt          // expected of the hour, sent and received
}

// BytesAt is what is expected of the bytes of an hour; Mean 0: nothing is known.
type BytesAt struct{ Mean, RelVar float64 }

// Expect sets what is expected of the hour before anything of it is learnt.
func (w *Window) Expect(own *Profile, peers *Peers) {
	w.Rate = own.Rate.At(&peers.Rate, w.Hour)
	if own.Young(w.Hour) {
		w.Rate.Near = 0 // the first hour of an attack would be that of the second
	} else {
		w.Rate.Peak = 0 // the hours of the day speak for themselves
	}
	w.RateFrom = math.MaxFloat64
	mu := w.Rate.Mu
	if mu == 0 {
		return
	}
	w.RateFrom = mu + math.Sqrt(max(mu+float64(w.Rate.Over*mu*mu), 0.25))
	w.Bytes[0] = own.Sent.Sum(own.Sent.At(&peers.Sent), w.Rate)
	w.Bytes[1] = own.Received.Sum(own.Received.At(&peers.Received), w.Rate)
}

// Code encodes or decodes w.
func (w *Window) Code(c *wire.Coder) {
	c.Bool(&w.Open)
	c.I64(&w.Hour)
	for _, v := range []*uint64{
		&w.Events, &w.Late, &w.Failures, &w.Denied, &w.Malformed, &w.Sent, &w.Received, &w.SentCalls, &w.ReceivedCalls,
		&w.Tools, &w.Resources, &w.NewResources, &w.NewDestinations, &w.Sessions, &w.Crossings,
	} {
		c.U64(v)
	}
	c.I64(&w.First)
	c.I64(&w.Last)
	CodeMax(c, &w.Max)
	c.F32(&w.Fused)
	c.F64(&w.Surprise)
	c.Bool(&w.InEpisode)
	for _, v := range []*float64{
		&w.Rate.Mu, &w.Rate.Over, &w.Rate.Peak, &w.Rate.Near, &w.Rate.NearOver, &w.Rate.phi, &w.Rate.share, &w.Rate.vLevel, &w.Rate.vHour, &w.Rate.vDay, &w.RateFrom,
		&w.Bytes[0].Mean, &w.Bytes[0].RelVar, &w.Bytes[1].Mean, &w.Bytes[1].RelVar,
	} {
		c.F64(v)
	}
	if c.Reading() && (w.Rate.Mu < 0 || w.Rate.share < 0 || w.Bytes[0].RelVar < 0 || w.Bytes[1].RelVar < 0) {
		c.Fail("negative expectation in a window")
	}
}
