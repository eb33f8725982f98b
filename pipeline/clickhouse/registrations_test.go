package clickhouse

import (
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/schemas"
)

func registrationRow(offset int64, reg schemas.Registration) pipeline.RegistrationRow {
	return pipeline.RegistrationRow{
		Registration: &reg, RecordedAt: reg.Time,
		Origin: schemas.Origin{Source: "registry", Incarnation: 1, Topic: "agent-registry", Offset: offset}, Log: pipeline.Place{Partition: 0, Offset: offset},
	}
}

func TestAgentsShowWhoIsRegisteredAndWhoActs(t *testing.T) {
	db := migrated(t)
	at := now() - 1000
	first := registrationRow(1, schemas.Registration{
		TenantID: "acme", AgentID: "bot", Time: at - 10, Owner: "Ada", Contact: "ada@acme.example", Criticality: schemas.CriticalityHigh, ValidUntil: at - 5,
		Versions: []string{"1"}, Credentials: []schemas.Credential{{ID: "k1"}}, Tools: []string{}, Labels: []schemas.Attribute{{Key: "team", Value: "ap"}},
	})
	rows := []pipeline.RegistrationRow{
		first,
		registrationRow(2, schemas.Registration{TenantID: "acme", AgentID: "bot", Time: at, Owner: "Bob"}),
		registrationRow(3, schemas.Registration{TenantID: "acme", AgentID: "bot", Time: at - 20, Owner: "who was before"}), // came late
		registrationRow(4, schemas.Registration{TenantID: "acme", AgentID: "over", Time: at - 10, Owner: "Eve", ValidUntil: at - 5}),
		registrationRow(5, schemas.Registration{TenantID: "acme", AgentID: "gone", Time: at, Status: schemas.StatusDecommissioned}),
	}
	require.NoError(t, db.InsertRegistrations(t.Context(), rows))
	require.NoError(t, db.InsertRegistrations(t.Context(), rows), "again, as after a lost acknowledgement")
	events := randomRows(rand.New(rand.NewPCG(1, 2)), 3, at)
	for i := range events {
		events[i].Event.TenantID, events[i].Event.AgentID, events[i].Event.Time, events[i].Event.RecordedAt = "acme", "bot", at+schemas.Millis(i), at
		events[i].Event.CredentialID = []string{"k2", "k1", ""}[i]
	}
	events[2].Event.AgentID = "shadow"
	require.NoError(t, db.InsertActivity(t.Context(), events))
	open := sampleAlert(1)
	open.Alert.TenantID, open.Alert.Agent, open.Alert.Status, open.Alert.EpisodeID, open.RecordedAt = "acme", schemas.AlertAgent{ID: "bot", Owner: "Bob", Contact: "b@x", Criticality: "low"}, schemas.StatusOpen, "e", at
	require.NoError(t, db.InsertAlerts(t.Context(), []pipeline.AlertRow{open}))

	history := ask(t, db, "SELECT * FROM registrations ORDER BY origin_offset")
	require.Len(t, history, len(rows))
	require.Equal(t, string(schemas.AppendRegistration(nil, first.Registration)), history[0]["registration"])
	require.Equal(t, "Ada", history[0]["owner"])

	got := map[string]map[string]any{}
	for _, m := range ask(t, db, "SELECT * FROM agents WHERE tenant_id = 'acme'") {
		got[m["agent_id"].(string)] = m
	}
	require.Len(t, got, 4)
	bot := got["bot"]
	require.Equal(t, true, bot["registered"])
	require.Equal(t, "active", bot["status"], "what was valid until then was replaced")
	require.Equal(t, "Bob", bot["owner"])
	require.Empty(t, bot["contact"], "of the one that counts")
	require.Equal(t, []any{"k1", "k2"}, bot["credentials_used"])
	require.EqualValues(t, "1", bot["open_episodes"])
	require.Equal(t, "decommissioned", got["over"]["status"])
	require.Equal(t, "decommissioned", got["gone"]["status"])
	require.Nil(t, got["gone"]["last_activity"])
	require.Equal(t, false, got["shadow"]["registered"])
	require.Empty(t, got["shadow"]["status"])

	alert := ask(t, db, "SELECT agent_owner, agent_contact, agent_criticality FROM alerts")[0]
	require.Equal(t, map[string]any{"agent_owner": "Bob", "agent_contact": "b@x", "agent_criticality": "low"}, alert)
}

func TestRegistrationsStandAmongTheEventsOfTheLog(t *testing.T) {
	db := migrated(t)
	at := now() - 1000
	var said []pipeline.RegistrationRow
	for _, offset := range []int64{2, 5, 9} {
		row := registrationRow(offset, schemas.Registration{TenantID: "acme", AgentID: "bot", Time: at, Owner: "Ada", Tools: []string{}})
		row.LogTime = at
		said = append(said, row)
	}
	require.NoError(t, db.InsertRegistrations(t.Context(), said))
	require.NoError(t, db.InsertRegistrations(t.Context(), said))
	events := randomRows(rand.New(rand.NewPCG(1, 2)), 4, at)
	for i, offset := range []int64{3, 4, 6, 7} {
		events[i].Event.Time, events[i].Event.RecordedAt, events[i].LogTime, events[i].Log = at, at, at, pipeline.Place{Offset: offset}
	}
	require.NoError(t, db.InsertActivity(t.Context(), events))
	kinds := ""
	note := func(row *pipeline.ActivityRow) error {
		if row.Event.Registration != nil {
			require.Equal(t, said[0].Registration, row.Event.Registration)
			kinds += "r"
		}
		kinds += strconv.FormatInt(row.Log.Offset, 10)
		return nil
	}
	require.NoError(t, db.LoggedRegistrations(t.Context(), 0, 3, note))
	kinds += " "
	require.NoError(t, db.LoggedEvents(t.Context(), 0, 3, 7, note))
	kinds += " "
	require.NoError(t, db.LoggedEvents(t.Context(), 0, 7, 100, note))
	kinds += " "
	r, err := db.ReadActivity(t.Context(), at-1000, at+1000)
	require.NoError(t, err)
	require.NoError(t, r.Each(t.Context(), func(row *pipeline.ActivityRow, _ schemas.Millis) error { return note(row) }))
	require.Equal(t, "r2 34r56 7r9 r234r567", kinds)
}
