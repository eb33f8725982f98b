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
	"syscall"

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

// explain turns an error of the library into one that says what to do. Where the
// transport has never seen the cluster, its own answer is that the topic does not
// exist; the true reason is asked for.
func (c *Client) explain(ctx context.Context, err error) error {
	if errors.Is(err, protocol.ErrNoTopic) && ctx.Err() == nil {
		_, merr := c.transport.RoundTrip(ctx, c.addr, &metadata.Request{TopicNames: []string{}})
		if merr != nil && ctx.Err() == nil {
			err = merr
		}
	}
	return explain(c.brokers(), c.cfg.TLS != nil && c.cfg.TLS.Enabled, c.cfg.SASL, err)
}

func explain(brokers string, overTLS bool, sasl *SASLConfig, err error) error {
	var (
		record      tls.RecordHeaderError
		alert       tls.AlertError
		authority   x509.UnknownAuthorityError
		hostname    x509.HostnameError
		certInvalid x509.CertificateInvalidError
		verify      *tls.CertificateVerificationError
		access      *AccessError
		unreachable *UnreachableError
		dns         *net.DNSError
		op          *net.OpError
	)
	switch {
	case err == nil, errors.As(err, &access), errors.As(err, &unreachable):
		return err
	case errors.As(err, &record):
		return &AccessError{"the listener at " + brokers + " does not speak TLS; set kafka.tls.enabled: false or use the TLS port", err}
	case errors.As(err, &authority):
		return &AccessError{"the certificate at " + brokers + " is signed by an authority that is not trusted; set kafka.tls.ca_file", err}
	case errors.As(err, &hostname):
		return &AccessError{"the certificate at " + brokers + " is for another name; set kafka.tls.server_name or the right kafka.brokers", err}
	case errors.As(err, &certInvalid), errors.As(err, &verify):
		return &AccessError{"the certificate at " + brokers + " is not valid (kafka.tls)", err}
	case errors.As(err, &alert):
		return &AccessError{"the broker at " + brokers + " ended the TLS handshake; it may want a client certificate (kafka.tls.cert_file, kafka.tls.key_file)", err}
	case errors.Is(err, kafkago.SASLAuthenticationFailed):
		return &AccessError{"the broker refuses the credentials of " + user(sasl) + "; check kafka.sasl.username and kafka.sasl.password", kafkago.SASLAuthenticationFailed}
	case errors.Is(err, kafkago.UnsupportedSASLMechanism):
		return &AccessError{"the broker does not offer the SASL mechanism of " + user(sasl) + "; change kafka.sasl.mechanism", kafkago.UnsupportedSASLMechanism}
	case errors.Is(err, kafkago.IllegalSASLState):
		return &AccessError{"the listener at " + brokers + " does not expect SASL, or expects it and none is configured; check kafka.sasl", kafkago.IllegalSASLState}
	case errors.Is(err, kafkago.TopicAuthorizationFailed), errors.Is(err, kafkago.GroupAuthorizationFailed), errors.Is(err, kafkago.ClusterAuthorizationFailed):
		return &AccessError{"an ACL denies this to " + user(sasl), err}
	case !overTLS && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)):
		return &UnreachableError{brokers, fmt.Errorf("the connection was closed without an answer; a listener that wants TLS (kafka.tls.enabled) or SASL (kafka.sasl) does so: %w", err)}
	case errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &dns), errors.As(err, &op), errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ECONNRESET),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return &UnreachableError{brokers, err}
	}
	return err
}

func user(s *SASLConfig) string {
	if s == nil {
		return "an anonymous client (no kafka.sasl configured)"
	}
	return s.String()
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
