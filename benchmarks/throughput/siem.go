package main

import (
	"context"
	"fmt"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/internal/simulator"
	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/siem"
)

// collector is a sink that keeps alerts.
type collector struct{ alerts []*schemas.Alert }

// Alert implements detector.Sink.
func (c *collector) Alert(a *schemas.Alert) { c.alerts = append(c.alerts, a) }

// Window implements detector.Sink.
func (c *collector) Window(*schemas.Window) {}

// siem measures every encoder on alerts that the detector made of an attacked
// fleet.
func (b *runner) siem(_ context.Context) error {
	b.progress("siem: collecting alerts")
	alerts, err := collectAlerts(b.scale.siemAgents)
	if err != nil {
		return err
	}
	const enough = 20_000 // encodings a round
	for _, enc := range siem.Encoders() {
		var r rounds
		size := 0
		err := onOneCore(func() error {
			var buf []byte
			for range b.rounds {
				n := 0
				size = 0
				used, err := measure(func() error {
					for n < enough {
						for _, a := range alerts {
							var err error
							if buf, err = enc.Append(buf[:0], a); err != nil {
								return fmt.Errorf("%s: %w", enc.Name(), err)
							}
							size += len(buf)
						}
						n += len(alerts)
					}
					return nil
				})
				if err != nil {
					return err
				}
				size /= n
				r.add(n, used, cost{})
			}
			return nil
		})
		if err != nil {
			return err
		}
		b.page.add(r.speed("siem "+enc.Name(), "alert", fmt.Sprintf("%d real alerts, %d bytes each on average", len(alerts), size)))
	}
	return nil
}

func collectAlerts(agents int) ([]*schemas.Alert, error) {
	fleet, err := simulator.New(simulator.Options{Agents: agents, Days: 3, Seed: 5, Kinds: simulator.Kinds(), Count: agents / 4})
	if err != nil {
		return nil, err
	}
	cfg := detector.DefaultConfig()
	cfg.AlertsPerAgentDay = 1
	sink := &collector{}
	d, err := detector.New(cfg, sink)
	if err != nil {
		return nil, err
	}
	var ev schemas.Activity
	for fleet.Next(&ev) {
		d.Process(&ev)
	}
	if len(sink.alerts) == 0 {
		return nil, fmt.Errorf("%d events of an attacked fleet made no alert", fleet.Events())
	}
	return sink.alerts, nil
}
