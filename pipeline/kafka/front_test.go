package kafka_test

import (
	"encoding/binary"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/embedded/broker"
	"github.com/plumbline-sec/plumbline/internal/embedded/broker/brokertest"
)

// front stands before an embedded broker and does SASL in its place, with a
// mechanism that the broker does not know. What it lets in goes to the broker.
type front struct {
	addr      string
	mechanism string
	// check returns what the first message is answered with: nothing lets the client
	// in, a challenge says why not, a code refuses at once.
	check func(first []byte) (challenge []byte, code int16)

	mu    sync.Mutex
	let   [][]byte   // first messages that were taken
	conns []net.Conn // of the clients
	done  sync.WaitGroup
}

// startFront runs one until the test ends. The broker names the front's address to
// clients: same port, other address of this machine.
func startFront(t *testing.T, mechanism string, check func([]byte) ([]byte, int16)) *front {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("the front needs a second loopback address")
	}
	const host = "127.0.0.2"
	upstream := brokertest.Start(t, func(c *broker.Config) { c.Advertise = host })
	_, port, err := net.SplitHostPort(upstream)
	require.NoError(t, err)
	l, err := net.Listen("tcp", net.JoinHostPort(host, port))
	require.NoError(t, err)
	f := &front{addr: l.Addr().String(), mechanism: mechanism, check: check}
	f.done.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.conns = append(f.conns, conn)
			f.mu.Unlock()
			f.done.Go(func() { f.serve(conn, net.JoinHostPort("127.0.0.1", port)) })
		}
	})
	t.Cleanup(func() {
		require.NoError(t, l.Close())
		f.hangUp()
		f.done.Wait()
	})
	return f
}

// hangUp ends all connections, as a broker does when sessions expire.
func (f *front) hangUp() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.conns {
		_ = c.Close()
	}
	f.conns = nil
}

// taken are the first messages of the clients that were let in.
func (f *front) taken() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]string, len(f.let))
	for i, m := range f.let {
		out[i] = string(m)
	}
	return out
}

func (f *front) serve(client net.Conn, upstream string) {
	defer client.Close() //nolint:errcheck // a test's server
	server, err := net.Dial("tcp", upstream)
	if err != nil {
		return
	}
	defer server.Close() //nolint:errcheck // a test's server
	for in := false; !in; {
		frame, err := readFrame(client)
		if err != nil || len(frame) < 10 {
			return
		}
		key, version := binary.BigEndian.Uint16(frame), binary.BigEndian.Uint16(frame[2:])
		body := frame[10+max(0, int(int16(binary.BigEndian.Uint16(frame[8:])))):] // behind the client's id
		answer := slices.Clone(frame[4:8])                                        // the correlation id
		switch key {
		case 18: // ApiVersions
			if writeFrame(server, frame) != nil {
				return
			}
			if answer, err = readFrame(server); err != nil {
				return
			}
		case 17: // SaslHandshake
			code := uint16(0)
			if string(body[2:]) != f.mechanism {
				code = 33 // UNSUPPORTED_SASL_MECHANISM
			}
			answer = binary.BigEndian.AppendUint16(answer, code)
			answer = binary.BigEndian.AppendUint32(answer, 1)
			answer = binary.BigEndian.AppendUint16(answer, uint16(len(f.mechanism)))
			answer = append(answer, f.mechanism...)
		case 36: // SaslAuthenticate
			challenge, code := f.check(body[4:])
			if in = code == 0 && len(challenge) == 0; in {
				f.mu.Lock()
				f.let = append(f.let, slices.Clone(body[4:]))
				f.mu.Unlock()
			}
			answer = binary.BigEndian.AppendUint16(answer, uint16(code))
			answer = binary.BigEndian.AppendUint16(answer, 0xffff) // no message
			answer = binary.BigEndian.AppendUint32(answer, uint32(len(challenge)))
			answer = append(answer, challenge...)
			if version > 0 {
				answer = binary.BigEndian.AppendUint64(answer, 0)
			}
		default:
			return // not without credentials
		}
		if writeFrame(client, answer) != nil {
			return
		}
	}
	f.done.Go(func() {
		_, _ = io.Copy(client, server)
		_ = client.Close()
	})
	_, _ = io.Copy(server, client)
}

func readFrame(r io.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	frame := make([]byte, min(binary.BigEndian.Uint32(size[:]), 1<<20))
	_, err := io.ReadFull(r, frame)
	return frame, err
}

func writeFrame(w io.Writer, frame []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(frame))), frame...))
	return err
}

// eventually tries until it works: a connection that ended is noticed by the next
// request.
func eventually(t *testing.T, try func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if err = try(); err == nil {
			return
		}
	}
	require.NoError(t, err)
}

func holds(list []string, part string) bool {
	return slices.ContainsFunc(list, func(s string) bool { return strings.Contains(s, part) })
}
