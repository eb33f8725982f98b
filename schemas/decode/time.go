package decode

import (
	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode/jsonscan"
)

// MaxTime is the last millisecond of the year 9999: RFC 3339 has no later one.
const MaxTime schemas.Millis = 253402300799999

// usable reports whether t can be the time of an event: after the first instant
// of 1970 and not after the year 9999.
func usable(t schemas.Millis) bool { return t > 0 && t <= MaxTime }

// ParseTime reads an RFC 3339 time, after the first instant of 1970 and not after the year
// 9999. Digits under the millisecond are dropped; a leap second counts as the second after
// it.
func ParseTime(s string) (t schemas.Millis, ok bool) {
	// 2006-01-02T15:04:05Z
	if len(s) < 20 || s[4] != '-' || s[7] != '-' || s[10]|0x20 != 't' || s[13] != ':' || s[16] != ':' {
		return 0, false
	}
	year, ok1 := digits2(s[0:])
	century := year
	year, ok2 := digits2(s[2:])
	year += 100 * century
	month, ok3 := digits2(s[5:])
	day, ok4 := digits2(s[8:])
	hour, ok5 := digits2(s[11:])
	minute, ok6 := digits2(s[14:])
	second, ok7 := digits2(s[17:])
	number := ok1 && ok2 && ok3 && ok4 && ok5 && ok6 && ok7
	if !number ||
		month < 1 || month > 12 || day < 1 || day > daysIn(year, month) || hour > 23 || minute > 59 || second > 60 {
		return 0, false
	}
	millis, rest, ok := parseFraction(s[19:])
	if !ok {
		return 0, false
	}
	offset, ok := parseOffset(rest)
	if !ok {
		return 0, false
	}
	seconds := ((daysSinceEpoch(year, month, day)*24+hour)*60+minute-offset)*60 + second
	t = schemas.Millis(seconds*1000 + millis)
	return t, usable(t)
}

// parseFraction reads the optional fraction of a second that s begins with.
func parseFraction(s string) (millis int, rest string, ok bool) {
	if s[0] != '.' {
		return 0, s, true
	}
	unit, i := 100, 1
	for ; i < len(s) && jsonscan.IsDigit(s[i]); i++ {
		millis += int(s[i]-'0') * unit
		unit /= 10
	}
	return millis, s[i:], i > 1 && i < len(s)
}

// parseOffset reads Z or ±hh:mm and returns it in minutes.
func parseOffset(s string) (minutes int, ok bool) {
	if len(s) == 1 {
		return 0, s[0]|0x20 == 'z'
	}
	if len(s) != 6 || s[3] != ':' || (s[0] != '+' && s[0] != '-') {
		return 0, false
	}
	h, ok1 := digits2(s[1:])
	m, ok2 := digits2(s[4:])
	minutes = h*60 + m
	if s[0] == '-' {
		minutes = -minutes
	}
	return minutes, ok1 && ok2 && h <= 23 && m <= 59
}

func digits2(s string) (v int, ok bool) {
	return int(s[0]-'0')*10 + int(s[1]-'0'), jsonscan.IsDigit(s[0]) && jsonscan.IsDigit(s[1])
}

func daysIn(year, month int) int {
	switch month {
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	}
	return 31
}

// daysSinceEpoch counts the days from 1970-01-01 in the Gregorian calendar
// (H. Hinnant, chrono-compatible low-level date algorithms, days_from_civil).
func daysSinceEpoch(year, month, day int) int {
	if month <= 2 {
		year--
		month += 12
	}
	era := year
	if era < 0 {
		era -= 399
	}
	era /= 400
	ofEra := year - era*400
	ofYear := (153*(month-3)+2)/5 + day - 1
	return era*146097 + ofEra*365 + ofEra/4 - ofEra/100 + ofYear - 719468
}
