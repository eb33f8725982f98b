package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/pipeline/failpoint"
)

// faultCase is one row: what is done while the events are sent.
type faultCase struct {
	name string
	do   func(ctx context.Context, w *world) error
	// mayDouble: an alert may stand twice in its topic, with one id: a process that
	// was paused had it in its hand.
	mayDouble bool
	// cluster: on three brokers.
	cluster bool
	// disk: broker, engine and logs are on a disk of their own.
	disk bool
}

const undisturbed = "undisturbed"

// loadTime is how long the events take to be sent.
const loadTime = 10 * time.Second

func cases(o options) []faultCase {
	out := []faultCase{{name: undisturbed, do: underLoad(func(context.Context, *world, *instance) error { return nil })}}
	for _, at := range failpoint.All() {
		out = append(out, faultCase{name: "killed at " + at, do: dieAt(at)})
	}
	for _, at := range []string{failpoint.StateChunk, failpoint.StateMarker, failpoint.StateCommitted} {
		out = append(out, faultCase{name: "config reloaded, killed at " + at, do: reload(at)})
	}
	if o.kafkaHome != "" {
		out = append(out,
			faultCase{name: "three brokers, each killed in turn", do: leadersMove, mayDouble: true, cluster: true},
			faultCase{name: "a batch corrupted on the broker's disk", do: corrupted})
	}
	return append(out,
		faultCase{name: fmt.Sprintf("kill -9, %d times under load", o.kills), do: killLoop(o.kills)},
		faultCase{name: "SIGTERM, 6 times under load", do: underLoad(termLoop)},
		faultCase{name: "two instances, one killed, three times", do: underLoad(twoKilled)},
		faultCase{name: "paused beyond its session, then woken", do: underLoad(zombie), mayDouble: true},
		faultCase{name: "rebalance storm", do: underLoad(storm)},
		faultCase{name: "two services on one Kafka by mistake", do: underLoad(twoServices)},
		faultCase{name: "broker restarted", do: underLoad(brokerRestart), mayDouble: true},
		faultCase{name: "acknowledgements of Kafka lost", do: mute(func(w *world) *proxy { return w.link }, 500*time.Millisecond, 10), mayDouble: true},
		faultCase{name: "slow link to Kafka", do: underLoad(kafkaSlow)},
		faultCase{name: "link to Kafka frozen beyond the session", do: underLoad(kafkaFrozen), mayDouble: true},
		faultCase{name: "ClickHouse away until all alerts are out", do: underLoad(warehouseAway)},
		faultCase{name: "acknowledgements of ClickHouse lost", do: mute(func(w *world) *proxy { return w.proxy }, 400*time.Millisecond, 5)},
		faultCase{name: "engine killed, twice", do: underLoad(engineKilled)},
		faultCase{name: "events that are none among them", do: poison},
		faultCase{name: "retention removed what was not read", do: retention},
		faultCase{name: "disk full", do: underLoad(diskFull), disk: true, mayDouble: true},
		faultCase{name: "clocks a day off", do: clockOff},
	)
}

// begin starts the first instance and the load.
func begin(ctx context.Context, w *world, extra func(int) []byte) (*instance, error) {
	return beginOver(ctx, w, loadTime, extra)
}

func beginOver(ctx context.Context, w *world, d time.Duration, extra func(int) []byte) (*instance, error) {
	i, err := w.start(launch{})
	if err != nil {
		return nil, err
	}
	if err := w.topics(ctx); err != nil {
		return nil, err
	}
	w.load(ctx, d, extra)
	return i, nil
}

// underLoad starts the first instance and the load, does something meanwhile, and
// waits until everything is sent.
func underLoad(do func(ctx context.Context, w *world, first *instance) error) func(context.Context, *world) error {
	return func(ctx context.Context, w *world) error {
		first, err := begin(ctx, w, nil)
		if err != nil {
			return err
		}
		if err := do(ctx, w, first); err != nil {
			return err
		}
		return w.during(ctx, nap(ctx))
	}
}

func nap(ctx context.Context) func() error {
	return func() error { pause(ctx, 50*time.Millisecond); return ctx.Err() }
}

