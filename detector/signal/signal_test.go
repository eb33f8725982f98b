package signal_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/detector/baseline"
	"github.com/plumbline-sec/plumbline/detector/signal"
	"github.com/plumbline-sec/plumbline/schemas"
)

func TestSignalsAreNamedOnceAndDescribed(t *testing.T) {
	all := signal.All()
	require.LessOrEqual(t, len(all), baseline.MaxSignals)
	seen := map[string]bool{}
	for _, s := range all {
		i := s.Info()
		require.False(t, seen[i.Name], "%s twice", i.Name)
		seen[i.Name] = true
		require.Contains(t, signal.Names(), i.Name)
		require.NotEmpty(t, i.Family)
		require.NotEmpty(t, i.Unit)
		require.NotEmpty(t, i.Title)
		require.NotContains(t, i.Title, "%")
		require.Positive(t, i.Weight)
		require.Positive(t, i.TestsPerDay)
	}
}

func TestAnAgentWithoutHistoryShowsNoEvidence(t *testing.T) {
	fleet := baseline.NewPeers(nil)
	c := &signal.Context{
		Ev: &schemas.Activity{BytesSent: 1 << 40, BytesReceived: 1 << 40}, Win: &baseline.Window{Open: true, Events: 1e6},
		Own: &baseline.Profile{}, Peers: baseline.NewPeers(fleet), Young: true,
	}
	c.Win.Expect(c.Own, c.Peers)
	for _, s := range signal.All() {
		require.Zero(t, s.Score(c), s.Info().Name)
	}
}

func TestNumbersAreWrittenForPeople(t *testing.T) {
	for b, want := range map[float64]string{
		0: "0 B", 999: "999 B", 1024: "1.0 KiB", 43_200_000: "41.2 MiB", 1 << 40: "1.0 TiB", 1023.99 * 1024: "1.0 MiB",
	} {
		require.Equal(t, want, signal.Bytes(b))
	}
	for n, want := range map[float64]string{0: "0", 3.44: "3.4", 3: "3", 12.6: "13", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		require.Equal(t, want, signal.Count(n))
	}
	require.Equal(t, "1 peer", signal.Plural(1, "peer", "peers"))
	require.Equal(t, "12 peers", signal.Plural(12, "peer", "peers"))
}

func TestNamesFromOutsideCannotChangeTheText(t *testing.T) {
	for in, want := range map[string]string{
		"email:bob@x.org":        "email:bob@x.org",
		"a\nb":                   `a\nb`,
		"a\u202eb":               `a\u202eb`,
		"a\x00b":                 `a\x00b`,
		"with space":             "with space",
		"nbsp\u00a0":             "nbsp\\u00a0",
		"Zürich":                 "Zürich",
		"\xff":                   `\xff`,
		strings.Repeat("x", 500): strings.Repeat("x", 120) + "…",
	} {
		require.Equal(t, want, signal.Quote(in))
	}
}
