// Package cloudtrail reads AWS CloudTrail.
package cloudtrail

import (
	"maps"
	"slices"
	"strings"

	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
	"github.com/plumbline-sec/plumbline/schemas/decode/jsonscan"
)

// decoder reads one event, an array of them, a log file ({"Records":[...]}), an event
// in EventBridge's envelope ({"detail":{...}}), and what else AWS puts around events on
// their way: CloudWatch Logs, Firehose, SNS, SQS, Kinesis, CloudTrail Lake (envelope.go).
//
// Invariants:
//  1. Every element of a record gives one event or one refusal, whatever its
//     neighbours are; its index is its place in the record. What CloudTrail and
//     CloudWatch Logs write beside events is passed over and counted.
//  2. The agent is who acted: the role behind a session, the user behind a sign-in,
//     not the session or the credential, so that it stays one agent through all of them.
//  3. What becomes no field is an attribute under its path. Temporary credentials
//     that AWS logs with AssumeRole are the one exception: they are withheld.
//  4. What is unpacked is bounded, and so is how deep envelopes are opened.
//
// It is not safe for concurrent use: one goroutine, one decoder.
type decoder struct {
	decode.TreeBuilder
	seen   stringSet       // resources of the event
	params *parameters     // of requests, that name a resource
	codes  map[string]bool // of errors: whether somebody may not
	source string          // of the event: eventSource
	name   string          // of the event: eventName

	depth    int // envelopes around what is read
	unpacked int // bytes, of the record
	skipped  int
	passed   map[string]*passed
}

// passed is what was passed over of a shape.
type passed struct {
	shape decode.Shape
	n     int
}

// New returns a decoder of CloudTrail events. The option resources names further
// request parameters that name a resource, each with its kind.
func New(o *decode.Options) decode.Decoder {
	kinds := awsParameters
	if more := o.Pairs("resources"); len(more) > 0 {
		kinds = maps.Clone(kinds)
		maps.Copy(kinds, more)
	}
	d := &decoder{params: parametersOf(kinds), passed: make(map[string]*passed), codes: make(map[string]bool)}
	d.Init(plan, d.event)
	return d
}

// Decode implements decode.Decoder.
func (d *decoder) Decode(rec *decode.Record, emit decode.EmitFunc) {
	d.unpacked, d.skipped = 0, 0
	clear(d.passed)
	d.Start(rec, emit)
	d.document(rec.Value, 0)
}

// Skipped implements decode.Skipper.
func (d *decoder) Skipped() int { return d.skipped }

// Shapes implements decode.ShapeSkipper.
func (d *decoder) Shapes(visit func(s decode.Shape, n int, sample string)) {
	for _, name := range slices.Sorted(maps.Keys(d.passed)) {
		visit(d.passed[name].shape, d.passed[name].n, "")
	}
}

// pass passes over what is no event.
func (d *decoder) pass(s decode.Shape) {
	d.skipped++
	if d.passed[s.Name] == nil {
		d.passed[s.Name] = &passed{shape: s}
	}
	d.passed[s.Name].n++
}

