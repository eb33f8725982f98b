// Package policy decides what agents may do by policies in Cedar
// (https://docs.cedarpolicy.com): it reads and checks them, says of an event what they
// say, makes policies of what agents did, and of the grants of registrations.
//
// A Set is what was read and checked: it never changes and may be shared. An Engine
// decides with a Set for one goroutine, and remembers.
//
// Invariants:
//  1. An Engine says what the plain library says of the same policies, event and
//     registration: index and memory (index.go, reads.go, engine.go) leave out work and
//     nothing else.
//  2. A Set is checked against the schema (plumbline.cedarschema) and by the rules of
//     check.go; one with a mistake is none, and all mistakes are named at once, each with
//     its line and what to write instead.
//  3. Everything is bounded: files, policies, their length and depth (scan.go), and what an
//     Engine remembers. No text of an event is kept but as the key of what was decided.
//  4. Who may be in what is no text of anybody: an agent is in its group and its tenant,
//     a group in its tenant. There are no other members, so no cycles.
//
// The package knows no clock and no I/O but the reading of policy files.
package policy
