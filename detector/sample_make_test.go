package detector

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/detector/baseline"
	"github.com/plumbline-sec/plumbline/detector/internal/wire"
	"github.com/plumbline-sec/plumbline/schemas"
)

// make makes the record of the sample: a real one with all that there can be, in
// which every number and name is then replaced by one that occurs once.
func (s *sampleRecord) make(t *testing.T) []byte {
	t.Helper()
	record := realRecords(t)[s.name]
	fields, err := s.fields(t, record)
	require.NoError(t, err)
	at, small := 0, uint64(100) // above what lists have
	for n := range fields {
		f := fields[n]
		if !inOrder[site(f)] {
			for _, with := range replacements(f.Value, n, &small) {
				changed := append(append(append([]byte(nil), record[:at]...), with...), record[at+f.Size:]...)
				got, err := s.fields(t, changed)
				if err != nil || len(got) != len(fields) {
					continue // the field decides what else there is, or is bounded
				}
				record, f = changed, got[n]
				break
			}
		}
		at += f.Size
	}
	return record
}

// replacements are the bytes that a field could have in the place of its own: the
// best first. There are few bytes: small is the last one taken.
func replacements(v any, n int, small *uint64) [][]byte {
	encode := func(f func(*wire.Coder)) []byte {
		e := wire.Encoder(nil)
		f(e)
		return e.Bytes()
	}
	whole := uint64(10_000 + n)
	list := func(count int, one func(c *wire.Coder, k uint64)) [][]byte {
		return [][]byte{encode(func(c *wire.Coder) {
			for i := range count {
				one(c, uint64(i))
			}
		})}
	}
	rv := reflect.ValueOf(v)
	switch rv.Kind() { //nolint:exhaustive // fields have no others
	case reflect.Bool:
		yes := true
		return [][]byte{encode(func(c *wire.Coder) { c.Bool("", &yes) })}
	case reflect.Float32:
		x := float32(n) + 0.5
		return [][]byte{encode(func(c *wire.Coder) { c.F32("", &x) })}
	case reflect.Float64:
		x := float64(n) + 0.25
		return [][]byte{encode(func(c *wire.Coder) { c.F64("", &x) })}
	case reflect.Int64:
		x := int64(whole)
		return [][]byte{encode(func(c *wire.Coder) { c.I64("", &x) })}
	case reflect.Uint8:
		*small++
		return list(1, func(c *wire.Coder, _ uint64) { c.Uint("", *small, 255) })
	case reflect.Uint32, reflect.Uint64:
		switch rv.Type().Name() {
		case "hash64":
			x := uint64(0x5eed)<<48 + whole
			return [][]byte{encode(func(c *wire.Coder) { c.Fixed64("", &x) })}
		case "hash32":
			x := uint32(0x5eed)<<16 + uint32(n)
			return [][]byte{encode(func(c *wire.Coder) { c.Fixed32("", &x) })}
		}
		return [][]byte{
			encode(func(c *wire.Coder) { c.Uint("", whole, 1<<60) }),
			encode(func(c *wire.Coder) { c.Uint("", 500+uint64(n)%499, 1<<60) }),
		}
	case reflect.String:
		x := fmt.Sprintf("text-%d", n)
		return [][]byte{encode(func(c *wire.Coder) { c.String("", &x, 100) })}
	case reflect.Slice:
		return replacementLists(rv, n, encode, list)
	default:
		return nil // the length of a list
	}
}

