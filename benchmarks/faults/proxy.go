package main

import (
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// proxy stands between the service and the engine, and can be away or swallow
// answers.
type proxy struct {
	ln        net.Listener
	to        string
	down      atomic.Bool
	mute      atomic.Int64 // answers yet to be swallowed, each with its connection
	swallowed atomic.Int64

	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

func newProxy(to string) (*proxy, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // at once
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

func (p *proxy) link(c net.Conn) {
	s, err := net.Dial("tcp", p.to) //nolint:noctx // it ends with the proxy
	if err != nil {
		_ = c.Close()
		return
	}
	p.mu.Lock()
	p.conns[c], p.conns[s] = struct{}{}, struct{}{}
	p.mu.Unlock()
	go func() {
		_, _ = io.Copy(s, c)
		_ = s.Close()
		_ = c.Close()
	}()
	buf := make([]byte, 32<<10)
	for {
		n, err := s.Read(buf)
		if n > 0 && p.mute.Load() > 0 && p.mute.Add(-1) >= 0 {
			p.swallowed.Add(1)
			break
		}
		if n > 0 {
			if _, werr := c.Write(buf[:n]); werr != nil {
				break
			}
		}
		if err != nil {
			break
		}
	}
	_ = s.Close()
	_ = c.Close()
	p.mu.Lock()
	delete(p.conns, c)
	delete(p.conns, s)
	p.mu.Unlock()
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
	_ = p.ln.Close()
	p.cut()
}
