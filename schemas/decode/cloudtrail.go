package decode

import (
	"strings"

	"github.com/plumbline-sec/plumbline/schemas"
)

// CloudTrailDecoder reads AWS CloudTrail: one event, an array of them, a log file
// ({"Records":[...]}), or an event in EventBridge's envelope ({"detail":{...}}).
//
// Invariants:
//  1. Every element of a record gives one event or one refusal, whatever its
//     neighbours are; its index is its place in the record.
//  2. The agent is who acted: the role behind a session, not the session, so that
//     a role stays one agent through all its sessions.
//  3. What becomes no field is an attribute under its path. Temporary credentials
//     that AWS logs with AssumeRole are the one exception: they are withheld.
//
// It is not safe for concurrent use: one goroutine, one decoder.
type CloudTrailDecoder struct {
	t    tree
	w    *draft
	seen stringSet // resources of the event
}

// NewCloudTrail returns a decoder of CloudTrail events.
func NewCloudTrail() *CloudTrailDecoder {
	return &CloudTrailDecoder{w: newDraft()}
}

// Trace implements Tracer.
func (d *CloudTrailDecoder) Trace(note func(field, path string)) { d.w.trace = note }

// Decode implements Decoder.
func (d *CloudTrailDecoder) Decode(rec *Record, emit func(index int32, ev *schemas.Activity, refusal *Refusal)) {
	index := int32(0)
	one := func(value []byte) {
		d.event(rec, value, index, emit)
		index++
	}
	if refusal := cloudTrailEvents(rec.Value, one); refusal != nil {
		emit(index, nil, refusal)
	}
}

// cloudTrailEvents calls visit for each event in a record.
func cloudTrailEvents(b []byte, visit func(value []byte)) *Refusal {
	var s scanner
	s.reset(b)
	if s.peek() == '[' {
		return elements(b[s.pos:], visit)
	}
	// A log file is walked over once: its events are read as they come, and what is
	// malformed behind them refuses only what follows.
	var detail []byte
	var list *Refusal
	bridge, listed := false, false
	refusal := walk(b, func(name string, s *scanner) bool {
		if name == "Records" && s.peek() == '[' {
			listed = true
			list = walkList(s, visit)
			return list == nil
		}
		start := s.pos
		if !s.skip(1) {
			return false
		}
		if name == "detail" && b[start] == '{' {
			detail = b[start:s.pos]
		}
		bridge = bridge || name == "detail-type"
		return true
	})
	switch {
	case list != nil:
		return list
	case refusal != nil:
		return refusal
	case bridge && detail != nil:
		visit(detail)
	case !listed:
		visit(b)
	}
	return nil
}

func (d *CloudTrailDecoder) event(rec *Record, value []byte, index int32, emit func(index int32, ev *schemas.Activity, refusal *Refusal)) {
	t, w := &d.t, d.w
	if refusal := t.parse(value); refusal != nil {
		emit(index, nil, refusal)
		return
	}
	if t.nodes[0].kind != '{' {
		emit(index, nil, &Refusal{Reason: ReasonNotJSON, Detail: "an event is no object"})
		return
	}
	w.begin()
	if !d.identity() {
		emit(index, nil, &Refusal{Reason: ReasonDuplicateIdentity, Field: "userIdentity", Detail: "a name in it stands twice"})
		return
	}
	w.field("event_id", t, t.at("eventID"))
	w.field("time", t, t.at("eventTime"))
	w.field("source_ip", t, t.at("sourceIPAddress"))
	d.call()
	d.resources()
	more := t.at("additionalEventData")
	w.field("bytes_sent", t, t.member(more, "bytesTransferredIn"))
	w.field("bytes_received", t, t.member(more, "bytesTransferredOut"))
	d.outcome()
	handed := t.at("responseElements", "credentials")
	for _, secret := range []string{"sessionToken", "secretAccessKey"} {
		if i := t.member(handed, secret); i != none {
			t.take(i)
			w.attribute("responseElements.credentials."+secret, "withheld")
		}
	}
	t.rest(w)
	w.replaced = t.replaced
	w.emit(rec, index, emit)
}

