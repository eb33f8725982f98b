package app

import (
	"context"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/plumbline-sec/plumbline/pipeline"
)

// What is refused is said soon, and for the same source and reason once a minute.
const (
	refusedEvery = 5 * time.Second
	refusedAgain = time.Minute
)

// remedies say what to do about a reason of the dead letters.
var remedies = map[string]string{
	"not_json":           "send one JSON object a record, or set the source's decoder; try a file with `plumbline decode`",
	"too_deep":           "have the producer nest less: 32 levels are read",
	"too_large":          "have the producer send less in one record: 1 MiB is read",
	"no_agent_id":        "have the producer name the agent (agent_id), or map the field that does; try a file with `plumbline decode`",
	"invalid_identity":   "tenant_id and agent_id must be text without control characters",
	"identity_too_long":  "have the producer shorten tenant_id or agent_id",
	"duplicate_identity": "a record names its tenant or agent twice: find who sends it, it may be an attempt to hide",
	"no_events":          "set the source's decoder to the form that its records have; try a file with `plumbline decode`",
	"not_cloudevent":     "the envelope holds no data: look at the producer",
	"not_cloudtrail":     "send the events, and not notices of files or records of another service; try a file with `plumbline decode`",
	"not_otlp":           "set the source's decoder to the form that its records have, or the exporter's encoding; try a file with `plumbline decode`",
	"record_too_large":   "raise the topic's max.message.bytes",
	"no_origin":          "another program writes " + pipeline.TopicActivity + ": check the ACLs",
}

// refusal is what counts the refused events: of a source, for a reason.
type refusal struct{ source, reason string }

// refusals tells in the log what the metric counts.
type refusals struct {
	counts func() map[refusal]float64
	logger zerolog.Logger
	said   map[refusal]float64
	at     map[refusal]time.Time
}

// look says what was refused since it was last said; at the end that is everything.
func (r *refusals) look(now time.Time, end bool) {
	for k, n := range r.counts() {
		if n == r.said[k] || !end && now.Sub(r.at[k]) < refusedAgain {
			continue
		}
		do, ok := remedies[k.reason]
		if !ok {
			do = "read what came"
		}
		r.logger.Warn().Str("source", k.source).Str("reason", k.reason).Int64("events", int64(n-r.said[k])).
			Str("do", do+"; what came is kept in "+pipeline.TopicDeadLetter).Msg("refused")
		r.said[k], r.at[k] = n, now
	}
}

// watchRefused tells of what is refused until the stop.
func (a *App) watchRefused(ctx context.Context) {
	r := &refusals{counts: a.refused, logger: a.logger, said: make(map[refusal]float64), at: make(map[refusal]time.Time)}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var done sync.WaitGroup
	done.Go(func() {
		for ctx.Err() == nil {
			sleep(ctx, refusedEvery)
			r.look(time.Now(), ctx.Err() != nil)
		}
	})
	a.onStop("the look at what is refused", quick(func() error { cancel(); done.Wait(); return nil }))
}

func (a *App) refused() map[refusal]float64 {
	out := make(map[refusal]float64)
	a.counters("plumbline_refused_events_total", func(labels map[string]string, n float64) {
		out[refusal{labels["source"], labels["reason"]}] += n
	})
	return out
}
