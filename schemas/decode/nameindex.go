package decode

import (
	"hash/maphash"

	"github.com/plumbline-sec/plumbline/schemas"
)

// nameIndex finds attributes by name: one by one while they are few, then by a
// hash whose seed nobody outside knows, so that no names are chosen to meet.
type nameIndex struct {
	used   bool
	at     int                               // where the name that was looked for last goes
	places [2 * schemas.MaxAttributes]uint16 // a place in the attributes, plus one
}

// fewAttributes is how many are searched one by one.
const fewAttributes = 24

// The seed has no influence on what is found.
var nameSeed = maphash.MakeSeed()

func (x *nameIndex) reset() {
	if x.used {
		clear(x.places[:])
		x.used = false
	}
}

// find returns the place of the attribute of that name, -1 where there is none.
func (x *nameIndex) find(attrs []schemas.Attribute, name string) int {
	if len(attrs) < fewAttributes {
		for i := range attrs {
			if attrs[i].Key == name {
				return i
			}
		}
		return -1
	}
	if !x.used {
		x.used = true
		for i := range attrs {
			x.search(attrs, attrs[i].Key)
			x.added(i)
		}
	}
	return x.search(attrs, name)
}

func (x *nameIndex) search(attrs []schemas.Attribute, name string) int {
	const mask = len(x.places) - 1
	for x.at = int(maphash.String(nameSeed, name)) & mask; x.places[x.at] != 0; x.at = (x.at + 1) & mask {
		if i := int(x.places[x.at]) - 1; attrs[i].Key == name {
			return i
		}
	}
	return -1
}

// added notes that the name that find did not find has become the attribute i.
func (x *nameIndex) added(i int) {
	if x.used {
		x.places[x.at] = uint16(i) + 1
	}
}
