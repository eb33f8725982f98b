package cloudtrail_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
	"github.com/plumbline-sec/plumbline/schemas/decode/cloudtrail"
	"github.com/plumbline-sec/plumbline/schemas/decode/decodetest"
)

// detonations returns the files of real CloudTrail logs that stand beside the
// repository, and skips the test where they do not.
func detonations(tb testing.TB) []string {
	tb.Helper()
	files, err := filepath.Glob("../../../../shared/data/cloudtrail/*/*.json")
	require.NoError(tb, err)
	if len(files) == 0 {
		tb.Skip("skipped: ../shared/data/cloudtrail is not there")
	}
	return files
}

type trailEvent struct {
	EventID, EventTime, EventSource, EventName, RecipientAccountID string
	ErrorCode, SourceIPAddress                                     string
	ReadOnly                                                       *bool
	UserIdentity                                                   struct {
		ARN, AccessKeyID, InvokedBy, UserName string
		SessionContext                        struct {
			SessionIssuer struct{ ARN, UserName string }
		}
	}
	Resources         []struct{ ARN string }
	RequestParameters map[string]any
}

// The judge is encoding/json over the same files.
func TestRealCloudTrailDecodesWithoutLoss(t *testing.T) {
	d := cloudtrail.New(&decode.Options{})
	total := 0
	for _, file := range detonations(t) {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		var want []trailEvent
		if bytes.TrimSpace(text)[0] == '[' {
			require.NoError(t, json.Unmarshal(text, &want))
		} else {
			var records struct{ Records []trailEvent }
			require.NoError(t, json.Unmarshal(text, &records))
			want = records.Records
		}
		got := decodetest.All(t, d, &decode.Record{Topic: "trail", Time: decodetest.Later, Value: text})
		require.Len(t, got, len(want), file)
		total += len(got)
		for i, w := range want {
			g := got[i]
			require.Equal(t, w.EventID, g.EventID)
			require.Equal(t, strings.TrimSuffix(w.EventTime, "Z")+".000Z", g.Time.String())
			require.Equal(t, w.EventSource+":"+w.EventName, g.Tool)
			require.Equal(t, w.RecipientAccountID, g.TenantID)
			require.Equal(t, w.SourceIPAddress, g.SourceIP)
			require.Equal(t, first(w.UserIdentity.SessionContext.SessionIssuer.ARN, w.UserIdentity.ARN, w.UserIdentity.InvokedBy), g.AgentID)
			require.Equal(t, first(w.UserIdentity.SessionContext.SessionIssuer.UserName, w.UserIdentity.UserName), g.AgentName)
			require.Equal(t, w.UserIdentity.AccessKeyID, g.CredentialID)
			require.Equal(t, w.ErrorCode == "", g.Outcome == schemas.OutcomeSuccess, w.ErrorCode)
			require.Equal(t, strings.Contains(w.ErrorCode, "Denied") || strings.Contains(w.ErrorCode, "Unauthorized"), g.Outcome == schemas.OutcomeDenied, w.ErrorCode)
			if w.ReadOnly != nil {
				// That of a model is called reading, and is an act.
				require.Equal(t, *w.ReadOnly && w.EventName != "InvokeModel", g.Access == schemas.AccessRead, w.EventName)
			}
			for _, r := range w.Resources {
				require.Contains(t, strings.Join(g.Resources, "\n"), strings.TrimPrefix(r.ARN, "arn:aws:s3:::"))
			}
			if id, ok := w.RequestParameters["instanceId"].(string); ok {
				require.Contains(t, g.Resources, "instance:"+id)
			}
			require.Zero(t, g.Flags.FieldsInvalid)
			require.Zero(t, g.Flags.AttributesCut, w.EventName)
			for _, a := range g.Attributes {
				require.NotContains(t, a.Value, "IQoJb3JpZ2lu", "a session token got into %s", a.Key)
			}
		}
	}
	require.Equal(t, 1377, total)
}

func first(of ...string) string {
	for _, s := range of {
		if s != "" {
			return s
		}
	}
	return ""
}

