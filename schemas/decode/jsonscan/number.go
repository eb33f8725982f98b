package jsonscan

import (
	"math"
	"math/bits"
)

// ParseUint reads the value of a JSON number that is an integer of 64 bits
// without sign, in whatever way it is written: 1000, 1e3 and 1000.0 are the same.
func ParseUint(text string) (v uint64, ok bool) {
	if len(text) > 19 {
		return parseUintSlow(text)
	}
	for i := range len(text) {
		if !IsDigit(text[i]) {
			return parseUintSlow(text)
		}
		v = v*10 + uint64(text[i]-'0')
	}
	return v, len(text) > 0
}

func parseUintSlow(text string) (uint64, bool) {
	negative := len(text) > 0 && text[0] == '-'
	if negative {
		text = text[1:]
	}
	whole, i := text, digits(text, 0)
	whole = whole[:i]
	fraction := ""
	if i < len(text) && text[i] == '.' {
		j := digits(text, i+1)
		fraction, i = text[i+1:j], j
	}
	exponent := 0
	if i < len(text) {
		exponent = parseExponent(text[i+1:])
	}
	// The number is the digits of whole and fraction, times ten to the exponent.
	n := len(whole) + len(fraction)
	digit := func(i int) byte {
		if i < len(whole) {
			return whole[i] - '0'
		}
		return fraction[i-len(whole)] - '0'
	}
	first := 0
	for first < n && digit(first) == 0 {
		first++
	}
	if first == n {
		return 0, true
	}
	last := n
	for digit(last-1) == 0 {
		last--
	}
	zeros := exponent - len(fraction) + n - last
	if negative || zeros < 0 || last-first+zeros > 20 {
		return 0, false
	}
	var v uint64
	for i := first; i < last+zeros; i++ {
		d := byte(0)
		if i < last {
			d = digit(i)
		}
		hi, lo := bits.Mul64(v, 10)
		sum, carry := bits.Add64(lo, uint64(d), 0)
		if hi != 0 || carry != 0 {
			return 0, false
		}
		v = sum
	}
	return v, true
}

// parseExponent reads an exponent and stops growing where it no longer matters:
// no text has that many digits.
func parseExponent(text string) int {
	negative := text[0] == '-'
	if negative || text[0] == '+' {
		text = text[1:]
	}
	v := 0
	for i := range len(text) {
		v = min(v*10+int(text[i]-'0'), math.MaxInt32)
	}
	if negative {
		return -v
	}
	return v
}
