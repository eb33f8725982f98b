package baseline

import (
	"math"

	"github.com/plumbline-sec/plumbline/detector/internal/wire"
)

// MaxSignals bounds the signals of a window.
const MaxSignals = 24

// CodeMax codes one number for each signal. Format 1 had room for 16.
func CodeMax(c *wire.Coder, name string, v *[MaxSignals]float32) {
	if c.Version < 2 {
		c.F32s(name, v[:16])
		return
	}
	c.F32s(name, v[:])
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
	w.RateFrom = mu + math.Sqrt(max(CountVariance(mu, w.Rate.Overdispersion), minCountVar))
	w.Bytes[0] = own.Sent.Sum(own.Sent.At(&peers.Sent), w.Rate)
	w.Bytes[1] = own.Received.Sum(own.Received.At(&peers.Received), w.Rate)
}

// Code encodes or decodes w.
func (w *Window) Code(c *wire.Coder) {
	c.Bool("open", &w.Open)
	c.I64("hour", &w.Hour)
	c.U64("events", &w.Events)
	c.U64("late", &w.Late)
	c.U64("failures", &w.Failures)
	c.U64("denied", &w.Denied)
	c.U64("malformed", &w.Malformed)
	c.U64("sent", &w.Sent)
	c.U64("received", &w.Received)
	c.U64("sentCalls", &w.SentCalls)
	c.U64("receivedCalls", &w.ReceivedCalls)
	c.U64("tools", &w.Tools)
	c.U64("resources", &w.Resources)
	c.U64("newResources", &w.NewResources)
	c.U64("newDestinations", &w.NewDestinations)
	c.U64("sessions", &w.Sessions)
	c.U64("crossings", &w.Crossings)
	c.I64("first", &w.First)
	c.I64("last", &w.Last)
	CodeMax(c, "max", &w.Max)
	c.F32("fused", &w.Fused)
	c.F64("surprise", &w.Surprise)
	c.Bool("inEpisode", &w.InEpisode)
	c.Scope("rate", w.Rate.code)
	c.F64("rateFrom", &w.RateFrom)
	wire.Each(c, "bytes", w.Bytes[:], (*BytesAt).code)
	wire.NotNegative(c, "expectation in a window", w.Rate.Mu, w.Rate.seasonal, w.Bytes[0].RelVar, w.Bytes[1].RelVar)
}

func (r *RateAt) code(c *wire.Coder) {
	c.F64("mu", &r.Mu)
	c.F64("overdispersion", &r.Overdispersion)
	c.F64("peak", &r.Peak)
	c.F64("near", &r.Near)
	c.F64("nearOverdispersion", &r.NearOverdispersion)
	c.F64("phi", &r.phi)
	c.F64("seasonal", &r.seasonal)
	c.F64("vLevel", &r.vLevel)
	c.F64("vHour", &r.vHour)
	c.F64("vDay", &r.vDay)
}

func (b *BytesAt) code(c *wire.Coder) {
	c.F64("mean", &b.Mean)
	c.F64("relVar", &b.RelVar)
}
