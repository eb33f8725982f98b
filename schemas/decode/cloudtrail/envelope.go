package cloudtrail

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/plumbline-sec/plumbline/schemas/decode"
	"github.com/plumbline-sec/plumbline/schemas/decode/jsonscan"
)

const (
	// maxEnvelopes is how many envelopes may stand in each other: CloudWatch Logs in
	// Firehose in SNS, say.
	maxEnvelopes = 4
	// maxUnpacked bounds what a record comes to when it is unpacked.
	maxUnpacked = 32 << 20
)

// What is passed over.
var (
	shapeControl = decode.Shape{Name: "control", Needs: "nothing: CloudWatch Logs asks with it whether the way is open"}
	shapeDigest  = decode.Shape{Name: "digest", Needs: "nothing: it proves that log files are whole"}
	shapeInsight = decode.Shape{Name: "insight", Needs: "nothing: it is a finding of CloudTrail about events that come as such"}
)

// envelope is what stands around events, as far as a text has it.
type envelope struct {
	bridge, listed, digest bool
	detail, logEvents      []byte
	records, awslogs, data []byte
	eventData, message     []byte
	messageType, kind      string
	eventName              bool
	notice                 bool // CloudTrail's own, of a file
}

// document reads a text: events, or envelopes with events in them.
func (d *decoder) document(b []byte, depth int) {
	if depth > maxEnvelopes {
		d.Refuse(tooDeep())
		return
	}
	d.depth = depth
	if len(b) > 2 && b[0] == 0x1f && b[1] == 0x8b {
		d.packed(b, depth)
		return
	}
	var s jsonscan.Scanner
	s.Reset(b)
	if s.Peek() == '[' {
		d.List(b[s.Pos:])
		return
	}
	// A log file is walked over once: its events are read as they come, and what is
	// malformed behind them refuses only what follows.
	var e envelope
	err := jsonscan.Walk(b, func(name string, s *jsonscan.Scanner) bool {
		if name == "Records" && s.Peek() == '[' {
			e.listed = true
			return s.Each(d.Read)
		}
		start := s.Pos
		if !s.Skip(1) {
			return false
		}
		e.member(name, b[start:s.Pos])
		return true
	})
	switch {
	case err != nil:
		d.End(err)
	case !e.listed && !d.open(&e, depth):
		d.One(b)
	}
}

// member notes a member that an envelope may have.
func (e *envelope) member(name string, value []byte) {
	switch name {
	case "detail":
		if value[0] == '{' {
			e.detail = value
		}
	case "detail-type":
		e.bridge = true
	case "messageType":
		e.messageType = text(value)
	case "logEvents":
		e.logEvents = value
	case "records":
		e.records = value
	case "awslogs":
		e.awslogs = value
	case "data":
		e.data = value
	case "eventData":
		e.eventData = value
	case "Message":
		e.message = value
	case "Type":
		e.kind = text(value)
	case "eventName":
		e.eventName = true
	case "digestS3Object", "digestStartTime":
		e.digest = true
	case "s3ObjectKey":
		e.notice = true
	}
}

// open reads what stands in an envelope; false where it is none.
func (d *decoder) open(e *envelope, depth int) bool {
	switch {
	case e.eventName: // an event, whatever else it has
		return false
	case e.bridge && e.detail != nil:
		d.One(e.detail)
	case e.messageType == "CONTROL_MESSAGE":
		d.pass(shapeControl)
	case e.messageType != "" && e.logEvents != nil:
		d.logs(e.logEvents)
	case e.records != nil && e.records[0] == '[':
		d.End(jsonscan.List(e.records, func(s *jsonscan.Scanner) bool {
			start := s.Pos
			if !s.Skip(2) {
				return false
			}
			d.inside(bytes.TrimSpace(s.B[start:s.Pos]), "data", depth)
			return true
		}))
	case e.awslogs != nil:
		d.inside(e.awslogs, "data", depth)
	case e.kind == "Notification" && e.message != nil:
		d.document([]byte(text(e.message)), depth+1)
	case e.eventData != nil && e.eventData[0] == '{':
		d.One(e.eventData)
	case e.eventData != nil && e.eventData[0] == '"':
		d.One([]byte(text(e.eventData)))
	case e.digest:
		d.pass(shapeDigest)
	case e.notice:
		d.Refuse(&decode.Refusal{Reason: decode.ReasonNotCloudTrail, Detail: "is a notice of a log file: its events stand there"})
	default:
		return false
	}
	return true
}

// logs reads the events of a batch of CloudWatch Logs, each a text.
func (d *decoder) logs(list []byte) {
	d.End(jsonscan.List(list, func(s *jsonscan.Scanner) bool {
		start := s.Pos
		if !s.Skip(2) {
			return false
		}
		var message []byte
		if jsonscan.Members(bytes.TrimSpace(s.B[start:s.Pos]), func(name string, value []byte) {
			if name == "message" {
				message = value
			}
		}) == nil {
			d.One([]byte(text(message)))
		} else {
			d.One(s.B[start:s.Pos])
		}
		return true
	}))
}

