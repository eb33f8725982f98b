package schemas

import (
	"encoding/json"
	"errors"
	"fmt"
)

// RecordHeader is the key of the header that says what a record of plumbline.activity is
// where it is no event. An event has no such header. Only route writes it: headers of
// source records are not copied. Whoever reads a record of a kind that it does not know
// passes over it.
const RecordHeader = "plumbline-record"

// RecordTick is a Tick.
const RecordTick = "tick"

// RecordRegistration is a Registration.
const RecordRegistration = "registration"

// Tick says that time went on while nothing happened: every record that stood in a source
// topic at that instant stands in plumbline.activity before the tick. It is no event of
// anybody, has no origin and no key, and belongs to the partition in which it stands. One
// that stands there twice, or late, says nothing new.
type Tick struct {
	At Millis `json:"at"` // by the clock of who wrote it
}

// ErrTick is what ParseTick's errors wrap.
var ErrTick = errors.New("not a tick")

// AppendTick appends the value of its record.
func AppendTick(dst []byte, t Tick) []byte {
	dst = append(dst, `{"at":"`...)
	return append(t.At.AppendRFC3339(dst), `"}`...)
}

// ParseTick reads what AppendTick wrote. What a later release adds is left out.
func ParseTick(b []byte) (Tick, error) {
	var t Tick
	if err := json.Unmarshal(b, &t); err != nil {
		return Tick{}, fmt.Errorf("%w: %w", ErrTick, err)
	}
	if t.At <= 0 {
		return Tick{}, fmt.Errorf("%w: it has no time", ErrTick)
	}
	return t, nil
}
