// Package cloudtrail reads AWS CloudTrail.
package cloudtrail

import (
	"strings"

	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
	"github.com/plumbline-sec/plumbline/schemas/decode/jsonscan"
)

// decoder reads one event, an array of them, a log file ({"Records":[...]}), or an
// event in EventBridge's envelope ({"detail":{...}}).
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
type decoder struct {
	decode.TreeBuilder
	seen stringSet // resources of the event
}

// New returns a decoder of CloudTrail events.
func New() decode.Decoder {
	d := &decoder{}
	d.Init(plan, d.event)
	return d
}

// Decode implements decode.Decoder.
func (d *decoder) Decode(rec *decode.Record, emit decode.EmitFunc) {
	d.Start(rec, emit)
	b := rec.Value
	var s jsonscan.Scanner
	s.Reset(b)
	if s.Peek() == '[' {
		d.List(b[s.Pos:])
		return
	}
	// A log file is walked over once: its events are read as they come, and what is
	// malformed behind them refuses only what follows.
	var detail []byte
	bridge, listed := false, false
	err := jsonscan.Walk(b, func(name string, s *jsonscan.Scanner) bool {
		if name == "Records" && s.Peek() == '[' {
			listed = true
			return s.Each(d.Read)
		}
		start := s.Pos
		if !s.Skip(1) {
			return false
		}
		if name == "detail" && b[start] == '{' {
			detail = b[start:s.Pos]
		}
		bridge = bridge || name == "detail-type"
		return true
	})
	switch {
	case err != nil:
		d.End(err)
	case bridge && detail != nil:
		d.One(detail)
	case !listed:
		d.One(b)
	}
}

// event makes an event of the tree.
func (d *decoder) event() {
	d.Begin()
	if !d.identity() {
		d.Refuse(&decode.Refusal{Reason: decode.ReasonDuplicateIdentity, Field: "userIdentity", Detail: "a name in it stands twice"})
		return
	}
	d.Field(schemas.FieldEventID, d.Ask(aEventID))
	d.Field(schemas.FieldTime, d.Ask(aEventTime))
	d.Field(schemas.FieldSourceIP, d.Ask(aSourceIP))
	d.call()
	d.resources()
	d.Field(schemas.FieldBytesSent, d.Ask(aBytesIn))
	d.Field(schemas.FieldBytesReceived, d.Ask(aBytesOut))
	d.outcome()
	for _, secret := range secrets {
		d.Take(d.Ask(secret.slot))
	}
	d.Rest()
	// Behind the rest: of a name that stands twice the first value is in it.
	for _, secret := range secrets {
		if d.Ask(secret.slot) != jsonscan.None || d.Double(secret.slot) {
			d.Open(secret.path, "withheld")
		}
	}
	d.Emit()
}

// secrets are withheld.
var secrets = [...]struct {
	slot int
	path string
}{
	{aSessionToken, "responseElements.credentials.sessionToken"},
	{aSecretKey, "responseElements.credentials.secretAccessKey"},
}

