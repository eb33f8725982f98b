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
	f := candidate(name)
	if f != unknown && fieldNames[f] == name {
		return f
	}
	return unknown
}

// candidate returns the only field that name can be, told by its length and one
// or two of its bytes: a third of the time of comparing strings one by one.
func candidate(name string) field {
	pick := func(at int, c byte, is, isNot field) field {
		if name[at] == c {
			return is
		}
		return isNot
	}
	switch len(name) {
	case 4: // time tool
		return pick(1, 'i', fTime, fTool)
	case 5: // model flags
		return pick(0, 'm', fModel, fFlags)
	case 6: // action access
		return pick(2, 't', fAction, fAccess)
	case 7:
		return fOutcome
	case 8: // agent_id event_id
		return pick(0, 'a', fAgentID, fEventID)
	case 9: // tenant_id resources tokens_in source_ip
		switch name[1] {
		case 'e':
			return pick(0, 't', fTenantID, fResources)
		default:
			return pick(0, 't', fTokensIn, fSourceIP)
		}
	case 10: // agent_name peer_group session_id bytes_sent tokens_out attributes
		switch name[0] {
		case 'a':
			return pick(1, 'g', fAgentName, fAttributes)
		case 'p':
			return fPeerGroup
		case 's':
			return fSessionID
		case 'b':
			return fBytesSent
		}
		return fTokensOut
	case 11: // duration_ms recorded_at
		return pick(0, 'd', fDurationMS, fRecordedAt)
	case 12:
		return fOnBehalfOf
	case 13: // agent_version credential_id
		return pick(0, 'a', fAgentVersion, fCredentialID)
	case 14:
		return fBytesReceived
	case 15: // target_agent_id credential_type
		return pick(0, 't', fTargetAgentID, fCredentialType)
	case 18:
		return fCredentialExpires
	}
	return unknown
}

// text returns where a field of free text goes, nil for every other field.
func text(ev *schemas.Activity, f field) *string {
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

// count returns where a field of a number goes, nil for every other field.
func count(ev *schemas.Activity, f field) *uint64 {
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
