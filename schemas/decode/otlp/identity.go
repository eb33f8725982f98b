package otlp

import (
	"strings"
	"unicode/utf8"

	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
	"github.com/plumbline-sec/plumbline/schemas/decode/jsonscan"
)

// agentSpan is who an agent span says that it is.
type agentSpan struct{ id, name, version, session, onBehalf string }

// agentNames name an agent on its own span where the options name none of them.
var agentNames = []nameSlot{aAgentID, aAgentName, aAgentName2}

// agentOf reads who an agent span is: as the options order it, or by any name that
// the conventions know.
func (d *decoder) agentOf(set *attributeSet, item *entry) (a agentSpan) {
	for _, order := range [][]nameSlot{d.agent, agentNames} {
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
func candidate(set *attributeSet, item *entry, slot nameSlot) string {
	if slot == noSlot {
		return ""
	}
	v := set.peek(slot)
	if v != "" || slot != aAgentName || !isAgentSpan(set) {
		return v
	}
	if v = set.peek(aTraceloopName); v == "" {
		v, _ = strings.CutPrefix(jsonscan.Alias(clip(item.name)), "invoke_agent ")
		if len(v) == len(item.name) {
			return ""
		}
	}
	return v
}

// usableID reports whether v can identify an agent: otherwise the next one in the
// order is asked.
func usableID(v string) bool {
	return v != "" && len(v) <= schemas.MaxIdentityBytes && utf8.ValidString(v) && !decode.HasControl(v)
}

// resolveAgent returns the agent's id; enclosed is whether it is the agent around.
// Where no candidate can be used the first of them is returned, for the refusal to
// say what was wrong with it.
func (d *decoder) resolveAgent(item *entry, around int32) (id string, enclosed bool) {
	unusable := ""
	for _, slot := range d.agent {
		if slot == noSlot {
			if around >= 0 {
				d.b.From(schemas.FieldAgentID, fromEnclosing)
				return d.agents[around].id, true
			}
			continue
		}
		for i, v := range []string{candidate(&d.own, item, slot), d.res.peek(slot)} {
			if usableID(v) {
				set := []*attributeSet{&d.own, &d.res}[i]
				set.use(slot)
				set.last = slot
				d.note(schemas.FieldAgentID, set)
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
func (d *decoder) identity(item *entry, class *classified, around int32, direct uint64) {
	own, res, b := &d.own, &d.res, &d.b
	id, enclosed := d.resolveAgent(item, around)
	b.Text(schemas.FieldAgentID, id)
	if d.tenant != noSlot {
		b.Text(schemas.FieldTenantID, res.text(d.tenant))
		d.note(schemas.FieldTenantID, res)
	}
	var agent agentSpan
	if enclosed {
		agent = d.agents[around]
		if class.agent {
			class.action = actionDelegate
			if direct>>schemas.FieldTargetAgentID&1 == 0 {
				b.Text(schemas.FieldTargetAgentID, d.agentOf(own, item).id)
			}
		}
	}
	// What the span says goes before what it inherits, but the name and version of
	// an agent that is only called are not those of the caller.
	write := func(f schemas.Field, said string, inherited ...string) {
		if direct>>f&1 == 1 {
			return
		}
		if said != "" {
			b.Text(f, said)
			d.note(f, own)
			return
		}
		for i, v := range inherited {
			if v == "" || !d.afford(len(v)) {
				continue
			}
			b.Text(f, v)
			if enclosed && i == 0 {
				d.b.From(f, fromEnclosing)
			} else {
				d.note(f, res)
			}
			return
		}
	}
	if enclosed {
		write(schemas.FieldAgentName, "", agent.name)
		write(schemas.FieldAgentVersion, "", agent.version, res.text(aServiceVersion))
	} else {
		write(schemas.FieldAgentName, own.text(aAgentName, aAgentName2))
		write(schemas.FieldAgentVersion, own.text(aAgentVersion, aAppVersion), res.text(aServiceVersion))
	}
	write(schemas.FieldSessionID, own.text(aConversation, aSession, aTraceloopSession, aMCPSession), agent.session)
	write(schemas.FieldOnBehalfOf, own.text(aEndUser, aUserEmail, aUserID), agent.onBehalf, res.text(aEndUser, aUserEmail, aUserID))
}

// afford reports whether the record may repeat n more bytes in its events.
func (d *decoder) afford(n int) bool {
	if d.inherited+n > maxInherited {
		return false
	}
	d.inherited += n
	return true
}