const assumedRole = `"eventTime":"2024-10-17T20:11:24Z","recipientAccountId":"494659789341","sourceIPAddress":"35.249.253.232","userIdentity":{"type":"AssumedRole","arn":"arn:aws:sts::494659789341:assumed-role/agent/run-7","accessKeyId":"ASIA6FTSFH98XNF7DFZB","sessionContext":{"sourceIdentity":"alice","sessionIssuer":{"type":"Role","arn":"arn:aws:iam::494659789341:role/agent","userName":"agent"}}}`

func TestCloudTrailEventsBecomeWhatTheyMean(t *testing.T) {
	for name, tc := range map[string]struct {
		event string
		check func(t *testing.T, ev *schemas.Activity)
	}{
		"a role's session": {`"eventSource":"s3.amazonaws.com","eventName":"GetObject","readOnly":true,"requestParameters":{"bucketName":"invoices","key":"2024/q3.xlsx"},"additionalEventData":{"bytesTransferredIn":0,"bytesTransferredOut":5120},"resources":[{"type":"AWS::S3::Object","ARN":"arn:aws:s3:::invoices/2024/q3.xlsx"},{"type":"AWS::S3::Bucket","ARN":"arn:aws:s3:::invoices"}]`, func(t *testing.T, ev *schemas.Activity) {
			t.Helper()
			require.Equal(t, "arn:aws:iam::494659789341:role/agent", ev.AgentID)
			require.Equal(t, "agent", ev.AgentName)
			require.Equal(t, "alice", ev.OnBehalfOf)
			require.Equal(t, "ASIA6FTSFH98XNF7DFZB", ev.SessionID)
			require.Equal(t, "workload", ev.CredentialType)
			require.Equal(t, "read", ev.Access)
			require.Equal(t, []string{"s3:invoices/2024/q3.xlsx", "s3:invoices"}, ev.Resources)
			require.Equal(t, uint64(5120), ev.BytesReceived)
			require.Equal(t, "arn:aws:sts::494659789341:assumed-role/agent/run-7", decodetest.Attribute(ev, "userIdentity.arn"))
		}},
		"denied": {`"eventSource":"ec2.amazonaws.com","eventName":"GetPasswordData","readOnly":true,"errorCode":"Client.UnauthorizedOperation","requestParameters":{"instanceId":"i-1"}`, func(t *testing.T, ev *schemas.Activity) {
			t.Helper()
			require.Equal(t, "denied", ev.Outcome)
			require.Equal(t, []string{"instance:i-1"}, ev.Resources)
			require.Equal(t, "Client.UnauthorizedOperation", decodetest.Attribute(ev, "errorCode"))
		}},
		"failed": {`"eventSource":"ssm.amazonaws.com","eventName":"GetParameter","errorCode":"ParameterNotFound","requestParameters":{"name":"/db/password","withDecryption":true}`, func(t *testing.T, ev *schemas.Activity) {
			t.Helper()
			require.Equal(t, "failure", ev.Outcome)
			require.Equal(t, "read", ev.Access)
			require.Equal(t, []string{"parameter:/db/password"}, ev.Resources)
			require.Equal(t, "true", decodetest.Attribute(ev, "requestParameters.withDecryption"))
		}},
		"a model is called": {`"eventSource":"bedrock.amazonaws.com","eventName":"InvokeModel","readOnly":true,"requestParameters":{"modelId":"anthropic.claude-3-sonnet-20240229-v1:0"}`, func(t *testing.T, ev *schemas.Activity) {
			t.Helper()
			require.Equal(t, "model_call", ev.Action)
			require.Equal(t, "anthropic.claude-3-sonnet-20240229-v1:0", ev.Model)
		}},
		"an agent in AgentCore is called": {`"eventSource":"bedrock-agentcore.amazonaws.com","eventName":"InvokeAgentRuntime","readOnly":false,"requestParameters":{"agentRuntimeArn":"arn:aws:bedrock-agentcore:us-east-1:494659789341:runtime/research-x","runtimeSessionId":"conv-1"}`, func(t *testing.T, ev *schemas.Activity) {
			t.Helper()
			require.Equal(t, "delegate", ev.Action)
			require.Equal(t, "execute", ev.Access)
			require.Equal(t, "arn:aws:bedrock-agentcore:us-east-1:494659789341:runtime/research-x", ev.TargetAgentID)
			require.Equal(t, "conv-1", ev.SessionID)
		}},
		"a tool behind an AgentCore gateway": {`"eventSource":"bedrock-agentcore.amazonaws.com","eventName":"InvokeGateway","requestParameters":{"body":{"jsonrpc":"2.0","method":"tools/call","params":{"name":"orders___refund"}}},"resources":[{"type":"AWS::BedrockAgentCore::Gateway","ARN":"arn:aws:bedrock-agentcore:us-east-1:494659789341:gateway/g-1"}]`, func(t *testing.T, ev *schemas.Activity) {
			t.Helper()
			require.Equal(t, "bedrock-agentcore.amazonaws.com:InvokeGateway/orders___refund", ev.Tool)
			require.Equal(t, []string{"bedrock-agentcore:arn:aws:bedrock-agentcore:us-east-1:494659789341:gateway/g-1"}, ev.Resources)
		}},
		"credentials are handed out": {`"eventSource":"sts.amazonaws.com","eventName":"AssumeRole","readOnly":true,"requestParameters":{"roleArn":"arn:aws:iam::494659789341:role/other"},"responseElements":{"credentials":{"accessKeyId":"ASIAX","sessionToken":"secret"}}`, func(t *testing.T, ev *schemas.Activity) {
			t.Helper()
			require.Equal(t, "auth", ev.Action)
			require.Equal(t, "withheld", decodetest.Attribute(ev, "responseElements.credentials.sessionToken"))
			require.Equal(t, "ASIAX", decodetest.Attribute(ev, "responseElements.credentials.accessKeyId"))
		}},
		"a message leaves": {`"eventSource":"sns.amazonaws.com","eventName":"Publish","readOnly":false,"requestParameters":{"topicArn":"arn:aws:sns:us-east-1:1:t"}`, func(t *testing.T, ev *schemas.Activity) {
			t.Helper()
			require.Equal(t, "send", ev.Access)
			require.Equal(t, []string{"sns:arn:aws:sns:us-east-1:1:t"}, ev.Resources)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, form := range []string{"%", `{"Records":[%]}`, "[%]", `{"detail-type":"AWS API Call via CloudTrail","detail":%}`} {
				value := strings.ReplaceAll(form, "%", "{"+assumedRole+","+tc.event+"}")
				got := decodetest.All(t, cloudtrail.New(&decode.Options{}), &decode.Record{Topic: "t", Time: decodetest.Later, Value: []byte(value)})
				require.Len(t, got, 1)
				tc.check(t, got[0])
			}
		})
	}
}

