// Package pipelinetest holds what tests of the pipeline share: Kafka in memory
// (Cluster), a warehouse in memory (Warehouse), and one conformance suite
// (RunLogConformance) that every implementation of the log and group ports passes,
// those in memory included.
//
// The implementations promise:
//
//  1. What the conformance suite checks, and so the same as the real adapter as far
//     as a role can see.
//  2. Determinism: offsets and partition assignment follow from the calls alone.
//  3. Hooks run without a lock held: they may block, to hold a request back while
//     others go on, and may call the cluster.
//  4. No goroutine outlives the generation that it belongs to.
package pipelinetest
