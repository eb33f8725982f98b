package kafka_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/pipeline/kafka"
)

// signed checks a first message of AWS_MSK_IAM as a cluster does that knows the
// secret: Signature Version 4 of a query, written here from AWS's description.
func signed(t *testing.T, first []byte, host, region, secret string) bool {
	t.Helper()
	var m map[string]string
	require.NoError(t, json.Unmarshal(first, &m))
	require.Equal(t, "2020_10_22 kafka-cluster:Connect "+host+" AWS4-HMAC-SHA256", m["version"]+" "+m["action"]+" "+m["host"]+" "+m["x-amz-algorithm"])
	date, day := m["x-amz-date"], m["x-amz-date"][:8]
	at, err := time.Parse("20060102T150405Z", date)
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), at, time.Minute)
	scope := day + "/" + region + "/kafka-cluster/aws4_request"
	require.Equal(t, "AKIDEXAMPLE/"+scope, m["x-amz-credential"])
	query := url.Values{"Action": {m["action"]}}
	for _, name := range []string{"Algorithm", "Credential", "Date", "Expires", "Security-Token", "SignedHeaders"} {
		query.Set("X-Amz-"+name, m["x-amz-"+strings.ToLower(name)])
	}
	digest := func(s string) string { sum := sha256.Sum256([]byte(s)); return hex.EncodeToString(sum[:]) }
	request := "GET\n/\n" + strings.ReplaceAll(query.Encode(), "+", "%20") + "\nhost:" + host + "\n\nhost\n" + digest("")
	key := []byte("AWS4" + secret)
	for _, part := range []string{day, region, "kafka-cluster", "aws4_request", "AWS4-HMAC-SHA256\n" + date + "\n" + scope + "\n" + digest(request)} {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(part))
		key = h.Sum(nil)
	}
	return m["x-amz-signature"] == hex.EncodeToString(key)
}

func TestAClusterOfAWSIsAskedWithASignature(t *testing.T) {
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "hunter2right", "AWS_SESSION_TOKEN": "session+token/",
		"AWS_REGION": "eu-central-1", "AWS_DEFAULT_REGION": "", "AWS_PROFILE": "", "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_CONFIG_FILE": filepath.Join(t.TempDir(), "none"), "AWS_SHARED_CREDENTIALS_FILE": filepath.Join(t.TempDir(), "none"),
		"AWS_CA_BUNDLE": "", "AWS_WEB_IDENTITY_TOKEN_FILE": "", "AWS_ROLE_ARN": "",
		"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "", "AWS_CONTAINER_CREDENTIALS_FULL_URI": "",
	} {
		t.Setenv(name, value)
	}
	region := "eu-central-1"
	f := startFront(t, kafka.MechanismMSKIAM, func(first []byte) ([]byte, int16) {
		if signed(t, first, "127.0.0.2", region, "hunter2right") {
			return nil, 0
		}
		return nil, 58
	})
	cfg := kafka.Config{Brokers: []string{f.addr}, SASL: &kafka.SASLConfig{Mechanism: kafka.MechanismMSKIAM}}
	works(t, newClient(t, cfg))

	region = "us-east-1"
	cfg.SASL = &kafka.SASLConfig{Mechanism: kafka.MechanismMSKIAM, Region: region}
	works(t, newClient(t, cfg))

	t.Setenv("AWS_SECRET_ACCESS_KEY", "hunter2wrong")
	shows(t, cfg, "the broker refuses the credentials of AWS_MSK_IAM; check AWS's credentials, their policy, and kafka.sasl.aws_region", true)

	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	shows(t, cfg, "no credentials for Kafka (kafka.sasl): from AWS:", false)

	t.Setenv("AWS_REGION", "")
	_, err := kafka.New(kafka.Config{Brokers: []string{f.addr}, SASL: &kafka.SASLConfig{Mechanism: kafka.MechanismMSKIAM}}, zerolog.Nop())
	require.ErrorContains(t, err, "kafka.sasl.aws_region is missing")
}
