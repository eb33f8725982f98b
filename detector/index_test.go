package detector

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/seeded"
)

// Against a map, with agents of two tenants whose hashes are the same.
func TestAnIndexAgreesWithAMap(t *testing.T) {
	type key struct {
		tenant *tenant
		id     string
	}
	rng := seeded.Rand(t)
	x := newIndex()
	first := len(x.slots)
	tenants := [2]*tenant{{}, {}}
	known := map[key]*agent{}
	for i := range 60_000 {
		k := key{tenants[rng.IntN(2)], fmt.Sprint(rng.IntN(1500))}
		want := known[k]
		require.Same(t, want, x.find(k.tenant, k.id), "%d: %v", i, k)
		switch {
		case want == nil:
			known[k] = &agent{tenant: k.tenant, id: k.id}
			x.add(known[k])
		case rng.IntN(3) > 0:
			delete(known, k)
			x.remove(want)
		}
		require.Equal(t, len(known), x.n)
	}
	for k, a := range known {
		require.Same(t, a, x.find(k.tenant, k.id))
		require.Nil(t, x.find(&tenant{}, k.id), "another tenant's")
	}
	require.Greater(t, len(x.slots), first, "it grew")
}
