package schemas

import (
	"strconv"
	"strings"
)

// Field is a top-level field of the activity event.
type Field uint8

// The fields of the activity event. A new one is a constant, a row of fields and
// a line of AppendActivity.
const (
	FieldTenantID Field = iota
	FieldAgentID
	FieldEventID
	FieldTime
	FieldAgentName
	FieldAgentVersion
	FieldPeerGroup
	FieldSessionID
	FieldOnBehalfOf
	FieldAction
	FieldTool
	FieldAccess
	FieldResources
	FieldTargetAgentID
	FieldBytesSent
	FieldBytesReceived
	FieldTokensIn
	FieldTokensOut
	FieldOutcome
	FieldDurationMS
	FieldModel
	FieldCredentialID
	FieldCredentialType
	FieldCredentialExpires
	FieldSourceIP
	FieldAttributes
	// What route adds; in what agents send these two are unknown fields.
	FieldRecordedAt
	FieldFlags

	// FieldCount is how many fields there are, and stands for none of them.
	FieldCount
)

// fields say of each field how it is called in JSON, where it stands in an event
// and, where it takes only some texts, which.
var fields = [FieldCount]struct {
	name   string
	of     func(a *Activity) any
	values []string
}{
	FieldTenantID:          {name: "tenant_id", of: func(a *Activity) any { return &a.TenantID }},
	FieldAgentID:           {name: "agent_id", of: func(a *Activity) any { return &a.AgentID }},
	FieldEventID:           {name: "event_id", of: func(a *Activity) any { return &a.EventID }},
	FieldTime:              {name: "time", of: func(a *Activity) any { return &a.Time }},
	FieldAgentName:         {name: "agent_name", of: func(a *Activity) any { return &a.AgentName }},
	FieldAgentVersion:      {name: "agent_version", of: func(a *Activity) any { return &a.AgentVersion }},
	FieldPeerGroup:         {name: "peer_group", of: func(a *Activity) any { return &a.PeerGroup }},
	FieldSessionID:         {name: "session_id", of: func(a *Activity) any { return &a.SessionID }},
	FieldOnBehalfOf:        {name: "on_behalf_of", of: func(a *Activity) any { return &a.OnBehalfOf }},
	FieldAction:            {name: "action", of: func(a *Activity) any { return &a.Action }},
	FieldTool:              {name: "tool", of: func(a *Activity) any { return &a.Tool }},
	FieldAccess:            {name: "access", of: func(a *Activity) any { return &a.Access }, values: []string{AccessRead, AccessWrite, AccessDelete, AccessSend, AccessExecute}},
	FieldResources:         {name: "resources", of: func(a *Activity) any { return &a.Resources }},
	FieldTargetAgentID:     {name: "target_agent_id", of: func(a *Activity) any { return &a.TargetAgentID }},
	FieldBytesSent:         {name: "bytes_sent", of: func(a *Activity) any { return &a.BytesSent }},
	FieldBytesReceived:     {name: "bytes_received", of: func(a *Activity) any { return &a.BytesReceived }},
	FieldTokensIn:          {name: "tokens_in", of: func(a *Activity) any { return &a.TokensIn }},
	FieldTokensOut:         {name: "tokens_out", of: func(a *Activity) any { return &a.TokensOut }},
	FieldOutcome:           {name: "outcome", of: func(a *Activity) any { return &a.Outcome }, values: []string{OutcomeSuccess, OutcomeFailure, OutcomeDenied}},
	FieldDurationMS:        {name: "duration_ms", of: func(a *Activity) any { return &a.DurationMS }},
	FieldModel:             {name: "model", of: func(a *Activity) any { return &a.Model }},
	FieldCredentialID:      {name: "credential_id", of: func(a *Activity) any { return &a.CredentialID }},
	FieldCredentialType:    {name: "credential_type", of: func(a *Activity) any { return &a.CredentialType }},
	FieldCredentialExpires: {name: "credential_expires", of: func(a *Activity) any { return &a.CredentialExpires }},
	FieldSourceIP:          {name: "source_ip", of: func(a *Activity) any { return &a.SourceIP }},
	FieldAttributes:        {name: "attributes", of: func(a *Activity) any { return &a.Attributes }},
	FieldRecordedAt:        {name: "recorded_at", of: func(a *Activity) any { return &a.RecordedAt }},
	FieldFlags:             {name: "flags", of: func(a *Activity) any { return &a.Flags }},
}

