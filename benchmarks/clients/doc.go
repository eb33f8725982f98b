// Package clients runs ClickHouse's own clients against the embedded engine, so that what
// data engineers connect with is served as by a server: for Python (connect.py), Node
// (client.test.mjs), Java (Jdbc.java) and Go (go_test.go). check.sh fetches them in pinned
// versions, starts a service and runs them; make clients calls it.
package clients
