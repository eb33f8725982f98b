package clickhouse

import (
	"errors"
	"strings"

	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/schemas"
)

// activityRecord are the columns of a stored event in the order in which readActivityRecord
// takes them, and activityOrigin those of its identity.
const (
	activityRecord = `tenant_id, agent_id, time, event_id, agent_name, agent_version, peer_group, session_id, on_behalf_of,
	action, tool, access, resources, target_agent_id, bytes_sent, bytes_received, tokens_in, tokens_out, outcome, duration_ms, model,
	credential_id, credential_type, credential_expires, source_ip, attributes, recorded_at, flags, ` + activityOrigin + `, log_partition, log_offset, log_time`
	activityOrigin = "origin_source, origin_incarnation, origin_topic, origin_partition, origin_offset, origin_index"
)

var errRecord = errors.New("a row is not what its columns are: another program has changed the schema")

// readActivityRecord takes a row apart. Its strings share the record's memory.
func readActivityRecord(r *pipeline.ActivityRow, record string) error {
	b := binaryRow{left: record}
	*r = pipeline.ActivityRow{}
	e, o := &r.Event, &r.Origin
	e.TenantID, e.AgentID, e.Time, e.EventID = b.text(), b.text(), b.millis(), b.text()
	e.AgentName, e.AgentVersion, e.PeerGroup, e.SessionID, e.OnBehalfOf = b.text(), b.text(), b.text(), b.text(), b.text()
	e.Action, e.Tool, e.Access, e.Resources, e.TargetAgentID = b.text(), b.text(), b.text(), b.texts(), b.text()
	e.BytesSent, e.BytesReceived, e.TokensIn, e.TokensOut = b.number(8), b.number(8), b.number(8), b.number(8)
	e.Outcome, e.DurationMS, e.Model = b.text(), b.number(8), b.text()
	e.CredentialID, e.CredentialType = b.text(), b.text()
	if null := b.number(1); null == 0 {
		e.CredentialExpires = b.millis()
	}
	e.SourceIP = b.text()
	if n := b.length(); n > 0 {
		e.Attributes = make([]schemas.Attribute, n)
		for i := range e.Attributes {
			e.Attributes[i] = schemas.Attribute{Key: b.text(), Value: b.text()}
		}
	}
	e.RecordedAt = b.millis()
	for _, word := range b.texts() {
		name, says, _ := strings.Cut(word, ":")
		e.Flags.Set(name, says)
	}
	o.Source, o.Incarnation, o.Topic = b.text(), uint32(b.number(4)), b.text()
	o.Partition, o.Offset, o.Index = int32(b.number(4)), int64(b.number(8)), int32(b.number(4))
	r.Log = pipeline.Place{Partition: int32(b.number(4)), Offset: int64(b.number(8))}
	r.LogTime = b.millis()
	if b.short || b.left != "" {
		return errRecord
	}
	return nil
}

// binaryRow is what is left of a row in the format RowBinary: numbers little endian, a
// string as its length (uvarint) and its bytes, an array or a map as its length and its
// elements.
type binaryRow struct {
	left  string
	short bool // there was less than was asked for
}

func (b *binaryRow) take(n int) string {
	if n > len(b.left) {
		b.left, b.short = "", true
		return ""
	}
	s := b.left[:n]
	b.left = b.left[n:]
	return s
}

func (b *binaryRow) number(size int) (v uint64) {
	for i, c := range []byte(b.take(size)) {
		v |= uint64(c) << (8 * i)
	}
	return v
}

func (b *binaryRow) millis() schemas.Millis { return schemas.Millis(b.number(8)) }

// length is that of a string or a list: no more than there are bytes.
func (b *binaryRow) length() int {
	var n uint64
	for shift := 0; shift < 64; shift += 7 {
		c := b.number(1)
		n |= c & 0x7f << shift
		if c < 0x80 {
			break
		}
	}
	if n > uint64(len(b.left)) {
		b.left, b.short = "", true
		return 0
	}
	return int(n)
}

func (b *binaryRow) text() string { return b.take(b.length()) }

func (b *binaryRow) texts() []string {
	n := b.length()
	if n == 0 {
		return nil
	}
	out := make([]string, n)
	for i := range out {
		out[i] = b.text()
	}
	return out
}
