package decode

import "slices"

// Form is an input form: what a source names as its decoder.
type Form struct {
	Name    string
	Summary string
	// NeedsOptions: the form can't be read without the source's options.
	NeedsOptions bool
	// Binary: a record may be binary, protobuf.
	Binary bool
	build  func(o *options) Decoder
}

// forms are the input forms. A new one is one file and one line here.
var forms = []Form{
	{Name: "activity", Summary: "Plumbline's own event, one JSON object a record", build: func(*options) Decoder { return NewActivity() }},
	{Name: "cloudtrail", Summary: "AWS CloudTrail: events, log files, EventBridge", build: func(*options) Decoder { return NewCloudTrail() }},
	{Name: "mapping", Summary: "any JSON, by paths in the options", NeedsOptions: true, build: mappingForm},
	{Name: "ocsf", Summary: "OCSF API Activity (6003)", build: ocsfForm},
	{Name: "otlp_logs", Summary: "OpenTelemetry log batches, protobuf or JSON", Binary: true, build: func(o *options) Decoder { return otlpForm(o, NewOTLPLogs) }},
	{Name: "otlp_spans", Summary: "OpenTelemetry trace batches, protobuf or JSON", Binary: true, build: func(o *options) Decoder { return otlpForm(o, NewOTLPSpans) }},
}

// Forms returns the input forms, by name.
func Forms() []Form { return slices.Clone(forms) }

// New returns a decoder of the form of that name, for one goroutine. Options are
// the form's own and that of any form, `cloudevents`; an error is OptionErrors
// where they are at fault.
func New(name string, values map[string]any) (Decoder, error) {
	i := slices.IndexFunc(forms, func(f Form) bool { return f.Name == name })
	if i < 0 {
		return nil, &UnknownFormError{Name: name}
	}
	o := &options{values: values}
	e := &envelope{events: o.flag("cloudevents", false)}
	e.inner = forms[i].build(o)
	if err := o.done(); err != nil {
		return nil, err
	}
	return e, nil
}

// UnknownFormError says that there is no such form.
type UnknownFormError struct{ Name string }

func (e *UnknownFormError) Error() string { return "there is no input form " + quote(e.Name) }
