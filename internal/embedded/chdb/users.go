package chdb

import (
	"bufio"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

const (
	// defaultUser may do what the lists and the grants say, with any password or none,
	// as a server's user that has none.
	defaultUser = "default"
	// ReaderUser may SELECT from the database's tables and views and nothing else, as
	// a server's user with readonly = 1 does. It is there where it has a password.
	ReaderUser = "reader"
)

// readerMay are the settings that the reader changes all the same, as a server's
// constraint changeable_in_readonly permits: how long a statement may take and how its
// answer is sent. Drivers set them unasked.
var readerMay = map[string]bool{
	"max_execution_time": true, "enable_http_compression": true, "http_zlib_compression_level": true,
	"send_progress_in_http_headers": true, "http_headers_progress_interval_ms": true,
	"output_format_json_quote_64bit_integers": true,
}

// hiddenFromReader are the tables of system in which the texts of others' statements stand.
// The engine shows a user its own, and the reader is a role of the same user to it.
var hiddenFromReader = words("processes user_processes processlist errors query_cache asynchronous_inserts background_schedule_pool")

// checkReader refuses what would show the reader the statements of others, by name.
func (st statement) checkReader(params []pair) error {
	names := func(s string) bool { return hiddenFromReader[strings.ToLower(s)] }
	identifiers := false
	for _, tok := range st.tokens {
		if tok.names() && names(tok.value) {
			return newException(497, "ACCESS_DENIED", tok.value+" is not for the user "+ReaderUser+". A column of this name is written in another way: COLUMNS('...')")
		}
		identifiers = identifiers || tok.word("Identifier")
	}
	for _, p := range params {
		if identifiers && slices.ContainsFunc(strings.FieldsFunc(p.value, func(r rune) bool { return strings.ContainsRune(".`\"' \t\r\n", r) }), names) {
			return newException(497, "ACCESS_DENIED", shortened(p.value)+" is not for the user "+ReaderUser)
		}
	}
	return nil
}

// handover is what the parent says to the child on its standard input, where neither
// the list of processes nor the environment shows it. The password itself stays behind.
type handover struct {
	Database string // that the reader reads
	Salt     string
	Reader   []byte // sum of salt and password; none: there is no such user
}

// defaultDatabase is the reader's where the parent names none.
const defaultDatabase = "plumbline"

func newHandover(database, password string) handover {
	h := handover{Database: database, Salt: nonce()}
	if h.Database == "" {
		h.Database = defaultDatabase
	}
	if password != "" {
		h.Reader = h.sum(password)
	}
	return h
}

func (h handover) sum(password string) []byte {
	sum := sha256.Sum256([]byte(h.Salt + password))
	return sum[:]
}

func (h handover) write(w io.Writer) error {
	if err := json.NewEncoder(w).Encode(h); err != nil {
		return fmt.Errorf("tell the child its users: %w", err)
	}
	return nil
}

// readHandover takes the first line; the rest is the reader that is returned.
func readHandover(r io.Reader) (handover, io.Reader, error) {
	in := bufio.NewReader(r)
	line, err := in.ReadBytes('\n')
	var h handover
	if err == nil {
		err = json.Unmarshal(line, &h)
	}
	if err != nil {
		return h, in, fmt.Errorf("read who may ask: %w", err)
	}
	return h, in, nil
}

// user says who sends the request, or that nobody here has the name and the password.
func (h handover) user(r *http.Request, query url.Values) (string, error) {
	name, password, ways := "", "", 0
	take := func(given bool, user, key string) {
		if given {
			name, password = user, key
			ways++
		}
	}
	basicUser, basicKey, basic := r.BasicAuth()
	take(basic, basicUser, basicKey)
	head := r.Header
	take(head.Get("X-ClickHouse-User") != "" || head.Get("X-ClickHouse-Key") != "", head.Get("X-ClickHouse-User"), head.Get("X-ClickHouse-Key"))
	take(query.Has("user") || query.Has("password"), query.Get("user"), query.Get("password"))
	switch {
	case ways > 1:
		return "", newException(194, "REQUIRED_PASSWORD", "Invalid authentication: it is not allowed to name a user in more than one way: HTTP Basic, the X-ClickHouse headers, the URL")
	case head.Get("Authorization") != "" && !basic:
		return "", newException(516, "AUTHENTICATION_FAILED", "Invalid authentication: only HTTP Basic is supported")
	}
	if name == "" {
		name = defaultUser
	}
	switch {
	case name == defaultUser:
		return name, nil
	case name == ReaderUser && h.Reader != nil && subtle.ConstantTimeCompare(h.sum(password), h.Reader) == 1:
		return name, nil
	}
	return "", newException(516, "AUTHENTICATION_FAILED", shortened(name)+": Authentication failed: password is incorrect, or there is no user with such name")
}
