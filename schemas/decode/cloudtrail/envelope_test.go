package cloudtrail_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
	"github.com/plumbline-sec/plumbline/schemas/decode/cloudtrail"
	"github.com/plumbline-sec/plumbline/schemas/decode/decodetest"
)

const role = "arn:aws:iam::494659789341:role/agent"

func gzipped(text string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(text))
	_ = w.Close()
	return b.Bytes()
}

func quoted(text string) string {
	b, _ := json.Marshal(text)
	return string(b)
}

func base64Of(b []byte) string { return quoted(base64.StdEncoding.EncodeToString(b)) }

func TestWhatAWSPutsAroundEventsIsTakenOff(t *testing.T) {
	event := func(id string) string {
		return `{"eventID":"` + id + `","eventName":"GetObject","eventSource":"s3.amazonaws.com",` + assumedRole + `}`
	}
	one, two := event("e1"), event("e2")
	logs := `{"messageType":"DATA_MESSAGE","owner":"1","logGroup":"g","logStream":"s","logEvents":[{"id":"1","message":` + quoted(one) + `},{"id":"2","message":` + quoted(two) + `}]}`
	control := `{"messageType":"CONTROL_MESSAGE","logEvents":[{"id":"","message":"CWL CONTROL MESSAGE: Checking health of destination."}]}`
	bridge := `{"version":"0","detail-type":"AWS API Call via CloudTrail","source":"aws.s3","detail":` + one + `}`
	for name, c := range map[string]struct {
		record  string
		want    []string
		skipped map[string]int
	}{
		"EventBridge":                       {bridge, []string{"e1"}, nil},
		"a list of EventBridge's":           {"[" + bridge + "," + two + "]", []string{"e1", "e2"}, nil},
		"CloudWatch Logs":                   {logs, []string{"e1", "e2"}, nil},
		"CloudWatch Logs, packed":           {string(gzipped(logs)), []string{"e1", "e2"}, nil},
		"CloudWatch Logs to Lambda":         {`{"awslogs":{"data":` + base64Of(gzipped(logs)) + `}}`, []string{"e1", "e2"}, nil},
		"CloudWatch Logs asks":              {control, nil, map[string]int{"control": 1}},
		"a list with one that asks":         {"[" + control + "," + two + "]", []string{"e2"}, map[string]int{"control": 1}},
		"Firehose":                          {`{"records":[{"recordId":"1","data":` + base64Of([]byte(one)) + `},{"recordId":"2","data":` + base64Of(gzipped(logs)) + `}]}`, []string{"e1", "e1", "e2"}, nil},
		"Kinesis to Lambda":                 {`{"Records":[{"eventSource":"aws:kinesis","kinesis":{"data":` + base64Of(gzipped(logs)) + `}},` + two + `]}`, []string{"e1", "e2", "e2"}, nil},
		"SQS to Lambda":                     {`{"Records":[{"eventSource":"aws:sqs","body":` + quoted(bridge) + `},{"eventSource":"aws:sqs","body":` + quoted(two) + `}]}`, []string{"e1", "e2"}, nil},
		"SNS":                               {`{"Type":"Notification","TopicArn":"t","Message":` + quoted(bridge) + `}`, []string{"e1"}, nil},
		"SNS to Lambda":                     {`{"Records":[{"EventSource":"aws:sns","Sns":{"Message":` + quoted(one) + `}}]}`, []string{"e1"}, nil},
		"CloudTrail Lake":                   {`{"metadata":{},"eventData":` + strings.Replace(one, `"eventID"`, `"UID"`, 1) + `}`, []string{"e1"}, nil},
		"CloudTrail Lake, as it is put":     {`{"id":"x","eventData":` + quoted(one) + `}`, []string{"e1"}, nil},
		"a digest":                          {`{"awsAccountId":"1","digestStartTime":"2026-03-02T09:30:00Z","digestS3Object":"o","logFiles":[]}`, nil, map[string]int{"digest": 1}},
		"an insight":                        {`{"Records":[{"eventCategory":"Insight","eventType":"AwsCloudTrailInsight","insightDetails":{}},` + one + `]}`, []string{"e1"}, map[string]int{"insight": 1}},
		"a log file as it stands in S3":     {string(gzipped(`{"Records":[` + one + "," + two + "]}")), []string{"e1", "e2"}, nil},
		"an event with a member of another": {strings.Replace(one, `{`, `{"data":"x","detail":{"eventName":"y"},`, 1), []string{"e1"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			d := cloudtrail.New(&decode.Options{})
			rec := &decode.Record{Topic: "t", Time: decodetest.Later, Value: []byte(c.record)}
			var have []string
			for _, ev := range decodetest.All(t, d, rec) {
				require.Equal(t, role, ev.AgentID)
				have = append(have, ev.EventID)
			}
			require.Equal(t, c.want, have)
			var skipped map[string]int
			decode.Passed(d, func(s decode.Shape, n int, _ string) {
				if skipped == nil {
					skipped = map[string]int{}
				}
				skipped[s.Name] = n
			})
			require.Equal(t, c.skipped, skipped)
			decodetest.Check(t, d, rec)
		})
	}
}