// identity says who acted, and with what; false where that is ambiguous.
func (d *CloudTrailDecoder) identity() bool {
	t, w := &d.t, d.w
	t.twice = false
	who := t.at("userIdentity")
	context := t.member(who, "sessionContext")
	issuer, own := t.member(t.member(context, "sessionIssuer"), "arn"), t.member(who, "arn")
	// A call of AWS itself has no ARN: then the service, the account or, at least,
	// where the event comes from. An event of nobody is not refused: a flood of them
	// is to be seen too.
	found := false
	for _, i := range []int32{
		issuer, own, t.member(who, "invokedBy"), t.member(who, "principalId"), t.member(who, "credentialId"),
		t.member(who, "accountId"), t.at("eventSource"),
	} {
		if w.field("agent_id", t, i) {
			found = true
			break
		}
	}
	tenant := t.at("recipientAccountId")
	if t.str(tenant) == "" {
		tenant = t.member(who, "accountId")
	}
	if schemas.ValidTenant(t.str(tenant)) {
		w.field("tenant_id", t, tenant)
	}
	if !found || t.twice {
		return !t.twice
	}
	if !w.field("agent_name", t, t.member(t.member(context, "sessionIssuer"), "userName")) {
		w.field("agent_name", t, t.member(who, "userName"))
	}
	if !w.field("on_behalf_of", t, t.member(context, "sourceIdentity")) {
		w.field("on_behalf_of", t, t.member(t.member(who, "onBehalfOf"), "userId"))
	}
	key, params := t.member(who, "accessKeyId"), t.at("requestParameters")
	session := t.member(params, "runtimeSessionId") // of an agent in AgentCore
	if session == none {
		session = t.member(params, "sessionId")
	}
	if !w.field("session_id", t, session) && !w.field("session_id", t, key) {
		// arn:aws:sts::123456789012:assumed-role/Role/session
		if arn := t.str(own); strings.Contains(arn, ":assumed-role/") {
			w.text("session_id", arn[strings.LastIndexByte(arn, '/')+1:])
			w.from("session_id", t, own)
		}
	}
	w.field("credential_id", t, key)
	switch id := t.str(key); {
	case strings.HasPrefix(id, "AKIA"):
		w.text("credential_type", "static_key")
	case strings.HasPrefix(id, "ASIA"):
		w.text("credential_type", "workload")
	}
	return true
}

// call says what was done.
func (d *CloudTrailDecoder) call() {
	t, w := &d.t, d.w
	sourceAt, nameAt := t.at("eventSource"), t.at("eventName")
	source, name := t.str(sourceAt), t.str(nameAt)
	t.take(sourceAt)
	t.take(nameAt)
	action, tool := "tool_call", source+":"+name
	switch service, _, _ := strings.Cut(source, "."); {
	case service == "signin" || service == "sts" && name != "GetCallerIdentity":
		action = "auth"
	case service == "bedrock" && (strings.HasPrefix(name, "InvokeModel") || strings.HasPrefix(name, "Converse")):
		action = "model_call"
		w.field("model", t, t.at("requestParameters", "modelId"))
	case service == "bedrock" && strings.HasPrefix(name, "InvokeAgent"):
		action = d.delegate("agentId")
	case service == "bedrock-agentcore":
		switch body := "body"; {
		case name == "InvokeAgentRuntime":
			action = d.delegate("agentRuntimeArn")
		case t.str(t.at("requestParameters", body, "method")) == "tools/call": // MCP through a gateway
			if called := t.at("requestParameters", body, "params", "name"); called != none {
				tool += "/" + t.str(called)
				t.take(called)
			}
		}
	}
	w.text("action", action)
	if tool != ":" {
		w.text("tool", tool)
		w.from("tool", t, nameAt)
	}
	readOnly := t.at("readOnly")
	w.text("access", awsAccess(name, t.str(readOnly)))
	w.from("access", t, readOnly)
	t.take(readOnly)
}

// delegate: the call hands work to the agent that a request parameter names.
func (d *CloudTrailDecoder) delegate(parameter string) (action string) {
	d.w.field("target_agent_id", &d.t, d.t.at("requestParameters", parameter))
	return "delegate"
}

// awsAccess says what a call does, from whether it only reads and, where it does
// not or nobody said so, from how AWS names its operations.
func awsAccess(name, readOnly string) string {
	begins := func(verbs ...string) bool {
		for _, v := range verbs {
			if strings.HasPrefix(name, v) {
				return true
			}
		}
		return false
	}
	switch {
	case readOnly == "true":
		return schemas.AccessRead
	case begins("Delete", "Terminate", "Remove", "Deregister", "Purge", "Destroy"):
		return schemas.AccessDelete
	case name == "Publish" || name == "PublishBatch" || begins("SendMessage", "SendEmail", "SendRawEmail", "SendBulk", "SendTemplatedEmail"):
		return schemas.AccessSend
	case begins("Invoke", "Execute", "SendCommand", "StartSession", "StartExecution", "Converse"):
		return schemas.AccessExecute
	case readOnly == "false":
		return schemas.AccessWrite
	case begins("Get", "List", "Describe", "Head", "Lookup", "Query", "Scan"):
		return schemas.AccessRead
	}
	return ""
}

func (d *CloudTrailDecoder) outcome() {
	t, w := &d.t, d.w
	code := t.at("errorCode")
	if code == none {
		if signin := t.at("responseElements", "ConsoleLogin"); t.str(signin) == "Failure" {
			w.text("outcome", schemas.OutcomeFailure)
			w.from("outcome", t, signin)
		}
		return
	}
	// The code itself stays an attribute: `outcome` has three values only.
	outcome, lower := schemas.OutcomeFailure, strings.ToLower(t.str(code))
	for _, denied := range []string{"accessdenied", "unauthorized", "notauthorized", "forbidden", "authfailure", "optinrequired", "expiredtoken", "invalidclienttokenid"} {
		if strings.Contains(lower, denied) {
			outcome = schemas.OutcomeDenied
		}
	}
	if lower != "" {
		w.text("outcome", outcome)
		w.from("outcome", t, code)
	}
}
