package clickhouse

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"

	driver "github.com/ClickHouse/clickhouse-go/v2"

	"github.com/plumbline-sec/plumbline/pipeline/terminal"
)

// Kind says what is wrong, as far as a caller or a person can act on it.
type Kind string

// The kinds of errors.
const (
	KindUnreachable Kind = "unreachable" // nobody answers at the address
	KindTimeout     Kind = "timeout"     // somebody answered, and not in time
	KindAuth        Kind = "auth"        // user or password refused
	KindAccess      Kind = "access"      // the user may not do this
	KindProtocol    Kind = "protocol"    // the port speaks another protocol
	KindTLS         Kind = "tls"         // encryption could not be agreed on
	KindNoDatabase  Kind = "no_database" // the database is not there
	KindSchema      Kind = "schema"      // a table or column is not there
	KindServer      Kind = "server"      // the server refused for another reason
	KindOther       Kind = "other"
)

// Error is an error of ClickHouse or of the way to it, with what to do about it.
type Error struct {
	Op   string // what was tried
	Kind Kind
	Code int32 // the server's error code, 0 where it sent none
	msg  string
	err  error
}

func (e *Error) Error() string { return "clickhouse: " + e.Op + ": " + e.msg }

func (e *Error) Unwrap() error { return e.err }

// Codes of ClickHouse (src/Common/ErrorCodes.cpp).
const (
	codeUnknownTable    = 60
	codeUnknownDatabase = 81
)

var authCodes = map[int32]bool{
	192: true, // UNKNOWN_USER
	193: true, // WRONG_PASSWORD
	194: true, // REQUIRED_PASSWORD
	195: true, // IP_ADDRESS_NOT_ALLOWED
	516: true, // AUTHENTICATION_FAILED
}

var accessCodes = map[int32]bool{
	164: true, // READONLY
	291: true, // DATABASE_ACCESS_DENIED
	497: true, // ACCESS_DENIED
}

// transientCodes are those that pass by themselves or with help to the server.
var transientCodes = map[int32]bool{
	3:   true, // UNEXPECTED_END_OF_FILE: the body was cut off on its way
	32:  true, // ATTEMPT_TO_READ_AFTER_EOF
	33:  true, // CANNOT_READ_ALL_DATA
	74:  true, // CANNOT_READ_FROM_FILE_DESCRIPTOR
	75:  true, // CANNOT_WRITE_TO_FILE_DESCRIPTOR
	76:  true, // CANNOT_OPEN_FILE
	95:  true, // CANNOT_READ_FROM_SOCKET
	96:  true, // CANNOT_WRITE_TO_SOCKET
	159: true, // TIMEOUT_EXCEEDED
	160: true, // TOO_SLOW
	173: true, // CANNOT_ALLOCATE_MEMORY
	198: true, // DNS_ERROR
	201: true, // QUOTA_EXCEEDED
	202: true, // TOO_MANY_SIMULTANEOUS_QUERIES
	203: true, // NO_FREE_CONNECTION
	209: true, // SOCKET_TIMEOUT
	210: true, // NETWORK_ERROR
	225: true, // NO_ZOOKEEPER
	236: true, // ABORTED
	241: true, // MEMORY_LIMIT_EXCEEDED
	242: true, // TABLE_IS_READ_ONLY
	243: true, // NOT_ENOUGH_SPACE
	252: true, // TOO_MANY_PARTS
	254: true, // NO_ACTIVE_REPLICAS
	279: true, // ALL_CONNECTION_TRIES_FAILED
	285: true, // TOO_FEW_LIVE_REPLICAS
	286: true, // UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE
	289: true, // REPLICA_IS_NOT_IN_QUORUM
	319: true, // UNKNOWN_STATUS_OF_INSERT
	394: true, // QUERY_WAS_CANCELLED
	425: true, // SYSTEM_ERROR
	439: true, // CANNOT_SCHEDULE_TASK
	473: true, // DEADLOCK_AVOIDED
	499: true, // S3_ERROR
	517: true, // CANNOT_ASSIGN_ALTER: another one is in progress
	574: true, // DISTRIBUTED_TOO_MANY_PENDING_BYTES
	667: true, // NOT_INITIALIZED
	745: true, // SERVER_OVERLOADED
	999: true, // KEEPER_EXCEPTION
}