// String returns the field as it stands in JSON.
func (f Field) String() string { return fields[f].name }

// Of returns a pointer to the field of an event.
func (f Field) Of(a *Activity) any { return fields[f].of(a) }

// Values returns the texts that the field takes, nil where it takes any.
func (f Field) Values() []string { return fields[f].values }

// LookupField returns the field of that name, FieldCount where there is none. A
// switch takes half the time of a table.
func LookupField(name string) Field {
	switch name {
	case "tenant_id":
		return FieldTenantID
	case "agent_id":
		return FieldAgentID
	case "event_id":
		return FieldEventID
	case "time":
		return FieldTime
	case "agent_name":
		return FieldAgentName
	case "agent_version":
		return FieldAgentVersion
	case "peer_group":
		return FieldPeerGroup
	case "session_id":
		return FieldSessionID
	case "on_behalf_of":
		return FieldOnBehalfOf
	case "action":
		return FieldAction
	case "tool":
		return FieldTool
	case "access":
		return FieldAccess
	case "resources":
		return FieldResources
	case "target_agent_id":
		return FieldTargetAgentID
	case "bytes_sent":
		return FieldBytesSent
	case "bytes_received":
		return FieldBytesReceived
	case "tokens_in":
		return FieldTokensIn
	case "tokens_out":
		return FieldTokensOut
	case "outcome":
		return FieldOutcome
	case "duration_ms":
		return FieldDurationMS
	case "model":
		return FieldModel
	case "credential_id":
		return FieldCredentialID
	case "credential_type":
		return FieldCredentialType
	case "credential_expires":
		return FieldCredentialExpires
	case "source_ip":
		return FieldSourceIP
	case "attributes":
		return FieldAttributes
	case "recorded_at":
		return FieldRecordedAt
	case "flags":
		return FieldFlags
	}
	return FieldCount
}

// flags say of each flag how it is called and where it stands. A new one is a row
// here and a part of Malformed.
var flags = [...]struct {
	name string
	of   func(f *Flags) any
}{
	{"time_clamped", func(f *Flags) any { return &f.TimeClamped }},
	{"old", func(f *Flags) any { return &f.Old }},
	{"utf8_replaced", func(f *Flags) any { return &f.UTF8Replaced }},
	{"resources_cut", func(f *Flags) any { return &f.ResourcesCut }},
	{"attributes_cut", func(f *Flags) any { return &f.AttributesCut }},
	{"strings_cut", func(f *Flags) any { return &f.StringsCut }},
	{"fields_invalid", func(f *Flags) any { return &f.FieldsInvalid }},
}

// Of returns a pointer to the flag of that name: to a bool, an int or a []string;
// nil where there is none.
func (f *Flags) Of(name string) any {
	for i := range flags {
		if flags[i].name == name {
			return flags[i].of(f)
		}
	}
	return nil
}

// Set sets a flag by what Each says of it; what it does not know it leaves out.
func (f *Flags) Set(name, says string) {
	switch v := f.Of(name).(type) {
	case *bool:
		*v = true
	case *int:
		*v, _ = strconv.Atoi(says)
	case *[]string:
		*v = strings.Split(says, ",")
	}
}

// Each calls yield with the flags that are set and what each says beyond that: a
// number, names with commas between, or nothing.
func (f *Flags) Each(yield func(name, says string) bool) {
	if !f.isSet() {
		return
	}
	for i := range flags {
		says, set := "", true
		switch v := flags[i].of(f).(type) {
		case *bool:
			set = *v
		case *int:
			set, says = *v > 0, strconv.Itoa(*v)
		case *[]string:
			set, says = len(*v) > 0, strings.Join(*v, ",")
		}
		if set && !yield(flags[i].name, says) {
			return
		}
	}
}

// isSet reports whether a flag is set.
func (f *Flags) isSet() bool { return f.Old || f.Malformed() }
