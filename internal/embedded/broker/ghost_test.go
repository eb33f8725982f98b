package broker_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/plumbline-sec/plumbline/internal/embedded/broker/brokertest"
)

// A member that dies while it waits for the answer to its JoinGroup must not keep
// partitions: its session ends like anybody's.
func TestAMemberThatDiesWhileItJoinsIsOutAfterItsSession(t *testing.T) {
	addr := brokertest.Start(t)
	const session = time.Second
	join := func(member string) *kmsg.JoinGroupRequest {
		req := kmsg.NewPtrJoinGroupRequest()
		req.SetVersion(3) // which asks for no member id first
		req.Group, req.ProtocolType, req.MemberID = "readers", "consumer", member
		req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = int32(session.Milliseconds()), 30_000
		req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range"}}
		return req
	}
	alive := dial(t, addr)
	enter := func(member string) (id string, generation int32) {
		j := alive.ask(join(member)).(*kmsg.JoinGroupResponse)
		require.NoError(t, kerr.ErrorForCode(j.ErrorCode))
		s := kmsg.NewPtrSyncGroupRequest()
		s.SetVersion(2)
		s.Group, s.Generation, s.MemberID = "readers", j.Generation, j.MemberID
		s.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: j.MemberID, MemberAssignment: []byte{0}}}
		require.NoError(t, kerr.ErrorForCode(alive.ask(s).(*kmsg.SyncGroupResponse).ErrorCode))
		return j.MemberID, j.Generation
	}
	rebalances := func(member string, generation int32, within time.Duration, what string) {
		t.Helper()
		deadline := time.Now().Add(within)
		for {
			h := kmsg.NewPtrHeartbeatRequest()
			h.SetVersion(2)
			h.Group, h.Generation, h.MemberID = "readers", generation, member
			if alive.ask(h).(*kmsg.HeartbeatResponse).ErrorCode == kerr.RebalanceInProgress.Code {
				return
			}
			require.True(t, time.Now().Before(deadline), what)
			time.Sleep(50 * time.Millisecond)
		}
	}
	member, generation := enter("")

	// Another one asks to join, and is gone before there is an answer.
	dying := dial(t, addr)
	dying.write(join(""))
	rebalances(member, generation, 5*time.Second, "the other one asks to join")
	require.NoError(t, dying.Close())
	time.Sleep(200 * time.Millisecond)

	member, generation = enter(member)
	rebalances(member, generation, 5*session, "nobody notices that the other one is gone")
}
