package policy

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/plumbline-sec/plumbline/detector"
)

// What is read can be packed, and made again of that alone: what judged events is kept with
// the state of the detector (detector.Config.Policies). The form is DEFLATE of a byte of
// options, and of name and text of each file behind their lengths.

const (
	packedDeny = 1 << iota
	packedObserve
)

// None returns the set without policies, which permits everything but what registrations do
// not grant.
func None() *Set {
	return &Set{index: newIndex(nil)}
}

// Packed is what Unpack makes the set again of; empty where it is None. It is not to be
// changed.
func (s *Set) Packed() []byte { return s.packed }

// NewDecider returns an engine that decides with the set, for one detector.
func (s *Set) NewDecider() detector.Decider { return NewEngine(s) }

func pack(files []File, opt Options) []byte {
	if len(files) == 0 && opt == (Options{}) {
		return nil
	}
	var flags byte
	if opt.DefaultDeny {
		flags |= packedDeny
	}
	if opt.Observe {
		flags |= packedObserve
	}
	plain := []byte{flags}
	for _, f := range files {
		plain = appendText(appendText(plain, f.Name), string(f.Text))
	}
	var out bytes.Buffer
	w, _ := flate.NewWriter(&out, flate.BestCompression) // an error would be one of the level
	w.Write(plain)                                       //nolint:errcheck // memory takes everything
	w.Close()                                            //nolint:errcheck // likewise
	return out.Bytes()
}

var errPacked = errors.New("unpack policies: corrupt")

// Unpack makes the set again that was packed.
func Unpack(packed []byte) (*Set, error) {
	if len(packed) == 0 {
		return None(), nil
	}
	const most = MaxTotalBytes + MaxFiles*maxPackedName
	plain, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(packed)), most+1))
	if err != nil {
		return nil, fmt.Errorf("unpack policies: %w", err)
	}
	if len(plain) == 0 || len(plain) > most {
		return nil, errPacked
	}
	opt := Options{DefaultDeny: plain[0]&packedDeny != 0, Observe: plain[0]&packedObserve != 0}
	plain = plain[1:]
	next := func() (text []byte, ok bool) {
		n, size := binary.Uvarint(plain)
		if size <= 0 || n > uint64(len(plain)-size) {
			return nil, false
		}
		text, plain = plain[size:size+int(n)], plain[size+int(n):]
		return text, true
	}
	var files []File
	for len(plain) > 0 {
		name, ok := next()
		text, also := next()
		if !ok || !also || len(files) >= MaxFiles {
			return nil, errPacked
		}
		files = append(files, File{string(name), text})
	}
	return Parse(files, opt)
}

// maxPackedName is how long names of files may be, with their lengths: longer than a system
// allows.
const maxPackedName = 8 << 10
