// Package clickhouse keeps activity, alerts and windows in ClickHouse: it owns
// the schema (sql/*.sql), the inserts and the table that `plumbline query` prints.
//
// Invariants:
//
//  1. An insert that returned nil is acknowledged by the server; nothing waits in
//     a buffer, here or there.
//  2. Inserting a row again leaves one row under the views, however the batches
//     were cut and whatever was merged meanwhile: every ORDER BY and PARTITION BY
//     column is a function of the row's identity. Between two decodings of one
//     record the higher version wins, not the later insert.
//  3. No row poisons its batch: every value that the types of schemas can hold
//     fits its column (invalid UTF-8 and NUL too); times before 1900 and after 2261
//     are drawn to that edge.
//  4. A migration is applied once, in order, and never changes afterwards; each of
//     its statements may be run again. A database that is newer than the program
//     is left alone. What is there is compared with what the migrations come to
//     (sql/expected.json, from a real engine); what was lost is put back where that
//     touches no row, and nothing is done otherwise.
//  5. On a cluster an agent's rows are on one shard, so that 2 holds there too. Tables of
//     one server and of a cluster are never made of one another.
//  6. No error and no log line holds a password, nor a control character that came
//     from stored data.
//
// The package imports pipeline (for the rows) and schemas; never the detector,
// the roles' internals or internal packages.
package clickhouse