func TestRecordsOfAnotherServiceAreRefused(t *testing.T) {
	deep := `{"eventName":"x"}`
	for range 6 {
		deep = `{"Type":"Notification","Message":` + quoted(deep) + `}`
	}
	for value, reason := range map[string]decode.Reason{
		`{"Records":[{"eventSource":"aws:s3","eventName":"ObjectCreated:Put","userIdentity":{"principalId":"AWS:AROA:x"},"s3":{}}]}`: decode.ReasonNotCloudTrail,
		`{"Records":[{"eventSource":"aws:dynamodb","eventName":"INSERT","dynamodb":{}}]}`:                                            decode.ReasonNotCloudTrail,
		`{"s3Bucket":"b","s3ObjectKey":["AWSLogs/x.json.gz"]}`:                                                                       decode.ReasonNotCloudTrail,
		`{"records":[{"recordId":"1","data":"%"}]}`:                                                                                  decode.ReasonNotCloudTrail,
		string(gzipped(strings.Repeat(" ", 40<<20))):                                                                                 decode.ReasonTooLarge,
		string(gzipped(`{"Records":[]}`)[:20]):                                                                                       decode.ReasonNotJSON,
		deep:                                                                                                                         decode.ReasonTooDeep,
	} {
		var reasons []decode.Reason
		cloudtrail.New(&decode.Options{}).Decode(&decode.Record{Value: []byte(value)}, func(_ int32, ev *schemas.Activity, refusal *decode.Refusal) {
			require.Nil(t, ev)
			reasons = append(reasons, refusal.Reason)
		})
		require.Equal(t, []decode.Reason{reason}, reasons, "%.80s", value)
	}
}

// Packed records that stand in each other come to no more than one may.
func TestWhatIsUnpackedIsBoundedOverTheWholeRecord(t *testing.T) {
	bomb := base64Of(gzipped(strings.Repeat(" ", 20<<20)))
	value := `{"records":[{"data":` + bomb + `},{"data":` + bomb + `},{"data":` + bomb + `}]}`
	large := 0
	cloudtrail.New(&decode.Options{}).Decode(&decode.Record{Value: []byte(value)}, func(_ int32, _ *schemas.Activity, refusal *decode.Refusal) {
		if refusal.Reason == decode.ReasonTooLarge {
			large++
		}
	})
	require.Equal(t, 2, large)
}

