package siem

import (
	"strconv"

	"github.com/plumbline-sec/plumbline/schemas"
)

// Syslog puts the header of RFC 5424 before a form that is one line of text:
//
//	<PRI>1 TIMESTAMP - plumbline - MSGID - MESSAGE
//
// The facility is 4, security messages; the severity is the alert's: critical 2,
// high 3, medium 4, low 5. The message id is the strongest signal's rule, cut to
// the 32 characters that the RFC allows. There is no byte order mark: the receivers
// of CEF and LEEF look for the form's own beginning.
func Syslog(form Encoder) Encoder { return syslogForm{form} }

type syslogForm struct{ form Encoder }

const (
	facilitySecurity = 4
	maxMessageID     = 32
)

// Name implements Encoder.
func (s syslogForm) Name() string { return s.form.Name() }

// Append implements Encoder.
func (s syslogForm) Append(dst []byte, a *schemas.Alert) ([]byte, error) {
	start := len(dst)
	dst = strconv.AppendInt(append(dst, '<'), facilitySecurity*8+severityOf(a.Severity).syslog, 10)
	dst = a.Time.AppendRFC3339(append(dst, ">1 "...))
	dst = append(dst, " - plumbline - "...)
	id := eventID(a)
	dst = append(dst, id[:min(len(id), maxMessageID)]...)
	dst = append(dst, " - "...)
	out, err := s.form.Append(dst, a)
	if err != nil {
		return dst[:start], err
	}
	return out, nil
}

// TakesSyslog reports whether a form may stand behind a syslog header.
func TakesSyslog(name string) bool { return name == CEF.Name() || name == LEEF.Name() }
