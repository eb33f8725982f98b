package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
)

// maxRefusals bounds how many lines are named one by one.
const maxRefusals = 20

// tally is a decoder that counts what became of the records of each input, and says
// of the first that were refused where they stand and why.
type tally struct {
	decoder form
	say     func(text string)
	next    string // what to do about a file of which nothing was taken

	file    string
	line    int64
	records int64
	taken   int64            // events, and entries that were passed over
	reasons map[string]int64 // of refusals

	letters int64 // records of all inputs of which something was refused
	named   int   // of them
	refused bool  // something of this record

	emit func(index int32, ev *schemas.Activity, refusal *decode.Refusal)
	note func(index int32, ev *schemas.Activity, refusal *decode.Refusal)
}

func newTally(decoder form, say func(text string)) *tally {
	t := &tally{decoder: decoder, say: say, reasons: make(map[string]int64)}
	t.note = t.event // once, not for every record
	return t
}

// begin begins an input.
func (t *tally) begin(file string) {
	t.file, t.records, t.taken = file, 0, 0
	clear(t.reasons)
}

// at says on which line the next record stands.
func (t *tally) at(line int64) {
	t.line, t.refused = line, false
	t.records++
}

// Decode implements decode.Decoder.
func (t *tally) Decode(rec *decode.Record, emit func(index int32, ev *schemas.Activity, refusal *decode.Refusal)) {
	t.emit = emit
	t.decoder.Decode(rec, t.note)
	if s, ok := t.decoder.Decoder.(decode.Skipper); ok {
		t.taken += int64(s.Skipped())
	}
}

func (t *tally) event(index int32, ev *schemas.Activity, refusal *decode.Refusal) {
	if refusal == nil {
		t.taken++
	} else {
		t.refuse(string(refusal.Reason), func() string {
			return strings.TrimPrefix(refusal.Error(), "decode activity: ")
		})
	}
	t.emit(index, ev, refusal)
}

// tooLong counts a record that is longer than what is read.
func (t *tally) tooLong(size int64, limit int) {
	t.refuse(string(decode.ReasonTooLarge), func() string { return fmt.Sprintf("%d bytes, at most %d", size, limit) })
}

func (t *tally) refuse(reason string, why func() string) {
	t.reasons[reason]++
	if t.refused {
		return // one letter for a record
	}
	t.refused = true
	t.letters++
	if t.named++; t.named > maxRefusals+1 {
		return
	}
	if t.named == maxRefusals+1 {
		t.say("plumbline: further records that are no events are only counted")
		return
	}
	t.say(fmt.Sprintf("plumbline: %s, line %d: %s", t.file, t.line, why()))
}

// end ends an input. Where nothing was taken of it, it is not what it was taken for.
func (t *tally) end() error {
	if t.taken > 0 || len(t.reasons) == 0 {
		return nil
	}
	why := make([]string, 0, len(t.reasons))
	for reason, n := range t.reasons {
		why = append(why, fmt.Sprintf("%s %d", reason, n))
	}
	slices.Sort(why)
	return fmt.Errorf("%s: no event in any of its %d records (%s); %s", t.file, t.records, strings.Join(why, ", "), t.next)
}
