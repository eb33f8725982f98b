package mapping

import (
	"encoding/json"

	"github.com/plumbline-sec/plumbline/schemas/decode"
)

// ocsfMapping is an OCSF API Activity (class 6003, versions 1.1 to 1.8) in the
// terms of a mapping.
const ocsfMapping = `{
	"only": {"class_uid": "6003"},
	"fields": {
		"event_id": "metadata.uid",
		"time": "time",
		"tenant_id": "metadata.tenant_uid",
		"agent_id": ["actor.app_uid", "actor.session.issuer", "actor.user.uid", "actor.user.name", "actor.app_name"],
		"agent_name": ["actor.app_name", "actor.user.name"],
		"session_id": ["actor.session.uid", "actor.session.credential_uid", "actor.user.credential_uid"],
		"on_behalf_of": "actor.invoked_by",
		"action": "=tool_call",
		"tool": "api.operation",
		"access": "activity_id",
		"bytes_sent": ["http_request.length", "unmapped.bytes_out"],
		"bytes_received": ["http_response.length", "unmapped.bytes_in"],
		"tokens_in": "message_context.prompt_tokens",
		"tokens_out": "message_context.completion_tokens",
		"outcome": ["api.response.code", "api.response.error", "status_id"],
		"duration_ms": "duration",
		"model": "ai_model.name",
		"credential_id": ["actor.user.credential_uid", "actor.session.credential_uid"],
		"source_ip": "src_endpoint.ip"
	},
	"values": {
		"access": {"1": "write", "2": "read", "3": "write", "4": "delete", "*": ""},
		"outcome": {"401": "denied", "403": "denied", "AccessDenied": "denied", "UnauthorizedOperation": "denied", "1": "success", "2": "failure", "*": ""}
	},
	"resources": {"other": ["resources[*].uid", "resources[*].name"]}
}`

// NewOCSF returns the mapping of OCSF: it takes the place of options of its own.
func NewOCSF(o *decode.Options) decode.Decoder {
	var values map[string]any
	if err := json.Unmarshal([]byte(ocsfMapping), &values); err != nil {
		o.Wrong("ocsf", err.Error(), "")
		return nil
	}
	own := &decode.Options{Values: values}
	d := New(own)
	if err := own.Done(); err != nil {
		o.Wrong("ocsf", err.Error(), "")
	}
	return d
}
