package otlp

import (
	"strings"

	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode/jsonscan"
)

// assistant is a coding assistant that writes its telemetry as log events: the name
// in the body, in the event's name or in the attribute event.name, with a prefix
// there or without, and numbers and booleans as text.
type assistant struct {
	prefix string
	access map[string]string // what the built-in tools do
	kinds  map[string]string // of the resources that parameters and inputs name
	// program: of a command its program is kept and not the line, since the arguments
	// of tools are always logged, not only where somebody asked for details.
	program bool
}

var (
	claudeCode = assistant{prefix: "claude_code.", access: claudeAccess, kinds: claudeKinds}
	codex      = assistant{prefix: "codex.", access: codexAccess, kinds: codeKinds, program: true}
	geminiCLI  = assistant{prefix: "gemini_cli.", access: geminiAccess, kinds: codeKinds, program: true}
	qwenCode   = assistant{prefix: "qwen-code.", access: geminiAccess, kinds: codeKinds, program: true}

	assistants = []*assistant{&claudeCode, &codex, &geminiCLI, &qwenCode}
)

// assistantEvent returns whose event it is and its name.
func assistantEvent(set *attributeSet, item *entry) (*assistant, string, bool) {
	var body string
	if item.body.kind == kindText {
		body = jsonscan.Alias(clip(item.body.text))
	}
	for _, s := range [...]string{jsonscan.Alias(clip(item.name)), body, set.peek(aEventName)} {
		if len(s) < len("codex.") || s[0] != 'c' && s[0] != 'g' && s[0] != 'q' {
			continue
		}
		for _, a := range assistants {
			if name, ok := strings.CutPrefix(s, a.prefix); ok {
				return a, name, true
			}
		}
	}
	return nil, "", false
}

// assistant says what activity an event of an assistant is. What the user does, and
// what has an event of its own for its result, is none.
func (d *decoder) assistant(a *assistant, name string) classified {
	own := &d.own
	failed := strings.EqualFold(own.peek(aSuccess), "false")
	call := func() classified {
		tool := d.assistantTool(a)
		c := classified{action: actionTool, tool: tool, access: a.access[tool], assistant: a}
		if target, is := d.delegation(tool); is {
			c.action, c.handoff, c.target = actionDelegate, true, target
		}
		if a == &claudeCode && (tool == "Task" || tool == "Agent") {
			c.action, c.handoff = actionDelegate, true
			for _, slot := range [...]nameSlot{aToolInput, aToolParameters} {
				if own.has(slot) && c.target == "" {
					c.target = member(&own.values[slot], "subagent_type", "agent_type")
				}
			}
		}
		return c
	}
	switch name {
	case "tool_result", "tool_call":
		c := call()
		c.failed = failed
		c.denied = rejects(own.peek(aDecisionType)) || rejects(own.peek(aDecision))
		return c
	case "tool_decision":
		if !rejects(own.peek(aDecision)) {
			return classified{} // its result follows
		}
		c := call()
		c.denied = true
		return c
	case "api_request", "websocket_request":
		if a == &geminiCLI || a == &qwenCode {
			return classified{} // its response follows
		}
		return classified{action: actionModel, model: true, failed: failed || own.peek(aErrorText) != ""}
	case "api_response":
		return classified{action: actionModel, model: true}
	case "sse_event":
		// The end of an answer is the one place where Codex says what it took.
		switch own.peek(aEventKind) {
		case "response.completed":
			return classified{action: actionModel, model: true}
		case "response.failed":
			return classified{action: actionModel, model: true, failed: true}
		}
		return classified{}
	case "api_error", "api_refusal":
		return classified{action: actionModel, model: true, failed: true}
	case "agent.start":
		return classified{action: actionDelegate, handoff: true, target: own.peek(aAgentName3)}
	case "auth", "mcp_server_connection", "permission_mode_changed", "plugin_installed", "extension_install":
		return classified{action: name, failed: failed || own.peek(aErrorText) != ""}
	}
	return classified{}
}

// rejects reports whether a decision is that a call may not happen.
func rejects(decision string) bool {
	switch decision {
	case "reject", "denied", "deny", "abort", "timed_out":
		return true
	}
	return false
}

// assistantTool returns the tool's name. Those of MCP servers are all called mcp_tool
// by Claude Code; where the parameters say which it was it gets the name that Claude
// Code uses.
func (d *decoder) assistantTool(a *assistant) string {
	tool := d.own.text(aToolClaude, aToolCode)
	if a != &claudeCode || tool != "mcp_tool" || !d.own.has(aToolParameters) {
		return tool
	}
	v := &d.own.values[aToolParameters]
	server, name := member(v, "mcp_server_name"), member(v, "mcp_tool_name")
	if server == "" || name == "" {
		return tool
	}
	return "mcp__" + server + "__" + name
}

