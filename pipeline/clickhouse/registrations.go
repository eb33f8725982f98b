package clickhouse

import (
	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/schemas"
)

// registrationTable is sql/0006_registration_rows.sql, column by column.
var registrationTable = &table[pipeline.RegistrationRow]{
	name: "registration_rows",
	columns: []spec[pipeline.RegistrationRow]{
		lowCardinality("tenant_id", func(r *pipeline.RegistrationRow) string { return r.Registration.TenantID }),
		stringColumn("agent_id", func(r *pipeline.RegistrationRow) string { return r.Registration.AgentID }),
		millisColumn("time", func(r *pipeline.RegistrationRow) schemas.Millis { return r.Registration.Time }),
		lowCardinality("status", func(r *pipeline.RegistrationRow) string { return r.Registration.Status }),
		stringColumn("name", func(r *pipeline.RegistrationRow) string { return r.Registration.Name }),
		stringColumn("owner", func(r *pipeline.RegistrationRow) string { return r.Registration.Owner }),
		stringColumn("contact", func(r *pipeline.RegistrationRow) string { return r.Registration.Contact }),
		stringColumn("purpose", func(r *pipeline.RegistrationRow) string { return r.Registration.Purpose }),
		lowCardinality("environment", func(r *pipeline.RegistrationRow) string { return r.Registration.Environment }),
		lowCardinality("vendor", func(r *pipeline.RegistrationRow) string { return r.Registration.Vendor }),
		lowCardinality("criticality", func(r *pipeline.RegistrationRow) string { return r.Registration.Criticality }),
		lowCardinality("peer_group", func(r *pipeline.RegistrationRow) string { return r.Registration.PeerGroup }),
		lowCardinality("time_zone", func(r *pipeline.RegistrationRow) string { return r.Registration.TimeZone }),
		optionalMillis("valid_until", func(r *pipeline.RegistrationRow) schemas.Millis { return r.Registration.ValidUntil }),
		stringArray("versions", func(r *pipeline.RegistrationRow) []string { return r.Registration.Versions }),
		stringArray("credential_ids", func(r *pipeline.RegistrationRow) []string {
			ids := make([]string, len(r.Registration.Credentials))
			for i, c := range r.Registration.Credentials {
				ids[i] = c.ID
			}
			return ids
		}),
		stringArray("tools", func(r *pipeline.RegistrationRow) []string { return r.Registration.Tools }),
		stringArray("destinations", func(r *pipeline.RegistrationRow) []string { return r.Registration.Destinations }),
		stringArray("agents", func(r *pipeline.RegistrationRow) []string { return r.Registration.Agents }),
		attributeMap("labels", func(r *pipeline.RegistrationRow) []schemas.Attribute { return r.Registration.Labels }),
		stringColumn("registration", func(r *pipeline.RegistrationRow) string {
			return string(schemas.AppendRegistration(nil, r.Registration))
		}),
		millisColumn("recorded_at", func(r *pipeline.RegistrationRow) schemas.Millis { return r.RecordedAt }),
		lowCardinality("origin_source", func(r *pipeline.RegistrationRow) string { return r.Origin.Source }),
		numberColumn("origin_incarnation", "UInt32", func(r *pipeline.RegistrationRow) uint32 { return r.Origin.Incarnation }),
		lowCardinality("origin_topic", func(r *pipeline.RegistrationRow) string { return r.Origin.Topic }),
		numberColumn("origin_partition", "Int32", func(r *pipeline.RegistrationRow) int32 { return r.Origin.Partition }),
		numberColumn("origin_offset", "Int64", func(r *pipeline.RegistrationRow) int64 { return r.Origin.Offset }),
		numberColumn("origin_index", "Int32", func(r *pipeline.RegistrationRow) int32 { return r.Origin.Index }),
		numberColumn("log_partition", "Int32", func(r *pipeline.RegistrationRow) int32 { return r.Log.Partition }),
		numberColumn("log_offset", "Int64", func(r *pipeline.RegistrationRow) int64 { return r.Log.Offset }),
		millisColumn("log_time", func(r *pipeline.RegistrationRow) schemas.Millis { return r.LogTime }),
		numberColumn("version", "UInt64", func(r *pipeline.RegistrationRow) uint64 { return firstRecorded(schemas.Millis(r.Log.Offset)) }),
	},
}
