package kafka

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
)

func TestAnIssuerThatHangsLeavesConnectionsTheirTime(t *testing.T) {
	asked, hangs := make(chan struct{}, 1), make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked <- struct{}{}; <-hangs }))
	defer s.Close()
	defer close(hangs)
	b := newBearer(SASLConfig{Username: "u", Password: "p", OAuth: OAuth{TokenURL: s.URL}}, zerolog.Nop())
	b.held.Store(&token{text: "old", got: time.Now().Add(-time.Hour), renew: time.Now().Add(-time.Minute), expiry: time.Now().Add(time.Minute)})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second) // Config.DialTimeout
	defer cancel()
	took := make(chan time.Duration, 1)
	go func() {
		started := time.Now()
		if text, err := b.token(ctx); err == nil && text == "old" {
			took <- time.Since(started)
		}
		close(took)
	}()
	<-asked
	started := time.Now()
	text, err := b.token(ctx)
	require.NoError(t, err)
	require.Equal(t, "old", text)
	require.Less(t, time.Since(started), time.Second, "who does not ask does not wait")
	d, ok := <-took
	require.True(t, ok, "the token that is there serves")
	require.Less(t, d, 4*time.Second)
}
