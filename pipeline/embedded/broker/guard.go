package broker

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// maxRequest is Kafka's socket.request.max.bytes.
const maxRequest = 100 << 20

// guard wraps a listener so that every connection is checked frame by frame
// before kfake sees it. kfake allocates whatever a frame's length field says and
// panics on a request key it does not know: a browser or a port scanner on the
// port would end the process. TLS is unwrapped here, below the check, for the
// check has to see the plain protocol. addr is what the listener says it is.
func guard(ln net.Listener, tc *tls.Config, addr string, log zerolog.Logger) net.Listener {
	if tc != nil {
		ln = tls.NewListener(ln, tc)
	}
	return &guardedListener{Listener: ln, addr: namedAddr(addr), log: log}
}

type namedAddr string

func (namedAddr) Network() string  { return "tcp" }
func (a namedAddr) String() string { return string(a) }

type guardedListener struct {
	net.Listener
	addr namedAddr
	log  zerolog.Logger
}

func (l *guardedListener) Addr() net.Addr { return l.addr }

func (l *guardedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err //nolint:wrapcheck // kfake compares nothing and logs it
	}
	return &guardedConn{Conn: conn, log: l.log, closed: make(chan struct{})}, nil
}

// headerSize: length (4), key (2), version (2) of a request.
const headerSize = 8

// guardedConn passes the bytes on unchanged, a frame's header only once it is
// whole and good. It is read by one goroutine at a time.
type guardedConn struct {
	net.Conn
	log  zerolog.Logger
	head [headerSize]byte
	have int // bytes of head that were read
	out  int // bytes of head that were passed on
	body int // bytes of the frame's body that are still to come
	err  error

	joined bool // a JoinGroup was read
	once   sync.Once
	closed chan struct{}
}

// lingerJoined is how long the end of a connection with a group's member is held
// back: longer than a join waits for an answer (the rebalance timeout, 30 s here).
const lingerJoined = 40 * time.Second

// joinGroup is the key of a JoinGroup request.
const joinGroup = 11

// Close closes the connection, and ends what lingers.
func (c *guardedConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close() //nolint:wrapcheck // kfake compares nothing
}

// ended holds back the end of a connection on which a member joined a group. kfake
// starts the session timer of a member with the answer to its JoinGroup; where the
// connection is known to be gone by then it starts none, and the member keeps its
// partitions for ever.
func (c *guardedConn) ended(err error) error {
	if c.joined {
		t := time.NewTimer(lingerJoined)
		defer t.Stop()
		select {
		case <-t.C:
		case <-c.closed:
		}
	}
	return err
}

var errNotKafka = errors.New("not a Kafka request")

func (c *guardedConn) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	if c.body == 0 && c.out == c.have && c.have == headerSize {
		c.have, c.out = 0, 0 // the next frame
	}
	for c.have < headerSize {
		n, err := c.Conn.Read(c.head[c.have:])
		c.have += n
		if c.have == headerSize {
			if bad := c.check(); bad != nil {
				c.log.Warn().Stringer("remote", c.RemoteAddr()).Err(bad).Msg("embedded kafka: connection closed")
				c.err = bad
				_ = c.Close()
				return 0, bad
			}
			break
		}
		if err != nil {
			return 0, c.ended(err)
		}
	}
	if c.out < c.have {
		n := copy(p, c.head[c.out:])
		c.out += n
		return n, nil
	}
	n, err := c.Conn.Read(p[:min(len(p), c.body)])
	c.body -= n
	if err != nil {
		err = c.ended(err)
	}
	return n, err
}

func (c *guardedConn) check() error {
	size := binary.BigEndian.Uint32(c.head[0:4])
	key := int16(binary.BigEndian.Uint16(c.head[4:6]))
	if size < headerSize || size > maxRequest {
		return fmt.Errorf("%w: length %d", errNotKafka, size)
	}
	if kmsg.RequestForKey(key) == nil {
		return fmt.Errorf("%w: key %d", errNotKafka, key)
	}
	c.body = int(size) - (headerSize - 4)
	c.joined = c.joined || key == joinGroup
	return nil
}