func TestABadCloudTrailEventCostsItselfOnly(t *testing.T) {
	good := "{" + assumedRole + "}"
	long := `{"eventName":"` + strings.Repeat("x", schemas.MaxEventBytes) + `"}`
	twice := `{"userIdentity":{"arn":"a","arn":"b"}}`
	value := `{"Records":[` + strings.Join([]string{good, "7", "{}", twice, long, good}, ",") + `]}`
	var reasons []string
	events := 0
	cloudtrail.New(&decode.Options{}).Decode(&decode.Record{Topic: "t", Offset: 3, Value: []byte(value)}, func(index int32, ev *schemas.Activity, refusal *decode.Refusal) {
		if refusal != nil {
			reasons = append(reasons, strconv.Itoa(int(index))+" "+string(refusal.Reason))
			return
		}
		events++
		require.NotEmpty(t, ev.EventID)
	})
	require.Equal(t, 2, events)
	require.Equal(t, []string{"1 not_json", "2 no_agent_id", "3 duplicate_identity", "4 too_large"}, reasons)
}

func TestAFloodInACloudTrailEventIsBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString("{" + assumedRole + `,"requestParameters":{`)
	for i := range 4000 {
		b.WriteString(`"k` + strconv.Itoa(i) + `":{"instanceId":"i-` + strconv.Itoa(i) + `"},`)
	}
	b.WriteString(`"` + strings.Repeat("n", 100<<10) + `":{"a":1,"b":2}}}`)
	got := decodetest.All(t, cloudtrail.New(&decode.Options{}), &decode.Record{Time: decodetest.Later, Value: []byte(b.String())})
	require.Len(t, got[0].Resources, schemas.MaxResources)
	require.Equal(t, 4000, got[0].Flags.ResourcesCut)
	require.Len(t, got[0].Attributes, schemas.MaxAttributes)
	require.Greater(t, got[0].Flags.AttributesCut, 4000)
}

