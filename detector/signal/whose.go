package signal

import (
	"strings"

	"github.com/plumbline-sec/plumbline/schemas"
)

// Whose history an expectation is of is part of what it says: an agent that began three
// minutes ago has no hours of its own.

// whose says whose history stands behind an expectation for which the agent has that
// many observations of its own.
func (c *Context) whose(own float64) string {
	switch {
	case own >= ownHistoryFrom:
		return schemas.BaselineAgent
	case c.peers() > 0:
		return schemas.BaselinePeers
	}
	return schemas.BaselineAssumed
}

// peers are the other agents of the group whose word counts.
func (c *Context) peers() int {
	n := c.Peers.Vouching
	if c.Own.Novelty.Vouches {
		n--
	}
	return max(n, 0)
}

// usually begins the sentence that says what is normal of its hours or calls ("such
// hours"): whose they are, and that nearly all of them keep to what follows.
func (c *Context) usually(whose, what string) string {
	if whose == schemas.BaselineAgent {
		return "; 99.9 % of " + what + " stay under "
	}
	since := "; of its own it has few, and "
	if c.Young && c.Born > 0 {
		since = "; it is new since " + clock(c.Born, c.now()) + ", and "
	}
	what = strings.TrimPrefix(what, "its ") // it is somebody else's
	if whose == schemas.BaselinePeers {
		return since + "of its " + Plural(float64(c.peers()), "peer", "peers") + " 99.9 % of " + what + " stay under "
	}
	return since + "has no peers with a history: 99.9 % of " + what + " are taken to stay under "
}

// toolCalls are the calls that a call is held against: those of its tool.
func (c *Context) toolCalls() string {
	if c.Ev == nil || c.Ev.Tool == "" {
		return "calls"
	}
	return Quote(c.Ev.Tool) + " calls"
}

func (c *Context) now() schemas.Millis {
	if c.At > 0 || c.Win == nil {
		return c.At
	}
	return c.hour()
}

// clock writes a time of day, with its date where that is another one than now's.
func clock(t, now schemas.Millis) string {
	layout := "15:04 UTC"
	if t.Time().Format("2006-01-02") != now.Time().Format("2006-01-02") {
		layout = "2006-01-02 15:04 UTC"
	}
	return t.Time().Format(layout)
}
