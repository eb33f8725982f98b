package otlp

import (
	"strconv"
	"strings"
)

// contentRule is what becomes of an attribute whose content is not wanted.
type contentRule uint8

const (
	ruleShort    contentRule = iota // kept where it is short: what no convention names
	ruleKept                        // kept whatever it is: the convention, or the options, say so
	ruleHeld                        // withheld, and no part of what moved: schemas, headers, metadata
	ruleError                       // withheld with its size: the text of an error quotes what it failed on
	ruleSent                        // withheld, its size is of what was sent
	ruleReceived                    // withheld, its size is of what was received
)

// content says of an attribute, by its name, whether it holds what was said.
type content struct {
	rule   contentRule
	family family
	// guessed: no convention names it, but its name says that it holds content. It is
	// withheld where it is a text, a list or a map, and its size stands in its place.
	guessed bool
}

// family is a convention that repeats content in attributes of its own. Of two
// that say the same thing one counts: the larger.
type family uint8

const (
	famGenAI family = iota
	famSentry
	famIndexed
	famInference
	famMessages
	famTraceloop
	famVercel
	famADK
	famADKModel
	famLangfuse
	famMLflow
	famPydantic
	famCode
	famCode2
	famEvents
	famOther
	families
)

// sizes are how much content each convention says that was moved.
type sizes struct {
	sent, received       [families]uint64
	sentName, receivedAt [families][]byte // the attribute that said so first
	any                  bool
}

func (s *sizes) clear() {
	if s.any {
		s.sent, s.received, s.any = [families]uint64{}, [families]uint64{}, false
	}
}

// add counts content of a rule that counts.
func (s *sizes) add(rule contentRule, f family, name []byte, n uint64) {
	if n == 0 {
		return
	}
	s.any = true
	of, names := &s.sent, &s.sentName
	if rule == ruleReceived {
		of, names = &s.received, &s.receivedAt
	}
	if of[f] == 0 {
		names[f] = name
	}
	of[f] += n
}

// largest returns the largest of the sizes and the attribute that it came from.
func largest(of *[families]uint64, names *[families][]byte) (n uint64, name []byte) {
	for f := range of {
		if of[f] > n {
			n, name = of[f], names[f]
		}
	}
	return n, name
}

// maxShort is the longest text, in bytes, that is kept under a name that nobody
// knows.
const maxShort = 256

func sent(f family) content     { return content{rule: ruleSent, family: f} }
func received(f family) content { return content{rule: ruleReceived, family: f} }

var (
	held      = content{rule: ruleHeld}
	kept      = content{rule: ruleKept}
	errorText = content{rule: ruleError}
)