// dieAt has three instances in a row die at a place, each after some passes.
func dieAt(at string) func(context.Context, *world) error {
	return func(ctx context.Context, w *world) error {
		// A death costs the others a session: there must be events left for the third.
		first, err := beginOver(ctx, w, loadTime/2+5*sessionTimeout(w.h.o), nil)
		if err != nil {
			return err
		}
		pause(ctx, time.Second)
		first.signal(syscall.SIGKILL)
		<-first.ended
		deaths := 0
		for deaths < 3 {
			i, err := w.start(launch{at: at, after: deaths % partitions}) // an open comes by once a partition
			if err != nil {
				return err
			}
			select {
			case <-i.ended:
				deaths++
			case <-time.After(20 * time.Second):
				return fmt.Errorf("it died there %d times, and then did not come by for 20 s", deaths)
			}
		}
		if _, err := w.start(launch{}); err != nil {
			return err
		}
		return w.during(ctx, nap(ctx))
	}
}

func killLoop(times int) func(context.Context, *world) error {
	return func(ctx context.Context, w *world) error {
		// A pause is 2.5 s on average: to the last death there is load.
		i, err := beginOver(ctx, w, max(loadTime, time.Duration(times)*2500*time.Millisecond), nil)
		if err != nil {
			return err
		}
		for range times {
			// Long enough to join the group behind the dead member and do some work.
			pause(ctx, time.Duration(1000+w.rng.IntN(3000))*time.Millisecond)
			i.signal(syscall.SIGKILL)
			<-i.ended
			if i, err = w.start(launch{}); err != nil {
				return err
			}
		}
		return w.during(ctx, nap(ctx))
	}
}

func termLoop(ctx context.Context, w *world, i *instance) error {
	for range 6 {
		pause(ctx, time.Duration(1000+w.rng.IntN(1000))*time.Millisecond)
		if err := i.stop(); err != nil {
			return err
		}
		next, err := w.start(launch{})
		if err != nil {
			return err
		}
		i = next
	}
	return nil
}

func twoKilled(ctx context.Context, w *world, i *instance) error {
	for range 3 {
		other, err := w.start(launch{})
		if err != nil {
			return err
		}
		pause(ctx, 3*time.Second)
		i.signal(syscall.SIGKILL)
		i = other
		pause(ctx, time.Second)
	}
	return nil
}

func zombie(ctx context.Context, w *world, first *instance) error {
	second, err := w.start(launch{})
	if err != nil {
		return err
	}
	for _, i := range []*instance{first, second, first} {
		pause(ctx, 2*time.Second)
		i.signal(syscall.SIGSTOP)
		pause(ctx, 2*sessionTimeout(w.h.o)+2*time.Second)
		i.signal(syscall.SIGCONT)
	}
	return nil
}

func storm(ctx context.Context, w *world, _ *instance) error {
	for range 6 {
		other, err := w.start(launch{})
		if err != nil {
			return err
		}
		pause(ctx, time.Duration(1200+w.rng.IntN(1500))*time.Millisecond)
		if err := other.stop(); err != nil {
			return err
		}
	}
	return nil
}

// leadersMove kills one broker after the other and brings it back: the leaders of
// its partitions, the coordinators of its groups and the controller move.
func leadersMove(ctx context.Context, w *world) error {
	if _, err := beginOver(ctx, w, 40*time.Second, nil); err != nil {
		return err
	}
	for _, b := range w.cluster.Brokers {
		pause(ctx, 3*time.Second)
		b.Kill()
		pause(ctx, 6*time.Second)
		if err := b.Start(); err != nil {
			return err
		}
	}
	return w.during(ctx, nap(ctx))
}

