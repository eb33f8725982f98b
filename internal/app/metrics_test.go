package app

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/config"
)

func TestThePageOfOperationsHasEveryMetricOfTheRoles(t *testing.T) {
	page, err := os.ReadFile("../../docs/operations.md")
	require.NoError(t, err)
	a, err := New(&config.Config{}, Options{}, zerolog.Nop())
	require.NoError(t, err)
	descs := make(chan *prometheus.Desc, 1000)
	a.reg.Describe(descs)
	close(descs)
	found := 0
	for d := range descs {
		name := regexp.MustCompile(`"plumbline_(\w+)"`).FindStringSubmatch(d.String())
		if name != nil {
			require.True(t, strings.Contains(string(page), "`"+name[1]+"`") || strings.Contains(string(page), "`"+name[1]+"{"), name[1])
			found++
		}
	}
	require.Equal(t, 59, found)
}
