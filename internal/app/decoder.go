package app

import (
	"fmt"

	"github.com/plumbline-sec/plumbline/schemas/decode"
)

// NewDecoder returns a decoder of the form that a source's config names.
func NewDecoder(name string) (decode.Decoder, error) {
	build, ok := decoders[name]
	if !ok {
		return nil, fmt.Errorf("no decoder %q", name)
	}
	return build(), nil
}
