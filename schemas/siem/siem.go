// Package siem encodes alerts in the forms that SIEMs read, one file per form.
//
// An encoder is a pure function of the alert. No value of an alert, however
// hostile, breaks out of its field.
//
// Invariants:
//  1. The same alert gives the same bytes, always.
//  2. A record is one line of valid UTF-8 and at most MaxRecordBytes long.
//  3. Nothing is in a form that is not in the alert.
//  4. Control characters and characters that change how a line is displayed
//     (terminal escapes, bidirectional overrides, invisible ones) are escaped.
package siem

import "github.com/plumbline-sec/plumbline/schemas"

// An Encoder appends one alert in one SIEM's form to dst.
type Encoder interface {
	// Name is the value of outputs[].format in the config.
	Name() string
	// Append appends the encoded alert to dst. It fails only on an alert that no
	// detector makes (a number that is not finite, for instance); dst is then
	// returned as it was.
	Append(dst []byte, a *schemas.Alert) ([]byte, error)
}

// MaxRecordBytes bounds every encoded alert: half of what a Kafka topic takes by
// default. Where the strings of an alert would exceed it they are cut, the
// longest first; identifiers never are.
const MaxRecordBytes = 512 << 10

// encoders is the list of forms. A new form is one file and one line here.
var encoders = []Encoder{JSON, OCSF, OCSF17, OCSF16, OCSF15, ECS, Splunk, ASIM, CEF, LEEF}

// Encoders returns every form, in the order of the documentation.
func Encoders() []Encoder { return append([]Encoder(nil), encoders...) }

// Lookup returns the form of that name.
func Lookup(name string) (Encoder, bool) {
	for _, e := range encoders {
		if e.Name() == name {
			return e, true
		}
	}
	return nil, false
}