// inside reads what stands as base64 in a member of an object.
func (d *decoder) inside(object []byte, member string, depth int) {
	var data []byte
	err := jsonscan.Members(object, func(name string, value []byte) {
		if name == member {
			data = value
		}
	})
	if err != nil {
		d.End(err)
		return
	}
	raw, problem := base64.StdEncoding.DecodeString(text(data))
	if data == nil || problem != nil {
		d.Refuse(&decode.Refusal{Reason: decode.ReasonNotCloudTrail, Field: member, Detail: "is no base64"})
		return
	}
	d.document(raw, depth+1)
}

// packed reads what gzip has packed, up to a size.
func (d *decoder) packed(b []byte, depth int) {
	left := maxUnpacked - d.unpacked
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		d.Refuse(&decode.Refusal{Reason: decode.ReasonNotJSON, Detail: "is no gzip"})
		return
	}
	raw, err := io.ReadAll(io.LimitReader(z, int64(left)+1))
	switch {
	case len(raw) > left:
		d.Refuse(&decode.Refusal{Reason: decode.ReasonTooLarge, Detail: "over " + strconv.Itoa(maxUnpacked) + " bytes unpacked"})
	case err != nil && !errors.Is(err, io.EOF):
		d.Refuse(&decode.Refusal{Reason: decode.ReasonNotJSON, Detail: "is torn gzip"})
	default:
		d.unpacked += len(raw)
		d.document(raw, depth+1)
	}
}

// element reads what stands in an element of a list that is no event but an envelope,
// and refuses what is of another service; false where it is neither.
func (d *decoder) element() bool {
	d.source, d.name = d.Str(d.Ask(aEventSource)), d.Str(d.Ask(aEventName))
	source := d.source
	switch {
	case strings.HasPrefix(source, "aws:"):
		if body := d.Get(root, "body"); source == "aws:sqs" && body != jsonscan.None {
			d.nested([]byte(text(d.Raw(body))))
			return true
		}
		if data := d.at(root, "kinesis", "data"); source == "aws:kinesis" && data != jsonscan.None {
			if raw, err := base64.StdEncoding.DecodeString(text(d.Raw(data))); err == nil {
				d.nested(raw)
				return true
			}
		}
		d.Refuse(&decode.Refusal{Reason: decode.ReasonNotCloudTrail, Field: "eventSource", Detail: "is a record of another service; CloudTrail's events have eventSource SERVICE.amazonaws.com"})
		return true
	case d.Ask(aEventName) != jsonscan.None:
		return false
	}
	for _, name := range [...]string{"detail", "eventData"} {
		if inner := d.Get(root, name); inner != jsonscan.None && d.Kind(inner) == '{' {
			d.nested(d.Raw(inner))
			return true
		}
	}
	if message := d.at(root, "Sns", "Message"); message != jsonscan.None {
		d.nested([]byte(text(d.Raw(message))))
		return true
	}
	if d.Str(d.Get(root, "messageType")) == "CONTROL_MESSAGE" {
		d.pass(shapeControl)
		return true
	}
	if events := d.Get(root, "logEvents"); events != jsonscan.None && d.Kind(events) == '[' {
		list := d.Raw(events)
		d.deeper(func() { d.logs(list) })
		return true
	}
	if d.Str(d.Get(root, "eventCategory")) == "Insight" {
		d.pass(shapeInsight)
		return true
	}
	return false
}

// root is the node of the event itself.
const root int32 = 0

// at returns the member that the names lead to from node i, None where there is none.
// Most events have none of what is asked so, and asking by slot costs each of them.
func (d *decoder) at(i int32, names ...string) int32 {
	for n, name := range names {
		if n > 0 && i == jsonscan.None {
			return jsonscan.None
		}
		i = d.Get(i, name)
	}
	return i
}

// nested reads a text that stood in an element.
func (d *decoder) nested(b []byte) { d.deeper(func() { d.document(b, d.depth) }) }

// deeper reads what stands in an envelope among others.
func (d *decoder) deeper(read func()) {
	at := d.depth
	if d.depth++; d.depth > maxEnvelopes {
		d.Refuse(tooDeep())
	} else {
		d.Inner(read)
	}
	d.depth = at
}

func tooDeep() *decode.Refusal {
	return &decode.Refusal{Reason: decode.ReasonTooDeep, Detail: "over " + strconv.Itoa(maxEnvelopes) + " envelopes in each other"}
}

// text is the value of a JSON string in full, empty of anything else.
func text(value []byte) string {
	var s jsonscan.Scanner
	if s.Reset(value); len(value) == 0 || s.Peek() != '"' {
		return ""
	}
	t, ok := s.Token()
	if !ok {
		return ""
	}
	raw := value[t.Start:t.End]
	if !t.Escaped {
		return string(raw)
	}
	return string(jsonscan.AppendUnescaped(make([]byte, 0, len(raw)), raw, len(raw)))
}
