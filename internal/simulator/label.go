package simulator

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/plumbline-sec/plumbline/schemas"
)

// MaxLabelEvents bounds the event ids of a label: the first ones.
const MaxLabelEvents = 100

// Label says what one attack did.
type Label struct {
	AgentID   string         `json:"agent_id"`
	TenantID  string         `json:"tenant_id"`
	PeerGroup string         `json:"peer_group"`
	Archetype string         `json:"archetype"`
	Kind      Kind           `json:"kind"`
	Start     schemas.Millis `json:"start"` // of its first event
	End       schemas.Millis `json:"end"`   // of its last event
	Events    int            `json:"events"`
	EventIDs  []string       `json:"event_ids"` // at most MaxLabelEvents
}

// Labels returns the attacks that have begun so far, the earliest first. They
// are complete once Next returned false.
func (f *Fleet) Labels() []Label {
	var out []Label
	for _, l := range f.labels {
		if l.Events > 0 {
			c := *l
			c.EventIDs = slices.Clone(l.EventIDs)
			out = append(out, c)
		}
	}
	slices.SortStableFunc(out, func(a, b Label) int { return int(a.Start - b.Start) })
	return out
}

// WriteLabels writes one JSON object per line.
func WriteLabels(w io.Writer, labels []Label) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for i := range labels {
		if err := enc.Encode(&labels[i]); err != nil {
			return fmt.Errorf("write labels: %w", err)
		}
	}
	return nil
}

// count notes one event of the attack.
func (l *Label) count(ev *schemas.Activity) {
	if l.Events == 0 {
		l.Start = ev.Time
	}
	l.End = ev.Time
	l.Events++
	if len(l.EventIDs) < MaxLabelEvents {
		l.EventIDs = append(l.EventIDs, strings.Clone(ev.EventID))
	}
}