// event makes an event of the tree.
func (d *decoder) event() {
	if d.element() {
		return
	}
	d.Begin()
	if !d.identity() {
		d.Refuse(&decode.Refusal{Reason: decode.ReasonDuplicateIdentity, Field: "userIdentity", Detail: "a name in it stands twice"})
		return
	}
	if !d.Field(schemas.FieldEventID, d.Ask(aEventID)) {
		d.Field(schemas.FieldEventID, d.Get(root, "UID")) // of an event that somebody put into CloudTrail Lake
	}
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
	own, person, account := d.Ask(aARN), d.Ask(aOnBehalfOf), d.Ask(aAccount)
	jwt, subject := jsonscan.None, jsonscan.None // of who called a gateway of AgentCore, whom AWS does not know
	if s := d.Str(account); s == "anonymous" || s == "ANONYMOUS_PRINCIPAL" {
		jwt = d.at(root, "additionalEventData", "jwt", "claims")
		for _, name := range [...]string{"sub", "client_id", "azp"} {
			if i := d.at(jwt, name); jwt != jsonscan.None && subject == jsonscan.None && !d.Empty(i) {
				subject = i
			}
		}
	}
	// A call of AWS itself has no ARN: then the service, the account or, at least,
	// where the event comes from. An event of nobody is not refused: a flood of them
	// is to be seen too.
	found := d.Field(schemas.FieldAgentID, d.Ask(aIssuerARN))
	for _, i := range [...]int32{
		own, subject, d.Ask(aInvokedBy), person, d.Ask(aPrincipal), d.Ask(aCredential), account, d.Ask(aEventSource),
	} {
		found = found || d.agent(i)
	}
	tenant := d.Ask(aRecipient)
	if d.Str(tenant) == "" {
		tenant = account
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
	if !d.Field(schemas.FieldOnBehalfOf, d.Ask(aSourceIdentity)) && !d.Field(schemas.FieldOnBehalfOf, person) && jwt != jsonscan.None {
		d.Field(schemas.FieldOnBehalfOf, d.Get(jwt, "username"))
	}
	key, credential, session := d.Ask(aAccessKey), d.Ask(aCredential), d.Ask(aRuntimeSession) // of an agent in AgentCore
	if session == jsonscan.None {
		session = d.Ask(aSession)
	}
	if !d.Field(schemas.FieldSessionID, session) && !d.Field(schemas.FieldSessionID, key) {
		// arn:aws:sts::123456789012:assumed-role/Role/session, AROA...:session
		if arn := d.Str(own); strings.Contains(arn, ":assumed-role/") {
			d.Text(schemas.FieldSessionID, arn[strings.LastIndexByte(arn, '/')+1:])
			d.From(schemas.FieldSessionID, own)
		} else if _, name, ok := strings.Cut(d.Str(d.Ask(aPrincipal)), ":"); ok && arn == "" && rolePrincipal(d.Str(d.Ask(aPrincipal))) {
			d.Text(schemas.FieldSessionID, name)
			d.From(schemas.FieldSessionID, d.Ask(aPrincipal))
		} else {
			d.Field(schemas.FieldSessionID, credential)
		}
	}
	if !d.Field(schemas.FieldCredentialID, key) && !d.Field(schemas.FieldCredentialID, credential) && jwt != jsonscan.None && d.Field(schemas.FieldCredentialID, d.Get(jwt, "jti")) {
		d.Text(schemas.FieldCredentialType, "oauth_token")
	}
	switch id := d.Str(key); {
	case strings.HasPrefix(id, "AKIA"):
		d.Text(schemas.FieldCredentialType, "static_key")
	case strings.HasPrefix(id, "ASIA"):
		d.Text(schemas.FieldCredentialType, "workload")
	}
	return true
}

// agent takes node i for who acted, without the session that some ids end with; false
// where there is none.
func (d *decoder) agent(i int32) bool {
	if d.Empty(i) {
		return false
	}
	v := d.Of(i)
	whole := len(v.Text)
	if _, after, ok := strings.Cut(v.Text, ":assumed-role/"); ok {
		if _, session, ok := strings.Cut(after, "/"); ok {
			v.Text = v.Text[:whole-len(session)-1]
		}
	} else if rolePrincipal(v.Text) {
		v.Text, _, _ = strings.Cut(v.Text, ":")
	}
	d.Set(schemas.FieldAgentID, &v)
	if len(v.Text) == whole {
		d.Take(i)
	}
	d.From(schemas.FieldAgentID, i)
	return true
}

// rolePrincipal reports whether a principal is the session of a role.
func rolePrincipal(id string) bool { return strings.HasPrefix(id, "AROA") && strings.Contains(id, ":") }

// call says what was done.
func (d *decoder) call() {
	sourceAt, nameAt := d.Ask(aEventSource), d.Ask(aEventName)
	source, name := d.source, d.name
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

// verb is how the name of an operation begins, and what such a one does.
type verb struct{ prefix, access string }

// clearVerbs say what a call does, whatever else is said of it: AWS calls that of an
// agent or a model reading, too. plainVerbs do where nobody said whether it only reads.
var (
	clearVerbs = verbsOf(map[string][]string{
		schemas.AccessDelete: {"Delete", "BatchDelete", "Terminate", "Remove", "Deregister", "Purge", "Destroy", "ScheduleKeyDeletion"},
		schemas.AccessSend: {
			"SendMessage", "SendEmail", "SendRawEmail", "SendBulk", "SendTemplatedEmail", "SendCustomVerificationEmail", "SendTextMessage", "SendVoiceMessage",
			"SendMediaMessage", "SendUsersMessages", "SendOTPMessage", "SendNotification",
		},
		schemas.AccessExecute: {
			"Invoke", "Execute", "SendCommand", "SendSSHPublicKey", "StartSession", "StartExecution", "StartSyncExecution", "Converse", "RunTask", "StartTask",
			"SubmitJob", "StartBuild", "StartJobRun", "StartAutomationExecution", "StartCodeInterpreterSession", "StartBrowserSession", "RunJobFlow",
		},
	})
	plainVerbs = verbsOf(map[string][]string{
		schemas.AccessRead: {
			"Get", "List", "Describe", "Head", "Lookup", "Query", "Scan", "BatchGet", "Search", "Select", "Retrieve", "Download", "Decrypt", "Verify", "Check", "Validate", "Read",
		},
		schemas.AccessWrite: {
			"Create", "Put", "Update", "Modify", "Add", "Attach", "Associate", "Set", "Tag", "Upload", "Copy", "Import", "Register", "Enable", "Disable", "Start", "Stop", "Run",
			"Reboot", "Restore", "Authorize", "Revoke", "BatchWrite", "Write", "Complete", "Change", "Replace", "Detach", "Disassociate", "Grant",
		},
	})
)

// verbsOf sorts verbs by their first letter.
func verbsOf(by map[string][]string) (v [32][]verb) {
	for access, prefixes := range by {
		for _, p := range prefixes {
			v[p[0]&31] = append(v[p[0]&31], verb{p, access})
		}
	}
	return v
}

// awsAccess says what a call does, from how AWS names its operations and whether it
// says that it only reads.
func awsAccess(name, readOnly string) string {
	if name == "" {
		return ""
	}
	if name == "Publish" || name == "PublishBatch" {
		return schemas.AccessSend
	}
	for _, v := range clearVerbs[name[0]&31] {
		if strings.HasPrefix(name, v.prefix) {
			return v.access
		}
	}
	switch readOnly {
	case "true":
		return schemas.AccessRead
	case "false":
		return schemas.AccessWrite
	}
	for _, v := range plainVerbs[name[0]&31] {
		if strings.HasPrefix(name, v.prefix) {
			return v.access
		}
	}
	return ""
}

// outcome says how it ended: by the code of an error, or by what stands elsewhere.
func (d *decoder) outcome() {
	set := func(outcome string, at int32) {
		d.Text(schemas.FieldOutcome, outcome)
		d.From(schemas.FieldOutcome, at)
	}
	// The code itself stays an attribute: `outcome` has three values only.
	code, message := d.Ask(aErrorCode), d.Ask(aErrorMessage)
	if at := max(code, message); at != jsonscan.None {
		kind, said := d.Str(code), d.Str(message)
		if kind != "" {
			at = code
		}
		switch {
		case kind != "" && d.denied(kind), strings.Contains(said, "not authorized to perform"), strings.Contains(said, "ccess Denied"), strings.Contains(said, "ccess denied"), strings.Contains(said, "AccessDenied"):
			set(schemas.OutcomeDenied, at)
			return
		case kind != "" || said != "":
			set(schemas.OutcomeFailure, at)
			return
		}
	}
	response, source := d.Ask(aResponse), d.source
	if strings.HasPrefix(source, "bedrock") && response != jsonscan.None {
		status := d.Get(response, "statusCode")
		problem, isError := d.at(response, "body", "error"), d.at(response, "body", "result", "isError")
		switch s := d.Str(status); {
		case s == "401" || s == "403":
			set(schemas.OutcomeDenied, status)
		case len(s) == 3 && (s[0] == '4' || s[0] == '5'):
			set(schemas.OutcomeFailure, status)
		case !d.Empty(problem):
			set(schemas.OutcomeFailure, problem)
		case d.Str(isError) == "true":
			set(schemas.OutcomeFailure, isError)
		}
		return
	}
	if !strings.HasPrefix(source, "sign") && !strings.HasPrefix(source, "sso") {
		return
	}
	// ConsoleLogin, SwitchRole, CheckMfa, CredentialVerification: "Failure".
	for _, i := range [...]int32{response, d.Get(root, "serviceEventDetails")} {
		if i == jsonscan.None || d.Kind(i) != '{' {
			continue
		}
		for c := i + 1; c < d.Next(i); c = d.Next(c) {
			if string(d.Raw(c)) == failure {
				set(schemas.OutcomeFailure, c)
				return
			}
		}
	}
}

const failure = `"Failure"`

// denied is denies of a code as it stood, of which there are few.
func (d *decoder) denied(code string) bool {
	const most, longest = 1024, 128
	is, known := d.codes[code]
	if !known {
		if is = denies(strings.ToLower(code)); len(d.codes) < most && len(code) <= longest {
			d.codes[strings.Clone(code)] = is
		}
	}
	return is
}

// denies reports whether an error's code, in small letters, is that somebody may not.
func denies(code string) bool {
	for _, denied := range [...]string{
		"accessdenied", "unauthorized", "notauthorized", "forbidden", "authfailure", "optinrequired", "expiredtoken", "invalidclienttokenid", "notpermitted",
		"invalidsignature", "signaturedoesnotmatch", "incompletesignature", "unrecognizedclient", "authorizationerror", "missingauthenticationtoken", "invalidaccesskeyid",
		"allaccessdisabled", "insufficientprivileges", "insufficientpermission", "permissiondenied", "invalidtoken", "invalididentitytoken", "requestexpired",
		"tokenrefreshrequired", "accountproblem", "notsignedup", "invalidsecurity",
	} {
		if strings.Contains(code, denied) {
			return true
		}
	}
	return false
}
