// Command throughput measures the speed and the size of Plumbline: every stage
// alone on one core, the whole service on the embedded stack, the memory of an
// agent, and how long an alert takes.
//
// It promises:
//
//  1. Per core means CPU time: what the kernel charged to this process (garbage
//     collection and system calls included) with GOMAXPROCS=1, never a wall clock.
//     Waiting for a busy machine costs nothing so; sharing its caches does.
//  2. Every stage is repeated in rounds and stands as median with smallest and
//     largest, beside the time that decoding alone took in the same rounds.
//  3. Whatever is not measured runs in another process: the generator of the
//     events, the server that takes rows, the broker, the engine.
//  4. Event bytes lie outside of the Go heap, so that they neither count as
//     memory of an agent nor make the collector's work rarer.
//  5. The code that is measured is the code that ships: the roles themselves over
//     ports that hand out and take bytes, and the built binary for the service.
//
// What a stage reads is new to it where that matters: the detector never sees an
// event twice. The package imports everything and nothing imports it.
package main
