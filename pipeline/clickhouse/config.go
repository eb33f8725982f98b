package clickhouse

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	driver "github.com/ClickHouse/clickhouse-go/v2"
)

// Values of Config.Protocol.
const (
	ProtocolHTTP   = "http"
	ProtocolNative = "native"
)

// Values of Config.Compression.
const (
	CompressionNone = "none"
	CompressionLZ4  = "lz4"
	CompressionZSTD = "zstd"
)

// MaxRetentionDays is the longest retention.
const MaxRetentionDays = 36500

// Config says how to reach ClickHouse and how long to keep what.
type Config struct {
	// Addrs are host:port of a server, or of the replicas of one shard, or of hosts of
	// the Cluster: the first that answers is used.
	Addrs    []string
	Protocol string // ProtocolHTTP (default) or ProtocolNative
	Database string // default plumbline
	// Cluster is its name in the servers' remote_servers; empty: tables stand on one
	// server, or its administrator replicates them.
	Cluster  string
	Username string // default default
	Password string
	TLS      *tls.Config // nil: not encrypted
	// DialTLS makes the encrypted connections, where certificates may change
	// meanwhile; nil: they are made by TLS as it is.
	DialTLS func(ctx context.Context, network, addr string) (net.Conn, error)

	// RetentionDays is how long rows are kept, counted from recorded_at; default 90.
	RetentionDays int

	// Compression of what goes over the wire: CompressionLZ4 (default),
	// CompressionZSTD or CompressionNone.
	Compression string

	// InsertQuorum is how many replicas must have a row before an insert is
	// acknowledged: a number or "auto" (most of them); empty leaves it to the server.
	InsertQuorum string

	// Fsync makes the server flush every insert to its disk. It is for one machine
	// without replicas and is applied by Migrate.
	Fsync bool

	DialTimeout   time.Duration // of a connection; default 5 s
	ReadTimeout   time.Duration // of the silence of a server that works on a query; default 5 min
	InsertTimeout time.Duration // of one insert, acknowledgement included; default 2 min

	MaxConns int // default 16
}

// String leaves the password out.
func (c Config) String() string {
	secret := "none"
	if c.Password != "" {
		secret = "set"
	}
	return fmt.Sprintf("clickhouse.Config{%s://%s@%s/%s password:%s tls:%t retention:%dd}",
		c.Protocol, c.Username, strings.Join(c.Addrs, ","), c.Database, secret, c.TLS != nil, c.RetentionDays)
}

// GoString leaves the password out.
func (c Config) GoString() string { return c.String() }

func (c *Config) setDefaults() {
	def := func(s *string, value string) {
		if *s == "" {
			*s = value
		}
	}
	def(&c.Protocol, ProtocolHTTP)
	def(&c.Database, "plumbline")
	def(&c.Username, "default")
	def(&c.Compression, CompressionLZ4)
	wait := func(d *time.Duration, value time.Duration) {
		if *d <= 0 {
			*d = value
		}
	}
	wait(&c.DialTimeout, 5*time.Second)
	wait(&c.ReadTimeout, 5*time.Minute)
	wait(&c.InsertTimeout, 2*time.Minute)
	if c.RetentionDays == 0 {
		c.RetentionDays = 90
	}
	if c.MaxConns <= 0 {
		c.MaxConns = 16
	}
}

func (c *Config) validate() error {
	switch {
	case len(c.Addrs) == 0 || slices.Contains(c.Addrs, ""):
		return errors.New("clickhouse.addr is empty: give host:port of the server")
	case c.Protocol != ProtocolHTTP && c.Protocol != ProtocolNative:
		return fmt.Errorf("clickhouse.protocol is %q: use http or native", c.Protocol)
	case c.RetentionDays < 1 || c.RetentionDays > MaxRetentionDays:
		return fmt.Errorf("clickhouse.retention_days is %d: use 1 to %d", c.RetentionDays, MaxRetentionDays)
	case strings.ContainsFunc(c.Database, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return fmt.Errorf("clickhouse.database is %q: it holds a control character", c.Database)
	case c.Cluster != "" && !clusterName.MatchString(c.Cluster):
		return fmt.Errorf("clickhouse.cluster is %q: use letters, digits, _, -, . in it", c.Cluster)
	}
	if _, err := compression(c.Compression); err != nil {
		return err
	}
	return nil
}

func compression(name string) (*driver.Compression, error) {
	switch name {
	case CompressionNone:
		return &driver.Compression{Method: driver.CompressionNone}, nil
	case CompressionLZ4:
		return &driver.Compression{Method: driver.CompressionLZ4}, nil
	case CompressionZSTD:
		return &driver.Compression{Method: driver.CompressionZSTD, Level: 1}, nil
	}
	return nil, fmt.Errorf("compression is %q: use lz4, zstd or none", name)
}

// options are the driver's; database is empty for work that must not depend on
// the database's existence.
func (c *Config) options(database string) (*driver.Options, error) {
	method, err := compression(c.Compression)
	if err != nil {
		return nil, err
	}
	opt := &driver.Options{
		Protocol:    driver.HTTP,
		TLS:         c.TLS,
		Addr:        c.Addrs,
		Auth:        driver.Auth{Database: database, Username: c.Username, Password: c.Password},
		Compression: method,
		DialTimeout: c.DialTimeout,
		ReadTimeout: c.ReadTimeout,
		// A connection per partition of archive, and some for queries.
		MaxOpenConns: c.MaxConns,
		MaxIdleConns: c.MaxConns,
		Settings:     c.readSettings(),
	}
	opt.ClientInfo.Products = append(opt.ClientInfo.Products, struct{ Name, Version string }{"plumbline", "1"})
	if c.Protocol == ProtocolNative {
		opt.Protocol = driver.Native
		if c.DialTLS != nil {
			opt.DialContext = func(ctx context.Context, addr string) (net.Conn, error) {
				return c.DialTLS(ctx, "tcp", addr)
			}
		}
	} else if c.TLS != nil {
		opt.TransportFunc = func(t *http.Transport) (http.RoundTripper, error) {
			t.DialTLSContext = c.DialTLS
			return passwordlessTransport{t}, nil
		}
	}
	return opt, nil
}

// passwordlessTransport undoes a choice of the driver: over TLS without a password
// it asks the server to take the client's certificate as the identity, even where
// the client shows none, and a user without a password could not log in.
type passwordlessTransport struct{ *http.Transport }

func (t passwordlessTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	const header = "X-ClickHouse-SSL-Certificate-Auth"
	shows := len(t.TLSClientConfig.Certificates) > 0 || t.TLSClientConfig.GetClientCertificate != nil
	if req.Header.Get(header) == "on" && !shows {
		req = req.Clone(req.Context())
		req.Header.Del(header)
	}
	return t.Transport.RoundTrip(req)
}
