package detect

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/schemas"
)

func TestAnOpenedAlertIsOneLineAndAFloodOfThemIsBounded(t *testing.T) {
	var out bytes.Buffer
	n := &news{logger: zerolog.New(&out)}
	now := time.Unix(1_800_000_000, 0)
	a := &schemas.Alert{
		EpisodeID: "5b34", TenantID: "default", Agent: schemas.AlertAgent{ID: "a\x1b[31m"}, Severity: "high",
		Time: 1_790_000_000_000, Title: "Far more", Summary: "Agent a sent more.",
	}
	n.opened(a, now)
	require.JSONEq(t, `{"level":"warn","severity":"high","agent_id":"a\u001b[31m","tenant_id":"default","at":"2026-09-21T14:13:20Z",`+
		`"summary":"Agent a sent more.","episode_id":"5b34","message":"alert opened"}`, strings.TrimSpace(out.String()))
	require.Equal(t, 1, strings.Count(out.String(), "\n"))
	for range 10 * newsPerMinute {
		n.opened(a, now.Add(time.Second))
	}
	require.Equal(t, newsPerMinute+1, strings.Count(out.String(), "\n"))
	require.Equal(t, 1, strings.Count(out.String(), "more alerts opened than are said here"))
	n.opened(a, now.Add(time.Minute))
	require.Equal(t, newsPerMinute+2, strings.Count(out.String(), "\n"))
}
