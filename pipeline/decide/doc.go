// Package decide is the role that answers what an agent may do before it does it: the
// Authorization API of OpenID AuthZEN, and the check that Envoy makes for a request.
//
// Invariants:
//  1. A request becomes an event of the contract, read by the decoder of events, and is
//     decided on by the engine that decides on events: the same policies, registration and
//     risk give the same answer before the act and after it.
//  2. What can't be decided is answered as the config says (Config.Permit) and named as an
//     error: while the registry is not read to its end, Kafka has been away for too long, the
//     registry is full and does not know the agent, or a policy can't be evaluated. A denial
//     stays one.
//  3. A request that says two things, or a value that an event can't hold, is refused: nobody
//     may read it another way than we do.
//  4. Nothing waits for Kafka: who an agent is stands in memory, and decisions that can't be
//     written down are dropped and counted.
//  5. Everything is bounded: requests, those at a time, registrations, episodes, the log.
//
// It imports the ports of package pipeline and package policy, never another role or an
// adapter. Whoever starts it brings the listener, with TLS or without.
package decide
