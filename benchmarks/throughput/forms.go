package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
	"github.com/plumbline-sec/plumbline/schemas/decode/forms"
)

// eventsInRecord is how many events a record of a form that holds many has here.
const eventsInRecord = 50

// formBench is an input form as the events of the fleet are written in it.
type formBench struct {
	name, what string
	many       bool // events in a record
	options    func(root string) (map[string]any, error)
	begin, end string
	write      func(dst []byte, ev *schemas.Activity) []byte
}

var formBenches = []formBench{
	{"cloudtrail", "log files of 50 events", true, nil, `{"Records":[`, `]}`, writeCloudTrail},
	{"ocsf", "an event a record", false, nil, "", "", writeOCSF},
	{"mapping", "LiteLLM's payload by the mapping in deploy/sources", false, liteLLM, "", "", writeLiteLLM},
	{"otlp_spans", "protobuf batches of 50 tool spans that name their agent", true, nil, "", "", nil},
}

// forms measures the decoders of other forms, beside that of the public form on
// the same events.
func (b *runner) forms(ctx context.Context) error {
	source, f, err := b.load(ctx, false)
	if err != nil {
		return err
	}
	f.stop()
	defer source.free()
	for i := range formBenches {
		if err := b.form(&formBenches[i], source); err != nil {
			return fmt.Errorf("%s: %w", formBenches[i].name, err)
		}
	}
	return nil
}

