package otlp

import "github.com/plumbline-sec/plumbline/schemas/decode"

// SpansForm returns the decoder of trace batches that the options describe.
func SpansForm(o *decode.Options) decode.Decoder { return form(o, NewSpans) }

// LogsForm returns the decoder of log batches that the options describe.
func LogsForm(o *decode.Options) decode.Decoder { return form(o, NewLogs) }

func form(o *decode.Options, build func(Options) (*Decoder, error)) decode.Decoder {
	d := DefaultOptions()
	opt := Options{
		Encoding:  o.Text("encoding", d.Encoding, Auto, Proto, JSON),
		Agent:     o.List("agent", d.Agent),
		Tenant:    o.Text("tenant", d.Tenant),
		Other:     o.Text("other", d.Other, Skip, Inside, All),
		Content:   o.Flag("content", d.Content),
		Resource:  o.List("resource", d.Resource),
		Resources: o.Pairs("resources"),
	}
	if !o.Sound() {
		return nil
	}
	dec, err := build(opt)
	if err != nil {
		o.Wrong("agent", "and its neighbours do not fit together: "+err.Error(), "")
		return nil
	}
	return dec
}
