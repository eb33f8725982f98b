package baseline_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/detector/baseline"
)

func TestAddressesOfOneNetworkAreOneItem(t *testing.T) {
	network := func(address string) uint64 { return baseline.AppendOrigin(nil, address, "")[0].Hash }
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"203.0.113.7", "203.0.113.250", true},
		{"203.0.113.7", "203.0.114.7", false},
		{"203.0.113.7", "::ffff:203.0.113.9", true},
		{"2001:db8:1:2::1", "2001:db8:1:ffff::9", true},
		{"2001:db8:1::1", "2001:db8:2::1", false},
		{"fe80::1%eth0", "fe80::2%eth1", true},
		{"no address", "no other", false},
		{"::bad::", "::worse::", false},
	} {
		require.Equal(t, c.same, network(c.a) == network(c.b), "%s and %s", c.a, c.b)
	}
	p, ok := baseline.Network("203.0.113.7")
	require.True(t, ok)
	require.Equal(t, "203.0.113.0/24", p.String())
	p, ok = baseline.Network("2001:db8:1:2::1")
	require.True(t, ok)
	require.Equal(t, "2001:db8:1::/48", p.String())
	_, ok = baseline.Network("no address")
	require.False(t, ok)
	require.NotEqual(t, network("203.0.113.7"), baseline.AppendOrigin(nil, "", "203.0.113.7")[0].Hash)
}