// twoServices has a service with a database of its own come to the same Kafka and
// leave again, twice: they share the partitions like instances of one. Each event
// is then in one of two databases at least, each alert is still sent once.
func twoServices(ctx context.Context, w *world, _ *instance) error {
	w.other = w.db + "_other"
	text, err := os.ReadFile(w.config)
	if err != nil {
		return fmt.Errorf("config: %w", err)
	}
	config := filepath.Join(w.dir, "other.yaml")
	if err := os.WriteFile(config, bytes.Replace(text, []byte("database: "+w.db), []byte("database: "+w.other), 1), 0o600); err != nil { //nolint:gosec // in the case's directory
		return fmt.Errorf("config: %w", err)
	}
	for range 2 {
		other, err := w.start(launch{config: config})
		if err != nil {
			return err
		}
		pause(ctx, 3*time.Second)
		if err := other.stop(); err != nil {
			return err
		}
		pause(ctx, time.Second)
	}
	return nil
}

func brokerRestart(ctx context.Context, w *world, _ *instance) error {
	for range 3 {
		pause(ctx, 2*time.Second)
		if err := w.broker.Stop(); err != nil {
			return err
		}
		pause(ctx, time.Second)
		if err := w.broker.Start(); err != nil {
			return err
		}
	}
	return nil
}

// warehouseAway has ClickHouse gone until long after everything is sent: detection
// goes on, and what is to be stored waits in Kafka.
func warehouseAway(ctx context.Context, w *world, _ *instance) error {
	pause(ctx, 2*time.Second)
	w.proxy.down.Store(true)
	w.proxy.cut()
	defer w.proxy.down.Store(false)
	if err := w.during(ctx, nap(ctx)); err != nil {
		return err
	}
	deadline := time.Now().Add(30 * time.Second)
	for {
		seen, err := w.published(ctx, pipeline.TopicAlerts, nil)
		if err != nil {
			return err
		}
		if len(seen) == len(w.h.alerts) {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d of %d alerts came while ClickHouse was away: detection waited for it", len(seen), len(w.h.alerts))
		}
		pause(ctx, 500*time.Millisecond)
	}
	pause(ctx, 10*time.Second)
	return ctx.Err()
}

// mute swallows an answer and its connection again and again: what was asked for is
// done, and nobody knows.
func mute(link func(*world) *proxy, every time.Duration, least int64) func(context.Context, *world) error {
	return underLoad(func(ctx context.Context, w *world, _ *instance) error {
		p := link(w)
		err := w.during(ctx, func() error {
			p.mute.Store(1)
			pause(ctx, every)
			return ctx.Err()
		})
		p.mute.Store(0)
		if n := p.swallowed.Load(); err == nil && n < least {
			err = fmt.Errorf("only %d answers were swallowed", n)
		}
		return err
	})
}

func kafkaSlow(ctx context.Context, w *world, _ *instance) error {
	w.link.delay.Store(int64(20 * time.Millisecond))
	pause(ctx, 10*time.Second)
	w.link.delay.Store(0)
	return nil
}

// kafkaFrozen holds everything back, with all connections open, for longer than
// the session.
func kafkaFrozen(ctx context.Context, w *world, _ *instance) error {
	for range 2 {
		pause(ctx, 2*time.Second)
		w.link.frozen.Store(true)
		pause(ctx, sessionTimeout(w.h.o)+2*time.Second)
		w.link.frozen.Store(false)
	}
	return nil
}

func engineKilled(ctx context.Context, w *world, _ *instance) error {
	before := w.engine.Restarts()
	for range 2 {
		pause(ctx, 2500*time.Millisecond)
		if err := w.killEngine(); err != nil {
			return err
		}
	}
	if err := w.during(ctx, nap(ctx)); err != nil {
		return err
	}
	if w.engine.Restarts() < before+2 {
		return errors.New("the engine was not started again")
	}
	return nil
}

// killEngine kills the engine's process; its server starts another.
func (w *world) killEngine() error {
	if err := syscall.Kill(w.engine.Pid(), syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill the engine: %w", err)
	}
	return nil
}

func poison(ctx context.Context, w *world) error {
	if _, err := begin(ctx, w, func(i int) []byte {
		switch i % 97 {
		case 3:
			return []byte(`{"agent_id":`)
		case 50:
			return []byte("\x00\xff\x1b[2J")
		}
		return nil
	}); err != nil {
		return err
	}
	return w.during(ctx, nap(ctx))
}
