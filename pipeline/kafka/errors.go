package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/metadata"

	"github.com/plumbline-sec/plumbline/pipeline"
)

var errClosed = errors.New("kafka client is closed")

// AccessError says that the cluster was reached and refuses us, or that the two
// sides don't speak the same security protocol. Waiting does not heal it; a
// changed config or ACL does.
type AccessError struct {
	Hint string // what to look at
	Err  error
}

func (e *AccessError) Error() string { return e.Hint + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *AccessError) Unwrap() error { return e.Err }

// UnreachableError says that no broker answers.
type UnreachableError struct {
	Brokers string
	Err     error
}

func (e *UnreachableError) Error() string {
	return "no kafka broker answers at " + e.Brokers + " (kafka.brokers): " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *UnreachableError) Unwrap() error { return e.Err }

// CredentialsError says that there are no credentials to show, for a reason that may pass.
type CredentialsError struct{ Err error }

func (e *CredentialsError) Error() string {
	return "no credentials for Kafka (kafka.sasl): " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *CredentialsError) Unwrap() error { return e.Err }

// explain turns an error of the library into one that says what to do. Where the
// transport has never seen the cluster, its own answer is that the topic does not
// exist; the true reason is asked for.
func (c *Client) explain(ctx context.Context, err error) error {
	if errors.Is(err, protocol.ErrNoTopic) && ctx.Err() == nil {
		bounded, cancel := context.WithTimeout(ctx, c.cfg.RequestTimeout)
		defer cancel()
		if _, merr := c.transport.RoundTrip(bounded, c.addr, &metadata.Request{TopicNames: []string{}}); merr != nil {
			err = merr
		}
	}
	// The caller's doing is not the broker's, whatever shape it comes back in: a
	// connection takes the context's deadline, and may notice it first.
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return c.hint(err)
}

// hint wraps errors that the config or an ACL causes, and those of the network.
func (c *Client) hint(err error) error {
	var (
		access      *AccessError
		unreachable *UnreachableError
		credentials *CredentialsError
	)
	if err == nil || errors.As(err, &access) || errors.As(err, &unreachable) || errors.As(err, &credentials) {
		return err
	}
	brokers := strings.Join(c.cfg.Brokers, ",")
	if h := tlsHint(brokers, err); h != "" {
		return &AccessError{h, err}
	}
	switch {
	case errors.Is(err, kafkago.SASLAuthenticationFailed):
		if b, ok := c.transport.SASL.(*bearer); ok {
			b.refused()
		}
		return &AccessError{"the broker refuses the credentials of " + c.user() + "; check " + c.credentials(), kafkago.SASLAuthenticationFailed}
	case errors.Is(err, kafkago.UnsupportedSASLMechanism):
		return &AccessError{"the broker does not offer the SASL mechanism of " + c.user() + "; change kafka.sasl.mechanism", kafkago.UnsupportedSASLMechanism}
	case errors.Is(err, kafkago.IllegalSASLState):
		return &AccessError{"the listener at " + brokers + " does not expect SASL, or expects it and none is configured; check kafka.sasl", kafkago.IllegalSASLState}
	case errors.Is(err, kafkago.TopicAuthorizationFailed), errors.Is(err, kafkago.GroupAuthorizationFailed), errors.Is(err, kafkago.ClusterAuthorizationFailed):
		return &AccessError{"an ACL denies this to " + c.user(), err}
	case errors.Is(err, context.Canceled):
		return err
	case hungUp(err) && !c.reached.Load():
		return &UnreachableError{brokers, fmt.Errorf("the connection ends without an answer; %s: %w", c.suspects(), err)}
	case hungUp(err), ofTheNetwork(err):
		return &UnreachableError{brokers, err}
	}
	return err
}

// tlsHint says what is wrong between the two ends of TLS, if that it is.
func tlsHint(brokers string, err error) string {
	var (
		record      tls.RecordHeaderError
		authority   x509.UnknownAuthorityError
		hostname    x509.HostnameError
		certInvalid x509.CertificateInvalidError
		verify      *tls.CertificateVerificationError
		op          *net.OpError
	)
	switch {
	case errors.As(err, &record):
		return "the listener at " + brokers + " does not speak TLS; set kafka.tls.enabled: false or use the TLS port"
	case errors.As(err, &authority):
		return "the certificate at " + brokers + " is signed by an authority that is not trusted; set kafka.tls.ca_file"
	case errors.As(err, &hostname):
		return "the certificate at " + brokers + " is for another name; set kafka.tls.server_name or the right kafka.brokers"
	case errors.As(err, &certInvalid), errors.As(err, &verify):
		return "the certificate at " + brokers + " is not valid (kafka.tls)"
	case errors.As(err, &op) && op.Op == "remote error": // how crypto/tls names an alert
		return "the broker at " + brokers + " ended the TLS handshake; it may want a client certificate (kafka.tls.cert_file, kafka.tls.key_file)"
	}
	return ""
}

// suspects lists what makes a listener hang up on a client that it never answered.
func (c *Client) suspects() string {
	out := "a listener with TLS does so (kafka.tls.enabled: true)"
	if c.cfg.TLS != nil {
		out = "a listener without TLS does so (kafka.tls.enabled: false)"
	}
	if c.cfg.SASL != nil {
		return out + ", and one that refuses the credentials (" + strings.ReplaceAll(c.credentials(), " and ", ", ") + ")"
	}
	return out + ", and one that expects credentials (kafka.sasl)"
}

func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func ofTheNetwork(err error) bool {
	var (
		dns *net.DNSError
		op  *net.OpError
	)
	return errors.As(err, &dns) || errors.As(err, &op) || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
}

func (c *Client) user() string {
	if c.cfg.SASL == nil {
		return "an anonymous client (no kafka.sasl configured)"
	}
	return c.cfg.SASL.String()
}

// credentials names the keys in which they stand.
func (c *Client) credentials() string {
	switch c.transport.SASL.(type) {
	case *bearer:
		return "kafka.sasl.oauth"
	case iam:
		return "AWS's credentials, their policy, and kafka.sasl.aws_region"
	}
	return "kafka.sasl.username and kafka.sasl.password"
}

// produceError maps what the broker says of a produce request.
func produceError(err error) error {
	if errors.Is(err, kafkago.MessageSizeTooLarge) || errors.Is(err, kafkago.RecordListTooLarge) {
		return fmt.Errorf("%w: %w", pipeline.ErrTooLarge, err)
	}
	return err
}

// fenced says whether the coordinator no longer takes us for the owner.
func fenced(err error) bool {
	return errors.Is(err, kafkago.IllegalGeneration) ||
		errors.Is(err, kafkago.UnknownMemberId) ||
		errors.Is(err, kafkago.RebalanceInProgress) ||
		errors.Is(err, kafkago.FencedInstanceID)
}
