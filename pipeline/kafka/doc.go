// Package kafka is the adapter between the pipeline's ports and Apache Kafka,
// on segmentio/kafka-go.
//
// It owns the connections, the bytes on the wire and the consumer group
// membership; it knows topics, partitions, offsets and records, and nothing of
// what stands in them. It must never import detector or internal.
//
// Invariants:
//
//  1. A record's time is the broker's append time where the topic says
//     LogAppendTime. A producer can't choose it.
//  2. Fetch returns records in offset order, without a gap that it does not
//     account for: what it leaves out is below the requested offset, a control
//     record, or of an aborted transaction. A batch that fails its checksum or
//     can't be parsed is an error that names it, never an omission.
//  3. The bytes of a returned record are never written to again.
//  4. What a broker or a producer writes into a length never decides how much is
//     allocated: every count is checked against the bytes that are there, and
//     what a batch may decompress to is bounded.
//  5. Produce returns nil only when all in-sync replicas have every record, in
//     the order given. It never retries by itself: whether an unanswered request
//     took effect is not known here.
//  6. No error and no log line holds a password or a key.
//  7. Every goroutine ends with Close of the client or of the group.
package kafka
