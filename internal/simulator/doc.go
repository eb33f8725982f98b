// Package simulator simulates a fleet of AI agents and labels the attacks that
// it mixes in. It is the ground truth for measuring the detector: what is honest
// and what is not is known, event by event.
//
// Invariants:
//
//  1. The same options give the same events and labels, byte for byte (same
//     build, same architecture). There is no clock and no global randomness.
//  2. Events come in order of time; ties are broken by a fixed order of actors.
//  3. Every agent and every attack has a random stream of its own: the honest
//     events of a fleet are the same with and without attacks.
//  4. Attacks only add events. What an attack added is counted in its label, and
//     an event belongs to at most one attack.
//  5. Memory grows with the number of agents, not with the number of events.
//
// The default fleet draws counts from the family that the detector assumes
// (gamma-mixed Poisson by the clock hour). TailsHeavy is another generator on
// purpose: log-normal mixing with memory over blocks that ignore the clock,
// Pareto bursts, outages and storms of failures.
//
// The package imports the standard library, gonum and schemas. It must not
// import the detector: the yardstick knows nothing of what it measures.
package simulator
