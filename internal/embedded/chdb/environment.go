package chdb

import "os"

// childEnv is the child's environment. Secrets are given to services in theirs, and
// the child has no use for any: it gets what the Go runtime and the loader read. Days
// are UTC days everywhere: a partition must not depend on the machine.
func childEnv() []string {
	env := []string{"TZ=UTC"}
	for _, name := range []string{"GOMAXPROCS", "GOTRACEBACK", "GORACE"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}
