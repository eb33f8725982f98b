// Package siem encodes alerts in the forms that SIEMs read, one file per form.
//
// An encoder is a pure function of the alert. No value of an alert, however
// hostile, breaks out of its field.
package siem

import "github.com/plumbline-sec/plumbline/schemas"

// An Encoder appends one alert in one SIEM's form to dst.
type Encoder interface {
	// Name is the value of outputs[].format in the config.
	Name() string
	// Append appends the encoded alert to dst. It fails only on an alert that no
	// detector makes (a number that is not finite, for instance).
	Append(dst []byte, a *schemas.Alert) ([]byte, error)
}
