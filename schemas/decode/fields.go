package decode

import "github.com/plumbline-sec/plumbline/schemas"

// field is a top-level field of the activity event.
type field = uint8

const (
	fTenantID field = iota
	fAgentID
	fEventID
	fTime
	fAgentName
	fAgentVersion
	fPeerGroup
	fSessionID
	fOnBehalfOf
	fAction
	fTool
	fAccess
	fResources
	fTargetAgentID
	fBytesSent
	fBytesReceived
	fTokensIn
	fTokensOut
	fOutcome
	fDurationMS
	fModel
	fCredentialID
	fCredentialType
	fCredentialExpires
	fSourceIP
	fAttributes
	// What route adds; in what agents send these two are unknown fields.
	fRecordedAt
	fFlags

	fieldCount
	unknown = fieldCount
)

// fieldNames are the fields as they stand in JSON. Flags.FieldsInvalid takes its
// strings from here, so that it is bounded and keeps no record in memory.
//
//nolint:gosec // names of fields, no credentials
var fieldNames = [fieldCount]string{
	fTenantID: "tenant_id", fAgentID: "agent_id", fEventID: "event_id", fTime: "time",
	fAgentName: "agent_name", fAgentVersion: "agent_version", fPeerGroup: "peer_group",
	fSessionID: "session_id", fOnBehalfOf: "on_behalf_of", fAction: "action", fTool: "tool",
	fAccess: "access", fResources: "resources", fTargetAgentID: "target_agent_id",
	fBytesSent: "bytes_sent", fBytesReceived: "bytes_received", fTokensIn: "tokens_in",
	fTokensOut: "tokens_out", fOutcome: "outcome", fDurationMS: "duration_ms", fModel: "model",
	fCredentialID: "credential_id", fCredentialType: "credential_type",
	fCredentialExpires: "credential_expires", fSourceIP: "source_ip", fAttributes: "attributes",
	fRecordedAt: "recorded_at", fFlags: "flags",
}

// lookup returns the field of that name, or unknown.
func lookup(name string) field {
	switch name {
	case "tenant_id":
		return fTenantID
	case "agent_id":
		return fAgentID
	case "event_id":
		return fEventID
	case "time":
		return fTime
	case "agent_name":
		return fAgentName
	case "agent_version":
		return fAgentVersion
	case "peer_group":
		return fPeerGroup
	case "session_id":
		return fSessionID
	case "on_behalf_of":
		return fOnBehalfOf
	case "action":
		return fAction
	case "tool":
		return fTool
	case "access":
		return fAccess
	case "resources":
		return fResources
	case "target_agent_id":
		return fTargetAgentID
	case "bytes_sent":
		return fBytesSent
	case "bytes_received":
		return fBytesReceived
	case "tokens_in":
		return fTokensIn
	case "tokens_out":
		return fTokensOut
	case "outcome":
		return fOutcome
	case "duration_ms":
		return fDurationMS
	case "model":
		return fModel
	case "credential_id":
		return fCredentialID
	case "credential_type":
		return fCredentialType
	case "credential_expires":
		return fCredentialExpires
	case "source_ip":
		return fSourceIP
	case "attributes":
		return fAttributes
	case "recorded_at":
		return fRecordedAt
	case "flags":
		return fFlags
	}
	return unknown
}

// textOf returns where a field of free text goes, nil for every other field.
func textOf(ev *schemas.Activity, f field) *string {
	switch f {
	case fEventID:
		return &ev.EventID
	case fAgentName:
		return &ev.AgentName
	case fAgentVersion:
		return &ev.AgentVersion
	case fPeerGroup:
		return &ev.PeerGroup
	case fSessionID:
		return &ev.SessionID
	case fOnBehalfOf:
		return &ev.OnBehalfOf
	case fAction:
		return &ev.Action
	case fTool:
		return &ev.Tool
	case fTargetAgentID:
		return &ev.TargetAgentID
	case fModel:
		return &ev.Model
	case fCredentialID:
		return &ev.CredentialID
	case fCredentialType:
		return &ev.CredentialType
	case fSourceIP:
		return &ev.SourceIP
	default:
		return nil
	}
}

// countOf returns where a field of a number goes, nil for every other field.
func countOf(ev *schemas.Activity, f field) *uint64 {
	switch f {
	case fBytesSent:
		return &ev.BytesSent
	case fBytesReceived:
		return &ev.BytesReceived
	case fTokensIn:
		return &ev.TokensIn
	case fTokensOut:
		return &ev.TokensOut
	case fDurationMS:
		return &ev.DurationMS
	default:
		return nil
	}
}
