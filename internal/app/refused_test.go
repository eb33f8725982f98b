package app

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/config"
)

func TestWhatIsRefusedIsSaidAtOnceThenOnceAMinuteWithWhatToDo(t *testing.T) {
	var out bytes.Buffer
	a, err := New(&config.Config{}, Options{}, zerolog.Nop())
	require.NoError(t, err)
	r := &refusals{counts: a.refused, logger: zerolog.New(&out), said: map[refusal]float64{}, at: map[refusal]time.Time{}}
	lines := func() string { defer out.Reset(); return out.String() }
	now := time.Unix(1_800_000_000, 0)
	r.look(now, false)
	require.Empty(t, lines())

	a.metrics.Refused.WithLabelValues("default", "no_agent_id").Add(3)
	r.look(now, false)
	require.Equal(t, `{"level":"warn","source":"default","reason":"no_agent_id","events":3,"do":"`+remedies["no_agent_id"]+
		`; what came is kept in plumbline.deadletter","message":"refused"}`+"\n", lines())
	a.metrics.Refused.WithLabelValues("default", "no_agent_id").Add(4)
	a.metrics.Refused.WithLabelValues("default", "not_json").Inc()
	r.look(now.Add(refusedEvery), false)
	require.Contains(t, lines(), `"reason":"not_json","events":1`)
	r.look(now.Add(refusedAgain), false)
	require.Contains(t, lines(), `"reason":"no_agent_id","events":4`)
	a.metrics.Refused.WithLabelValues("default", "no_agent_id").Inc()
	r.look(now.Add(refusedAgain+1), false)
	require.Empty(t, lines())
	r.look(now.Add(refusedAgain+2), true)
	require.Contains(t, lines(), `"events":1`, "nothing is left unsaid at the end")
}

// The page of operations has every reason; each of them has a remedy here.
func TestEveryReasonOfADeadLetterHasARemedy(t *testing.T) {
	page, err := os.ReadFile("../../docs/operations.md")
	require.NoError(t, err)
	_, table, ok := strings.Cut(string(page), "\n| reason | |\n")
	require.True(t, ok)
	table, _, _ = strings.Cut(table, "\n\n")
	found := 0
	for row := range strings.Lines(table) {
		reasons, _, _ := strings.Cut(strings.TrimPrefix(row, "|"), "|")
		for _, m := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(reasons, -1) {
			require.NotEmpty(t, remedies[m[1]], m[1])
			found++
		}
	}
	require.Len(t, remedies, found, "a reason that the page does not have")
}
