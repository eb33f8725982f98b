package schemas

import (
	"fmt"
	"time"
)

// Millis is a point in time in Unix milliseconds, UTC. Zero means "absent":
// no agent acted at the first instant of 1970. Its JSON form is RFC 3339 with
// exactly three decimals.
type Millis int64

const millisLayout = "2006-01-02T15:04:05.000Z"

// Time returns m as a time.Time in UTC.
func (m Millis) Time() time.Time { return time.UnixMilli(int64(m)).UTC() }

// String returns the RFC 3339 form with milliseconds.
func (m Millis) String() string { return m.Time().Format(millisLayout) }

// AppendRFC3339 appends the RFC 3339 form with milliseconds to dst.
func (m Millis) AppendRFC3339(dst []byte) []byte {
	return m.Time().AppendFormat(dst, millisLayout)
}

// MarshalJSON writes an RFC 3339 string with milliseconds.
func (m Millis) MarshalJSON() ([]byte, error) {
	b := make([]byte, 0, len(millisLayout)+2)
	b = append(b, '"')
	b = m.AppendRFC3339(b)
	return append(b, '"'), nil
}

// UnmarshalJSON reads an RFC 3339 string.
func (m *Millis) UnmarshalJSON(b []byte) error {
	if len(b) < 2 || b[0] != '"' || b[len(b)-1] != '"' {
		return fmt.Errorf("time %.40q is not an RFC 3339 string", b)
	}
	t, err := time.Parse(time.RFC3339, string(b[1:len(b)-1]))
	if err != nil {
		return fmt.Errorf("time %.40q is not RFC 3339: %w", b, err)
	}
	*m = Millis(t.UnixMilli())
	return nil
}