func replacementLists(rv reflect.Value, n int, encode func(func(*wire.Coder)) []byte, list func(int, func(*wire.Coder, uint64)) [][]byte) [][]byte {
	switch count := rv.Len(); rv.Type().Elem().Kind() { //nolint:exhaustive // fields have no others
	case reflect.Float32:
		return list(count, func(c *wire.Coder, k uint64) { x := float32(n) + float32(k+1)/1024; c.F32("", &x) })
	case reflect.Float64:
		return list(count, func(c *wire.Coder, k uint64) { x := float64(n) + float64(k+1)/1024; c.F64("", &x) })
	case reflect.Int64:
		return list(count, func(c *wire.Coder, k uint64) { x := int64(1_000_000*k) + int64(n); c.I64("", &x) })
	case reflect.Uint16:
		return list(count, func(c *wire.Coder, k uint64) { c.Uint("", 30_000+k, 1<<16) })
	case reflect.Uint8:
		if rv.Type().Name() == "" {
			return nil // bytes with a sense of their own
		}
		return list(count, func(c *wire.Coder, k uint64) { c.Uint("", 1+k, 255) })
	case reflect.String:
		var x []string
		for i := range count {
			x = append(x, fmt.Sprintf("text-%d-%d", n, i))
		}
		return [][]byte{encode(func(c *wire.Coder) { c.Strings("", &x, 1000, 100) })}
	default:
		return nil
	}
}

// realRecords are of a detector to which everything has happened.
func realRecords(t *testing.T) map[string][]byte {
	t.Helper()
	d := Started(t, sampleConfig(), nowhere{})
	rng := rand.New(rand.NewPCG(1, 2))
	at := schemas.Millis(1_700_000_000_000)
	for i := range 4000 {
		if i == 3990 {
			for _, a := range d.cutting.all {
				a.seen = baseline.Recent{} // of which a few say all
			}
		}
		at += 300_000
		tool := "tool" + strconv.Itoa(rng.IntN(2))
		if i > 3900 {
			tool = "rolled-out"
		}
		d.Process(&schemas.Activity{
			EventID: strconv.Itoa(i), Time: at, RecordedAt: at, TenantID: "t", AgentID: "a" + strconv.Itoa(i%4), PeerGroup: "g",
			SessionID: "s" + strconv.Itoa(i/9%5), Tool: tool, Action: "tool_call", Outcome: schemas.OutcomeSuccess,
			Access: schemas.AccessSend, Resources: []string{"host:h" + strconv.Itoa(rng.IntN(5)) + ".example"},
			BytesSent: uint64(rng.IntN(5000)), BytesReceived: uint64(rng.IntN(50)),
			SourceIP: "10.0." + strconv.Itoa(i/2000) + ".1", CredentialID: strconv.Itoa(i / 1500),
		})
	}
	d.tenants[0].fleet.DocFreq.Add(1)
	d.tenants[0].fleet.Learnt(1, 1)
	a := d.byName["t"].newcomers.first
	if a == nil {
		a = d.byName["t"].established.first
	}
	a.profile.Novelty.Admit(1, 1)
	a.silent = silent{seq: 10, from: 1, next: 1 << 40}
	a.claim, a.name, a.version = "claimed", "name", "1.0"
	open := func() episode {
		return episode{
			id: "e", families: []string{"f", "g"}, dests: []uint64{1, 2, 3}, sessions: []uint64{4}, places: []place{{}, {}},
			evidence:      schemas.Evidence{EventIDs: []string{"1"}, Resources: []string{"2", "3"}, Tools: []string{"4", "5", "6"}},
			lastResources: []string{"7"}, worst: schemas.Alert{AlertID: "worst"}, severity: 2,
		}
	}
	e := open()
	a.episode = &e
	a.checked = &checked{breaches: []*breach{{episode: open(), offence: offence{check: checkNoOwner}, values: []uint64{8, 9}}}, folds: []uint64{1, 2}}
	d.tenants[0].crowds = []*breach{{episode: open(), offence: offence{check: checkUnregistered}, values: []uint64{10, 11}}}
	a.registered = &registered{
		Registration: &schemas.Registration{
			Versions: []string{"1", "2"}, Credentials: []schemas.Credential{{}, {}}, Tools: []string{}, Destinations: []string{"3"},
			Agents: []string{"4"}, Labels: []schemas.Attribute{{}, {}}, Unknown: []string{"5"},
		},
		used: make([]schemas.Millis, 2),
	}
	return map[string][]byte{"agent": appendAgent(nil, a), "partition": d.appendPartition(nil)}
}
