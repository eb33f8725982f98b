package broker

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// What one connection, and all of them together, may make the broker hold. kfake
// itself bounds nothing.
const (
	// maxProduce is Kafka's socket.request.max.bytes. Only a produce request may be so
	// long, for only there the bytes are records: they cost what they are.
	maxProduce = 100 << 20
	// maxRequest bounds every other request. kfake parses a count before what is
	// counted, so that a request may cost some hundred times its length; and the
	// commits or assignments of tens of thousands of partitions fit.
	maxRequest = 1 << 20
	// smallRequest and less is not accounted for: the next larger ones are.
	smallRequest = 64 << 10
	// maxInFlight bounds what the requests that are being read may come to together,
	// in bytes: two of the longest, or thirty of 10 MiB, with kfake's copy of each.
	maxInFlight = 512 << 20
	// parseFactor is how many bytes of heap a byte of a request may become where it is
	// nothing but counts and empty elements (the largest in kmsg takes 100 bytes or so).
	parseFactor = 100
	// maxConnections bounds goroutines and buffers; a connection that waits costs
	// some 30 KiB. Whoever uses an embedded broker has tens.
	maxConnections = 1024
	// idleTime is Kafka's connections.max.idle.ms, for a connection that was used.
	idleTime = 10 * time.Minute
	// frameTime is how long a request may take from its first byte to its last, and
	// how long it may wait for its turn: Kafka's request.timeout.ms.
	frameTime = 30 * time.Second
)

// guard wraps a listener so that every request is read and checked before kfake
// sees a byte of it. kfake allocates whatever a frame's length field says, panics on
// a request key it does not know (a browser or a port scanner on the port would end
// the process), and believes the records of a batch unseen. TLS is unwrapped here,
// below the check, for the check has to see the plain protocol. addr is what the
// listener says it is.
func guard(ln net.Listener, tc *tls.Config, addr string, in *inspector, log zerolog.Logger) net.Listener {
	if tc != nil {
		ln = tls.NewListener(ln, tc)
	}
	return &guardedListener{
		Listener: ln, addr: namedAddr(addr), inspector: in, log: log,
		room: newInFlight(maxInFlight), most: maxConnections, frame: frameTime,
	}
}

type namedAddr string

func (namedAddr) Network() string  { return "tcp" }
func (a namedAddr) String() string { return string(a) }

type guardedListener struct {
	net.Listener
	addr      namedAddr
	inspector *inspector
	log       zerolog.Logger
	room      *inFlight
	most      int64
	frame     time.Duration
	open      atomic.Int64
	said      time.Time // that there are too many; Accept runs once at a time
}

func (l *guardedListener) Addr() net.Addr { return l.addr }

func (l *guardedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.open.Add(1) <= l.most {
			c := &guardedConn{Conn: conn, r: bufio.NewReaderSize(conn, 4<<10), l: l}
			c.ctx, c.cancel = context.WithCancel(context.Background())
			return c, nil
		}
		l.open.Add(-1)
		_ = conn.Close()
		if time.Since(l.said) > time.Minute {
			l.said = time.Now()
			l.log.Warn().Int64("connections", l.most).Stringer("remote", conn.RemoteAddr()).
				Msg("embedded kafka: too many connections, new ones are closed; find the client that opens them")
		}
	}
}

// headerSize: length (4), key (2), version (2) of a request.
const headerSize = 8

// guardedConn hands on a request once it is whole and good. It is read by one
// goroutine at a time.
type guardedConn struct {
	net.Conn
	r     *bufio.Reader // of Conn
	l     *guardedListener
	frame []byte // the request, with its length
	out   int    // bytes of frame that were handed on
	held  int64  // of the room
	err   error

	used   bool // a whole request was read
	joined bool // a JoinGroup was read
	once   sync.Once
	ctx    context.Context // ends with the connection
	cancel context.CancelFunc
}

// lingerJoined is how long the end of a connection with a group's member is held
// back: longer than a join waits for an answer (the rebalance timeout, 30 s here).
const lingerJoined = 40 * time.Second

// The keys of the requests that are looked at here.
const (
	keyProduce   = int16(kmsg.Produce)
	keyJoinGroup = int16(kmsg.JoinGroup)
)

// Close closes the connection, and ends what lingers or waits.
func (c *guardedConn) Close() error {
	c.once.Do(func() {
		c.cancel()
		c.l.open.Add(-1)
	})
	return c.Conn.Close()
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
		case <-c.ctx.Done():
		}
	}
	return err
}

