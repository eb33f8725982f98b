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
			if v, _ := candidate(set, item, slot); a.id == "" && usableID(v) {
				a.id = v
			}
		}
	}
	if a.name = set.text(aAgentName, aAgentName2); a.name == "" {
		a.name, _ = nameElsewhere(set, item)
	}
	a.version = set.text(aAgentVersion)
	a.session = set.textOf(&sessionSlots)
	a.onBehalf = set.textOf(&userSlots)
	return a
}

// candidate returns what attribute slot of a span says of the agent's id, and which
// attribute said it: the agent's name stands under other names in other conventions.
func candidate(set *attributeSet, item *entry, slot nameSlot) (string, nameSlot) {
	if slot == noSlot {
		return "", slot
	}
	v := set.peek(slot)
	if v != "" || slot != aAgentName || set.has(aAgentName2) {
		return v, slot
	}
	return nameElsewhere(set, item)
}

// nameElsewhere returns the name of an agent where neither the GenAI conventions nor
// OpenInference's attribute give one; of an agent's own span it may also be the node
// of a graph, the role, or stand in the span's name.
func nameElsewhere(set *attributeSet, item *entry) (string, nameSlot) {
	for _, slot := range [...]nameSlot{aAgentName3, aAgentVercel, aAgentLangSmith, aAgentLiveKit} {
		if v := set.peek(slot); v != "" {
			return v, slot
		}
	}
	if !isAgentSpan(set, item) {
		return "", noSlot
	}
	for _, slot := range [...]nameSlot{aTraceloopName, aNodeName, aNodeID, aAgentRole, aAgentRole2, aAgentRole3} {
		if v := set.peek(slot); v != "" && (slot != aNodeID || !drawn(v)) {
			return v, slot
		}
	}
	return nameInSpan(jsonscan.Alias(clip(item.name)), set.peek(aOperation) != ""), noSlot
}

// nameInSpan returns the agent that a span is named after: behind the operation of the
// GenAI conventions, which say so, or as frameworks call their spans. The name of a
// framework's class is no agent's.
func nameInSpan(name string, operation bool) string {
	if v, ok := strings.CutPrefix(name, "invoke_agent "); ok {
		return v
	}
	if v, ok := strings.CutPrefix(name, runPrefix); ok {
		return strings.TrimSuffix(v, "]")
	}
	if operation {
		return ""
	}
	for _, suffix := range [...]string{"._execute_core", ".kickoff", ".run", ".arun", ".agent", " run", ".invoke", ".ainvoke", ".stream"} {
		name = strings.TrimSuffix(name, suffix)
	}
	if len(name) > maxAgentName {
		return ""
	}
	switch strings.ToLower(name) {
	case "agent", "agents", "run", "invoke", "agentexecutor", "langgraph", "workflow", "chain", "codeagent", "toolcallingagent", "multistepagent",
		"reactagent", "functionagent", "agentworkflow", "agentrunner", "openaiagent", "assistantagent", "task", "crew", "agent run", "agent_run", "invoke_agent",
		"agent workflow", "call", "step", "main", "root", "trace", "predict", "forward", "assistant", "chat", "model", "runnablesequence":
		return ""
	}
	return name
}

// maxAgentName is the longest name of a span that may name its agent: a longer one is
// a sentence.
const maxAgentName = 64

// drawn reports whether an id looks drawn by lot, so that it is another in every run.
func drawn(id string) bool {
	digits, hex := 0, 0
	for i := range len(id) {
		switch c := id[i]; {
		case c >= '0' && c <= '9':
			digits++
		case c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F' || c == '-':
			hex++
		}
	}
	return len(id) >= 12 && digits > 0 && digits+hex == len(id)
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
		said, by := candidate(&d.own, item, slot)
		for i, v := range [...]string{said, d.res.peek(slot)} {
			if usableID(v) {
				set := [...]*attributeSet{&d.own, &d.res}[i]
				if i == 1 {
					by = slot
				}
				if set.last = by; by != noSlot {
					set.use(by)
				}
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
		name := own.text(aAgentName, aAgentName2)
		if name == "" {
			if name, own.last = nameElsewhere(own, item); own.last != noSlot {
				own.use(own.last)
			}
		}
		write(schemas.FieldAgentName, name)
		write(schemas.FieldAgentVersion, own.text(aAgentVersion, aAppVersion), res.text(aServiceVersion))
	}
	session := own.textOf(&sessionSlots)
	if session == "" {
		session = own.text(aMCPSession)
	}
	write(schemas.FieldSessionID, session, agent.session)
	write(schemas.FieldOnBehalfOf, own.textOf(&userSlots), agent.onBehalf, res.textOf(&userSlots))
}

// afford reports whether the record may repeat n more bytes in its events.
func (d *decoder) afford(n int) bool {
	if d.inherited+n > maxInherited {
		return false
	}
	d.inherited += n
	return true
}
