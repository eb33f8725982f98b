// Package forms lists the input forms: what a source may name as its decoder. It
// is the only place that imports all of them.
package forms

import (
	"slices"
	"strconv"

	"github.com/plumbline-sec/plumbline/schemas/decode"
	"github.com/plumbline-sec/plumbline/schemas/decode/cloudtrail"
	"github.com/plumbline-sec/plumbline/schemas/decode/mapping"
	"github.com/plumbline-sec/plumbline/schemas/decode/otlp"
	"github.com/plumbline-sec/plumbline/schemas/decode/registration"
)

// Form is an input form: what a source names as its decoder.
type Form struct {
	Name    string
	Summary string
	// NeedsOptions: the form can't be read without the source's options.
	NeedsOptions bool
	// Binary: a record may be binary, protobuf.
	Binary bool
	// Registers: its records are registrations, and no events.
	Registers bool
	build     func(o *decode.Options) decode.Decoder
}

// forms are the input forms. A new one is one package and one line here.
var forms = []Form{
	{Name: "activity", Summary: "Plumbline's own event, one JSON object a record", build: func(*decode.Options) decode.Decoder { return decode.NewActivity() }},
	{Name: "cloudtrail", Summary: "AWS CloudTrail: events, log files, and what AWS puts around them", build: cloudtrail.New},
	{Name: "mapping", Summary: "any JSON, by paths in the options", NeedsOptions: true, build: mapping.New},
	{Name: "ocsf", Summary: "OCSF API Activity (6003)", build: mapping.NewOCSF},
	{Name: "otlp_logs", Summary: "OpenTelemetry log batches, protobuf or JSON", Binary: true, build: otlp.NewLogs},
	{Name: "otlp_spans", Summary: "OpenTelemetry trace batches, protobuf or JSON", Binary: true, build: otlp.NewSpans},
	{Name: "registration", Summary: "who an agent is: owner, status, credentials, grants", Registers: true, build: registration.New},
}

// All returns the input forms, by name.
func All() []Form { return slices.Clone(forms) }

// New returns a decoder of the form of that name, for one goroutine. Options are
// the form's own and that of any form, `cloudevents`; an error is
// decode.OptionErrors where they are at fault.
func New(name string, values map[string]any) (decode.Decoder, error) {
	i := slices.IndexFunc(forms, func(f Form) bool { return f.Name == name })
	if i < 0 {
		return nil, &UnknownError{Name: name}
	}
	o := &decode.Options{Values: values}
	cloudEvents := o.Flag("cloudevents", false)
	inner := forms[i].build(o)
	if err := o.Done(); err != nil {
		return nil, err
	}
	return decode.Unwrapped(inner, cloudEvents), nil
}

// UnknownError says that there is no such form.
type UnknownError struct{ Name string }

func (e *UnknownError) Error() string { return "there is no input form " + strconv.Quote(e.Name) }