// IsRetryable reports whether err may pass if the same is tried again, without
// anybody changing the config, the schema or the grants.
func IsRetryable(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) {
		return false
	}
	var e *Error
	if !errors.As(err, &e) {
		return isNetwork(err)
	}
	switch e.Kind {
	case KindUnreachable, KindTimeout:
		return true
	case KindServer:
		if e.Code != 0 {
			return transientCodes[e.Code]
		}
		var http5xx *driver.HTTPError
		return errors.As(err, &http5xx) && passing(http5xx.StatusCode)
	case KindAuth, KindAccess, KindProtocol, KindTLS, KindNoDatabase, KindSchema, KindOther:
		return false
	}
	return false
}

// passing are the answers of a gateway whose server is away for the moment.
func passing(status int) bool {
	return status == http.StatusTooManyRequests || status >= http.StatusInternalServerError
}

func isNetwork(err error) bool {
	var netErr net.Error
	return errors.As(err, &netErr) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, io.ErrClosedPipe) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, driver.ErrAcquireConnTimeout) || errors.Is(err, syscall.EPIPE) ||
		errors.Is(err, syscall.ECONNRESET)
}

// explain turns an error of the driver into an *Error that says what to do.
func (db *DB) explain(op string, err error) error {
	if err == nil {
		return nil
	}
	e := &Error{Op: op, err: err, Kind: KindOther}
	var (
		exception *driver.Exception
		status    *driver.HTTPError
	)
	switch {
	case errors.Is(err, context.Canceled):
		e.msg = "stopped"
	case errors.As(err, &exception):
		db.explainException(e, exception)
	case db.explainTLS(e, err), db.explainProtocol(e, err):
	case errors.As(err, &status):
		e.Kind = KindServer
		e.msg = "the server at " + db.addr() + " answered with HTTP status " + strconv.Itoa(status.StatusCode) + ": " + db.clean(status.Err)
	case errors.Is(err, context.DeadlineExceeded) || errors.Is(err, driver.ErrAcquireConnTimeout) || timedOut(err):
		e.Kind = KindTimeout
		e.msg = "no answer in time from " + db.addr() + " (clickhouse.addr): " + db.clean(root(err))
		if db.cfg.Protocol == ProtocolNative && strings.Contains(err.Error(), "handshake") {
			e.msg += "; does it speak the native protocol (clickhouse.protocol)?"
		}
	case isNetwork(err):
		e.Kind = KindUnreachable
		e.msg = "cannot reach " + db.addr() + " (clickhouse.addr): " + db.clean(root(err))
	default:
		e.msg = db.clean(err)
	}
	return e
}

func (db *DB) explainException(e *Error, ex *driver.Exception) {
	e.Code = ex.Code
	text := db.clean(errors.New(ex.Message))
	switch {
	case authCodes[ex.Code]:
		e.Kind = KindAuth
		e.msg = fmt.Sprintf("the server at %s refuses user %s: check clickhouse.username and clickhouse.password", db.addr(), strconv.Quote(db.cfg.Username))
		return // its message is long and says no more
	case accessCodes[ex.Code]:
		e.Kind = KindAccess
		e.msg = fmt.Sprintf("user %s may not do this: %s", strconv.Quote(db.cfg.Username), text)
	case ex.Code == codeUnknownDatabase:
		e.Kind = KindNoDatabase
		e.msg = text
		if strings.Contains(ex.Message, db.cfg.Database) {
			e.msg = fmt.Sprintf("there is no database %s (clickhouse.database): run `plumbline migrate` to create it", strconv.Quote(db.cfg.Database))
		}
		return
	case ex.Code == codeUnknownTable:
		e.Kind = KindSchema
		e.msg = text
	default:
		e.Kind = KindServer
		e.msg = text
	}
	e.msg = strings.TrimSpace(e.msg) + " (code " + strconv.Itoa(int(ex.Code)) + ")"
}

