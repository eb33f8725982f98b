package detect

import (
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/plumbline-sec/plumbline/schemas"
)

// newsPerMinute is how many opened alerts a service says in a minute. A budget gives
// fewer in a day; whoever floods the detector must not flood the log as well.
const newsPerMinute = 30

// news says in the log that an alert has opened. Its updates are in the topics.
type news struct {
	logger zerolog.Logger

	mu   sync.Mutex
	from time.Time // of the minute at hand
	said int       // in it
}

func (n *news) opened(a *schemas.Alert, now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if now.Sub(n.from) >= time.Minute {
		n.from, n.said = now, 0
	}
	switch n.said++; {
	case n.said == newsPerMinute+1:
		n.logger.Warn().Int("a_minute", newsPerMinute).Msg("more alerts opened than are said here; `plumbline alerts` lists all of them")
		fallthrough
	case n.said > newsPerMinute:
		return
	}
	n.logger.Warn().Str("severity", a.Severity).Str("agent_id", a.Agent.ID).Str("tenant_id", a.TenantID).
		Str("at", a.Time.Time().UTC().Format(time.RFC3339)).Str("summary", a.Summary).
		Str("episode_id", a.EpisodeID).Msg("alert opened")
}