// identity says who acted, and with what; false where that is ambiguous.
func (d *decoder) identity() bool {
	d.Twice = false
	own := d.Ask(aARN)
	// A call of AWS itself has no ARN: then the service, the account or, at least,
	// where the event comes from. An event of nobody is not refused: a flood of them
	// is to be seen too.
	found := false
	for _, slot := range [...]int{aIssuerARN, aARN, aInvokedBy, aPrincipal, aCredential, aAccount, aEventSource} {
		i := d.Ask(slot)
		found = found || d.Field(schemas.FieldAgentID, i)
	}
	tenant := d.Ask(aRecipient)
	if d.Str(tenant) == "" {
		tenant = d.Ask(aAccount)
	}
	if schemas.ValidTenant(d.Str(tenant)) {
		d.Field(schemas.FieldTenantID, tenant)
	}
	if !found || d.Twice {
		return !d.Twice
	}
	if !d.Field(schemas.FieldAgentName, d.Ask(aIssuerName)) {
		d.Field(schemas.FieldAgentName, d.Ask(aUserName))
	}
	if !d.Field(schemas.FieldOnBehalfOf, d.Ask(aSourceIdentity)) {
		d.Field(schemas.FieldOnBehalfOf, d.Ask(aOnBehalfOf))
	}
	key, session := d.Ask(aAccessKey), d.Ask(aRuntimeSession) // of an agent in AgentCore
	if session == jsonscan.None {
		session = d.Ask(aSession)
	}
	if !d.Field(schemas.FieldSessionID, session) && !d.Field(schemas.FieldSessionID, key) {
		// arn:aws:sts::123456789012:assumed-role/Role/session
		if arn := d.Str(own); strings.Contains(arn, ":assumed-role/") {
			d.Text(schemas.FieldSessionID, arn[strings.LastIndexByte(arn, '/')+1:])
			d.From(schemas.FieldSessionID, own)
		}
	}
	d.Field(schemas.FieldCredentialID, key)
	switch id := d.Str(key); {
	case strings.HasPrefix(id, "AKIA"):
		d.Text(schemas.FieldCredentialType, "static_key")
	case strings.HasPrefix(id, "ASIA"):
		d.Text(schemas.FieldCredentialType, "workload")
	}
	return true
}

// call says what was done.
func (d *decoder) call() {
	sourceAt, nameAt := d.Ask(aEventSource), d.Ask(aEventName)
	source, name := d.Str(sourceAt), d.Str(nameAt)
	d.Take(sourceAt)
	d.Take(nameAt)
	action, tool := "tool_call", d.Mem.Join(source, ":", name)
	switch service, _, _ := strings.Cut(source, "."); {
	case service == "signin" || service == "sts" && name != "GetCallerIdentity":
		action = "auth"
	case service == "bedrock" && (strings.HasPrefix(name, "InvokeModel") || strings.HasPrefix(name, "Converse")):
		action = "model_call"
		d.Field(schemas.FieldModel, d.Ask(aModel))
	case service == "bedrock" && strings.HasPrefix(name, "InvokeAgent"):
		action = "delegate"
		d.Field(schemas.FieldTargetAgentID, d.Ask(aAgent))
	case service == "bedrock-agentcore":
		switch {
		case name == "InvokeAgentRuntime":
			action = "delegate"
			d.Field(schemas.FieldTargetAgentID, d.Ask(aAgentRuntime))
		case d.Str(d.Ask(aMCPMethod)) == "tools/call": // MCP through a gateway
			if called := d.Ask(aMCPName); called != jsonscan.None {
				tool = d.Mem.Join(tool, "/", d.Str(called))
				d.Take(called)
			}
		}
	}
	d.Text(schemas.FieldAction, action)
	if tool != ":" {
		d.Text(schemas.FieldTool, tool)
		d.From(schemas.FieldTool, nameAt)
	}
	readOnly := d.Ask(aReadOnly)
	d.Text(schemas.FieldAccess, awsAccess(name, d.Str(readOnly)))
	d.From(schemas.FieldAccess, readOnly)
	d.Take(readOnly)
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

func (d *decoder) outcome() {
	code := d.Ask(aErrorCode)
	if code == jsonscan.None {
		if signin := d.Ask(aConsoleLogin); d.Str(signin) == "Failure" {
			d.Text(schemas.FieldOutcome, schemas.OutcomeFailure)
			d.From(schemas.FieldOutcome, signin)
		}
		return
	}
	// The code itself stays an attribute: `outcome` has three values only.
	outcome, lower := schemas.OutcomeFailure, strings.ToLower(d.Str(code))
	for _, denied := range []string{"accessdenied", "unauthorized", "notauthorized", "forbidden", "authfailure", "optinrequired", "expiredtoken", "invalidclienttokenid"} {
		if strings.Contains(lower, denied) {
			outcome = schemas.OutcomeDenied
		}
	}
	if lower != "" {
		d.Text(schemas.FieldOutcome, outcome)
		d.From(schemas.FieldOutcome, code)
	}
}