// explainTLS reports whether err is about encryption.
func (db *DB) explainTLS(e *Error, err error) bool {
	var (
		verify    *tls.CertificateVerificationError
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		record    tls.RecordHeaderError
		alert     tls.AlertError
	)
	text := err.Error()
	switch {
	case errors.As(err, &authority):
		e.msg = "the certificate of " + db.addr() + " is signed by an authority that is not believed: give its file in clickhouse.tls.ca_file"
	case errors.As(err, &host):
		e.msg = "the certificate of " + db.addr() + " is for another name: " + db.clean(host) + "; give its name in clickhouse.tls.server_name"
	case errors.As(err, &verify):
		e.msg = "the certificate of " + db.addr() + " is not accepted: " + db.clean(verify.Err)
	case errors.As(err, &record) || strings.Contains(text, "server gave HTTP response to HTTPS client"):
		e.msg = db.addr() + " does not speak TLS: use its encrypted port (8443 for http, 9440 for native) or set clickhouse.tls.enabled to false"
	case errors.As(err, &alert) || strings.Contains(text, "remote error: tls:"):
		e.msg = "the server at " + db.addr() + " ended the TLS handshake: " + db.clean(root(err)) + "; does it want a client certificate (clickhouse.tls.cert_file)?"
	case db.cfg.TLS == nil && (strings.Contains(text, "unexpected packet [21]") || strings.Contains(text, `malformed HTTP response "\x15`) ||
		strings.Contains(text, "HTTP request to an HTTPS server")):
		e.msg = db.addr() + " speaks TLS: set clickhouse.tls.enabled to true"
	default:
		return false
	}
	e.Kind = KindTLS
	return true
}

// explainProtocol reports whether err comes from speaking http to a native port
// or the other way round.
func (db *DB) explainProtocol(e *Error, err error) bool {
	text := err.Error()
	switch {
	case db.cfg.Protocol == ProtocolNative && strings.Contains(text, "unexpected packet [72]"): // 'H' of "HTTP/1.1 400"
		e.msg = db.addr() + " speaks HTTP: set clickhouse.protocol to http, or use the native port (9000, with TLS 9440)"
	case db.cfg.Protocol == ProtocolNative && strings.Contains(text, "[handshake] unexpected packet"):
		e.msg = db.addr() + " does not speak ClickHouse's native protocol: check clickhouse.addr and clickhouse.protocol"
	case db.cfg.Protocol == ProtocolHTTP && strings.Contains(text, "is for clickhouse-client program"):
		e.msg = db.addr() + " speaks the native protocol: set clickhouse.protocol to native, or use the HTTP port (8123, with TLS 8443)"
	case db.cfg.Protocol == ProtocolHTTP && strings.Contains(text, "malformed HTTP"):
		e.msg = db.addr() + " does not speak HTTP: check clickhouse.addr and clickhouse.protocol"
	default:
		return false
	}
	e.Kind = KindProtocol
	return true
}

func (db *DB) addr() string { return strings.Join(db.cfg.Addrs, ", ") }

// maxErrorText bounds what a server's message may add to a log line: it can quote
// the statement and stored data.
const maxErrorText = 1000

// clean is err's text for people: one line, bounded, no control characters, no
// password.
func (db *DB) clean(err error) string {
	text := err.Error()
	if p := db.cfg.Password; p != "" {
		text = strings.ReplaceAll(text, p, "***")
		text = strings.ReplaceAll(text, url.QueryEscape(p), "***")
	}
	if len(text) > maxErrorText {
		text = strings.ToValidUTF8(text[:maxErrorText], "") + "…"
	}
	return terminal.Escape(text)
}

func timedOut(err error) bool {
	var netErr net.Error
	return errors.As(err, &netErr) && netErr.Timeout()
}

// root is the innermost network error: the driver and net/http wrap it in an
// address and a statement.
func root(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}
