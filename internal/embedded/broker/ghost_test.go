package broker_test

import (
	"encoding/binary"
	"io"
	"net"
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
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", addr) //nolint:noctx // at once
		require.NoError(t, err)
		return conn
	}
	write := func(conn net.Conn, req kmsg.Request) {
		_, err := conn.Write(kmsg.NewRequestFormatter().AppendRequest(nil, req, 1))
		require.NoError(t, err)
	}
	ask := func(conn net.Conn, req kmsg.Request) kmsg.Response {
		write(conn, req)
		size := make([]byte, 4)
		_, err := io.ReadFull(conn, size)
		require.NoError(t, err)
		body := make([]byte, binary.BigEndian.Uint32(size))
		_, err = io.ReadFull(conn, body)
		require.NoError(t, err)
		resp := req.ResponseKind()
		require.NoError(t, resp.ReadFrom(body[4:])) // behind the correlation id
		return resp
	}
	const session = time.Second
	join := func(member string) *kmsg.JoinGroupRequest {
		req := kmsg.NewPtrJoinGroupRequest()
		req.SetVersion(3) // which asks for no member id first
		req.Group, req.ProtocolType, req.MemberID = "readers", "consumer", member
		req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = int32(session.Milliseconds()), 30_000
		req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range"}}
		return req
	}
	alive := dial()
	defer alive.Close() //nolint:errcheck // it was read
	enter := func(member string) (id string, generation int32) {
		j := ask(alive, join(member)).(*kmsg.JoinGroupResponse)
		require.NoError(t, kerr.ErrorForCode(j.ErrorCode))
		s := kmsg.NewPtrSyncGroupRequest()
		s.SetVersion(2)
		s.Group, s.Generation, s.MemberID = "readers", j.Generation, j.MemberID
		s.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: j.MemberID, MemberAssignment: []byte{0}}}
		require.NoError(t, kerr.ErrorForCode(ask(alive, s).(*kmsg.SyncGroupResponse).ErrorCode))
		return j.MemberID, j.Generation
	}
	rebalances := func(member string, generation int32, within time.Duration, what string) {
		t.Helper()
		deadline := time.Now().Add(within)
		for {
			h := kmsg.NewPtrHeartbeatRequest()
			h.SetVersion(2)
			h.Group, h.Generation, h.MemberID = "readers", generation, member
			if ask(alive, h).(*kmsg.HeartbeatResponse).ErrorCode == kerr.RebalanceInProgress.Code {
				return
			}
			require.True(t, time.Now().Before(deadline), what)
			time.Sleep(50 * time.Millisecond)
		}
	}
	member, generation := enter("")

	// Another one asks to join, and is gone before there is an answer.
	dying := dial()
	write(dying, join(""))
	rebalances(member, generation, 5*time.Second, "the other one asks to join")
	require.NoError(t, dying.Close())
	time.Sleep(200 * time.Millisecond)

	member, generation = enter(member)
	rebalances(member, generation, 5*session, "nobody notices that the other one is gone")
}
