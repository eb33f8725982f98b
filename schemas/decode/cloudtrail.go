package decode

import (
	"cmp"
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
	b    builder
	seen stringSet // resources of the event
}

// NewCloudTrail returns a decoder of CloudTrail events.
func NewCloudTrail() *CloudTrailDecoder {
	d := &CloudTrailDecoder{}
	d.t = newTree(ctPlan, &d.b.mem)
	return d
}

// Trace implements Tracer.
func (d *CloudTrailDecoder) Trace(note func(field, path string)) { d.b.trace = note }

// Decode implements Decoder.
func (d *CloudTrailDecoder) Decode(rec *Record, emit emitFunc) {
	b, index := rec.Value, int32(0)
	one := func(s *scanner) bool {
		refusal, ok := d.t.element(s, 1)
		if ok {
			d.event(rec, refusal, index, emit)
			index++
		}
		return ok
	}
	var s scanner
	s.reset(b)
	if s.peek() == '[' {
		if refusal := elements(b[s.pos:], one); refusal != nil {
			emit(index, nil, refusal)
		}
		return
	}
	// A log file is walked over once: its events are read as they come, and what is
	// malformed behind them refuses only what follows.
	var detail []byte
	var list *Refusal
	bridge, listed := false, false
	refusal := walk(b, func(name string, s *scanner) bool {
		if name == "Records" && s.peek() == '[' {
			listed = true
			list = walkList(s, one)
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
	switch refusal = cmp.Or(list, refusal); {
	case refusal != nil:
		emit(index, nil, refusal)
	case bridge && detail != nil:
		d.event(rec, d.t.parse(detail), index, emit)
	case !listed:
		d.event(rec, d.t.parse(b), index, emit)
	}
}

// event makes an event of the tree, unless that could not be read.
func (d *CloudTrailDecoder) event(rec *Record, refusal *Refusal, index int32, emit emitFunc) {
	t, b := &d.t, &d.b
	if refusal == nil && t.nodes[0].kind != '{' {
		refusal = &Refusal{Reason: ReasonNotJSON, Detail: "an event is no object"}
	}
	if refusal != nil {
		emit(index, nil, refusal)
		return
	}
	b.begin()
	if !d.identity() {
		emit(index, nil, &Refusal{Reason: ReasonDuplicateIdentity, Field: "userIdentity", Detail: "a name in it stands twice"})
		return
	}
	t.field(b, fEventID, t.ask(ctEventID))
	t.field(b, fTime, t.ask(ctEventTime))
	t.field(b, fSourceIP, t.ask(ctSourceIP))
	d.call()
	d.resources()
	t.field(b, fBytesSent, t.ask(ctBytesIn))
	t.field(b, fBytesReceived, t.ask(ctBytesOut))
	d.outcome()
	for _, slot := range [...]int{ctSessionToken, ctSecretKey} {
		t.take(t.ask(slot))
	}
	t.rest(b)
	// Behind the rest: of a name that stands twice the first value is in it.
	for _, secret := range [...]struct {
		slot int
		name string
	}{{ctSessionToken, "sessionToken"}, {ctSecretKey, "secretAccessKey"}} {
		if t.ask(secret.slot) != none || t.double[secret.slot] {
			b.open("responseElements.credentials."+secret.name, "withheld")
		}
	}
	t.emit(b, rec, index, emit)
}

// identity says who acted, and with what; false where that is ambiguous.
func (d *CloudTrailDecoder) identity() bool {
	t, b := &d.t, &d.b
	t.twice = false
	own := t.ask(ctARN)
	// A call of AWS itself has no ARN: then the service, the account or, at least,
	// where the event comes from. An event of nobody is not refused: a flood of them
	// is to be seen too.
	found := false
	for _, slot := range [...]int{ctIssuerARN, ctARN, ctInvokedBy, ctPrincipal, ctCredential, ctAccount, ctEventSource} {
		i := t.ask(slot)
		found = found || t.field(b, fAgentID, i)
	}
	tenant := t.ask(ctRecipient)
	if t.str(tenant) == "" {
		tenant = t.ask(ctAccount)
	}
	if schemas.ValidTenant(t.str(tenant)) {
		t.field(b, fTenantID, tenant)
	}
	if !found || t.twice {
		return !t.twice
	}
	if !t.field(b, fAgentName, t.ask(ctIssuerName)) {
		t.field(b, fAgentName, t.ask(ctUserName))
	}
	if !t.field(b, fOnBehalfOf, t.ask(ctSourceIdentity)) {
		t.field(b, fOnBehalfOf, t.ask(ctOnBehalfOf))
	}
	key, session := t.ask(ctAccessKey), t.ask(ctRuntimeSession) // of an agent in AgentCore
	if session == none {
		session = t.ask(ctSession)
	}
	if !t.field(b, fSessionID, session) && !t.field(b, fSessionID, key) {
		// arn:aws:sts::123456789012:assumed-role/Role/session
		if arn := t.str(own); strings.Contains(arn, ":assumed-role/") {
			b.text(fSessionID, arn[strings.LastIndexByte(arn, '/')+1:])
			t.from(b, fSessionID, own)
		}
	}
	t.field(b, fCredentialID, key)
	switch id := t.str(key); {
	case strings.HasPrefix(id, "AKIA"):
		b.text(fCredentialType, "static_key")
	case strings.HasPrefix(id, "ASIA"):
		b.text(fCredentialType, "workload")
	}
	return true
}

// call says what was done.
func (d *CloudTrailDecoder) call() {
	t, b := &d.t, &d.b
	sourceAt, nameAt := t.ask(ctEventSource), t.ask(ctEventName)
	source, name := t.str(sourceAt), t.str(nameAt)
	t.take(sourceAt)
	t.take(nameAt)
	action, tool := "tool_call", t.mem.join(source, ":", name)
	switch service, _, _ := strings.Cut(source, "."); {
	case service == "signin" || service == "sts" && name != "GetCallerIdentity":
		action = "auth"
	case service == "bedrock" && (strings.HasPrefix(name, "InvokeModel") || strings.HasPrefix(name, "Converse")):
		action = "model_call"
		t.field(b, fModel, t.ask(ctModel))
	case service == "bedrock" && strings.HasPrefix(name, "InvokeAgent"):
		action = "delegate"
		t.field(b, fTargetAgentID, t.ask(ctAgent))
	case service == "bedrock-agentcore":
		switch {
		case name == "InvokeAgentRuntime":
			action = "delegate"
			t.field(b, fTargetAgentID, t.ask(ctAgentRuntime))
		case t.str(t.ask(ctMCPMethod)) == "tools/call": // MCP through a gateway
			if called := t.ask(ctMCPName); called != none {
				tool = t.mem.join(tool, "/", t.str(called))
				t.take(called)
			}
		}
	}
	b.text(fAction, action)
	if tool != ":" {
		b.text(fTool, tool)
		t.from(b, fTool, nameAt)
	}
	readOnly := t.ask(ctReadOnly)
	b.text(fAccess, awsAccess(name, t.str(readOnly)))
	t.from(b, fAccess, readOnly)
	t.take(readOnly)
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
	t, b := &d.t, &d.b
	code := t.ask(ctErrorCode)
	if code == none {
		if signin := t.ask(ctConsoleLogin); t.str(signin) == "Failure" {
			b.text(fOutcome, schemas.OutcomeFailure)
			t.from(b, fOutcome, signin)
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
		b.text(fOutcome, outcome)
		t.from(b, fOutcome, code)
	}
}