var errNotKafka = errors.New("not a Kafka request")

// Read hands on the request that was read, then reads the next. kfake asks for the
// next only when it has parsed the one before.
func (c *guardedConn) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	if c.out == len(c.frame) {
		c.giveBack()
		if err := c.next(); err != nil {
			c.giveBack()
			c.err = c.ended(err)
			return 0, c.err
		}
	}
	n := copy(p, c.frame[c.out:])
	c.out += n
	return n, nil
}

func (c *guardedConn) giveBack() {
	c.l.room.leave(c.held)
	c.held = 0
	c.frame, c.out = c.frame[:0], 0
	if cap(c.frame) > smallRequest+headerSize {
		c.frame = nil
	}
}

// next reads one request and checks it.
func (c *guardedConn) next() error {
	select {
	case <-c.l.inspector.ready:
	case <-c.ctx.Done():
		return c.ctx.Err()
	}
	var head [headerSize]byte
	idle := c.l.frame
	if c.used { // whoever has asked for nothing yet has no reason to wait
		idle = idleTime
	}
	if err := c.fill(head[:1], time.Now().Add(idle)); err != nil {
		return err
	}
	deadline := time.Now().Add(c.l.frame)
	if err := c.fill(head[1:], deadline); err != nil {
		return err
	}
	size := int(binary.BigEndian.Uint32(head[0:4]))
	key := int16(binary.BigEndian.Uint16(head[4:6]))
	if err := c.check(size, key); err != nil {
		c.l.log.Warn().Stringer("remote", c.RemoteAddr()).Err(err).Msg("embedded kafka: connection closed")
		_ = c.Close()
		return err
	}
	c.joined = c.joined || key == keyJoinGroup
	c.frame = append(c.frame[:0], head[:]...)
	if err := c.rest(size+4, key, deadline); err != nil {
		c.frame = c.frame[:0]
		return err
	}
	c.used = true
	if key == keyProduce {
		if err := c.l.inspector.produce(c.ctx, c.frame[4:]); err != nil {
			c.l.log.Warn().Stringer("remote", c.RemoteAddr()).Err(err).Msg("embedded kafka: connection closed")
			_ = c.Close()
			c.frame = c.frame[:0]
			return err
		}
	}
	return nil
}

// rest reads a request to its end, in steps of as much as has come already: what a
// client only claims to send takes no room from others.
func (c *guardedConn) rest(size int, key int16, deadline time.Time) error {
	for have := len(c.frame); have < size; {
		n := min(size-have, max(have, smallRequest))
		if have >= smallRequest {
			if err := c.enter(2 * int64(n)); err != nil { // it is held here and in kfake
				return err
			}
		}
		c.frame = append(c.frame, make([]byte, n)...)
		if err := c.fill(c.frame[have:have+n], deadline); err != nil {
			return err
		}
		have += n
	}
	if key != keyProduce && size > smallRequest {
		return c.enter(parseFactor * int64(size))
	}
	return nil
}

// fill reads into p to its end.
func (c *guardedConn) fill(p []byte, deadline time.Time) error {
	if err := c.SetReadDeadline(deadline); err != nil {
		return err
	}
	_, err := io.ReadFull(c.r, p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		_ = c.Close()
	}
	return err
}

// enter waits until there is room for a request that comes to so many bytes.
func (c *guardedConn) enter(cost int64) error {
	ctx, cancel := context.WithTimeout(c.ctx, c.l.frame)
	defer cancel()
	if err := c.l.room.enter(ctx, cost); err != nil {
		c.l.log.Warn().Stringer("remote", c.RemoteAddr()).Int64("bytes", cost).
			Msg("embedded kafka: connection closed: requests of others fill the memory that there is for them; send smaller ones")
		_ = c.Close()
		return err
	}
	c.held += min(cost, c.l.room.most)
	return nil
}

func (c *guardedConn) check(size int, key int16) error {
	if size < headerSize || size > maxProduce {
		return fmt.Errorf("%w: length %d", errNotKafka, size)
	}
	if kmsg.RequestForKey(key) == nil {
		return fmt.Errorf("%w: key %d", errNotKafka, key)
	}
	if key != keyProduce && size > maxRequest {
		return fmt.Errorf("a request %s of %d bytes, the most is %d", kmsg.NameForKey(key), size, maxRequest)
	}
	return nil
}