// claudeAccess is what the built-in tools of Claude Code do to what they touch.
var claudeAccess = map[string]string{
	"Read": schemas.AccessRead, "Grep": schemas.AccessRead, "Glob": schemas.AccessRead, "LS": schemas.AccessRead,
	"NotebookRead": schemas.AccessRead, "WebFetch": schemas.AccessRead, "WebSearch": schemas.AccessRead,
	"Write": schemas.AccessWrite, "Edit": schemas.AccessWrite, "MultiEdit": schemas.AccessWrite, "NotebookEdit": schemas.AccessWrite,
	"Bash": schemas.AccessExecute,
}

// codexAccess and geminiAccess are the same for Codex, and for Gemini CLI and its
// descendants.
var (
	codexAccess = map[string]string{
		"shell": schemas.AccessExecute, "shell_command": schemas.AccessExecute, "exec_command": schemas.AccessExecute,
		"local_shell": schemas.AccessExecute, "write_stdin": schemas.AccessExecute, "unified_exec": schemas.AccessExecute,
		"apply_patch": schemas.AccessWrite,
		"read_file":   schemas.AccessRead, "list_dir": schemas.AccessRead, "grep_files": schemas.AccessRead, "view_image": schemas.AccessRead,
		"web_search": schemas.AccessRead, "read_mcp_resource": schemas.AccessRead, "list_mcp_resources": schemas.AccessRead,
	}
	geminiAccess = map[string]string{
		"run_shell_command": schemas.AccessExecute,
		"write_file":        schemas.AccessWrite, "replace": schemas.AccessWrite, "edit": schemas.AccessWrite, "save_memory": schemas.AccessWrite,
		"read_file": schemas.AccessRead, "read_many_files": schemas.AccessRead, "list_directory": schemas.AccessRead, "glob": schemas.AccessRead,
		"search_file_content": schemas.AccessRead, "grep_search": schemas.AccessRead, "web_fetch": schemas.AccessRead, "google_web_search": schemas.AccessRead,
	}
)

// claudeKinds are the kinds of resources that the parameters and inputs of tools
// name; codeKinds are those of the other assistants.
var (
	claudeKinds = map[string]string{
		"bash_command": "command", "file_path": "file", "notebook_path": "file", "path": "file", "url": "",
		"mcp_server_name": "mcp", "skill_name": "skill",
	}
	codeKinds = map[string]string{
		"command": "command", "cmd": "command", "file_path": "file", "absolute_path": "file", "path": "file", "dir_path": "file", "url": "",
	}
)

// assistantResources reads what a tool touched from its parameters and input, which
// are JSON texts.
func (d *decoder) assistantResources(a *assistant) {
	for _, slot := range [...]nameSlot{aToolParameters, aToolInput, aArguments7, aArguments8} {
		if !d.own.has(slot) || d.own.values[slot].kind != kindText {
			continue
		}
		d.own.last = slot
		texts(d.own.values[slot].text, func(name, value string) {
			kind, ok := a.kinds[name]
			if a.program && kind == "command" {
				value = program(value)
			}
			if ok && value != "" {
				d.b.Touch(kind, value)
				d.note(schemas.FieldResources, &d.own)
			}
		})
	}
	for _, slot := range [...]nameSlot{aServerMCP, aServerMCP2} {
		if v := d.own.text(slot); v != "" {
			d.b.Touch("mcp", v)
			d.note(schemas.FieldResources, &d.own)
		}
	}
}

// program is the first word of a command line, without its directory.
func program(line string) string {
	const most = 64
	word, _, _ := strings.Cut(strings.TrimSpace(line), " ")
	word = word[strings.LastIndexByte(word, '/')+1:]
	if len(word) > most || strings.ContainsAny(word, "=\"'`$(){};&|<>\n\t") {
		return ""
	}
	return word
}

// member returns the text of the first of the members that an object, or a JSON
// text of one, has.
func member(v *anyValue, names ...string) (found string) {
	best := len(names)
	take := func(name, value string) {
		for i, n := range names[:best] {
			if n == name && value != "" {
				best, found = i, value
			}
		}
	}
	switch v.kind {
	case kindText:
		texts(v.text, take)
	case kindMap:
		v.each(func(key []byte, e *anyValue) bool {
			if e.kind == kindText {
				take(jsonscan.Alias(key), e.string())
			}
			return true
		})
	}
	return found
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
