package kafka

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
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
)

// Config says how to reach a cluster. Durations that are zero take the defaults
// stated beside them.
type Config struct {
	Brokers  []string    // host:port, at least one; the others are discovered
	TLS      *tls.Config `json:"-"` // nil: not encrypted
	SASL     *SASLConfig
	ClientID string // default plumbline

	DialTimeout    time.Duration // 5 s: connect, TLS and SASL together
	RequestTimeout time.Duration // 30 s: any request, from send to answer
	MetadataTTL    time.Duration // 5 s: how long a moved leader may go unnoticed
	FetchMaxWait   time.Duration // 500 ms: how long a broker may wait for data
	FetchMaxBytes  int32         // 8 MiB per fetch; a larger batch still comes, alone
	Compression    Compression   // of what is produced; default lz4
}

// SASLConfig holds credentials. It never prints its password.
type SASLConfig struct {
	Mechanism string // PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512
	Username  string
	Password  string
}

// String describes the credentials without the password.
func (s SASLConfig) String() string { return s.Mechanism + " as " + s.Username }

// GoString is String: %#v must not print the password either.
func (s SASLConfig) GoString() string { return s.String() }

// MarshalZerologObject logs the credentials without the password.
func (s SASLConfig) MarshalZerologObject(e *zerolog.Event) {
	e.Str("mechanism", s.Mechanism).Str("username", s.Username)
}

// MarshalJSON keeps the password out of any JSON form.
func (s SASLConfig) MarshalJSON() ([]byte, error) {
	return fmt.Appendf(nil, `{"mechanism":%q,"username":%q}`, s.Mechanism, s.Username), nil
}

// String describes the config without secrets.
func (c Config) String() string {
	var b strings.Builder
	b.WriteString(strings.Join(c.Brokers, ","))
	if c.TLS != nil {
		b.WriteString(" over TLS")
	}
	if c.SASL != nil {
		b.WriteString(" with SASL " + c.SASL.String())
	}
	return b.String()
}

// GoString is String.
func (c Config) GoString() string { return c.String() }

// MarshalZerologObject logs the config without secrets.
func (c Config) MarshalZerologObject(e *zerolog.Event) {
	e.Strs("brokers", c.Brokers).Bool("tls", c.TLS != nil)
	if c.SASL != nil {
		e.Object("sasl", *c.SASL)
	}
}

func (c *Config) setDefaults() {
	orDuration := func(d *time.Duration, def time.Duration) {
		if *d <= 0 {
			*d = def
		}
	}
	orDuration(&c.DialTimeout, 5*time.Second)
	orDuration(&c.RequestTimeout, 30*time.Second)
	orDuration(&c.MetadataTTL, 5*time.Second)
	orDuration(&c.FetchMaxWait, 500*time.Millisecond)
	if c.FetchMaxBytes <= 0 {
		c.FetchMaxBytes = 8 << 20
	}
	if c.ClientID == "" {
		c.ClientID = "plumbline"
	}
	if c.Compression == CompressionDefault {
		c.Compression = CompressionLZ4
	}
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
		case MechanismPlain, MechanismSCRAMSHA256, MechanismSCRAMSHA512:
		default:
			errs = append(errs, fmt.Errorf("kafka.sasl.mechanism: %q is not one of %s, %s, %s",
				c.SASL.Mechanism, MechanismPlain, MechanismSCRAMSHA256, MechanismSCRAMSHA512))
		}
		if c.SASL.Username == "" || c.SASL.Password == "" {
			errs = append(errs, errors.New("kafka.sasl: username and password are both needed"))
		}
	}
	return errors.Join(errs...)
}

// mechanism returns nil where SASL is off.
func (c *Config) mechanism() (sasl.Mechanism, error) {
	if c.SASL == nil {
		return nil, nil //nolint:nilnil // "no SASL" is what kafka-go means by nil
	}
	algorithm := scram.SHA512
	switch c.SASL.Mechanism {
	case MechanismPlain:
		return plain.Mechanism{Username: c.SASL.Username, Password: c.SASL.Password}, nil
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