func TestWhoActsIsNeitherTheSessionNorTheCredential(t *testing.T) {
	gateway := func(claims string) string {
		return `"eventSource":"bedrock-agentcore.amazonaws.com","eventName":"InvokeGateway","userIdentity":{"type":"AWSAccount","principalId":"","accountId":"anonymous"},"additionalEventData":{"jwt":{"claims":{` + claims + `}}}`
	}
	for name, c := range map[string]struct{ event, agent, session, credential string }{
		"a role without its issuer":     {`"userIdentity":{"type":"AssumedRole","arn":"arn:aws-cn:sts::1:assumed-role/inv/job-1"}`, "arn:aws-cn:sts::1:assumed-role/inv", "job-1", ""},
		"another account's role":        {`"userIdentity":{"type":"AWSAccount","principalId":"AROAEXAMPLE:job-1","accountId":"2"}`, "AROAEXAMPLE", "job-1", ""},
		"another account's user":        {`"userIdentity":{"type":"AWSAccount","principalId":"AIDAEXAMPLE","accountId":"2"}`, "AIDAEXAMPLE", "", ""},
		"Identity Center":               {`"userIdentity":{"type":"IdentityCenterUser","accountId":"1","onBehalfOf":{"userId":"u"},"credentialId":"c"}`, "u", "c", "c"},
		"a caller of a gateway":         {gateway(`"sub":"agent-7","jti":"j","client_id":"app"`), "agent-7", "", "j"},
		"a client of a gateway":         {gateway(`"client_id":"app"`), "app", "", ""},
		"nobody at a gateway":           {gateway(``), "anonymous", "", ""},
		"claims of somebody known":      {`"userIdentity":{"type":"IAMUser","arn":"arn:aws:iam::1:user/b","accountId":"1"},"additionalEventData":{"jwt":{"claims":{"sub":"other"}}}`, "arn:aws:iam::1:user/b", "", ""},
		"a web identity is its subject": {`"userIdentity":{"type":"WebIdentityUser","principalId":"accounts.google.com:app:user","userName":"user"}`, "accounts.google.com:app:user", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			ev, refusal := decodetest.One(t, cloudtrail.New(&decode.Options{}), &decode.Record{Time: decodetest.Later, Value: []byte("{" + c.event + "}")})
			require.Nil(t, refusal)
			require.Equal(t, c.agent, ev.AgentID)
			require.Equal(t, c.session, ev.SessionID)
			require.Equal(t, c.credential, ev.CredentialID)
		})
	}
}

func TestFailureAndDenialInEveryPlace(t *testing.T) {
	for event, outcome := range map[string]string{
		`"errorCode":"Client.OperationNotPermitted"`:                                                                                                  "denied",
		`"errorCode":"ThrottlingException"`:                                                                                                           "failure",
		`"errorCode":"ValidationException","errorMessage":"x is not authorized to perform: s3:Get"`:                                                   "denied",
		`"errorMessage":"Failed authentication"`:                                                                                                      "failure",
		`"errorMessage":"Access Denied"`:                                                                                                              "denied",
		`"eventSource":"signin.amazonaws.com","responseElements":{"ExitRole":"Failure"}`:                                                              "failure",
		`"eventSource":"signin.amazonaws.com","responseElements":{"ConsoleLogin":"Success"}`:                                                          "success",
		`"eventSource":"sso.amazonaws.com","serviceEventDetails":{"UserAuthentication":"Failure"}`:                                                    "failure",
		`"eventSource":"bedrock-agentcore.amazonaws.com","responseElements":{"statusCode":401,"body":{"error":{"code":-32001}}}`:                      "denied",
		`"eventSource":"bedrock-agentcore.amazonaws.com","responseElements":{"statusCode":500}`:                                                       "failure",
		`"eventSource":"bedrock-agentcore.amazonaws.com","responseElements":{"statusCode":200,"body":{"result":{"isError":true}}}`:                    "failure",
		`"eventSource":"bedrock-agentcore.amazonaws.com","responseElements":{"statusCode":200,"body":{"error":{"code":-32602}}}`:                      "failure",
		`"eventSource":"bedrock-agentcore.amazonaws.com","responseElements":{"statusCode":200,"body":{"result":{"isError":false}},"note":"Failure!"}`: "success",
	} {
		ev, refusal := decodetest.One(t, cloudtrail.New(&decode.Options{}), &decode.Record{Time: decodetest.Later, Value: []byte("{" + assumedRole + "," + event + "}")})
		require.Nil(t, refusal)
		require.Equal(t, outcome, ev.Outcome, event)
	}
}