// contentNames are the attributes of the conventions that hold what was said and
// not what was done, and those that look as if they did and do not.
var contentNames = map[string]content{
	// OpenTelemetry, GenAI.
	"gen_ai.tool.call.arguments": sent(famGenAI), "gen_ai.tool.call.result": received(famGenAI),
	"gen_ai.input.messages": sent(famGenAI), "gen_ai.system_instructions": sent(famGenAI), "gen_ai.output.messages": received(famGenAI),
	"gen_ai.retrieval.query.text": sent(famGenAI), "gen_ai.retrieval.documents": received(famGenAI),
	"gen_ai.memory.query.text": sent(famGenAI), "gen_ai.memory.records": received(famGenAI),
	"gen_ai.prompt": sent(famIndexed), "gen_ai.completion": received(famIndexed),
	"gen_ai.tool.definitions": held, "gen_ai.evaluation.explanation": held,
	"gen_ai.prompt.name": kept, "gen_ai.output.type": kept, "gen_ai.prompt.version": kept, "gen_ai.prompt.id": kept,
	"gen_ai.response.id": kept, "gen_ai.response.model": kept, "gen_ai.response.finish_reasons": kept, "gen_ai.agent.tools": kept,
	// Sentry, and the SDKs of OpenAI's agents.
	"gen_ai.request.messages": sent(famSentry), "gen_ai.tool.input": sent(famSentry), "gen_ai.embeddings.input": sent(famSentry),
	"gen_ai.response.text": received(famSentry), "gen_ai.response.tool_calls": received(famSentry), "gen_ai.tool.output": received(famSentry),
	"gen_ai.response.object": received(famSentry), "gen_ai.request.available_tools": held, "gen_ai.request.tools": held, "gen_ai.request.functions": held,
	"gen_ai.tool.message": received(famSentry), "gen_ai.system.message": sent(famSentry), "gen_ai.agent.system_prompt": sent(famSentry),
	"gen_ai.agent.instructions": sent(famSentry), "gen_ai.tool.args": sent(famSentry),
	"gen_ai.orchestrator.agent.definitions": held, "gen_ai.handoff.reason": held,
	// OpenInference.
	"input.value": sent(famInference), "output.value": received(famInference), "tool_call.function.arguments": sent(famMessages),
	"reranker.query": sent(famMessages), "embedding.text": sent(famMessages), "document.content": received(famMessages), "message.content": sent(famMessages),
	"embedding.vector": held, "embedding.invocation_parameters": held, "llm.invocation_parameters": held, "llm.function_call": received(famMessages),
	"llm.prompts": sent(famMessages), "llm.choices": received(famMessages), "llm.input_messages": sent(famMessages), "llm.output_messages": received(famMessages),
	"llm.completions": received(famMessages), "retrieval.documents": received(famMessages), "reranker.input_documents": sent(famMessages),
	"reranker.output_documents": received(famMessages), "embedding.embeddings": sent(famMessages),
	"tool.parameters": held, "tool.json_schema": held, "tool.description": {}, "llm.tools": held, "metadata": held, "document.metadata": held,
	"llm.prompt_template.template": held, "llm.prompt_template.variables": held, "llm.prompt_template.version": kept, "input.mime_type": kept, "output.mime_type": kept,
	"prompt.id": kept, "prompt.url": kept, "prompt.vendor": kept, "audio.transcript": received(famMessages),
	// Traceloop.
	"traceloop.entity.input": sent(famTraceloop), "traceloop.entity.output": received(famTraceloop),
	"traceloop.prompt.template": held, "traceloop.prompt.template_variables": held, "traceloop.prompt.key": kept,
	"traceloop.prompt.managed": kept, "traceloop.prompt.version": kept, "traceloop.prompt.version_name": kept, "traceloop.prompt.version_hash": kept,
	"gen_ai.task.input": sent(famTraceloop), "gen_ai.task.output": received(famTraceloop), "mcp.response.value": received(famTraceloop), "mcp.request.argument": sent(famTraceloop),
	"llm.request.functions": held, "llm.headers": held, "llm.user": {},
	// Vercel AI SDK.
	"ai.prompt": sent(famVercel), "ai.prompt.messages": sent(famVercel), "ai.prompt.tools": held, "ai.prompt.toolChoice": held,
	"ai.toolCall.args": sent(famVercel), "ai.toolCall.result": received(famVercel), "ai.toolCall.name": kept, "ai.toolCall.id": kept,
	"ai.schema": held, "ai.schema.name": kept, "ai.schema.description": held, "ai.value": sent(famVercel), "ai.values": sent(famVercel),
	"ai.embedding": held, "ai.embeddings": held, "ai.documents": sent(famVercel), "ai.ranking": held,
	"ai.response.text": received(famVercel), "ai.response.object": received(famVercel), "ai.response.toolCalls": received(famVercel),
	"ai.response.reasoning": received(famVercel), "ai.response.files": received(famVercel), "ai.response.providerMetadata": held,
	"ai.result.text": received(famVercel), "ai.result.object": received(famVercel), "ai.result.toolCalls": received(famVercel),
	"ai.response.id": kept, "ai.response.model": kept, "ai.response.timestamp": kept, "ai.response.finishReason": kept, "ai.request.body": sent(famVercel),
	// Google ADK, whose calls of tools have an empty request to a model, too.
	"gcp.vertex.agent.llm_request": sent(famADKModel), "gcp.vertex.agent.llm_response": received(famADKModel), "gcp.vertex.agent.tool_call_args": sent(famADK),
	"gcp.vertex.agent.tool_response": received(famADK), "gcp.vertex.agent.data": sent(famADK),
	// Langfuse and LangSmith.
	"langfuse.observation.input": sent(famLangfuse), "langfuse.observation.output": received(famLangfuse),
	"langfuse.trace.input": held, "langfuse.trace.output": held, "langfuse.observation.metadata": held, "langfuse.trace.metadata": held,
	"langfuse.observation.status_message": errorText, "langfuse.observation.model.parameters": held, "langfuse.observation.usage_details": kept,
	"langfuse.observation.cost_details": kept, "langfuse.observation.prompt.name": kept, "langfuse.observation.prompt.version": kept,
	"langfuse.experiment.item.expected_output": held, "langfuse.experiment.metadata": held, "langfuse.experiment.item.metadata": held,
	"langsmith.metadata": held,
	// MLflow.
	"mlflow.spanInputs": sent(famMLflow), "mlflow.spanOutputs": received(famMLflow), "mlflow.traceInputs": held, "mlflow.traceOutputs": held,
	"mlflow.chat.tools": held, "mlflow.chat.messages": sent(famMLflow), "mlflow.chat.tokenUsage": kept, "mlflow.trace.intermediate_outputs": held,
	"mlflow.chunk.value": received(famMLflow), "mlflow.llm.reasoning": received(famMLflow), "mlflow.message.format": kept, "mlflow.linkedPrompts": held,
	// Pydantic AI and Logfire. The history of a run repeats what its calls hold.
	"tool_arguments": sent(famPydantic), "tool_response": received(famPydantic), "all_messages_events": held, "pydantic_ai.all_messages": held,
	"final_result": received(famPydantic), "prompt": sent(famPydantic), "events": held, "model_request_parameters": held, "logfire.json_schema": held,
	"logfire.msg": held, "logfire.msg_template": kept, "request_data": sent(famPydantic), "response_data": received(famPydantic), "pydantic_ai.tool.deferral.metadata": held,
	"pydantic_ai.variable_instructions": held, "input": sent(famPydantic), "output": received(famPydantic), "raw_input": sent(famPydantic), "response": received(famPydantic),
	// Claude Code, Codex, Gemini CLI.
	"tool_parameters": sent(famCode2), "tool_input": sent(famCode), "function_args": sent(famCode), "arguments": sent(famCode), "request_text": sent(famCode),
	"response_text": received(famCode), "function_response": received(famCode), "tool_output": received(famCode), "tool_result": received(famCode),
	"user_prompt": sent(famCode2), "user_system_prompt": sent(famCode2), "new_context": sent(famCode2), "response.model_output": received(famCode2),
	"system_prompt_preview": held, "tools": held, "full_command": sent(famCode2), "bash_command": sent(famCode2), "hook_definitions": held, "truncated_sequence": held, "decision_reason": held,
	// CrewAI, LiveKit, OpenLIT.
	"crewai.agent.goal": held, "crewai.agent.backstory": held, "crewai.task.description": held, "crewai.task.expected_output": held,
	"crewai.agent.tools": held, "crewai.agent.tools_results": held, "crewai.crew.tasks_output": received(famOther), "crewai.crew.result": received(famOther),
	"crewai.crew.agents": held, "crewai.crew.tasks": held, "crewai.crew.token_usage": kept, "crew_agents": held, "crew_tasks": held, "crew_inputs": sent(famOther),
	"formatted_description": held, "formatted_expected_output": held,
	"lk.input_text": sent(famOther), "lk.response.text": received(famOther), "lk.function_tool.arguments": sent(famOther), "lk.function_tool.output": received(famOther),
	"lk.user_transcript": sent(famOther), "lk.chat_ctx": sent(famOther), "lk.user_input": sent(famOther), "lk.instructions": held, "lk.function_tools": held,
	"lk.response.function_calls": received(famOther),
	"gen_ai.agent.context":       held, "gen_ai.agent.goal": held, "gen_ai.agent.next_goal": held, "gen_ai.agent.final_result": held,
	"gen_ai.framework.error.message": errorText, "gen_ai.framework.pipeline.input_data": held, "gen_ai.framework.pipeline.output_data": held,
	"mcp.params": sent(famOther), "mcp.result": received(famOther), "mcp.tool.arguments": sent(famOther), "mcp.tool.result": received(famOther),
	"mcp.completion.values": received(famOther), "mcp.completion.argument.value": sent(famOther), "mcp.tool.result.content": received(famOther),
	"mcp.resource.uri": kept,
	// OpenTelemetry, elsewhere.
	"error.message": errorText, "exception.message": errorText, "exception.stacktrace": errorText, "error": errorText, "error_message": errorText,
	"mcp.error.message": errorText, "auth.error": errorText, "otel.status_description": errorText,
	"db.statement": sent(famOther), "db.query.text": sent(famOther), "db.query.summary": kept,
	"url.full": kept, "url.path": kept, "url.query": kept, "http.url": kept, "http.target": kept, "http.route": kept, "user_agent.original": kept, "http.user_agent": kept,
	"messaging.message.body.size": kept, "graphql.document": sent(famOther), "process.command_args": held, "process.command_line": held,
}

