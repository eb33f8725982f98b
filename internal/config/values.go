package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"
)

// masked is what every printed form of a secret shows.
const masked = "***"

// Secret is a value that must not be shown. Only Reveal gives it away: String,
// every verb of fmt, every marshaller and zerolog print "***", or nothing where
// no secret is set.
type Secret struct {
	// A pointer, so that fmt shows an address and not the secret when it reaches
	// the value through an unexported field, where it may not call String.
	value *string
}

// NewSecret returns a secret with this value; the empty value is no secret.
func NewSecret(value string) Secret {
	if value == "" {
		return Secret{}
	}
	return Secret{value: &value}
}

// Reveal returns the value, empty where none is set.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// IsSet reports whether there is a value.
func (s Secret) IsSet() bool { return s.value != nil }

// String returns "***", or "" where no secret is set.
func (s Secret) String() string {
	if s.value == nil {
		return ""
	}
	return masked
}

// GoString keeps %#v from showing the value.
func (s Secret) GoString() string { return strconv.Quote(s.String()) }

// MarshalText keeps encoders (JSON, YAML, and others) from showing the value.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalZerologObject keeps zerolog's Object and Any from showing the value.
func (s Secret) MarshalZerologObject(e *zerolog.Event) { e.Str("secret", s.String()) }

// Endpoints are one or more addresses host:port, or the word "embedded".
type Endpoints []string

// Embedded reports whether the part of the embedded stack is meant.
func (e Endpoints) Embedded() bool { return len(e) == 1 && e[0] == EmbeddedValue }

// MarshalYAML prints a single address as a text.
func (e Endpoints) MarshalYAML() (any, error) {
	if len(e) == 1 {
		return e[0], nil
	}
	return []string(e), nil
}

// Duration is a time.Duration that is written as in Go: 6h, 1h30m, 250ms.
type Duration time.Duration

// Std returns d as the standard library's type.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// String leaves out units that are zero: 6h rather than 6h0m0s.
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// MarshalText prints the duration as it is written in a file.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

var errDuration = errors.New("is not a duration; write a number with a unit: 250ms, 30s, 15m, 6h")

func (d *Duration) parse(text string) error {
	v, err := time.ParseDuration(text)
	if err != nil {
		return errDuration
	}
	*d = Duration(v)
	return nil
}

// Size is a number of bytes, written plain or with a unit: 65536, 64KiB, 1GiB.
type Size int64

var sizeUnits = []struct {
	name  string
	bytes int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}}

// String uses the largest unit that gives a whole number.
func (s Size) String() string {
	for _, u := range sizeUnits {
		if s != 0 && int64(s)%u.bytes == 0 {
			return fmt.Sprintf("%d%s", int64(s)/u.bytes, u.name)
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// MarshalText prints the size as it is written in a file.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

var errSize = errors.New("is not a size; write a number of bytes, or one with a unit: 64KiB, 16MiB, 1GiB")

func (s *Size) parse(text string) error {
	unit := int64(1)
	for _, u := range sizeUnits {
		if rest, ok := strings.CutSuffix(text, u.name); ok {
			text, unit = strings.TrimSpace(rest), u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > (1<<62)/unit {
		return errSize
	}
	*s = Size(n * unit)
	return nil
}

// Tree is a part of the config whose keys somebody else knows: texts, numbers,
// switches, lists ([]any) and keys (map[string]any).
type Tree map[string]any

// Names is a list of names.
type Names []string
