package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/plumbline-sec/plumbline/internal/simulator"
	"github.com/plumbline-sec/plumbline/pipeline/policy"
	"github.com/plumbline-sec/plumbline/pipeline/policy/policytest"
	"github.com/plumbline-sec/plumbline/schemas"
)

// policyCount is how many policies there are.
const policyCount = 200

// policy measures decisions on events of the fleet that were never seen, by an engine that
// has decided on an hour of it, beside the Cedar library alone.
func (b *runner) policy(context.Context) error {
	fleet, err := simulator.New(simulator.Options{Agents: 1000, Days: 14, Seed: 3, Kinds: simulator.Kinds(), Count: 50})
	if err != nil {
		return err
	}
	set, err := policy.Parse([]policy.File{{Name: "fleet.cedar", Text: policytest.Fleet(policyCount)}}, policy.Options{DefaultDeny: true})
	if err != nil {
		return err
	}
	n := b.scale.policyEvents
	registered := map[string]*schemas.Registration{}
	next := func() ([]schemas.Activity, error) {
		events := make([]schemas.Activity, n)
		for i := range events {
			if !fleet.Next(&events[i]) {
				return nil, errors.New("the fleet has too few events")
			}
			if ev := &events[i]; registered[ev.AgentID] == nil {
				registered[ev.AgentID] = &schemas.Registration{TenantID: ev.TenantID, AgentID: ev.AgentID, Owner: ev.PeerGroup, TimeZone: "Europe/Berlin"}
			}
		}
		return events, nil
	}
	engine, alone := policy.NewEngine(set), policy.Library(set)
	var out []schemas.PolicyDecision
	decide := func(events []schemas.Activity) error {
		for i := range events {
			if out = engine.Decide(out[:0], &events[i], registered[events[i].AgentID], ""); len(out) == 0 {
				return errors.New("an event without a decision")
			}
		}
		return nil
	}
	events, err := next()
	if err != nil {
		return err
	}
	if err := decide(events); err != nil {
		return err
	}
	var ours, theirs rounds
	err = onOneCore(func() error {
		for i := range b.rounds {
			b.progress("policy: round %d of %d", i+1, b.rounds)
			if events, err = next(); err != nil {
				return err
			}
			used, err := measure(func() error { return decide(events) })
			if err != nil {
				return err
			}
			ours.add(n, used, cost{})
			few := events[:max(1, n/50)]
			used, err = measure(func() error {
				for i := range few {
					alone(&few[i], registered[few[i].AgentID])
				}
				return nil
			})
			if err != nil {
				return err
			}
			theirs.add(len(few), used, cost{})
		}
		return nil
	})
	if err != nil {
		return err
	}
	b.page.add(
		ours.speed("policy", "event", fmt.Sprintf("%d policies, new events of 1,000 agents", policyCount)),
		theirs.speed("policy, cedar-go alone", "event", fmt.Sprintf("the same %d policies, one decision an event, its entities made of the event", policyCount)),
	)
	return nil
}