// contentPrefixes are the names of content that go on with a number or a name.
var contentPrefixes = []struct {
	prefix string
	content
}{
	{"gen_ai.prompt.", sent(famIndexed)},
	{"gen_ai.completion.", received(famIndexed)},
	{"gen_ai.input.messages.", sent(famGenAI)},
	{"gen_ai.output.messages.", received(famGenAI)},
	{"gen_ai.system_instructions.", sent(famGenAI)},
	{"gen_ai.tool.call.arguments.", sent(famGenAI)},
	{"gen_ai.tool.call.result.", received(famGenAI)},
	{"gen_ai.tool.definitions.", held},
	{"gen_ai.request.messages.", sent(famSentry)},
	{"llm.input_messages.", sent(famMessages)},
	{"llm.prompts.", sent(famMessages)},
	{"llm.output_messages.", received(famMessages)},
	{"llm.completions.", received(famMessages)},
	{"llm.choices.", received(famMessages)},
	{"llm.tools.", held},
	{"llm.request.functions.", held},
	{"llm.prompt_template.", held},
	{"retrieval.documents.", received(famMessages)},
	{"embedding.embeddings.", sent(famMessages)},
	{"reranker.input_documents.", sent(famMessages)},
	{"reranker.output_documents.", received(famMessages)},
	{"tool.parameters.", held},
	{"tool_arguments.", sent(famPydantic)},
	{"mcp.request.argument.", sent(famTraceloop)},
	{"traceloop.prompt.template_variables.", held},
	{"ai.prompt.", sent(famVercel)},
	{"ai.request.headers.", held},
	{"ai.response.headers.", held},
	{"langfuse.observation.metadata.", held},
	{"langfuse.trace.metadata.", held},
	{"annotation", held},
	{"db.query.parameter.", sent(famOther)},
	{"db.operation.parameter.", sent(famOther)},
	{"http.request.header.", held},
	{"http.response.header.", held},
	{"rpc.request.metadata.", held},
	{"rpc.response.metadata.", held},
	{"rpc.grpc.request.metadata.", held},
	{"rpc.grpc.response.metadata.", held},
}

