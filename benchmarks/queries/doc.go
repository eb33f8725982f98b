// Command queries fills the embedded ClickHouse with weeks of a simulated fleet and
// runs every query that the documentation shows, that alerts bring and that an
// analyst asks first: what they take and how many rows they read.
//
//	go run ./benchmarks/queries --out benchmarks/results
//
// The rows are those of the service: events of the fleet generator through the real
// detector, which makes alerts and windows, in batches of archive's size. A part of
// the batches comes twice, as after a crash, and stays in the tables twice until a
// merge, so that the views have repetitions to hide.
//
// The queries are read from the pages (```sql blocks, and `plumbline query` commands),
// so that a query that is added there is measured here. Names of agents and sessions
// in them are replaced by some that the fleet has.
package main
