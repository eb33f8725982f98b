package clickhouse

import (
	"encoding/binary"
	"math"

	"github.com/plumbline-sec/plumbline/schemas"
)

// wire is a buffer in the format of ClickHouse's Native blocks: numbers little
// endian, a string as its length (uvarint) and its bytes, an array as the running
// total of lengths (UInt64 a row) and then all elements as one column.
type wire struct{ b []byte }

func (w *wire) uint8(v uint8)     { w.b = append(w.b, v) }
func (w *wire) uint64(v uint64)   { w.b = binary.LittleEndian.AppendUint64(w.b, v) }
func (w *wire) int64(v int64)     { w.uint64(uint64(v)) }
func (w *wire) float64(v float64) { w.uint64(math.Float64bits(v)) }

func (w *wire) string(s string) {
	w.b = binary.AppendUvarint(w.b, uint64(len(s)))
	w.b = append(w.b, s...)
}

// The range of times in the columns: 1900-01-01, where DateTime64 begins, to the
// last millisecond of 2261. DateTime64(3) goes on to 2299, but clients that count
// nanoseconds in 64 bits (this driver, pandas) read what is after April 2262 as a
// time before 1900: a credential that expires in the year 9999 would have expired.
const (
	minMillis = -2208988800000
	maxMillis = 9214646399999
)

// clamped draws a time out of range to its edge.
func clamped(m schemas.Millis) int64 { return min(max(int64(m), minMillis), maxMillis) }

func (w *wire) millis(m schemas.Millis) { w.int64(clamped(m)) }

// dictionary numbers the distinct strings of a LowCardinality column. Number 0 is
// the empty string.
type dictionary struct {
	numbers map[string]uint32
	words   []string
	keys    []uint32
	last    string // the string before and its number: rows often repeat it
	lastKey uint32
}

func (d *dictionary) add(s string) {
	switch s {
	case "":
		d.keys = append(d.keys, 0)
		return
	case d.last:
		d.keys = append(d.keys, d.lastKey)
		return
	}
	n, ok := d.numbers[s]
	if !ok {
		if d.numbers == nil {
			d.numbers = make(map[string]uint32)
		}
		if len(d.words) == 0 {
			d.words = append(d.words, "")
		}
		n = uint32(len(d.words))
		d.words = append(d.words, s)
		d.numbers[s] = n
	}
	d.keys = append(d.keys, n)
	d.last, d.lastKey = s, n
}

// Serialisation of a LowCardinality column (SerializationLowCardinality.cpp): the
// width of the keys with two flags (the dictionary comes along, and replaces the
// one before), the dictionary, the keys. A column without rows is nothing at all.
const (
	keysWide8, keysWide16, keysWide32 = 0, 1, 2
	dictionaryComesAlong              = 1<<9 | 1<<10
)

// flush writes the column and empties the dictionary for the next.
func (d *dictionary) flush(w *wire) {
	if len(d.keys) == 0 {
		return
	}
	if len(d.words) == 0 {
		d.words = append(d.words, "")
	}
	width := uint64(keysWide32)
	switch {
	case len(d.words) <= math.MaxUint8:
		width = keysWide8
	case len(d.words) <= math.MaxUint16:
		width = keysWide16
	}
	w.uint64(dictionaryComesAlong | width)
	w.int64(int64(len(d.words)))
	for _, s := range d.words {
		w.string(s)
	}
	w.int64(int64(len(d.keys)))
	switch width {
	case keysWide8:
		for _, k := range d.keys {
			w.b = append(w.b, uint8(k))
		}
	case keysWide16:
		for _, k := range d.keys {
			w.b = binary.LittleEndian.AppendUint16(w.b, uint16(k))
		}
	default:
		for _, k := range d.keys {
			w.b = binary.LittleEndian.AppendUint32(w.b, k)
		}
	}
	d.reset()
}

func (d *dictionary) reset() {
	clear(d.numbers)
	clear(d.words)
	d.words, d.keys, d.last, d.lastKey = d.words[:0], d.keys[:0], "", 0
}

// lowCardinality is a LowCardinality(String).
func lowCardinality[R any](name string, get func(*R) string) spec[R] {
	return spec[R]{name, "LowCardinality(String)", func() buffer[R] {
		var d dictionary
		return &wireBuffer[R]{write: func(rows []R, w *wire) {
			for i := range rows {
				d.add(get(&rows[i]))
			}
			d.flush(w)
		}}
	}}
}

// millisColumn is a DateTime64 in UTC.
func millisColumn[R any](name string, get func(*R) schemas.Millis) spec[R] {
	return spec[R]{name, "DateTime64(3, 'UTC')", func() buffer[R] {
		return &wireBuffer[R]{write: func(rows []R, w *wire) {
			for i := range rows {
				w.millis(get(&rows[i]))
			}
		}}
	}}
}

// optionalMillis is a time whose absence (zero) is NULL.
func optionalMillis[R any](name string, get func(*R) schemas.Millis) spec[R] {
	return spec[R]{name, "Nullable(DateTime64(3, 'UTC'))", func() buffer[R] {
		return &wireBuffer[R]{write: func(rows []R, w *wire) {
			for i := range rows {
				if get(&rows[i]) == 0 {
					w.uint8(1)
				} else {
					w.uint8(0)
				}
			}
			for i := range rows {
				w.millis(get(&rows[i]))
			}
		}}
	}}
}

// array is an Array of typ; size says how long it is in a row, each writes the
// elements of one row and done, if there is one, ends the elements' column.
func array[R any](name, typ string, size func(*R) int, make func() (each func(*R, *wire), done func(*wire))) spec[R] {
	return spec[R]{name, typ, func() buffer[R] {
		each, done := make()
		return &wireBuffer[R]{write: func(rows []R, w *wire) {
			var total uint64
			for i := range rows {
				total += uint64(size(&rows[i]))
				w.uint64(total)
			}
			for i := range rows {
				each(&rows[i], w)
			}
			if done != nil {
				done(w)
			}
		}}
	}}
}

// stringArray is an Array(String).
func stringArray[R any](name string, get func(*R) []string) spec[R] {
	return array(name, "Array(String)", func(r *R) int { return len(get(r)) }, func() (func(*R, *wire), func(*wire)) {
		return func(r *R, w *wire) {
			for _, s := range get(r) {
				w.string(s)
			}
		}, nil
	})
}

// wordArray is an Array(LowCardinality(String)).
func wordArray[R any](name string, get func(*R) []string) spec[R] {
	return array(name, "Array(LowCardinality(String))", func(r *R) int { return len(get(r)) }, func() (func(*R, *wire), func(*wire)) {
		var d dictionary
		return func(r *R, _ *wire) {
			for _, s := range get(r) {
				d.add(s)
			}
		}, d.flush
	})
}
