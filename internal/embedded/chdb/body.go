package chdb

import (
	"context"
	"io"
	"net/http"
	"time"
)

// patientBody is a body that may be silent for so long and no longer: what reads it has a
// place that others wait for. It ends with ctx too, which a read of a connection does not
// notice.
type patientBody struct {
	io.ReadCloser
	of       *http.ResponseController
	ctx      context.Context //nolint:containedctx // it is the request's, as the body is
	patience time.Duration
}

func (b *patientBody) Read(p []byte) (int, error) {
	_ = b.of.SetReadDeadline(time.Now().Add(b.patience)) // a writer without deadlines is a test's
	stop := context.AfterFunc(b.ctx, func() { _ = b.of.SetReadDeadline(time.Unix(1, 0)) })
	n, err := b.ReadCloser.Read(p)
	// What net/http reads after a body, to see the client go, has no deadline.
	if stop() {
		_ = b.of.SetReadDeadline(time.Time{})
	}
	return n, err //nolint:wrapcheck // io.EOF must stay io.EOF
}