func (b *runner) form(f *formBench, source *corpus) error {
	var options map[string]any
	var err error
	if f.options != nil {
		if options, err = f.options(b.root); err != nil {
			return err
		}
	}
	d, err := forms.New(f.name, options)
	if err != nil {
		return err
	}
	records, err := f.records(source)
	if err != nil {
		return err
	}
	public := decode.NewActivity()
	var r rounds
	err = onOneCore(func() error {
		for i := range b.rounds {
			b.progress("decode %s: round %d of %d", f.name, i+1, b.rounds)
			err := r.measure(source.len(), func() error { return source.decodeAll(public, nil) }, func() error { return decodeRecords(d, records, source.len()) })
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	size := 0
	for _, rec := range records {
		size += len(rec)
	}
	b.page.add(r.speed("decode "+f.name, "event", fmt.Sprintf("%s, %d bytes an event; beside the public form of the same events", f.what, size/source.len())))
	return nil
}

// decodeRecords fails where a record gave something else than its events.
func decodeRecords(d decode.Decoder, records [][]byte, want int) error {
	events, refused := 0, 0
	emit := func(_ int32, _ *schemas.Activity, refusal *decode.Refusal) {
		if refusal != nil {
			refused++
			return
		}
		events++
	}
	in := decode.Record{Topic: sourceTopic, Time: schemas.Millis(time.Now().UnixMilli())}
	for i := range records {
		in.Offset, in.Value = int64(i), records[i]
		d.Decode(&in, emit)
	}
	if events != want || refused > 0 {
		return fmt.Errorf("%d events and %d refusals of %d events", events, refused, want)
	}
	return nil
}

// records writes the events of the corpus in the form.
func (f *formBench) records(source *corpus) ([][]byte, error) {
	var out [][]byte
	var rec []byte
	n := 0
	flush := func() {
		if n > 0 {
			if f.write != nil {
				rec = append(rec, f.end...)
			} else {
				rec = otlpBatch(rec)
			}
			out = append(out, rec)
		}
		rec, n = nil, 0
	}
	err := source.decodeAll(decode.NewActivity(), func(ev *schemas.Activity) {
		switch {
		case f.write == nil:
			rec = appendSpan(rec, ev, n)
		case n == 0:
			rec = f.write(append(rec, f.begin...), ev)
		default:
			rec = f.write(append(rec, ','), ev)
		}
		if n++; !f.many || n == eventsInRecord {
			flush()
		}
	})
	flush()
	return out, err
}

// text is a JSON string of a value.
func text(s string) string { return string(schemas.AppendString(nil, s)) }

func writeCloudTrail(dst []byte, ev *schemas.Activity) []byte {
	code := ""
	if ev.Outcome == schemas.OutcomeDenied {
		code = `"errorCode":"AccessDenied","errorMessage":"not authorized",`
	}
	return fmt.Appendf(dst, `{"eventVersion":"1.11","userIdentity":{"type":"AssumedRole","principalId":"AROAEXAMPLE:run","arn":%s,"accountId":"123456789012","accessKeyId":"ASIAEXAMPLE","sessionContext":{"sessionIssuer":{"type":"Role","arn":%s,"userName":"agent"},"attributes":{"creationDate":"2026-03-02T09:00:00Z","mfaAuthenticated":"false"}}},`+
		`"eventTime":%s,"eventSource":"s3.amazonaws.com","eventName":%s,"awsRegion":"eu-central-1","sourceIPAddress":"10.3.1.8","userAgent":"aws-sdk-go-v2",%s`+
		`"requestParameters":{"bucketName":"data","key":%s},"responseElements":null,"additionalEventData":{"bytesTransferredIn":%d,"bytesTransferredOut":%d},"requestID":"R1","eventID":%s,"readOnly":true,`+
		`"resources":[{"type":"AWS::S3::Object","ARN":%s}],"eventType":"AwsApiCall","managementEvent":false,"recipientAccountId":"123456789012","eventCategory":"Data"}`,
		text("arn:aws:sts::123456789012:assumed-role/"+ev.AgentID+"/run"), text("arn:aws:iam::123456789012:role/"+ev.AgentID), text(ev.Time.String()), text(ev.Tool), code,
		text(firstResource(ev)), ev.BytesSent, ev.BytesReceived, text(ev.EventID), text("arn:aws:s3:::data/"+firstResource(ev)))
}

func firstResource(ev *schemas.Activity) string {
	if len(ev.Resources) == 0 {
		return "none"
	}
	return ev.Resources[0]
}

func writeOCSF(dst []byte, ev *schemas.Activity) []byte {
	return fmt.Appendf(dst, `{"activity_id":2,"category_uid":6,"class_uid":6003,"type_uid":600302,"time":%d,"severity_id":1,"status_id":1,"metadata":{"version":"1.8.0","uid":%s,"product":{"name":"Gateway","vendor_name":"Example"}},`+
		`"actor":{"app_name":"agent","app_uid":%s,"session":{"uid":%s}},"api":{"operation":%s,"service":{"name":"tools"},"response":{"code":200}},"src_endpoint":{"ip":"10.9.0.3"},"resources":[{"uid":%s,"type":"file"}],"unmapped":{"bytes_out":%d,"bytes_in":%d}}`,
		ev.Time, text(ev.EventID), text(ev.AgentID), text(ev.SessionID), text(ev.Tool), text(firstResource(ev)), ev.BytesSent, ev.BytesReceived)
}

func writeLiteLLM(dst []byte, ev *schemas.Activity) []byte {
	return fmt.Appendf(dst, `{"id":%s,"trace_id":"tr","call_type":"acompletion","stream":false,"status":"success","custom_llm_provider":"anthropic","response_cost":0.0041,"total_tokens":1460,"prompt_tokens":%d,"completion_tokens":%d,"startTime":%f,"model":"claude-sonnet-4","model_id":"7c1d9e","cache_hit":false,"end_user":"alice@example.com",`+
		`"metadata":{"user_api_key_hash":"88dc28d0f0","user_api_key_alias":%s,"user_api_key_org_id":"acme","requester_ip_address":"10.2.0.7","spend_logs_metadata":{"session_id":%s}},"messages":[{"role":"user","content":"%s"}],"response":{"choices":[{"message":{"role":"assistant","content":"Three of them."}}]}}`,
		text(ev.EventID), ev.TokensIn, ev.TokensOut, float64(ev.Time)/1000, text(ev.AgentID), text(ev.SessionID), strings.Repeat("x", 200))
}

// liteLLM reads the options of the worked example.
func liteLLM(root string) (map[string]any, error) {
	b, err := os.ReadFile(filepath.Join(root, "deploy/sources/litellm.yaml"))
	if err != nil {
		return nil, err
	}
	var file struct {
		Sources []struct {
			Options map[string]any `yaml:"options"`
		} `yaml:"sources"`
	}
	if err := yaml.Unmarshal(b, &file); err != nil || len(file.Sources) != 1 {
		return nil, fmt.Errorf("read the mapping: %d sources, %w", len(file.Sources), err)
	}
	return file.Sources[0].Options, nil
}

// appendSpan appends a tool span, as a field of ScopeSpans.
func appendSpan(dst []byte, ev *schemas.Activity, n int) []byte {
	field := func(b []byte, number protowire.Number, value []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(b, number, protowire.BytesType), value)
	}
	attribute := func(b []byte, key, value string) []byte {
		kv := field(field(nil, 1, []byte(key)), 2, field(nil, 1, []byte(value)))
		return field(b, 9, kv)
	}
	nanos := uint64(ev.Time) * 1_000_000
	span := field(nil, 1, []byte("0123456789abcdef"))
	span = field(span, 2, fmt.Appendf(nil, "%08d", n+1))
	span = field(span, 5, []byte("execute_tool "+ev.Tool))
	span = protowire.AppendFixed64(protowire.AppendTag(span, 7, protowire.Fixed64Type), nanos)
	span = protowire.AppendFixed64(protowire.AppendTag(span, 8, protowire.Fixed64Type), nanos)
	for _, a := range [][2]string{
		{"gen_ai.operation.name", "execute_tool"},
		{"gen_ai.agent.id", ev.AgentID},
		{"gen_ai.conversation.id", ev.SessionID},
		{"gen_ai.tool.name", ev.Tool},
		{"gen_ai.tool.call.arguments", `{"path":` + strconv.Quote(firstResource(ev)) + `}`},
	} {
		span = attribute(span, a[0], a[1])
	}
	return field(dst, 2, span)
}

// otlpBatch puts the spans of one scope into a batch.
func otlpBatch(spans []byte) []byte {
	field := func(number protowire.Number, value []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), value)
	}
	return field(1, field(2, spans))
}
