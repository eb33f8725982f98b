// Package chdb is the embedded ClickHouse: the real engine out of libchdb, loaded
// without cgo into a child process of this binary, served over ClickHouse's own
// HTTP interface. clickhouse-go, curl and Grafana connect to it as to a server.
//
// Parent and child:
//
//	Start ──claims──▶ data directory, port          (held by the parent)
//	  └──runs──▶ this binary, Command ──loads──▶ libchdb.so
//	               └──serves──▶ the inherited port
//
// Invariants:
//
//  1. The engine runs in the child alone: whatever it does to its process, the
//     detector goes on. A child that ends is started again, from the program that
//     runs, whatever became of its file; restarts and attempts that failed are
//     counted, and Health says why there is none.
//  2. The address belongs to the parent. While the child restarts, connections
//     wait; they are not refused.
//  3. An INSERT that was answered with 200 is on the disk: it survives kill -9
//     of either process and a power cut.
//  4. The child does not outlive its parent, however that ends: its standard
//     input ends, and the kernel sends SIGTERM. Until it has ended it holds the
//     claim on the data directory, so that no second engine opens it.
//  5. Output that is sent in pieces is the same bytes as output sent whole. What
//     cannot be cut (JSON, formats with a header) is held in memory, bounded by
//     max_result_bytes.
//  6. The body of an INSERT is never held in memory as a whole, but for a first
//     MiB of VALUES. One that breaks off is not an insert of what came of it.
//  7. A request reaches neither files nor the network of this machine, nor the
//     process itself. Three walls say so, each without the others: what is not on
//     a list of the harmless is refused (check.go); the user has grants for what
//     a warehouse needs (config.go); the child has locked itself into its data
//     directory, without sockets, programs, privileges and secrets
//     (sandbox_linux_amd64.go, seccomp_linux_amd64.go, environment.go). Pages of
//     other sites are not answered (package browser), and the one of this site
//     only reads (play.go).
//  8. The library that is loaded is the pinned one: its sum and its package's sum
//     are in the code.
//
// Not obvious:
//
//   - A request gets a connection of its own (0.1 ms), so that settings, USE and
//     SET end with it. In a session it gets the session's, and what the request
//     asked for beside its statement is taken back (sessions.go). One connection stays open for as long as the child lives:
//     closing the last one shuts the engine down, which it does not survive twice.
//   - The library hands an INSERT's rows over apart from its text, streams only
//     SELECT, and runs several statements in one call, which a server refuses.
//     statement.go looks at the text for that.
//   - What the engine has is in lists/, each name with a decision. A test fails
//     where the pinned engine has a name that stands in none.
//   - The engine gets a statement with blanks for comments, and positions in its
//     errors stay, except where a statement asks for ids (queryid.go). query in
//     system.processes shows no comments either.
//   - To be locked in, the child runs its program again (lockIn): Landlock binds
//     the thread that asks, and Go has several by then.
//   - The library writes Native blocks without what a protocol revision adds.
//     Clients that name their revision get the blocks re-encoded by the driver's
//     own code.
//   - The library gives neither a handle before there are rows nor an id of the
//     caller's choice: a statement is found, to be killed, by a tag of its
//     connection (queryid.go).
//   - chDB's default database is an overlay of tables and of the files in the
//     working directory; the grants keep the files out, and check.go the answer
//     whether there is one.
//   - purego makes the binary load glibc: it is not a static one.
package chdb
