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
	const day = 24 * 3600 * 1000
	if m < 0 || m >= 2932897*day { // 1970 to 9999
		return m.Time().AppendFormat(dst, millisLayout)
	}
	// H. Hinnant, chrono-compatible low-level date algorithms, civil_from_days:
	// a third of the time that AppendFormat takes.
	z := uint32(m/day) + 719468
	ofEra := z % 146097
	yearOfEra := (ofEra - ofEra/1460 + ofEra/36524 - ofEra/146096) / 365
	ofYear := ofEra - (365*yearOfEra + yearOfEra/4 - yearOfEra/100)
	mp := (5*ofYear + 2) / 153
	dayOfMonth := ofYear - (153*mp+2)/5 + 1
	year, month := yearOfEra+z/146097*400, mp+3
	if month > 12 {
		year, month = year+1, month-12
	}
	ms := uint32(m % day)
	s := ms / 1000
	ms %= 1000
	digit := func(v uint32) byte { return '0' + byte(v%10) }
	return append(dst,
		digit(year/1000), digit(year/100), digit(year/10), digit(year), '-',
		digit(month/10), digit(month), '-', digit(dayOfMonth/10), digit(dayOfMonth), 'T',
		digit(s/36000), digit(s/3600), ':', digit(s/60%60/10), digit(s/60%60), ':', digit(s%60/10), digit(s%60), '.',
		digit(ms/100), digit(ms/10), digit(ms), 'Z')
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
