package detector

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"

	"github.com/plumbline-sec/plumbline/schemas"
)

// digest is the first 16 bytes of SHA-256 over the fields, each behind its length:
// no two lists of fields run together.
func digest(kind string, number uint64, fields ...string) string {
	b := make([]byte, 0, 256)
	put := func(s string) {
		b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	put(kind)
	b = binary.BigEndian.AppendUint64(b, number)
	for _, f := range fields {
		put(f)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}

// episodeID is a function of tenant, agent, the partition's episode counter and
// the opening event. The counter keeps ids apart where event ids are reused or an
// agent was evicted and came back.
func (d *Detector) episodeID(a *agent, ev *schemas.Activity) string {
	return digest("episode", d.episodes, a.tenant.name, a.id, ev.EventID)
}

func alertID(episode string, number uint64) string { return digest("alert", number, episode) }
