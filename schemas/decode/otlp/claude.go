package otlp

import (
	"strings"

	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode/jsonscan"
)

// Claude Code writes its telemetry as log events: the name in the body or the
// event's name with the prefix, in the attribute event.name without it, and
// numbers and booleans as text.
const claudePrefix = "claude_code."

// claudeEvent returns the name of an event of Claude Code.
func claudeEvent(set *attributeSet, item *entry) (string, bool) {
	if name, ok := strings.CutPrefix(jsonscan.Alias(clip(item.name)), claudePrefix); ok {
		return name, true
	}
	if item.body.kind == kindText {
		if name, ok := strings.CutPrefix(jsonscan.Alias(clip(item.body.text)), claudePrefix); ok {
			return name, true
		}
	}
	return strings.CutPrefix(set.peek(aEventName), claudePrefix)
}

// claude says what activity an event of Claude Code is. What the user does, and
// what has an event of its own for its result, is none.
func (d *decoder) claude(name string) classified {
	own := &d.own
	switch name {
	case "tool_result":
		tool := d.claudeTool()
		c := classified{action: actionTool, tool: tool, access: claudeAccess[tool], failed: strings.EqualFold(own.peek(aSuccess), "false")}
		if tool == "Task" || tool == "Agent" {
			c.action = actionDelegate
		}
		c.denied = own.peek(aDecisionType) == "reject" || own.peek(aDecision) == "reject"
		return c
	case "tool_decision":
		if own.peek(aDecision) != "reject" {
			return classified{} // its tool_result follows
		}
		tool := d.claudeTool()
		return classified{action: actionTool, tool: tool, access: claudeAccess[tool], denied: true}
	case "api_request":
		return classified{action: actionModel, model: true}
	case "api_error", "api_refusal":
		return classified{action: actionModel, model: true, failed: true}
	case "auth", "mcp_server_connection", "permission_mode_changed", "plugin_installed":
		return classified{action: name, failed: strings.EqualFold(own.peek(aSuccess), "false") || own.peek(aErrorText) != ""}
	}
	return classified{}
}

// claudeTool returns the tool's name. Those of MCP servers are all called mcp_tool;
// where the parameters say which it was it gets the name that Claude Code uses.
func (d *decoder) claudeTool() string {
	tool := d.own.text(aToolClaude)
	if tool != "mcp_tool" || !d.own.has(aToolParameters) {
		return tool
	}
	server, name := "", ""
	texts(d.own.values[aToolParameters].text, func(key, value string) {
		switch key {
		case "mcp_server_name":
			server = value
		case "mcp_tool_name":
			name = value
		}
	})
	if server == "" || name == "" {
		return tool
	}
	return "mcp__" + server + "__" + name
}

// claudeAccess is what the built-in tools do to what they touch.
var claudeAccess = map[string]string{
	"Read": schemas.AccessRead, "Grep": schemas.AccessRead, "Glob": schemas.AccessRead, "LS": schemas.AccessRead,
	"NotebookRead": schemas.AccessRead, "WebFetch": schemas.AccessRead, "WebSearch": schemas.AccessRead,
	"Write": schemas.AccessWrite, "Edit": schemas.AccessWrite, "MultiEdit": schemas.AccessWrite, "NotebookEdit": schemas.AccessWrite,
	"Bash": schemas.AccessExecute,
}

// claudeResources reads what a tool touched from its parameters and input, JSON
// texts that Claude Code writes when it is told to log the details of tools.
func (d *decoder) claudeResources() {
	for _, slot := range []nameSlot{aToolParameters, aToolInput} {
		if !d.own.has(slot) || d.own.values[slot].kind != kindText {
			continue
		}
		d.own.last = slot
		texts(d.own.values[slot].text, func(name, value string) {
			if kind, ok := claudeKinds[name]; ok && value != "" {
				d.b.Touch(kind, value)
				d.note(schemas.FieldResources, &d.own)
			}
		})
	}
}

// claudeKinds are the kinds of resources that the parameters and inputs of tools
// name.
var claudeKinds = map[string]string{
	"bash_command": "command", "file_path": "file", "notebook_path": "file", "path": "file", "url": "",
	"mcp_server_name": "mcp", "skill_name": "skill",
}

// texts calls visit with the members of a JSON object that are strings, until it
// ends or is no JSON.
func texts(text []byte, visit func(name, value string)) {
	var mem jsonscan.Arena
	jsonscan.Walk(text, func(name string, s *jsonscan.Scanner) bool {
		if s.Peek() != '"' {
			return s.Skip(1)
		}
		value, ok := s.Token()
		if ok {
			v, _ := mem.Text(s.B, value)
			visit(name, v)
		}
		return ok
	})
}