func TestResourcesAreFoundWhereverAServiceNamesThem(t *testing.T) {
	for event, want := range map[string][]string{
		`"eventSource":"s3.amazonaws.com","eventName":"ListObjectsV2","requestParameters":{"bucketName":"b","prefix":"hr/"}`:                                              {"s3:b/hr/", "s3:b"},
		`"eventSource":"s3.amazonaws.com","eventName":"UploadPartCopy","requestParameters":{"bucketName":"b","key":"k","x-amz-copy-source":"/src/a%20b.csv?versionId=1"}`: {"s3:b/k", "s3:src/a b.csv"},
		`"eventSource":"s3.amazonaws.com","resources":[{"ARNPrefix":"arn:aws-us-gov:s3:::b/x/"}]`:                                                                         {"s3:b/x/"},
		`"eventSource":"dynamodb.amazonaws.com","requestParameters":{"requestItems":{"users":{"keys":[]},"orders":{}}}`:                                                   {"dynamodb:users", "dynamodb:orders"},
		`"eventSource":"dynamodb.amazonaws.com","requestParameters":{"transactItems":[{"put":{"tableName":"a"}},{"get":{"tableName":"b"}}]}`:                              {"dynamodb:a", "dynamodb:b"},
		`"eventSource":"ses.amazonaws.com","requestParameters":{"destination":{"toAddresses":["a@x","b@x"],"bccAddresses":["c@x"]}}`:                                      {"email:a@x", "email:b@x", "email:c@x"},
		`"eventSource":"ses.amazonaws.com","requestParameters":{"bulkEmailEntries":[{"destination":{"toAddresses":["a@x"]}}]}`:                                            {"email:a@x"},
		`"eventSource":"ses.amazonaws.com","requestParameters":{"destinations":["HIDDEN_DUE_TO_SECURITY_REASONS"]}`:                                                       nil,
		`"eventSource":"sns.amazonaws.com","requestParameters":{"phoneNumber":"+491"}`:                                                                                    {"phone:+491"},
		`"eventSource":"ec2.amazonaws.com","requestParameters":{"instancesSet":{"items":[{"instanceId":"i-1"},{"instanceId":"i-2"}]}}`:                                    {"instance:i-1", "instance:i-2"},
		`"eventSource":"events.amazonaws.com","requestParameters":{"name":"nightly"}`:                                                                                     {"rule:nightly"},
		`"eventSource":"bedrock-agentcore.amazonaws.com","requestParameters":{"browserIdentifier":"br"}`:                                                                  {"bedrock-agentcore:br"},
		`"eventSource":"new.amazonaws.com","requestParameters":{"widgetId":"w","deep":{"widgetIds":["x","y"]}}`:                                                           {"widget:w", "widget:x", "widget:y"},
	} {
		d := decodetest.New(t, "cloudtrail", map[string]any{"resources": map[string]any{"widgetId": "widget", "widgetIds": "widget"}})
		ev, refusal := decodetest.One(t, d, &decode.Record{Time: decodetest.Later, Value: []byte("{" + assumedRole + "," + event + "}")})
		require.Nil(t, refusal)
		require.Equal(t, want, ev.Resources, event)
	}
}

func FuzzEnvelopes(f *testing.F) {
	event := "{" + assumedRole + `,"eventName":"x"}`
	for _, s := range []string{
		event, `{"Records":[` + event + `]}`, `{"messageType":"DATA_MESSAGE","logEvents":[{"message":` + quoted(event) + `},7,{"message":7}]}`,
		`[{"messageType":"DATA_MESSAGE","logEvents":[{"message":"{}"}]}]`, `{"records":[{"data":` + base64Of(gzipped(event)) + `},{"data":7},[]]}`,
		`{"Type":"Notification","Message":` + quoted(`{"Records":[{"eventSource":"aws:sqs","body":`+quoted(event)+`}]}`) + `}`, `{"awslogs":[]}`, `{"eventData":""}`, `{"detail-type":1,"detail":{}}`,
		`[{"detail":{"detail":{"detail":{"detail":{"detail":{"detail":{}}}}}}}]`, string(gzipped(event)), `{"Records":[{"eventSource":"aws:kinesis","kinesis":{"data":"e30="}}]} x`,
	} {
		f.Add([]byte(s))
	}
	d := cloudtrail.New(&decode.Options{})
	f.Fuzz(func(t *testing.T, value []byte) {
		before := string(value)
		decodetest.Check(t, d, &decode.Record{Topic: "t", Time: decodetest.Later, Value: value})
		require.Equal(t, before, string(value), "a record is not written to")
	})
}
