package kafka

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/rs/zerolog"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"
)

// SASL mechanisms that SASLConfig.Mechanism names.
const (
	MechanismPlain       = "PLAIN"
	MechanismSCRAMSHA256 = "SCRAM-SHA-256"
	MechanismSCRAMSHA512 = "SCRAM-SHA-512"
	MechanismOAuthBearer = "OAUTHBEARER"
	MechanismMSKIAM      = "AWS_MSK_IAM"
)

// Config says how to reach a cluster. Durations that are zero take the defaults
// stated beside them.
type Config struct {
	Brokers []string    // host:port, at least one; the others are discovered
	TLS     *tls.Config // nil: none
	SASL    *SASLConfig // nil: none
	// DialTLS makes the encrypted connections, where certificates may change
	// meanwhile; nil: they are made by TLS as it is.
	DialTLS func(ctx context.Context, network, addr string) (net.Conn, error)

	DialTimeout    time.Duration // 5 s: connect, TLS and SASL together
	RequestTimeout time.Duration // 30 s: any request, from send to answer
	MetadataTTL    time.Duration // 5 s: how long a moved leader may go unnoticed
	FetchMaxWait   time.Duration // 500 ms: how long a broker may wait for data
}

// SASLConfig holds credentials. It never prints its password.
type SASLConfig struct {
	Mechanism string // one of the above
	Username  string
	Password  string
	OAuth     OAuth  // of OAUTHBEARER
	Region    string // of AWS_MSK_IAM; empty: that of AWS's own config
}

// String describes the credentials without the password.
func (s SASLConfig) String() string {
	switch {
	case s.Mechanism == MechanismMSKIAM:
		return s.Mechanism
	case s.OAuth.TokenFile != "":
		return s.Mechanism + " with the token of " + s.OAuth.TokenFile
	}
	return s.Mechanism + " as " + s.Username
}

// GoString is String: %#v must not print the password either.
func (s SASLConfig) GoString() string { return s.String() }

// MarshalJSON keeps the password out of any JSON form.
func (s SASLConfig) MarshalJSON() ([]byte, error) {
	return fmt.Appendf(nil, `{"mechanism":%q,"username":%q}`, s.Mechanism, s.Username), nil
}

func (c *Config) setDefaults() {
	c.DialTimeout = cmp.Or(c.DialTimeout, 5*time.Second)
	c.RequestTimeout = cmp.Or(c.RequestTimeout, 30*time.Second)
	c.MetadataTTL = cmp.Or(c.MetadataTTL, 5*time.Second)
	c.FetchMaxWait = cmp.Or(c.FetchMaxWait, 500*time.Millisecond)
}

func (c *Config) validate() error {
	var errs []error
	if len(c.Brokers) == 0 {
		errs = append(errs, errors.New("kafka.brokers: no broker given; write host:port"))
	}
	for _, b := range c.Brokers {
		if host, port, err := net.SplitHostPort(b); err != nil || host == "" || port == "" {
			errs = append(errs, fmt.Errorf("kafka.brokers: %q is not host:port", b))
		}
	}
	if c.SASL != nil {
		switch c.SASL.Mechanism {
		case MechanismPlain, MechanismSCRAMSHA256, MechanismSCRAMSHA512, MechanismOAuthBearer, MechanismMSKIAM:
		default:
			errs = append(errs, fmt.Errorf("kafka.sasl.mechanism: %q is not one of %s, %s, %s, %s, %s",
				c.SASL.Mechanism, MechanismPlain, MechanismSCRAMSHA256, MechanismSCRAMSHA512, MechanismOAuthBearer, MechanismMSKIAM))
		}
		if c.SASL.Mechanism != MechanismMSKIAM && c.SASL.OAuth.TokenFile == "" && (c.SASL.Username == "" || c.SASL.Password == "") {
			errs = append(errs, errors.New("kafka.sasl: username and password are both needed"))
		}
	}
	return errors.Join(errs...)
}

// mechanism returns nil where SASL is off.
func (c *Config) mechanism(logger zerolog.Logger) (sasl.Mechanism, error) {
	if c.SASL == nil {
		return nil, nil //nolint:nilnil // "no SASL" is what kafka-go means by nil
	}
	algorithm := scram.SHA512
	switch c.SASL.Mechanism {
	case MechanismPlain:
		return plain.Mechanism{Username: c.SASL.Username, Password: c.SASL.Password}, nil
	case MechanismOAuthBearer:
		return newBearer(*c.SASL, logger), nil
	case MechanismMSKIAM:
		return newIAM(c.SASL.Region)
	case MechanismSCRAMSHA256:
		algorithm = scram.SHA256
	}
	m, err := scram.Mechanism(algorithm, c.SASL.Username, c.SASL.Password)
	if err != nil {
		// The library's error may quote what it was given.
		return nil, errors.New("kafka.sasl: username or password holds characters that SCRAM does not allow (SASLprep)")
	}
	return m, nil
}
