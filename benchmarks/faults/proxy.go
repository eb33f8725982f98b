package main

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// proxy stands between the service and a server. It can be away, swallow answers,
// be slow, or hold everything back without closing a connection.
type proxy struct {
	ln        net.Listener
	to        string
	down      atomic.Bool
	mute      atomic.Int64 // answers yet to be swallowed, each with its connection
	swallowed atomic.Int64
	delay     atomic.Int64 // of every piece, in nanoseconds
	frozen    atomic.Bool  // nothing goes through

	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

func newProxy(listen, to string) (*proxy, error) {
	ln, err := net.Listen("tcp", listen) //nolint:noctx // at once
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	p := &proxy{ln: ln, to: to, conns: make(map[net.Conn]struct{})}
	go p.serve()
	return p, nil
}

func (p *proxy) addr() string { return p.ln.Addr().String() }

func (p *proxy) serve() {
	for {
		c, err := p.ln.Accept()
		if err != nil {
			return // closed
		}
		if p.down.Load() {
			_ = c.Close()
			continue
		}
		go p.link(c)
	}
}

// link carries one connection until one of its ends closes.
func (p *proxy) link(c net.Conn) {
	s, err := net.Dial("tcp", p.to) //nolint:noctx // it ends with the proxy
	if err != nil {
		_ = c.Close()
		return
	}
	p.mu.Lock()
	p.conns[c], p.conns[s] = struct{}{}, struct{}{}
	p.mu.Unlock()
	go p.carry(c, s, func() bool { return false })
	p.carry(s, c, func() bool {
		if p.mute.Load() > 0 && p.mute.Add(-1) >= 0 {
			p.swallowed.Add(1)
			return true
		}
		return false
	})
	p.mu.Lock()
	delete(p.conns, c)
	delete(p.conns, s)
	p.mu.Unlock()
}

// carry copies one direction; where cut says so, what was read is thrown away with
// the connection.
func (p *proxy) carry(from, to net.Conn, cut func() bool) {
	defer func() { _, _ = from.Close(), to.Close() }()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		for p.frozen.Load() {
			time.Sleep(10 * time.Millisecond)
		}
		if d := p.delay.Load(); d > 0 {
			time.Sleep(time.Duration(d))
		}
		if n > 0 {
			if cut() {
				return
			}
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// cut ends all connections; with down set none is accepted any more.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
}

func (p *proxy) close() {
	p.frozen.Store(false)
	_ = p.ln.Close()
	p.cut()
}
