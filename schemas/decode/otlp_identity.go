package decode

import (
	"strings"
	"unicode/utf8"

	"github.com/plumbline-sec/plumbline/schemas"
)

// otlpAgent is who an agent span says that it is.
type otlpAgent struct{ id, name, version, session, onBehalf string }

// otlpAgentNames name an agent on its own span where the options name none of them.
var otlpAgentNames = []otlpSlot{aAgentID, aAgentName, aAgentName2}

// agentOf reads who an agent span is: as the options order it, or by any name that
// the conventions know.
func (d *OTLPDecoder) agentOf(set *otlpSet, item *otlpItem) (a otlpAgent) {
	for _, order := range [][]otlpSlot{d.agent, otlpAgentNames} {
		for _, slot := range order {
			if v := candidate(set, item, slot); a.id == "" && usableID(v) {
				a.id = v
			}
		}
	}
	a.name = set.text(aAgentName, aAgentName2, aTraceloopName)
	a.version = set.text(aAgentVersion)
	a.session = set.text(aConversation, aSession, aTraceloopSession)
	a.onBehalf = set.text(aEndUser, aUserEmail, aUserID)
	return a
}

// candidate returns what attribute slot of a span says of the agent's id. The name
// of an agent span may also stand in Traceloop's attribute, or behind the operation
// in the span's name.
func candidate(set *otlpSet, item *otlpItem, slot otlpSlot) string {
	if slot == noSlot {
		return ""
	}
	v := set.peek(slot)
	if v != "" || slot != aAgentName || !isAgentSpan(set) {
		return v
	}
	if v = set.peek(aTraceloopName); v == "" {
		v, _ = strings.CutPrefix(alias(clip(item.name)), "invoke_agent ")
		if len(v) == len(item.name) {
			return ""
		}
	}
	return v
}

// usableID reports whether v can identify an agent: otherwise the next one in the
// order is asked.
func usableID(v string) bool {
	return v != "" && len(v) <= schemas.MaxIdentityBytes && utf8.ValidString(v) && !hasControl(v)
}

// resolveAgent returns the agent's id; enclosed is whether it is the agent around.
// Where no candidate can be used the first of them is returned, for the refusal to
// say what was wrong with it.
func (d *OTLPDecoder) resolveAgent(item *otlpItem, around int32) (id string, enclosed bool) {
	unusable := ""
	for _, slot := range d.agent {
		if slot == noSlot {
			if around >= 0 {
				d.noteFrom(fAgentID, fromEnclosing)
				return d.agents[around].id, true
			}
			continue
		}
		for i, v := range []string{candidate(&d.own, item, slot), d.res.peek(slot)} {
			if usableID(v) {
				set := []*otlpSet{&d.own, &d.res}[i]
				set.use(slot)
				set.last = slot
				d.note(fAgentID, set)
				return v, false
			}
			if unusable == "" {
				unusable = v
			}
		}
	}
	return unusable, false
}

// identity writes who acted, for whom, and in which session.
func (d *OTLPDecoder) identity(item *otlpItem, class *otlpClass, around int32, direct uint64) {
	own, res, b := &d.own, &d.res, &d.b
	id, enclosed := d.resolveAgent(item, around)
	b.text(fAgentID, id)
	if d.tenant != noSlot {
		b.text(fTenantID, res.text(d.tenant))
		d.note(fTenantID, res)
	}
	var agent otlpAgent
	if enclosed {
		agent = d.agents[around]
		if class.agent {
			class.action = actionDelegate
			if direct>>fTargetAgentID&1 == 0 {
				b.text(fTargetAgentID, d.agentOf(own, item).id)
			}
		}
	}
	// What the span says goes before what it inherits, but the name and version of
	// an agent that is only called are not those of the caller.
	write := func(f field, said string, inherited ...string) {
		if direct>>f&1 == 1 {
			return
		}
		if said != "" {
			b.text(f, said)
			d.note(f, own)
			return
		}
		for i, v := range inherited {
			if v == "" || !d.afford(len(v)) {
				continue
			}
			b.text(f, v)
			if enclosed && i == 0 {
				d.noteFrom(f, fromEnclosing)
			} else {
				d.note(f, res)
			}
			return
		}
	}
	if enclosed {
		write(fAgentName, "", agent.name)
		write(fAgentVersion, "", agent.version, res.text(aServiceVersion))
	} else {
		write(fAgentName, own.text(aAgentName, aAgentName2))
		write(fAgentVersion, own.text(aAgentVersion, aAppVersion), res.text(aServiceVersion))
	}
	write(fSessionID, own.text(aConversation, aSession, aTraceloopSession, aMCPSession), agent.session)
	write(fOnBehalfOf, own.text(aEndUser, aUserEmail, aUserID), agent.onBehalf, res.text(aEndUser, aUserEmail, aUserID))
}

// afford reports whether the record may repeat n more bytes in its events.
func (d *OTLPDecoder) afford(n int) bool {
	if d.inherited+n > maxInherited {
		return false
	}
	d.inherited += n
	return true
}
