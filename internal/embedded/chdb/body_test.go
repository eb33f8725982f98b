package chdb

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestABodyThatIsSilentEndsAndWhatFollowsItDoesNot(t *testing.T) {
	ended := make(chan error, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(&patientBody{ReadCloser: r.Body, of: http.NewResponseController(w), ctx: r.Context(), patience: 100 * time.Millisecond})
		if err == nil {
			time.Sleep(300 * time.Millisecond) // longer than a body may be silent
			err = r.Context().Err()
		}
		ended <- err
	}))
	defer s.Close()
	for body, want := range map[string]error{"whole": nil, "cut": os.ErrDeadlineExceeded} {
		conn, err := net.Dial("tcp", s.Listener.Addr().String())
		require.NoError(t, err)
		_, err = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n"+body)
		require.NoError(t, err)
		select {
		case err := <-ended:
			require.ErrorIs(t, err, want, body)
		case <-time.After(10 * time.Second):
			t.Fatal("the body is waited for")
		}
		require.NoError(t, conn.Close())
	}
}
