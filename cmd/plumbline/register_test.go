package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/embedded/broker/brokertest"
	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/pipeline/kafka"
	"github.com/plumbline-sec/plumbline/schemas"
)

const registryTestTopic = "agent-registry"

// sample is the path of a file in deploy/sources.
func sample(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", "..", "deploy", "sources", name))
	require.NoError(t, err)
	return path
}

func TestRegistrationsAreSentInTheirCanonicalFormByAgent(t *testing.T) {
	const partitions = 3
	addr := brokertest.Start(t)
	client, err := kafka.New(kafka.Config{Brokers: []string{addr}}, zerolog.Nop())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	require.NoError(t, client.EnsureTopics(t.Context(), []kafka.TopicSpec{{Name: registryTestTopic, Partitions: partitions}}))
	cfg := writeFile(t, "kafka.yaml", "kafka: {brokers: \""+addr+"\"}\n")

	csv := writeFile(t, "agents.csv", "\ufeffagent_id, owner ,tools,credentials,team,time\ninvoice-bot,\"Lovelace, Ada\",crm.*;mail.send,k1,ap,2026-01-01T00:00:00Z\ntriage-bot,,,,,2026-01-01T00:00:00Z\n")
	r := plumbline(t, "register", "--config", cfg, csv, sample(t, "registration.json"), "--output", "json")
	require.Equal(t, 0, r.code, r.stderr)
	var sum registerSummary
	require.NoError(t, json.Unmarshal([]byte(r.stdout), &sum))
	require.Equal(t, registerSummary{Registrations: 4, Agents: 4, NoOwner: 1, Sent: 4, Topic: registryTestTopic, Seconds: sum.Seconds}, sum)

	got := map[string]string{}
	for p := range int32(partitions) {
		tp := pipeline.TopicPartition{Topic: registryTestTopic, Partition: p}
		at, end, err := client.Bounds(t.Context(), tp)
		require.NoError(t, err)
		for at < end {
			f, err := client.Fetch(t.Context(), tp, at)
			require.NoError(t, err)
			for _, rec := range f.Records {
				require.Equal(t, p, schemas.Partition(rec.Key, partitions))
				got[string(rec.Key)] = string(rec.Value)
			}
			at = f.Next
		}
	}
	require.Len(t, got, 4)
	want := `{"record":"registration","tenant_id":"default","agent_id":"invoice-bot","time":"2026-01-01T00:00:00.000Z","owner":"Lovelace, Ada",` +
		`"credentials":[{"id":"k1"}],"tools":["crm.*","mail.send"],"labels":{"team":"ap"},"fields_unknown":["team"]}`
	require.Equal(t, []byte(want), []byte(got["default/invoice-bot"]))
}

func TestAMistakeIsNamedAndNothingIsSent(t *testing.T) {
	// There is no Kafka: nothing was asked of it.
	cfg := writeFile(t, "kafka.yaml", "kafka: {brokers: \"127.0.0.1:1\"}\n")
	csv := writeFile(t, "agents.csv", "agent_id,status\na,active\n\nb,gone\n")
	r := plumbline(t, "register", "--config", cfg, csv)
	require.Equal(t, 1, r.code)
	require.Contains(t, r.stderr, `agents.csv, line 4: invalid_registration (status): is "gone", and must be one of active, suspended, decommissioned`)
	require.Contains(t, r.stderr, "1 records have mistakes: nothing was sent")
	require.Contains(t, r.stdout, "1 registrations of 1 agents, 1 of them without an owner are right, 1 are not")

	for name, tc := range map[string]struct{ text, want string }{
		"no-head.csv":   {"a,b\n1,2\n", "the first line names no agent_id"},
		"empty.csv":     {"", "the first line must name the fields"},
		"uneven.csv":    {"agent_id,owner\na\n", "record on line 2: wrong number of fields"},
		"events.jsonl":  {`{"agent_id":"a","tool":"t","resources":["x:y"]}` + "\n" + `{"agent_id":"a","tools":"t"}`, "line 2: invalid_registration (tools): is not a list"},
		"nothing.jsonl": {`{"owner":"a"}`, "no_agent_id"},
		"zone.jsonl":    {`{"agent_id":"a","owner":"x","time_zone":"Mars/Olympus"}` + "\n" + `{"agent_id":"b","owner":3}`, `time zone "Mars/Olympus" is not known`},
	} {
		r := plumbline(t, "register", "--config", cfg, "--check", writeFile(t, name, tc.text))
		require.Equal(t, 1, r.code, name)
		require.Contains(t, r.stderr, tc.want, name)
	}
}

func TestTheInventoriesOfTheSamplesAreRead(t *testing.T) {
	for source, agents := range map[string]int{"scim": 2, "entra-agents": 2, "aws-roles": 1, "a2a": 1} {
		r := plumbline(t, "register", "--check", "--config", sample(t, source+".yaml"), "--source", source, sample(t, source+".json"), "--output", "json")
		require.Equal(t, 0, r.code, r.stderr)
		var sum registerSummary
		require.NoError(t, json.Unmarshal([]byte(r.stdout), &sum))
		require.Equal(t, agents, sum.Agents, source)
	}
	r := plumbline(t, "register", "--check", sample(t, "agents.csv"))
	require.Equal(t, 0, r.code, r.stderr)
	b, err := os.ReadFile(sample(t, "agents.csv"))
	require.NoError(t, err)
	require.Contains(t, r.stdout, "2 registrations of 2 agents: no mistakes")
	require.Equal(t, 3, strings.Count(string(b), "\n"))
}
