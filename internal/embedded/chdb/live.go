package chdb

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync"
	"time"
)

// liveHead is an answer whose head is sent bit by bit while its statement runs, a header
// X-ClickHouse-Progress at a time (send_progress_in_http_headers). Clients ask for it so
// that neither they nor what stands between give up on a connection that is silent for
// minutes. net/http sends a head as a whole, so that the connection is taken from it when
// there is progress to tell; before that, this is its own ResponseWriter.
type liveHead struct {
	http.ResponseWriter
	gone context.CancelFunc // the client has gone

	mu       sync.Mutex
	conn     net.Conn // nil: still net/http's
	out      *bufio.Writer
	complete bool // the head is
	body     io.WriteCloser
}

// progress sends the header, unless the head is complete.
func (l *liveHead) progress(value string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.complete {
		return nil
	}
	if l.conn == nil {
		conn, rw, err := http.NewResponseController(l.ResponseWriter).Hijack()
		if err != nil {
			return fmt.Errorf("take over the connection: %w", err)
		}
		l.conn, l.out, l.body = conn, rw.Writer, httputil.NewChunkedWriter(rw.Writer)
		go func() { // ends with the connection
			_, _ = io.Copy(io.Discard, conn)
			l.gone()
		}()
		_, _ = l.out.WriteString("HTTP/1.1 200 OK\r\nDate: " + time.Now().UTC().Format(http.TimeFormat) + "\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n")
	}
	_, _ = l.out.WriteString("X-ClickHouse-Progress: " + value + "\r\n")
	if err := l.out.Flush(); err != nil {
		l.gone()
	}
	return nil
}

// begun reports whether a part of the head is sent, and with it the status.
func (l *liveHead) begun() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conn != nil
}

// WriteHeader completes the head.
func (l *liveHead) WriteHeader(status int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.completeHead(status)
}

func (l *liveHead) completeHead(status int) {
	if l.complete {
		return
	}
	l.complete = true
	if l.conn == nil {
		l.ResponseWriter.WriteHeader(status)
		return
	}
	_ = l.Header().Write(l.out) // what fails is met again by Flush
	_, _ = l.out.WriteString("\r\n")
}

// Write sends a piece of the body.
func (l *liveHead) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.completeHead(http.StatusOK)
	if l.conn == nil {
		return l.ResponseWriter.Write(p) //nolint:wrapcheck,gosec // it stands for it; the content type is set, and is not HTML
	}
	n, err := l.body.Write(p)
	if err == nil {
		err = l.out.Flush()
	}
	return n, err //nolint:wrapcheck // the same
}

// FlushError sends what was written.
func (l *liveHead) FlushError() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn == nil {
		return http.NewResponseController(l.ResponseWriter).Flush() //nolint:wrapcheck // it stands for it
	}
	return l.out.Flush() //nolint:wrapcheck // the same
}

// end ends the answer.
func (l *liveHead) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn == nil {
		return
	}
	l.completeHead(http.StatusOK)
	_ = l.body.Close()
	_, _ = l.out.WriteString("\r\n")
	_ = l.out.Flush()
	_ = l.conn.Close()
}

// tell sends the progress of the connection's statement until the caller calls what it
// returns.
func (h *handler) tell(l *liveHead, s *session, every time.Duration) (stop func()) {
	done, last := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(last)
		for {
			select {
			case <-done:
				return
			case <-time.After(every):
			}
			value, err := h.engine.progress(s.tag)
			if err == nil && value != "" {
				err = l.progress(value)
			}
			if err != nil {
				h.log.Debug().Err(err).Msg("progress not told")
				return
			}
		}
	}()
	return func() { close(done); <-last }
}

// progress is what the statement on the connection with this tag has done, as a server
// tells it; empty where none runs.
func (e *engine) progress(tag string) (string, error) {
	row, err := e.ask("SELECT read_rows, read_bytes, total_rows_approx, toUInt64(elapsed * 1e9) FROM system.processes WHERE Settings['" + tagSetting + "'] = " + quoteString(tag))
	if err != nil {
		return "", err
	}
	f := strings.Fields(row)
	if len(f) != 4 {
		return "", nil
	}
	return fmt.Sprintf(`{"read_rows":"%s","read_bytes":"%s","total_rows_to_read":"%s","elapsed_ns":"%s"}`, f[0], f[1], f[2], f[3]), nil
}