// structureWords end the names, within content, of what is none: the role of a
// message, the id of a document.
var structureWords = map[string]bool{
	"role": true, "name": true, "id": true, "type": true, "score": true, "index": true, "mime_type": true, "finish_reason": true, "tool_call_id": true,
	"function_call_name": true, "signature": true, "vector": true, "metadata": true, "duration": true,
}

// contentWords end the names of what holds content, whoever made them up; true is
// what comes back.
var contentWords = map[string]bool{
	"prompt": false, "prompts": false, "input": false, "inputs": false, "arguments": false, "argument": false, "args": false, "arg": false, "params": false,
	"parameters": false, "kwargs": false, "question": false, "query": false, "instructions": false, "instruction": false, "message": false, "messages": false,
	"request": false, "payload": false, "body": false, "content": false, "contents": false, "text": false, "texts": false, "history": false, "transcript": false,
	"context": false, "task": false, "command": false,
	"output": true, "outputs": true, "result": true, "results": true, "response": true, "responses": true, "completion": true, "completions": true,
	"answer": true, "answers": true, "reply": true, "reasoning": true, "thinking": true, "thought": true, "thoughts": true, "document": true, "documents": true,
	"observation": true, "chunk": true, "chunks": true, "explanation": true,
}

// contentOf judges a name that no table has.
func contentOf(name string) content {
	for _, m := range [...]string{"metadata.", "langsmith.metadata.", "ai.telemetry.metadata."} {
		// Copies of other attributes, or what somebody wrote: no second count.
		if rest, ok := strings.CutPrefix(name, m); ok {
			c, known := contentNames[rest]
			if !known {
				c = contentOf(rest)
			}
			if c.rule > ruleHeld {
				return held
			}
			return c
		}
	}
	for i := range contentPrefixes {
		p := &contentPrefixes[i]
		if rest, ok := strings.CutPrefix(name, p.prefix); ok {
			if p.rule > ruleHeld && structureWords[rest[strings.LastIndexByte(rest, '.')+1:]] {
				return held // who said it, and no part of what was said
			}
			return p.content
		}
	}
	// The last word that says something: input.value, request_json, spanInputs, prompt.0.
	for rest := name; rest != ""; {
		var word string
		rest, word = lastWord(rest)
		switch word {
		case "", "value", "json", "raw", "str", "string", "data", "list", "full", "preview":
			continue
		case "calls", "call":
			if _, before := lastWord(rest); before == "tool" || before == "function" {
				return content{rule: ruleReceived, family: famOther, guessed: true}
			}
		}
		if _, err := strconv.Atoi(word); err == nil {
			continue
		}
		back, is := contentWords[word]
		if !is {
			return content{}
		}
		c := content{rule: ruleSent, family: famOther, guessed: true}
		if back || comesBack(rest) {
			c.rule = ruleReceived
		}
		return c
	}
	return content{}
}

// comesBack reports whether a word of the name says that it is what came back.
func comesBack(name string) bool {
	for rest := name; rest != ""; {
		var word string
		rest, word = lastWord(rest)
		if contentWords[word] || word == "assistant" {
			return true
		}
	}
	return false
}

// lastWord cuts the last word off a name, in small letters: words end at dots,
// underscores, dashes, blanks, and where a capital follows a small letter.
func lastWord(name string) (rest, word string) {
	i := len(name)
	for i > 0 {
		c := name[i-1]
		if c == '.' || c == '_' || c == '-' || c == ' ' || c == '/' || c == ':' {
			return name[:i-1], strings.ToLower(name[i:])
		}
		i--
		if c >= 'A' && c <= 'Z' && i > 0 && name[i-1] >= 'a' && name[i-1] <= 'z' {
			break
		}
	}
	return name[:i], strings.ToLower(name[i:])
}
