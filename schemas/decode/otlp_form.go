package decode

// otlpForm reads the options of the OTLP forms.
func otlpForm(o *options, build func(OTLPOptions) (*OTLPDecoder, error)) Decoder {
	d := DefaultOTLPOptions()
	opt := OTLPOptions{
		Encoding:  o.text("encoding", d.Encoding, OTLPAuto, OTLPProto, OTLPJSON),
		Agent:     o.list("agent", d.Agent),
		Tenant:    o.text("tenant", d.Tenant),
		Other:     o.text("other", d.Other, OTLPSkip, OTLPInside, OTLPAll),
		Content:   o.flag("content", d.Content),
		Resource:  o.list("resource", d.Resource),
		Resources: o.pairs("resources"),
	}
	if len(o.mistakes) > 0 {
		return nil
	}
	dec, err := build(opt)
	if err != nil {
		o.wrong("agent", "and its neighbours do not fit together: "+err.Error(), "")
		return nil
	}
	return dec
}