func TestEventsOfARecordWithInvalidIDsStayDifferentEvents(t *testing.T) {
	got := decodetest.All(t, cloudtrail.New(&decode.Options{}), &decode.Record{Topic: "t", Offset: 7, Value: []byte(`{"Records":[{"eventID":5,"userIdentity":{"arn":"r"}},{"eventID":6,"userIdentity":{"arn":"r"}}]}`)})
	require.Equal(t, []string{"t/0/7", "t/0/7/1"}, []string{got[0].EventID, got[1].EventID})
}

func TestTemporaryCredentialsAreWithheldWhereTheyStandTwice(t *testing.T) {
	for _, response := range []string{
		`"responseElements":{"credentials":{"sessionToken":"SECRET","sessionToken":"x"}}`,
		`"responseElements":{"credentials":{"sessionToken":"SECRET"}},"responseElements":{}`,
	} {
		got := decodetest.All(t, cloudtrail.New(&decode.Options{}), &decode.Record{Value: []byte(`{"userIdentity":{"arn":"r"},` + response + `}`)})
		require.NotContains(t, string(schemas.AppendActivity(nil, got[0])), "SECRET")
	}
}

func TestStringsOutliveTheirDecoding(t *testing.T) {
	event := `{"eventSource":"s3.amazonaws.com","eventName":"N","userIdentity":{"arn":"arn:aws:iam::1:user/N"},"x":{"y\u0041":["z\u0041",1]},` +
		`"requestParameters":{"bucketName":"b","key":"N\u0041"}}`
	events := make([]string, 200)
	for i := range events {
		events[i] = strings.ReplaceAll(event, "N", strings.Repeat(string(rune('a'+i%26)), 1+i%40))
	}
	decodetest.Outlive(t, cloudtrail.New(&decode.Options{}), []byte(`{"Records":[`+strings.Join(events, ",")+"]}"))
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		"{" + assumedRole + "}", `{"Records":[{` + assumedRole + `},{}]}`, `[{` + assumedRole + `,"resources":[{"ARN":"arn:aws:s3:::b/k"}],"requestParameters":{"names":["a",1,{}],"bucketName":"b","key":[]}}]`,
		`{"Records":[[]],"Records":[{"userIdentity":{"arn":"` + "\xff" + `\ud800"}}]}`, `{"detail-type":1,"detail":{"eventSource":"a"}}`, `[1,`, `{"Records":[`,
		`{"userIdentity":{"\u0061rn":"x"},"errorCode":{},"readOnly":"true","additionalEventData":{"bytesTransferredIn":-1}}`,
	} {
		f.Add([]byte(s))
	}
	d := cloudtrail.New(&decode.Options{})
	f.Fuzz(func(t *testing.T, value []byte) {
		decodetest.Check(t, d, &decode.Record{Topic: "t", Time: decodetest.Time, Value: value})
	})
}

func BenchmarkDecode(b *testing.B) {
	var text []byte
	for _, file := range detonations(b) {
		if strings.Contains(file, "invictus") {
			one, err := os.ReadFile(file)
			require.NoError(b, err)
			if len(one) > len(text) {
				text = one
			}
		}
	}
	d, events := cloudtrail.New(&decode.Options{}), 0
	rec := decode.Record{Topic: "t", Time: decodetest.Time, Value: text}
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		d.Decode(&rec, func(int32, *schemas.Activity, *decode.Refusal) { events++ })
	}
	b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
}
